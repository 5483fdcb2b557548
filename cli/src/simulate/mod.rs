//! Runs a function under the rules of an event source mapping.

mod stream;

use std::time::Duration;

pub(crate) use stream::{StreamError, StreamName};

use crate::{
    args::SimulateArgs,
    error::{Error, Outcome},
};
use stream::{StreamOptions, TargetOptions};

pub(crate) fn run(args: SimulateArgs) -> Result<Outcome, Error> {
    let options = StreamOptions {
        stream: args.stream,
        scenario: args.scenario,
        failures: args.failures,
        format: args.format,
        duration: args.seconds.map(Duration::from_secs),
        seed: args.seed,
        target: match args.url {
            Some(url) => TargetOptions::Url(url),
            None => TargetOptions::Command(args.command),
        },
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Error::Runtime)?;
    runtime.block_on(stream::run(options))
}
