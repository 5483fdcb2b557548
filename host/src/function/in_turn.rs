use std::time::Duration;

use kinesis_handler::BoxError;
use tokio::{sync::Mutex, time::sleep};

use super::{Function, Invocation};
use crate::{Answer, FunctionError};

/// Makes a function that works in real time a part of a simulation under virtual time.
///
/// The duration of such a function differs from run to run, and so would the trace. Here its invocations are made one
/// after the other, in the order in which the mapping begins them, even where shards overlap. Virtual time stands still
/// meanwhile, as tokio's does while a blocking task runs. Then each invocation takes a virtual time of its own: a fixed
/// one, or the whole timeout if it has timed out. So the same seed gives the same trace, as long as the function gives
/// the same answers.
///
/// The price: the function is never invoked twice at the same moment, except while an invocation keeps running after its
/// timeout.
#[derive(Debug)]
pub struct InTurn<F> {
    function: F,
    duration: Duration,
    /// Fair: whoever asks first is first.
    turn: Mutex<()>,
}

impl<F> InTurn<F> {
    /// An invocation takes this virtual time, at least a millisecond: whatever follows from an answer is then later than
    /// all that was begun at the same time, however the threads of both run.
    pub fn new(function: F, duration: Duration) -> Self {
        InTurn { function, duration: duration.max(Duration::from_millis(1)), turn: Mutex::new(()) }
    }

    /// Returns the wrapped function.
    pub fn function(&self) -> &F {
        &self.function
    }
}

impl<F: Function> Function for InTurn<F> {
    async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, BoxError> {
        let answer = {
            let _turn = self.turn.lock().await;
            self.function.invoke(invocation).await?
        };
        let timed_out = answer == Answer::Error(FunctionError::Timeout);
        sleep(if timed_out { invocation.timeout } else { self.duration }).await;
        Ok(answer)
    }
}
