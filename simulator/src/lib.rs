//! A deterministic model of the event source mapping between a Kinesis data stream and an AWS Lambda function.
//!
//! [`Simulation::run`] polls a [`Source`] by the rules of a [`Mapping`](kinesis_esm::Mapping), invokes a
//! [`Function`](lambda_host::Function), and tells an [`Observer`] of each [`Step`]. Under tokio's paused time it is
//! deterministic: the same seed gives the same steps. The README describes [scenarios](Scenario), which are simulations as
//! JSON.
//!
//! A record goes from its source to a lane, whose intake reads it. The lane gathers it into a batch and delivers that; then
//! the rules of `kinesis_esm` say what the response means and what follows: the next batch, a retry, two halves, or a
//! failure record.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod clock;
mod fault;
mod source;
mod step;
mod world;
mod lane;
mod simulation;
mod scripted;
mod scenario;

pub use clock::{ClockJump, SimulationClock};
pub use fault::{Fault, FaultKind};
pub use lambda_host::ServiceFunction;
pub use scenario::{Fates, Ids, Report, SCENARIO_START_MS, Scenario, ScenarioError};
pub use scripted::{FailureKind, ScriptedFailure, ScriptedFunction};
pub use simulation::Simulation;
pub use source::{NextRead, Read, ReadFrom, Shard, ShardReader, Source, Stream, StreamReader};
pub use step::{
    Delivery, Discarded, DropReason, Invoked, Metrics, Observer, Outcome, Step, StepKind, TooLarge,
};
pub use world::NoProgress;
