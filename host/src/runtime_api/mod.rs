//! Functions that are programs: a Lambda execution environment around a process, in any language.
//!
//! A program talks to the [Runtime API] and, if it wants to, to the [Extensions API]; each process has a server of its
//! own, so who calls is known by the port. All of it lives on a thread of its own, in real time, whatever the time of
//! the caller does. Unix only: processes are ended by signals.
//!
//! The server listens on the loopback interface. A secret in its address would break runtimes: that of Node.js and that
//! of Python take `AWS_LAMBDA_RUNTIME_API` for a host and a port. Instead connections of other users are refused (on
//! Linux, which says whose they are), and so are requests of web pages. Programs of the same user, and of root, are
//! trusted: they could read the function's memory as well.
//!
//! [Runtime API]: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
//! [Extensions API]: https://docs.aws.amazon.com/lambda/latest/dg/runtimes-extensions-api.html

mod output_observer;
mod options;
mod start_error;
mod measurement;
mod state;
mod error_report;
mod peer;
mod server;
mod extensions;
mod output;
mod process;
mod environment;
mod pool;
mod worker;
mod function;

pub use function::BinaryFunction;
pub use measurement::Measurement;
pub use options::BinaryOptions;
pub use output_observer::OutputObserver;
pub use start_error::StartError;

pub use error_report::reported_error;
pub(crate) use server::MAX_RESPONSE_BYTES;
