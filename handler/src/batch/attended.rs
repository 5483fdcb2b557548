use std::panic::{AssertUnwindSafe, resume_unwind};

use futures_util::FutureExt;

use crate::{
    ChunkOutcome, ChunkProcessor, Options, ProcessError, Record, RecordProcessor,
    batch::stop::{Failure, panic_text},
    retryable,
};

/// A processor with what the options want to happen around each call. Only used if they want anything.
pub(crate) struct Attended<'p, P> {
    pub(crate) processor: &'p P,
    pub(crate) options: &'p Options,
}

impl<P: RecordProcessor> RecordProcessor for Attended<'_, P> {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let result = AssertUnwindSafe(self.processor.process(record)).catch_unwind().await;
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
            Ok(Err(error)) => failed(0, error),
            Err(panic) => failed(0, &retryable(Failure::Panic(panic_text(&**panic)).to_string())),
        }
        result.unwrap_or_else(|panic| resume_unwind(panic))
    }
}
