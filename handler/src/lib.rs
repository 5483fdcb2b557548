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
//! The crate deaggregates KPL records, calls the function in stream order, and returns a partial batch response, so that
//! Lambda retries only what has not been processed. The event source mapping must have
//! `FunctionResponseTypes: [ReportBatchItemFailures]`.
//!
//! An invocation goes through the crate in the order of its modules: the event is read ([`event`]), its records are
//! decoded and deaggregated, the [processor](RecordProcessor) is called with each [user record](Record), and the
//! [response](BatchResponse) is made. [`Handler`] is all of that as a [`tower::Service`]; [`run`] is a whole function.

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod sequence_number;
mod alarm;
mod clock;
#[cfg(feature = "dynamodb")]
mod dynamodb;
pub mod checkpoint;
pub mod journal;
mod options;
pub mod event;
mod raw_event;
mod invocation;
mod record;
mod json_mismatch;
mod payload;
mod process_error;
mod processor;
mod counts;
mod buffer;
mod payloads;
mod prior;
mod deadline;
mod failures;
mod engine;
mod response;
mod mirror;
mod passed_records;
mod retry_journal;
mod batch_journal;
mod emf;
mod metrics;
mod handler;
mod logs;
mod thread_per_invocation;
mod function;

pub use kpl_deaggregation::InvalidFramePolicy;
pub use lambda_runtime::{Context, Error, LambdaEvent, tracing};

pub use alarm::Alarm;
pub use clock::{Clock, SystemClock};
pub use counts::Counts;
pub use event::{Event, EventError, EventMode, KinesisRecord};
pub use function::{Function, run};
pub use handler::{Handler, HandlerError};
pub use json_mismatch::JsonMismatch;
pub use logs::init_logs;
pub use metrics::{EmbeddedMetricsFuture, EmbeddedMetricsLayer, EmbeddedMetricsService};
pub use options::{JournalOptions, MirrorOptions, Options, OptionsBuilder, OptionsError, QuarantineOptions};
pub use payload::{JsonErrorKind, PayloadError};
pub use process_error::{BoxError, Classify, ProcessError, permanent, retryable};
pub use processor::RecordProcessor;
pub use raw_event::{RawEvent, RawEventLayer, RawEventService};
pub use record::{OwnedRecord, Record};
pub use response::BatchResponse;
pub use sequence_number::{ExtendedSequenceNumber, SequenceNumber, SequenceNumberError};
