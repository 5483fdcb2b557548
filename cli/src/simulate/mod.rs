//! `kinesis-kit simulate`: from a scenario to what an event source mapping makes of it.

mod elapsed;
mod id_ranges;
mod short_shard;
mod lineage;
mod outcome;
mod timeline;
mod totals;
mod progress;
mod program;
mod scenario;

use std::io::{self, BufWriter, Write};

use kinesis_esm_simulator::{Report, Scenario};

use crate::{
    args::{Format, SimulateArgs},
    error::{Error, Outcome},
    input::Input,
};
use timeline::View;

pub(crate) fn run(args: &SimulateArgs) -> Result<Outcome, Error> {
    let scenario = read(args)?;
    let view = View::of(&scenario);
    let report = scenario::run(scenario, args)?;
    match args.format {
        Format::Table => show(&report, &view)?,
        Format::Json => write_json(&report)?,
    }
    Ok(Outcome::Done)
}

fn read(args: &SimulateArgs) -> Result<Scenario, Error> {
    let Input { name, bytes } = Input::read(&args.scenario)?;
    Scenario::parse(&bytes).map_err(|source| Error::Scenario { input: name, source })
}

fn show(report: &Report, view: &View) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    let width = terminal_size::terminal_size_of(&stdout).map(|(width, _)| width.0.into());
    timeline::show(&mut stdout, width, report, view)?;
    totals::show(&mut stdout, width, report)
}

fn write_json(report: &Report) -> io::Result<()> {
    let mut stdout = BufWriter::with_capacity(64 * 1024, io::stdout().lock());
    serde_json::to_writer(&mut stdout, report)?;
    stdout.write_all(b"\n")?;
    stdout.flush()
}
