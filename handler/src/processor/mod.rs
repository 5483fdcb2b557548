//! The user's part: a processor of user records, and its errors.

pub(crate) mod chunk;
pub(crate) mod circuit_breaker;
pub(crate) mod process_error;
pub(crate) mod window;

use crate::{ProcessError, Record, batch::run::Drive};

/// A processor that a [`Handler`](crate::Handler), a [`Function`](crate::Function) and [`run`](crate::run) take: a
/// [`RecordProcessor`], a [`ChunkProcessor`](crate::ChunkProcessor) in [`Chunks`](crate::Chunks), or a [`WindowProcessor`](crate::WindowProcessor) in
/// [`Windows`](crate::Windows). Nothing else implements it.
pub trait Processor: Drive {}

impl<P: Drive> Processor for P {}

/// A processor of one user record. Async functions and async closures of the right shape are processors.
///
/// The handler calls [`process`](Self::process) for one user record after the other, in stream order. `Ok` means that
/// the record is done; it must then be safe if the function crashes. After an error the batch stops there, and Lambda
/// delivers again from the Kinesis record that holds the failed user record. So a record may come more than once:
/// without a retry journal, all user records of an aggregate come again when one of them fails.
///
/// The call is cancelled (its future dropped) when the deadline guard stops the batch. A panic fails the record.
pub trait RecordProcessor {
    /// Processes one user record.
    ///
    /// # Errors
    ///
    /// Whatever keeps the record from being done; see [`ProcessError`] for what becomes of it.
    #[expect(
        async_fn_in_trait,
        reason = "a Send bound would exclude async closures; callers see through to the future"
    )]
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError>;
}

impl<F: AsyncFn(Record<'_>) -> Result<(), ProcessError>> RecordProcessor for F {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        self(record).await
    }
}
