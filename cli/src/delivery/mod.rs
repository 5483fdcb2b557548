//! Delivery of records that were read again: in batches as the event source mapping makes them, with retries.

pub(crate) mod target;
pub(crate) mod progress_file;
pub(crate) mod skipped;
mod batcher;
mod parts;
mod response;
mod deliver;

pub(crate) use batcher::{Batcher, EventBatch};
pub(crate) use deliver::{Delivered, Delivery, DeliveryProgress, RecordFailure};
pub(crate) use parts::{LargeRecords, Part};
pub(crate) use response::{Quarantined, quarantined};
