//! The simulator through its public interface. What AWS was seen to do must come out exactly.

#![allow(missing_docs, reason = "tests")]

mod scenario;
mod captured;
mod rules;
mod refused;
mod service;
mod in_turn;
mod endless;
