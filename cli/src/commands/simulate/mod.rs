//! `kinesis-kit simulate`: from a scenario, or a stream, to what an event source mapping makes of it.

mod elapsed;
mod id_ranges;
mod lineage;
mod outcome;
mod timeline;
mod totals;
mod progress;
mod store_errors;
mod program;
mod scenario;
mod stream;

use std::{
    io::{self, BufWriter, Write},
    path::Path,
    time::Duration,
};

use kinesis_esm_simulator::{Report, Scenario};

use crate::{
    args::{Format, SimulateArgs},
    error::{Completion, Error},
    input::Input,
    output::{json, note::warning, screen::Screen},
    run,
    stream::name::StreamName,
};
use stream::{StreamOptions, StreamTarget};
use timeline::View;

pub(crate) use stream::StreamError;

pub(crate) fn run(args: &SimulateArgs) -> Result<Completion, Error> {
    match &args.stream {
        Some(stream) => run_stream(args, stream),
        None => run_scenario(args),
    }
}

fn run_stream(args: &SimulateArgs, stream: &StreamName) -> Result<Completion, Error> {
    let options = StreamOptions {
        stream: stream.clone(),
        scenario: args.scenario.clone(),
        failures: args.failures.clone(),
        format: args.format,
        duration: args.seconds.map(Duration::from_secs),
        seed: args.seed,
        target: match (&args.function, &args.url) {
            (Some(name), _) => StreamTarget::Function(name.clone()),
            (None, Some(url)) => StreamTarget::Url(url.clone()),
            (None, None) => StreamTarget::Command(args.command.clone(), args.environment.environment()),
        },
    };
    run::block_on(stream::run(options))
}

fn run_scenario(args: &SimulateArgs) -> Result<Completion, Error> {
    let path = args.scenario.as_deref().expect("the command line has a scenario or a stream");
    let scenario = read(path)?;
    let view = View::of(&scenario);
    let (report, warnings) = scenario::run(scenario, args)?;
    match args.format {
        Format::Table => show(&report, &view)?,
        Format::Json => write_json(&report)?,
    }
    warnings.iter().for_each(warning);
    Ok(Completion::Done)
}

fn read(path: &Path) -> Result<Scenario, Error> {
    let Input { name, bytes } = Input::read(path)?;
    Scenario::parse(&bytes).map_err(|source| Error::Scenario { input: name, source })
}

fn show(report: &Report, view: &View) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let screen = Screen::of_stdout();
    timeline::show(&mut stdout, screen, report, view)?;
    totals::show(&mut stdout, screen, report)
}

fn write_json(report: &Report) -> io::Result<()> {
    let mut stdout = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    json::write(&mut stdout, report)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}
