//! Looks into Kinesis records, makes aggregated ones, and simulates how Lambda delivers them, on the command line.
//!
//! Each command reads its whole input, decides, and writes: data to standard output, what a person should know to
//! standard error. An input goes through the modules in their order.

mod error;
mod note;
mod cell;
mod table;
mod arrival;
mod stream_arn;
mod stream_name;
mod args;
mod aws;
mod kinesis;
mod halt;
mod interrupts;
mod target;
mod delivery;
mod progress_file;
mod meter;
mod run;
mod journal_table;
mod lease_table;
mod record_position;
mod stream_point;
mod kinesis_record;
mod input;
mod user_record_line;
mod inspect;
mod look;
mod aggregate;
mod simulate;
mod put;
mod redrive;
mod replay;
mod quarantine;
mod journal;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Args, Command},
    error::Outcome,
};

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Inspect(args) => inspect::run(&args),
        Command::Tail(args) => look::run(&args),
        Command::Aggregate(args) => aggregate::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Put(args) => put::run(&args),
        Command::Redrive(args) => redrive::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Quarantine(args) => quarantine::run(&args),
        Command::Journal(args) => journal::run(&args),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::SomeFailed) => ExitCode::from(1),
        // `| head` has seen enough.
        Err(error) if error.is_broken_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            note::note(error::chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}
