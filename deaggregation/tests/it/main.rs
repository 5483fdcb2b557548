//! The crate's promises to users, checked against frames from other producers and against a second decoder.

#![allow(missing_docs, clippy::unwrap_used, reason = "a test fails by panicking")]

mod oracle;
mod vectors;
mod properties;
