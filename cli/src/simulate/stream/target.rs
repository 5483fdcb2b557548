use std::{future::pending, rc::Rc};

use kinesis_esm_simulator::{
    Answer, BinaryFunction, BoxError, Function, Invocation, Simulation, UrlFunction,
};

use super::{StreamError, TargetOptions, halt::Halt};
use crate::{simulate::program, stream_arn::StreamArn};

/// The function that the stream's records go to.
#[derive(Debug)]
pub(super) enum Target {
    Program(BinaryFunction),
    Url(UrlFunction),
}

impl Target {
    pub(super) fn new(options: TargetOptions, simulation: &Simulation) -> Result<Self, StreamError> {
        match options {
            TargetOptions::Url(url) => {
                UrlFunction::new(&url, simulation.function_timeout).map(Target::Url).map_err(StreamError::Url)
            }
            TargetOptions::Command(command) => {
                let mut options = program::options(&command, simulation);
                // What it calls is more likely beside the stream than where the function's default name is.
                if let Ok(stream) = simulation.mapping.event_source_arn.parse::<StreamArn>() {
                    options.region = stream.region().to_owned();
                }
                Ok(Target::Program(BinaryFunction::new(options)))
            }
        }
    }

    /// Ends the processes, if there are any.
    pub(super) async fn shutdown(&self) {
        if let Target::Program(program) = self {
            program.shutdown().await;
        }
    }
}

/// Invokes a target until it is to stop.
#[derive(Debug)]
pub(super) struct HaltingTarget {
    pub(super) target: Rc<Target>,
    pub(super) halt: Rc<Halt>,
}

impl Function for HaltingTarget {
    async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, BoxError> {
        let Some(_in_flight) = self.halt.enter() else { return pending().await };
        match &*self.target {
            Target::Program(program) => Function::invoke(program, invocation).await,
            Target::Url(url) => Ok(url.invoke(invocation.event_json().into()).await),
        }
    }
}
