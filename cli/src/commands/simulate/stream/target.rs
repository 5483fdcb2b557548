use std::{future::pending, rc::Rc};

use kinesis_esm::StreamArn;
use kinesis_esm_simulator::Simulation;
use kinesis_handler::BoxError;
use lambda_host::{Answer, Function, Invocation};

use super::{StreamError, StreamTarget};
use crate::{
    commands::simulate::{program, store_errors::StoreErrors},
    delivery::target::{Target, TargetError, TargetOptions},
    run::halt::Halt,
};

/// The function that the stream's records go to.
pub(super) async fn new(
    options: StreamTarget,
    simulation: &Simulation,
    errors: &StoreErrors,
) -> Result<Target, StreamError> {
    match options {
        StreamTarget::Function(name) => {
            let options = TargetOptions::Function(name);
            Ok(Target::new(options, None, simulation.function_timeout).await?)
        }
        StreamTarget::Url(url) => Ok(Target::url(&url, simulation.function_timeout)?),
        StreamTarget::Command(command, environment) => {
            let environment = environment.with_credentials().await.map_err(TargetError::from)?;
            let mut options = program::options(&command, environment, simulation, errors)?;
            // What it calls is more likely beside the stream than where the function's default name is.
            if let Ok(stream) = simulation.mapping.event_source_arn.parse::<StreamArn>() {
                options.region = stream.region().to_owned();
            }
            Ok(Target::program(options))
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
        let event = invocation.event_json().into();
        Ok(self.target.invoke(event, invocation.request_id, invocation.shard_id()).await?)
    }
}
