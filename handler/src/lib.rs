//! AWS Lambda consumers of Kinesis Data Streams: one async function for one user record.
//!
//! ```no_run
//! use kinesis_handler::{ProcessError, Record, run, tracing};
//! use serde::Deserialize;
//!
//! #[derive(Deserialize)]
//! struct Order<'a> {
//!     id: &'a str,
//!     cents: u64,
//! }
//!
//! async fn process(record: Record<'_>) -> Result<(), ProcessError> {
//!     let order: Order = record.json()?;
//!     tracing::info!(order = order.id, cents = order.cents, "order received");
//!     Ok(())
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! async fn main() -> Result<(), kinesis_handler::Error> {
//!     run(process).await
//! }
//! ```
//!
//! A processor with a client is an async closure that owns it, or a struct. An error is retryable, unless it comes from the
//! payload; [`Classify`] decides for errors of any type, `anyhow`'s included:
//!
//! ```no_run
//! use kinesis_handler::{Classify, ProcessError, Record, RecordProcessor, run};
//! # use serde::Deserialize;
//!
//! # #[derive(Deserialize)]
//! # struct Order { item: String }
//! # struct Prices;
//! # impl Prices {
//! #     async fn look_up(&self, _: &str) -> Result<Option<u64>, std::io::Error> { Ok(Some(850)) }
//! # }
//! struct Orders {
//!     prices: Prices,
//! }
//!
//! impl RecordProcessor for Orders {
//!     async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
//!         let order: Order = record.json()?;
//!         let price = self.prices.look_up(&order.item).await.retryable()?;
//!         price.ok_or("unknown item").permanent()?;
//!         Ok(())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), kinesis_handler::Error> {
//! run(Orders { prices: Prices }).await
//! # }
//! ```
//!
//! The crate deaggregates KPL records, calls the function in stream order, and returns a partial batch response, so that
//! Lambda retries only what has not been processed. The event source mapping must have
//! `FunctionResponseTypes: [ReportBatchItemFailures]`.
//!
//! [`run`] is a whole function, and [`Handler`] its core as a [`tower::Service`]. The crate's folders: `lambda` is the outside
//! (the function, its runtime, logs and metrics), [`event`] reads Lambda's JSON, `batch` decodes, deaggregates and calls the
//! `processor` with each user `record`, in order, [`journal`] and [`checkpoint`] keep what became of them in a store (both use
//! `aws`), [`large_payload`] fetches payloads from S3, [`replay`] knows the range of a replay on Lambda, `invocation` has the time, and
//! `options` says which of it is used.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(any(feature = "dynamodb", feature = "s3"))]
mod aws;
mod batch;
pub mod checkpoint;
pub mod circuit;
pub mod compression;
#[cfg(feature = "contract")]
pub mod contract;
pub mod envelope;
pub mod event;
pub mod hash_range;
mod hooks;
#[cfg(feature = "dynamodb")]
pub mod idempotency;
mod invocation;
pub mod journal;
mod lambda;
pub mod large_payload;
mod options;
mod processor;
mod record;
pub mod replay;
pub mod testing;

pub use kpl_deaggregation::{HashKeyRange, InvalidAggregatePolicy, VectorInstructions};
pub use lambda_runtime::{Context, Error, LambdaEvent};
pub use tracing;

pub use batch::{
    counts::Counts,
    fates::{BatchOutcome, RecordFate, RecordOutcome},
    response::BatchResponse,
};
pub use event::{
    Event, EventError, EventMode, KinesisRecord,
    sequence_number::{ExtendedSequenceNumber, SequenceNumber, SequenceNumberError},
};
pub use hooks::{Hooks, ShardStart};
pub use invocation::{
    alarm::Alarm,
    clock::{Clock, SystemClock},
};
pub use lambda::{
    function::{Function, run},
    handler::Handler,
    handler_error::HandlerError,
    log_buffer::{LogBufferFuture, LogBufferLayer, LogBufferService},
    logs::init_logs,
    memory::keep_freed_memory,
    metrics::{EmbeddedMetricsFuture, EmbeddedMetricsLayer, EmbeddedMetricsService},
    raw_event::{RawEvent, RawEventLayer, RawEventService},
};
pub use options::{JournalOptions, MirrorOptions, Options, OptionsBuilder, OptionsError, QuarantineOptions};
pub use processor::{
    Processor, RecordProcessor,
    chunk::{ChunkOutcome, ChunkProcessor, Chunks},
    circuit_breaker::{CircuitBreaker, CircuitState},
    process_error::{BoxError, Classify, ProcessError, not_now, permanent, retryable},
    window::{WindowProcessor, Windows},
};
pub use record::{
    OwnedRecord, Record,
    idempotency_key::IdempotencyKey,
    json_mismatch::JsonMismatch,
    payload::{JsonErrorKind, PayloadError},
};
