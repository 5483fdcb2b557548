//! The simulator through its public interface, with real programs.

#![allow(missing_docs, reason = "tests")]

mod program;
mod runtime_api;
mod fates;
mod processes;
mod extensions;
mod invoke_url;
