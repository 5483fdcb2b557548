//! Runs commands that take long, and ends them.

pub(crate) mod halt;
pub(crate) mod interrupts;

use std::{pin::pin, time::Duration};

use tokio::{
    runtime,
    time::{sleep, timeout},
};

use crate::{
    error::Error,
    output::note::note,
    run::{halt::Halt, interrupts::Interrupts},
};

/// Time after a signal for what is in flight: as long as a function behind a URL may take by default.
const IN_FLIGHT_TIME: Duration = Duration::from_secs(60);

/// Time after that for writing down what came of it.
const SETTLING_TIME: Duration = Duration::from_secs(2);

/// Runs a command in a tokio runtime of one thread.
pub(crate) fn block_on<T>(command: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Start)?;
    let ended = runtime.block_on(command);
    // A host name that is still being looked up must not delay the end.
    runtime.shutdown_background();
    ended
}

/// Works until it is done or a signal comes.
///
/// After a signal nothing new begins, and what is in flight has a bounded time. Then the work is dropped, wherever it
/// waits, so retries react to the first signal. What it has come to must therefore be kept outside of it. A second
/// signal drops it at once.
pub(crate) async fn until_interrupted<T>(
    work: impl Future<Output = Result<T, Error>>,
    halt: &Halt,
) -> Result<T, Error> {
    let mut interrupts = Interrupts::listen().map_err(Error::Start)?;
    let mut work = pin!(work);
    let signal = tokio::select! {
        biased;
        ended = &mut work => return ended,
        signal = interrupts.next() => signal,
    };
    halt.ask();
    match halt.in_flight() {
        0 => note(format_args!("interrupted by {signal}: ending")),
        _ => note(format_args!(
            "interrupted by {signal}: waiting up to a minute for what is in flight; send it again to exit now"
        )),
    }
    let wind_down = async {
        // If the time is up, what is in flight is dropped, too.
        let _ = timeout(IN_FLIGHT_TIME, halt.idle()).await;
        sleep(SETTLING_TIME).await;
    };
    tokio::select! {
        biased;
        ended = &mut work => ended,
        _ = interrupts.next() => Err(Error::Interrupted),
        () = wind_down => Err(Error::Interrupted),
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use super::*;

    /// Sends this process SIGTERM as soon as the work has begun, and returns the seconds until its end.
    async fn seconds_to_end(work: impl Future<Output = Result<(), Error>>, halt: &Halt) -> u64 {
        let work = async {
            let id = std::process::id().to_string();
            let sent = std::process::Command::new("kill").arg(id).status().expect("kill is there");
            assert!(sent.success());
            work.await
        };
        let start = tokio::time::Instant::now();
        let ended = until_interrupted(work, halt).await;
        assert!(matches!(ended, Err(Error::Interrupted)));
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_signal_ends_work_wherever_it_waits_and_waits_for_what_is_in_flight() {
        let halt = Halt::default();
        assert_eq!(seconds_to_end(pending(), &halt).await, SETTLING_TIME.as_secs());
        assert!(halt.is_asked_for() && halt.enter().is_none());

        let halt = Halt::default();
        let endless = async {
            let _in_flight = halt.enter();
            pending().await
        };
        assert_eq!(seconds_to_end(endless, &halt).await, (IN_FLIGHT_TIME + SETTLING_TIME).as_secs());

        let halt = Halt::default();
        let slow = async {
            let in_flight = halt.enter();
            halt.asked().await;
            sleep(Duration::from_secs(7)).await;
            drop(in_flight);
            pending().await
        };
        assert_eq!(seconds_to_end(slow, &halt).await, 7 + SETTLING_TIME.as_secs());
    }
}
