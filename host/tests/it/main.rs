//! Functions that are programs or URLs, through the public interface.

#![allow(missing_docs, reason = "tests")]

mod program;
mod runtime_api;
mod fates;
mod processes;
mod concurrency;
mod extensions;
mod invoke_url;
