use std::{
    hash::{DefaultHasher, Hash, Hasher},
    panic::{AssertUnwindSafe, resume_unwind},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::time::sleep;

use crate::{
    ChunkOutcome, ChunkProcessor, Options, ProcessError, Record, RecordProcessor, WindowProcessor,
    batch::stop::{Failure, panic_text},
    event::TumblingWindow,
    retryable,
};

/// A processor with what the options want to happen around each call. Only used if they want anything.
pub(crate) struct Attended<'p, P> {
    pub(crate) processor: &'p P,
    pub(crate) options: &'p Options,
}

/// Longest wait before the second attempt in place. It doubles from attempt to attempt.
const FIRST_DELAY: Duration = Duration::from_millis(100);

/// Longest wait before any attempt in place.
const MAX_DELAY: Duration = Duration::from_secs(5);

impl<P: RecordProcessor> Attended<'_, P> {
    /// Calls the processor until it succeeds, its error is not retryable, or attempts or time are used up.
    async fn try_in_place(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let mut retries = Retries::new(record);
        loop {
            let result = self.processor.process(record).await;
            retries.last_error = None;
            let Err(error) = result else { return Ok(()) };
            if !self.waits_to_retry(&mut retries, &error).await {
                return Err(error);
            }
        }
    }
}

impl<P: WindowProcessor> Attended<'_, P> {
    /// Calls the processor in the same way. Each attempt begins with the same state.
    async fn try_window_in_place(
        &self,
        record: Record<'_>,
        state: &mut P::State,
    ) -> Result<(), ProcessError> {
        if self.options.retry_attempts.get() == 1 {
            return self.processor.process(record, state).await;
        }
        let before = state.clone();
        let mut retries = Retries::new(record);
        loop {
            let result = self.processor.process(record, state).await;
            retries.last_error = None;
            let Err(error) = result else { return Ok(()) };
            if !self.waits_to_retry(&mut retries, &error).await {
                return Err(error);
            }
            state.clone_from(&before);
        }
    }
}

impl<P> Attended<'_, P> {
    /// Waits before another attempt. Returns `false`, without waiting, if there is to be none.
    async fn waits_to_retry(&self, retries: &mut Retries<'_>, error: &ProcessError) -> bool {
        retries.attempts += 1;
        let Retries { record, attempts, .. } = *retries;
        let delay = delay(&record, attempts);
        if !error.is_retryable()
            || attempts >= self.options.retry_attempts.get()
            || record.remaining_time().is_some_and(|remaining| remaining <= delay)
        {
            return false;
        }
        let error = error.to_string();
        tracing::debug!(position = %record.position(), attempts, error, "record failed, retrying in place");
        retries.last_error = Some(error);
        sleep(delay).await;
        true
    }
}

/// The attempts in place at a record. Its last error is logged if the record is interrupted while it is tried again: it has no other
/// outcome.
struct Retries<'r> {
    record: Record<'r>,
    attempts: u32,
    last_error: Option<String>,
}

impl<'r> Retries<'r> {
    fn new(record: Record<'r>) -> Self {
        Retries { record, attempts: 0, last_error: None }
    }
}

impl Drop for Retries<'_> {
    fn drop(&mut self) {
        if let Retries { record, attempts, last_error: Some(error) } = self {
            tracing::warn!(position = %record.position(), attempts, error, "record interrupted while it was tried again in place");
        }
    }
}

/// Returns the time to wait after so many attempts: exponential backoff with full jitter.
///
/// The jitter is a hash of what no two waits at the same time share: invocation, user record and attempt. So a simulation waits alike
/// every time.
fn delay(record: &Record<'_>, attempts: u32) -> Duration {
    let longest =
        FIRST_DELAY.saturating_mul(1_u32.checked_shl(attempts - 1).unwrap_or(u32::MAX)).min(MAX_DELAY);
    let mut hasher = DefaultHasher::new();
    (record.request_id(), record.position().to_string(), record.data(), attempts).hash(&mut hasher);
    let [a, b, c, d, ..] = hasher.finish().to_le_bytes();
    longest.mul_f64(f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX))
}

impl<P: RecordProcessor> RecordProcessor for Attended<'_, P> {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        self.attend(record, self.try_in_place(record)).await
    }
}

impl<P: WindowProcessor> WindowProcessor for Attended<'_, P> {
    type State = P::State;

    async fn process(&self, record: Record<'_>, state: &mut P::State) -> Result<(), ProcessError> {
        self.attend(record, self.try_window_in_place(record, state)).await
    }

    async fn finish(&self, state: &P::State, window: &TumblingWindow<'_>) -> Result<(), ProcessError> {
        self.processor.finish(state, window).await
    }
}

impl<P> Attended<'_, P> {
    async fn attend(
        &self,
        record: Record<'_>,
        call: impl Future<Output = Result<(), ProcessError>>,
    ) -> Result<(), ProcessError> {
        let result = AssertUnwindSafe(call).catch_unwind().await;
        match &result {
            Ok(result) => self.options.hooks.note(record, result.as_ref().copied()),
            Err(panic) => {
                let failure = Failure::Panic(panic_text(&**panic)).to_string();
                self.options.hooks.note(record, Err(&retryable(failure)));
            }
        }
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

impl<P: ChunkProcessor> ChunkProcessor for Attended<'_, P> {
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
        let result = AssertUnwindSafe(self.processor.process(chunk)).catch_unwind().await;
        let processed = |records: usize| {
            chunk.iter().take(records).for_each(|&record| self.options.hooks.note(record, Ok(())));
        };
        let failed = |record: usize, error: &ProcessError| {
            chunk.get(record).into_iter().for_each(|&record| self.options.hooks.note(record, Err(error)));
        };
        match &result {
            Ok(Ok(ChunkOutcome::Processed)) => processed(chunk.len()),
            Ok(Ok(ChunkOutcome::ProcessedUpTo { records, error })) if *records < chunk.len() => {
                processed(*records);
                failed(*records, error);
            }
            Ok(Ok(ChunkOutcome::Each(results))) if results.len() == chunk.len() => {
                for (&record, result) in chunk.iter().zip(results) {
                    self.options.hooks.note(record, result.as_ref().copied());
                }
            }
            // An outcome that does not fit is a failure of the chunk, whose text is in the batch's outcome.
            Ok(Ok(_)) => failed(0, &retryable("outcome does not fit the chunk")),
            // Each of them is processed alone then.
            Ok(Err(error)) if error.is_permanent() && chunk.len() > 1 => {}
            Ok(Err(error)) => failed(0, error),
            Err(panic) => failed(0, &retryable(Failure::Panic(panic_text(&**panic)).to_string())),
        }
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OwnedRecord;

    #[test]
    fn delays_grow_at_random_up_to_a_limit() {
        for (attempts, longest_ms) in [(1, 100), (2, 200), (3, 400), (6, 3_200), (7, 5_000), (99, 5_000)] {
            let delay = |number: u32| {
                let record = OwnedRecord::new(number.to_string());
                delay(&record.as_record(), attempts)
            };
            let delays: Vec<_> = (0..100).map(delay).collect();
            assert_eq!(delays[7], delay(7), "the same wait is as long every time");
            let longest = Duration::from_millis(longest_ms);
            assert!(delays.iter().all(|&delay| delay <= longest), "{attempts}: {delays:?}");
            assert!(delays.iter().any(|&delay| delay > longest / 2), "{attempts}: {delays:?}");
            assert!(delays.iter().any(|&delay| delay < longest / 2), "{attempts}: {delays:?}");
        }
    }
}
