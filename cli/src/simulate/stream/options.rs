use std::{ffi::OsString, path::PathBuf, time::Duration};

use crate::{args::Format, stream_name::StreamName, target::Environment};

/// What the command line says about a run against a stream.
#[derive(Debug)]
pub(crate) struct StreamOptions {
    /// The stream to poll.
    pub(crate) stream: StreamName,
    /// A scenario, for its mapping and what else counts of it. Without one, the mapping is that of the template.
    pub(crate) scenario: Option<PathBuf>,
    /// The file that failure records are appended to.
    pub(crate) failures: Option<PathBuf>,
    /// How steps are shown.
    pub(crate) format: Format,
    /// How long to run. Without it, until a signal comes or all shards have ended.
    pub(crate) duration: Option<Duration>,
    /// Decides delays and request IDs. By default chance does.
    pub(crate) seed: Option<u64>,
    /// What is invoked.
    pub(crate) target: StreamTarget,
}

/// What is invoked.
#[derive(Debug)]
pub(crate) enum StreamTarget {
    /// A program and its arguments, over the Lambda Runtime API.
    Command(Vec<OsString>, Environment),
    /// A deployed function, by name or ARN.
    Function(String),
    /// Whatever takes events at this URL.
    Url(String),
}
