//! Everything that knows Lambda: a whole function, the service that handles an event, the event's bytes, logs and metrics.

mod batch_log;
mod emf;
pub(crate) mod function;
pub(crate) mod handler;
pub(crate) mod handler_error;
pub(crate) mod log_buffer;
mod log_line;
pub(crate) mod logs;
pub(crate) mod memory;
pub(crate) mod metrics;
pub(crate) mod raw_event;
mod thread_per_invocation;
