//! How commands that take long run, and how they are ended.

use std::pin::pin;

use tokio::runtime;

use crate::{error::Error, halt::Halt, interrupts::Interrupts, note::note};

/// Runs a command in a tokio runtime of one thread.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(Error::Start)?.block_on(command)
}

/// Works until it is done. After a signal, what is under way may still end; a second one ends it, too.
pub(crate) async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, Error>>,
    halt: &Halt,
) -> Result<T, Error> {
    let mut interrupts = Interrupts::listen().map_err(Error::Start)?;
    let mut work = pin!(work);
    tokio::select! {
        biased;
        ended = &mut work => return ended,
        signal = interrupts.next() => {
            note(format_args!("{signal}: ending behind what is under way; a second signal ends at once"));
        }
    }
    halt.ask();
    tokio::select! {
        biased;
        ended = &mut work => ended,
        _ = interrupts.next() => Err(Error::Interrupted),
    }
}
