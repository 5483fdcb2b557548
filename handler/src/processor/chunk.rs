use std::{num::NonZeroUsize, time::Duration};

use crate::{ProcessError, Record};

/// A processor of several user records at once, for stores and services that take many at a time. Async functions and async
/// closures of the right shape are processors. [`Chunks`] makes what a handler takes of it.
///
/// The handler calls [`process`](Self::process) with one chunk of user records after the other, in stream order, across Kinesis
/// records. What it says of a [`RecordProcessor`](crate::RecordProcessor) holds for each user record of a chunk.
///
/// ```no_run
/// use kinesis_handler::{ChunkOutcome, Chunks, ProcessError, Record, retryable, run};
///
/// # async fn insert(_: &[&[u8]]) -> Result<(), std::io::Error> { Ok(()) }
/// async fn process(chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
///     let rows: Vec<_> = chunk.iter().map(Record::data).collect();
///     insert(&rows).await?;
///     Ok(ChunkOutcome::Processed)
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kinesis_handler::Error> {
/// run(Chunks::new(process).max_records(500)).await
/// # }
/// ```
pub trait ChunkProcessor {
    /// Processes a chunk, which has at least one user record.
    ///
    /// # Errors
    ///
    /// Whatever keeps the whole chunk from being processed. It counts as the failure of the chunk's first user record, and the
    /// others as not begun. But a permanent error, such as that of a payload, may be about any of several user records: each of them
    /// is a chunk of its own then.
    #[expect(
        async_fn_in_trait,
        reason = "a Send bound would exclude async closures; callers see through to the future"
    )]
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError>;
}

impl<F: AsyncFn(&[Record<'_>]) -> Result<ChunkOutcome, ProcessError>> ChunkProcessor for F {
    async fn process(&self, chunk: &[Record<'_>]) -> Result<ChunkOutcome, ProcessError> {
        self(chunk).await
    }
}

/// The outcome of a chunk.
#[derive(Debug)]
pub enum ChunkOutcome {
    /// All user records are processed.
    Processed,
    /// The first user records are processed, the next one has failed, and those after it were not begun.
    ProcessedUpTo {
        /// Number of user records that are processed: less than the chunk has.
        records: usize,
        /// Error of the user record after them.
        error: ProcessError,
    },
    /// An outcome for each user record of the chunk, in its order.
    Each(Vec<Result<(), ProcessError>>),
}

/// A [`ChunkProcessor`] with the bounds of its chunks: what a [`Handler`](crate::Handler), a [`Function`](crate::Function) and
/// [`run`](crate::run) take.
///
/// A chunk ends at the first bound that it reaches, at the end of the batch, and at a user record that cannot be processed. A
/// user record that has failed in an earlier invocation, as the [journal](crate::journal) knows, is a chunk of its own, so that
/// one that makes a whole chunk fail is found.
#[derive(Debug, Clone)]
#[must_use]
pub struct Chunks<P> {
    pub(crate) processor: P,
    pub(crate) limits: ChunkLimits,
}

/// The bounds of a chunk.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkLimits {
    pub(crate) records: NonZeroUsize,
    pub(crate) bytes: usize,
    pub(crate) time: Option<Duration>,
}

impl<P: ChunkProcessor> Chunks<P> {
    /// Default of [`max_records`](Self::max_records).
    pub const DEFAULT_MAX_RECORDS: NonZeroUsize = NonZeroUsize::new(100).expect("not zero");

    /// Returns the processor with the default bounds.
    pub fn new(processor: P) -> Self {
        let limits = ChunkLimits { records: Self::DEFAULT_MAX_RECORDS, bytes: usize::MAX, time: None };
        Chunks { processor, limits }
    }

    /// Sets the largest number of user records in a chunk, by default 100.
    ///
    /// # Panics
    ///
    /// If it is zero.
    pub fn max_records(mut self, records: usize) -> Self {
        self.limits.records = NonZeroUsize::new(records).expect("a chunk has at least one user record");
        self
    }

    /// Sets the largest sum of the data of a chunk's user records, in bytes. By default there is none. A user record with more is a
    /// chunk of its own.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// Sets the time after which no further user record is added to a chunk. By default there is none: all user records of a batch
    /// are there already, so that collecting them takes as long as decoding them.
    pub fn max_collecting_time(mut self, time: Duration) -> Self {
        self.limits.time = Some(time);
        self
    }
}
