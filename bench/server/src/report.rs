//! The figures as text for a terminal.

use std::fmt::{Error, Write};

use bench_events::Event;

use crate::{
    goals::Goal,
    measure::{ConcurrencyFigures, Figures},
};

/// Returns the name of the contestant that another one is compared with: that of ours with the same processor.
fn baseline(name: &str) -> &'static str {
    if name.ends_with("-json") { "ours-json" } else { "ours" }
}

/// Writes a table for each event, one of starts and sizes, and the goals.
pub(crate) fn text(events: &[Event], figures: &[Figures], goals: &[Goal]) -> Result<String, Error> {
    let mut out = String::new();
    let width = figures.iter().map(|figures| figures.title.chars().count()).max().unwrap_or_default();
    for event in events {
        let Event { name, description, event_bytes, kinesis_records, user_records, .. } = event;
        let megabytes = *event_bytes as f64 / 1e6;
        writeln!(out, "{name}: {description}")?;
        writeln!(out, "{megabytes:.1} MB, {kinesis_records} Kinesis records, {user_records} user records\n")?;
        let heading = "wall ms          p25–p75   CPU ms          p25–p75  peak MB  allocations";
        writeln!(out, "{:width$}  {heading}  wall ÷ ours  CPU ÷ ours", "")?;
        for contestant in figures {
            let Some(own) = contestant.on(name) else { continue };
            let (wall, cpu, peak_mb) = (own.wall_ms, own.cpu_ms, own.peak_mb);
            let allocations = own.allocations.map(|number| number.to_string()).unwrap_or_default();
            write!(
                out,
                "{:width$}  {:7.2}  {:>7.2}–{:<7.2}  {:7.2}  {:>7.2}–{:<7.2}  {peak_mb:7.1}  {allocations:>11}",
                contestant.title, wall.median, wall.p25, wall.p75, cpu.median, cpu.p25, cpu.p75,
            )?;
            let ours = figures.iter().find(|ours| ours.name == baseline(contestant.name));
            if let Some(ours) = ours.and_then(|ours| ours.on(name)) {
                let (of_wall, of_cpu) = (wall.median / ours.wall_ms.median, cpu.median / ours.cpu_ms.median);
                write!(out, "  {of_wall:11.1}  {of_cpu:10.1}")?;
            }
            writeln!(out)?;
        }
        writeln!(out)?;
    }
    writeln!(out, "{:width$}  cold start ms    p25–p75  binary MB  package MB", "")?;
    for Figures { title, cold_start_ms: start, binary_mb, package_mb, .. } in figures {
        let binary = binary_mb.map(|megabytes| format!("{megabytes:.1}")).unwrap_or_default();
        let spread = format!("{:.2}–{:.2}", start.p25, start.p75);
        writeln!(out, "{title:width$}  {:13.2}  {spread:>9}  {binary:>9}  {package_mb:10.1}", start.median)?;
    }
    writeln!(out)?;
    for Figures { title, concurrency, .. } in figures {
        for ConcurrencyFigures { invocations, cpu_ms } in concurrency {
            writeln!(
                out,
                "{title}, E1, invocations at once: {invocations}, CPU ms of each: {:.2}",
                cpu_ms.median
            )?;
        }
    }
    writeln!(out)?;
    money(&mut out, events, figures)?;
    let (measured, others): (Vec<_>, Vec<_>) = goals.iter().partition(|goal| goal.is_measured());
    for goal in measured {
        writeln!(out, "{goal}")?;
    }
    if !others.is_empty() {
        writeln!(out, "{} goals are not measured: a contestant or AVX-512 is missing", others.len())?;
    }
    Ok(out)
}

/// Price of a second of a function with 1,769 MB, which is one processor core, in USD (x86, us-east-1):
/// <https://aws.amazon.com/lambda/pricing/>
const USD_PER_SECOND: f64 = 0.000_016_666_7 * 1.769;

const TERABYTE: f64 = 1e12;

/// Writes what the CPU time for a terabyte of stream data costs.
fn money(out: &mut String, events: &[Event], figures: &[Figures]) -> Result<(), Error> {
    let width = figures.iter().map(|figures| figures.title.chars().count()).max().unwrap_or_default();
    let events = &events[..events.len().min(3)];
    let names: String = events.iter().map(|event| format!("{:>8}", event.name)).collect();
    writeln!(out, "USD for the CPU time of a terabyte of stream data, at 1,769 MB\n\n{:width$}{names}", "")?;
    for contestant in figures.iter().filter(|figures| !figures.name.ends_with("-json")) {
        write!(out, "{:width$}", contestant.title)?;
        for event in events {
            let Some(own) = contestant.on(event.name) else { continue };
            let invocations = TERABYTE / event.data_bytes as f64;
            write!(out, "{:8.3}", invocations * own.cpu_ms.median / 1e3 * USD_PER_SECOND)?;
        }
        writeln!(out)?;
    }
    writeln!(out)
}
