use std::{future::Future, time::Duration};

use kinesis_esm::{Origin, SharedRecord, event::event_json};
use kinesis_handler::event::TumblingWindow;

use crate::{Answer, BoxError, Fate, SimulationClock};

/// A function that a mapping invokes.
pub trait Function {
    /// Invokes the function with a batch. The time that this takes is the time that the invocation takes.
    ///
    /// # Errors
    ///
    /// What makes it impossible to go on, such as a program that cannot be started; it ends the simulation. Whatever
    /// goes wrong in the function is an [`Answer`].
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
    pub(crate) request_id: &'a str,
    pub(crate) records: &'a [SharedRecord],
    pub(crate) origin: &'a Origin,
    pub(crate) window: Option<&'a TumblingWindow<'static>>,
    pub(crate) function_arn: &'a str,
    pub(crate) timeout: Duration,
    pub(crate) fate: Fate,
    pub(crate) steps_before_fault: u32,
    pub(crate) clock: &'a SimulationClock,
}

impl<'a> Invocation<'a> {
    /// Rule 10: the same for a batch that is delivered again as it was.
    pub fn request_id(&self) -> &'a str {
        self.request_id
    }

    /// The batch. Empty for the last invocation of a tumbling window.
    pub fn records(&self) -> &'a [SharedRecord] {
        self.records
    }

    /// The shard that the batch is of.
    pub fn shard_id(&self) -> &'a str {
        self.origin.shard_id()
    }

    /// The ARN that is invoked.
    pub fn function_arn(&self) -> &'a str {
        self.function_arn
    }

    /// Returns the longest time that the function may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// When its time is up, in milliseconds since 1970.
    pub fn deadline_ms(&self) -> u64 {
        self.clock.now_ms() + self.timeout.as_millis() as u64
    }

    /// Returns the fault that is injected into the invocation.
    pub fn fate(&self) -> Fate {
        self.fate
    }

    /// For a fault in the middle of the work: after how many steps of it, where steps can be told.
    pub fn steps_before_fault(&self) -> u32 {
        self.steps_before_fault
    }

    /// The event as Lambda delivers it, in JSON.
    pub fn event_json(&self) -> Vec<u8> {
        event_json(self.records, self.origin, self.window)
    }
}
