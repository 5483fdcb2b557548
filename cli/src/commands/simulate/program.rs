use std::{ffi::OsString, fmt, time::Duration};

use kinesis_esm_simulator::{Scenario, Simulation};
use kinesis_handler::BoxError;
use lambda_host::{Answer, BinaryFunction, BinaryOptions, Function, InTurn, Invocation, Measurement};

use super::store_errors::StoreErrors;
use crate::{
    delivery::target::{Environment, TargetError},
    output::note::count,
};

/// Returns the options with which the command is started as the function of this simulation.
pub(super) fn options(
    command: &[OsString],
    environment: Environment,
    simulation: &Simulation,
    errors: &StoreErrors,
) -> Result<BinaryOptions, TargetError> {
    let mut options = BinaryOptions::new(command);
    options.output_observer = Some(errors.observer());
    environment.apply(&mut options)?;
    options.timeout = simulation.function_timeout;
    let arn = &simulation.mapping.function_arn;
    // arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME
    let mut parts = arn.split(':').skip(3);
    if let (Some(region), Some(name)) = (parts.next(), parts.nth(2)) {
        (options.region, options.function_name) = (region.to_owned(), name.to_owned());
    }
    options.invoked_function_arn = arn.clone();
    Ok(options)
}

/// A command that is the function.
pub(super) struct Program {
    function: InTurn<BinaryFunction>,
}

impl Program {
    /// The command as the function of this scenario.
    pub(super) fn new(
        command: &[OsString],
        environment: Environment,
        scenario: &Scenario,
        errors: &StoreErrors,
    ) -> Result<Self, TargetError> {
        let options = options(command, environment, &scenario.simulation, errors)?;
        let function = BinaryFunction::new(options);
        Ok(Program { function: InTurn::new(function, scenario.function.duration) })
    }

    /// Ends its processes.
    pub(super) async fn end(&self) -> Measured {
        self.function.function().shutdown().await;
        Measured(self.function.function().measurement())
    }
}

impl Function for Program {
    async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, BoxError> {
        self.function.invoke(invocation).await
    }
}

/// The times of a program, for people.
pub(super) struct Measured(Measurement);

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Measurement { starts, invocations, crashes, wall_time, max_wall_time, max_init_time, .. } =
            self.0;
        write!(f, "{}, {}", count(invocations, "invocation"), count(starts, "cold start"))?;
        // Zero if none has come so far as to ask for an event.
        if !max_init_time.is_zero() {
            write!(f, " of at most {} ms", milliseconds(max_init_time))?;
        }
        if let Some(mean) = u32::try_from(invocations).ok().and_then(|count| wall_time.checked_div(count)) {
            let (mean, max) = (milliseconds(mean), milliseconds(max_wall_time));
            write!(f, ", {mean} ms for an invocation (slowest {max} ms)")?;
        }
        if let Some(bytes) = self.0.peak_memory_bytes {
            write!(f, ", {:.1} MiB of memory at the most", bytes as f64 / (1024.0 * 1024.0))?;
        }
        let crashes = if crashes == 1 { "1 crash".to_owned() } else { format!("{crashes} crashes") };
        write!(f, ", {crashes}, {}", count(self.0.timeouts, "timeout"))
    }
}

fn milliseconds(time: Duration) -> String {
    format!("{:.1}", time.as_secs_f64() * 1000.0)
}
