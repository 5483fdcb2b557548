use std::{ffi::OsString, path::PathBuf, time::Duration};

use crate::{args::Format, delivery::target::Environment, stream::name::StreamName};

/// The options of a run against a stream.
#[derive(Debug)]
pub(crate) struct StreamOptions {
    /// The stream to poll.
    pub(crate) stream: StreamName,
    /// A scenario, for its mapping and what else counts of it. Without one, the mapping is that of the template.
    pub(crate) scenario: Option<PathBuf>,
    /// The file that failure records are appended to.
    pub(crate) failures: Option<PathBuf>,
    /// Format of the steps.
    pub(crate) format: Format,
    /// Duration of the run. Without it, it runs until a signal comes or all shards have ended.
    pub(crate) duration: Option<Duration>,
    /// Decides delays and request IDs. By default chance does.
    pub(crate) seed: Option<u64>,
    /// Target of the invocations.
    pub(crate) target: StreamTarget,
}

/// The target of the invocations.
#[derive(Debug)]
pub(crate) enum StreamTarget {
    /// A program and its arguments, over the Lambda Runtime API.
    Command(Vec<OsString>, Environment),
    /// A deployed function, by name or ARN.
    Function(String),
    /// Whatever takes events at this URL.
    Url(String),
}
