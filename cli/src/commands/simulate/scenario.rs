use std::{future::Future, rc::Rc};

use kinesis_esm_simulator::{Report, SCENARIO_START_MS, Scenario};
use kinesis_handler::BoxError;
use lambda_host::Function;
use tokio::{runtime, select, signal::unix};

use super::{program::Program, progress::Progress, store_errors::StoreErrors};
use crate::{args::SimulateArgs, error::Error, output::note::note, run};

/// Runs a scenario to its end, in virtual time. Returns the report, and warnings of tables that the function could not use.
pub(super) fn run(scenario: Scenario, args: &SimulateArgs) -> Result<(Report, Vec<String>), Error> {
    // Always the same, unless asked otherwise.
    let seed = args.seed.unwrap_or(0);
    // Not in virtual time, in which a request to AWS would time out at once.
    let environment = run::block_on(async { Ok(args.environment.environment().with_credentials().await?) })?;
    let runtime = runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    runtime.map_err(Error::Start)?.block_on(async {
        if args.command.is_empty() {
            let simulation = simulate(scenario, seed, None::<&Program>);
            let report = simulation.await.map_err(Error::Simulation)?;
            return Ok((report, Vec::new()));
        }
        let errors = StoreErrors::default();
        let program = Program::new(&args.command, environment, &scenario, &errors)?;
        let work = async {
            let report = simulate(scenario, seed, Some(&program)).await?;
            note(program.end().await);
            Ok((report, errors.warnings()))
        };
        unless_interrupted(work).await?.map_err(Error::Simulation)
    })
}

/// Without a function, it is the scenario's.
async fn simulate(
    scenario: Scenario,
    seed: u64,
    function: Option<&impl Function>,
) -> Result<Report, BoxError> {
    let clock = Rc::new(scenario.simulation.clock(SCENARIO_START_MS));
    let (mut simulation, stream, scripted, ids) = scenario.into_parts(Rc::clone(&clock));
    simulation.seed = seed;
    let report = Report::new(Rc::clone(&ids));
    let observer = Progress::new(report.clone(), ids.all().len());
    match function {
        Some(function) => simulation.run(clock, stream, function, observer).await?,
        None => simulation.run(clock, stream, scripted, observer).await?,
    }
    Ok(report)
}

/// Processes have groups of their own: the terminal interrupts this program alone, and it must live to end them.
async fn unless_interrupted<T>(work: impl Future<Output = T>) -> Result<T, Error> {
    let mut interrupted = unix::signal(unix::SignalKind::interrupt()).map_err(Error::Start)?;
    let mut terminated = unix::signal(unix::SignalKind::terminate()).map_err(Error::Start)?;
    select! {
        result = work => Ok(result),
        _ = interrupted.recv() => Err(interrupted_by("SIGINT")),
        _ = terminated.recv() => Err(interrupted_by("SIGTERM")),
    }
}

fn interrupted_by(signal: &str) -> Error {
    note(format_args!("interrupted by {signal}"));
    Error::Interrupted
}
