//! Measures the kit without transport: where the time of an event goes, and how it grows with the event.
//!
//! Usage: `bench-in-process [--quick] RESULTS.json`

mod stages;
mod scaling;
mod waiting;
mod whole;
mod timing;

use std::{env, fs};

use anyhow::{Context, Result};
use serde_json::json;

use crate::{timing::Effort, whole::Whole};

fn main() -> Result<()> {
    let mut args = env::args().skip(1).peekable();
    let is_quick = args.next_if(|arg| arg == "--quick").is_some();
    let output = args.next().context("usage: bench-in-process [--quick] RESULTS.json")?;
    let effort = if is_quick { Effort::QUICK } else { Effort::FULL };
    let whole = Whole::new()?;
    let mut stages = Vec::new();
    for event in bench_events::all()? {
        stages.push(stages::measure(&whole, &event, effort)?);
    }
    let user_records = scaling::user_records(&whole, effort)?;
    let kinesis_records = scaling::kinesis_records(&whole, effort)?;
    let waiting = waiting::measure(is_quick)?;
    print!("{}\n{user_records}\n{kinesis_records}\n{waiting}", stages::table(&stages));
    let results = json!({ "stages": stages, "user_records": user_records, "kinesis_records": kinesis_records, "waiting": waiting });
    fs::write(&output, format!("{results:#}\n")).with_context(|| format!("cannot write {output}"))
}
