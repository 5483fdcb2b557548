//! A deterministic model of the event source mapping between a Kinesis data stream and an AWS Lambda function.
//!
//! [`Simulation::run`] polls a [`Source`] by the rules of a [`Mapping`](kinesis_esm::Mapping), invokes a [`Function`](lambda_host::Function), and tells an [`Observer`]
//! of each [`Step`]. Under tokio's paused time it is deterministic: the same seed gives the same steps. The README
//! describes [scenarios](Scenario), which are simulations as JSON.
//!
//! A record goes through the crate in the order of its modules: a source has it, the intake of a lane reads it, the lane
//! gathers it into a batch and delivers that, the response is judged, and the backlog decides what follows: the next
//! batch, a retry, two halves, or a failure record.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod clock;
mod fault;
mod source;
mod stream;
mod pace;
mod step;
mod metrics;
mod world;
mod intake;
mod siblings;
mod lane;
mod deliver;
mod discard;
mod simulation;
mod scripted;
mod scenario;
mod report;

pub use clock::{ClockJump, SimulationClock};
pub use fault::{Fault, FaultKind};
pub use lambda_host::ServiceFunction;
pub use metrics::Metrics;
pub use report::{Fates, Report};
pub use scenario::{Ids, SCENARIO_START_MS, Scenario, ScenarioError};
pub use scripted::{FailureKind, ScriptedFailure, ScriptedFunction};
pub use simulation::Simulation;
pub use source::{NextRead, Read, ReadFrom, ShardReader, Source};
pub use step::{Delivery, Discarded, DropReason, Invoked, Observer, Outcome, Step, StepKind, TooLarge};
pub use stream::{Shard, Stream, StreamReader};
pub use world::NoProgress;
