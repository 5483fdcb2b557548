//! Looks into Kinesis streams and records, puts records, delivers again what a Lambda function has not processed, and
//! simulates how Lambda delivers, on the command line.
//!
//! Each command reads, decides, and writes: data to standard output, what a person should know to standard error. The
//! modules stand in the order of the way of the data: what all commands share, AWS and its services, where events go,
//! and then the commands.

mod error;
mod output;
mod aws;
mod stream;
mod run;
mod delivery;
mod journal_table;
mod lease_table;
mod table;
mod args;
mod input;
mod commands;

use std::process::ExitCode;

use crate::{
    args::{Args, Command},
    commands::{
        aggregate, checkpoint, doctor, inspect, invoke, journal, look, new,
        pause::{self, Switch},
        put, quarantine, redrive, replay, shell, simulate,
    },
    error::{Completion, Error},
    output::note,
};

fn main() -> ExitCode {
    let command = Args::read().command;
    let only_shows = command.only_shows();
    let outcome = match command {
        Command::Inspect(args) => match &args.stream {
            Some(stream) => look::inspect(stream, &args),
            None => inspect::run(&args),
        },
        Command::Tail(args) => look::tail(&args),
        Command::Aggregate(args) => aggregate::run(&args),
        Command::New(args) => new::run(&args),
        Command::Invoke(args) => invoke::run(&args),
        Command::Simulate(args) => simulate::run(&args),
        Command::Put(args) => put::run(&args),
        Command::Redrive(args) => redrive::run(&args),
        Command::Replay(args) => replay::run(&args),
        Command::Quarantine(args) => quarantine::run(&args),
        Command::Journal(args) => journal::run(&args),
        Command::Checkpoint(args) => checkpoint::run(&args),
        Command::Pause(args) => pause::run(&args, Switch::Disable),
        Command::Resume(args) => pause::run(&args, Switch::Enable),
        Command::Doctor(args) => doctor::run(&args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
    };
    match outcome {
        Ok(Completion::Done) => ExitCode::SUCCESS,
        Ok(Completion::SomeFailed) => ExitCode::from(1),
        // `| head` has seen enough. Of work with an effect, the rest has not been done.
        Err(error) if error.is_broken_pipe() && only_shows => ExitCode::SUCCESS,
        // A note has said so when the signal came.
        Err(error @ Error::Interrupted) => ExitCode::from(error.exit_code()),
        Err(error) => {
            note::error(error::chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}
