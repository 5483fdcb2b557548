//! Measures Lambda functions that consume Kinesis records, over a local Runtime API: `bench/run` builds and starts it.

mod process;
mod runtime_api;
mod dynamodb;
mod contestant;
mod package;
mod measure;
mod machine;
mod in_process;
mod goals;
mod report;
mod chart;
mod scaling_chart;

use std::{fs, path::PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::json;

use crate::{
    contestant::{Contestant, Session},
    in_process::InProcess,
    machine::Machine,
    measure::Plan,
};

const FULL: Plan = Plan { cold_starts: 30, warm_up_rounds: 3, rounds: 20, invocations: 5 };
const QUICK: Plan = Plan { cold_starts: 5, warm_up_rounds: 1, rounds: 3, invocations: 5 };

/// Measures Lambda functions that consume Kinesis records, over a local Runtime API.
#[derive(Parser)]
struct Args {
    /// Measure few rounds
    #[arg(long)]
    quick: bool,
    /// Folder for results.json, table.txt, chart.svg and scaling.svg
    #[arg(long, value_name = "FOLDER")]
    output: PathBuf,
    /// Results of bench-in-process
    #[arg(long, value_name = "FILE")]
    in_process: Option<PathBuf>,
    /// The same function, built to count its allocations; may be given for several
    #[arg(long, value_name = "NAME=PROGRAM", value_parser = named_path)]
    counting: Vec<(String, PathBuf)>,
    /// A file or folder of the function's deployment package, if that is not the program; may be given several times
    #[arg(long, value_name = "NAME=PATH", value_parser = named_path)]
    package: Vec<(String, PathBuf)>,
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
    let in_process = args.in_process.as_deref().map(InProcess::read).transpose()?;
    let mut contestants = startable(args.contestants).await?;
    for contestant in &mut contestants {
        contestant.counting =
            args.counting.iter().find(|(name, _)| name == contestant.name).map(|(_, path)| path.clone());
        let parts = args.package.iter().filter(|(name, _)| name == contestant.name);
        contestant.package = parts.map(|(_, path)| path.clone()).collect();
    }
    let figures = measure::measure(&contestants, &events, if args.quick { QUICK } else { FULL }).await?;
    let goals = goals::goals(&figures, in_process.as_ref(), &machine);
    let results = json!({
        "machine": machine,
        "events": events,
        "contestants": figures,
        "in_process": in_process.as_ref().map(InProcess::json),
        "goals": goals,
    });
    let table = report::text(&events, &figures, &goals)?;
    fs::create_dir_all(&args.output)?;
    for (name, text) in [
        ("results.json", format!("{results:#}\n")),
        ("table.txt", table.clone()),
        ("chart.svg", chart::svg(&events, &figures)?),
        ("scaling.svg", scaling_chart::svg(in_process.as_ref(), &figures)?),
    ] {
        let path = args.output.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    println!("{table}\nresults.json, table.txt, chart.svg and scaling.svg are in {}", args.output.display());
    Ok(())
}

fn named_path(text: &str) -> Result<(String, PathBuf)> {
    let (name, path) = text.split_once('=').context("expected NAME=PATH")?;
    Ok((name.to_owned(), path.into()))
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
