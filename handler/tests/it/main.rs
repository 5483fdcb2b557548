//! The handler's contract, rule by rule, through its public interface.

#![allow(missing_docs, reason = "tests")]

mod options;
mod age_policy;
mod outages;
mod shared_circuit;
mod shared_circuit_faults;
#[cfg(feature = "dynamodb")]
mod effects;
#[cfg(feature = "dynamodb")]
mod idempotency_keys;
mod batch;
mod rules;
mod deadline;
mod cancellation;
mod chunks;
#[cfg(all(feature = "gzip", feature = "zstd"))]
mod compression;
mod concurrency;
mod service;
mod hash_range;
mod hash_range_stores;
mod hold;
mod hooks;
mod retry_in_place;
mod test_kit;
mod windows;
mod mirror;
mod cutover;
mod journal;
mod journal_bounds;
mod journal_conflicts;
mod journal_faults;
mod journal_quarantine;
mod metrics;
mod properties;
mod replay;
