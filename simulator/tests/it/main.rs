//! Simulations through the crate's public interface. What AWS was seen to do must come out exactly.

#![allow(missing_docs, reason = "tests")]

mod scenario;
mod captured;
mod rules;
