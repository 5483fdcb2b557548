//! Measures Lambda functions that consume Kinesis records, over a local Runtime API: `bench/run` builds and starts it.

mod process;
mod runtime_api;
mod contestant;
mod measure;
mod machine;
mod goals;
mod report;
mod chart;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::json;

use crate::{
    contestant::{Contestant, Session},
    machine::Machine,
    measure::Plan,
};

const FULL: Plan = Plan { cold_starts: 30, warm_up_rounds: 3, rounds: 10, invocations: 10 };
const QUICK: Plan = Plan { cold_starts: 5, warm_up_rounds: 1, rounds: 3, invocations: 5 };

/// Measures Lambda functions that consume Kinesis records, over a local Runtime API.
#[derive(Parser)]
struct Args {
    /// Measure few rounds
    #[arg(long)]
    quick: bool,
    /// Folder for results.json, table.txt and chart.svg
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// Functions to measure
    #[arg(value_name = "NAME=PROGRAM", required = true)]
    contestants: Vec<Contestant>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let args = Args::parse();
    let machine = Machine::this();
    machine.warn_if_busy();
    let events = bench_events::all()?;
    let contestants = startable(args.contestants).await?;
    let figures = measure::measure(&contestants, &events, if args.quick { QUICK } else { FULL }).await?;
    let goals = goals::goals(&figures, &machine);
    let results = json!({ "machine": machine, "events": events, "contestants": figures, "goals": goals });
    let table = report::text(&events, &figures, &goals)?;
    fs::create_dir_all(&args.output)?;
    for (name, text) in [
        ("results.json", format!("{results:#}\n")),
        ("table.txt", table.clone()),
        ("chart.svg", chart::svg(&events, &figures)?),
    ] {
        let path = args.output.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{table}\nresults.json, table.txt and chart.svg are in {}", args.output.display());
    Ok(())
}

/// Returns the contestants that can be started, and says why others cannot.
async fn startable(contestants: Vec<Contestant>) -> Result<Vec<Contestant>> {
    let mut startable = Vec::new();
    for contestant in contestants {
        match Session::start(&contestant).await {
            Ok(session) => {
                session.stop().await?;
                startable.push(contestant);
            }
            Err(error) => eprintln!("{}: not measured: {error:#}", contestant.name),
        }
    }
    ensure!(!startable.is_empty(), "no function can be started");
    Ok(startable)
}
