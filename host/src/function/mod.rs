//! Functions as an event source mapping invokes them.

mod in_turn;
mod service;

use std::{future::Future, time::Duration};

use kinesis_esm::{Origin, SharedRecord, event::event_json};
use kinesis_handler::{BoxError, Clock, event::TumblingWindow};

use crate::{Answer, Fate};

pub use in_turn::InTurn;
pub use service::ServiceFunction;

/// A function that a mapping invokes.
pub trait Function {
    /// Invokes the function with a batch. The time that this takes is the time that the invocation takes.
    ///
    /// # Errors
    ///
    /// A condition under which no invocation is possible, such as a program that cannot be started; it ends the simulation. A
    /// failure of the function is an [`Answer`].
    fn invoke(&self, invocation: Invocation<'_>) -> impl Future<Output = Result<Answer, BoxError>>;
}

impl<F: Function> Function for &F {
    async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, BoxError> {
        F::invoke(self, invocation).await
    }
}

/// A batch that is delivered.
#[derive(Debug, Clone, Copy)]
pub struct Invocation<'a> {
    /// Request ID, the same for a batch that is delivered again as it was (rule 10, `no-attempt-number`).
    pub request_id: &'a str,
    /// Records of the batch. Empty for the last invocation of a tumbling window.
    pub records: &'a [SharedRecord],
    /// Origin of the records.
    pub origin: &'a Origin,
    /// Tumbling window that the records belong to.
    pub window: Option<&'a TumblingWindow<'static>>,
    /// ARN that is invoked.
    pub function_arn: &'a str,
    /// Longest time that the function may take.
    pub timeout: Duration,
    /// Fault that is injected into the invocation.
    pub fate: Fate,
    /// Number of steps of the work after which a fault strikes, where steps can be told.
    pub steps_before_fault: u32,
    /// Clock of the mapping.
    pub clock: &'a dyn Clock,
}

impl<'a> Invocation<'a> {
    /// Returns the ID of the shard that the batch is of.
    pub fn shard_id(&self) -> &'a str {
        self.origin.shard_id()
    }

    /// Returns the time at which its time is up if it begins now, in milliseconds since 1970.
    pub fn deadline_ms(&self) -> u64 {
        self.clock.epoch_ms() + self.timeout.as_millis() as u64
    }

    /// Returns the event as Lambda delivers it, in JSON.
    pub fn event_json(&self) -> Vec<u8> {
        event_json(self.records, self.origin, self.window)
    }
}
