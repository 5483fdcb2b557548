//! The binary as its users run it: arguments and input go in; output, notes and exit code are compared as a whole.

#![allow(missing_docs, reason = "tests")]

mod kit;
mod vectors;
mod inspect;
mod inspect_forms;
mod aggregate;
mod round_trip;
mod simulate;
mod simulate_command;
mod function_start;
mod invoke;
mod new;
mod pause;
mod compressed;
mod cutover;
mod tables;
mod scripted_kinesis;
mod stream;
mod terminal;
mod scripted_stream;
mod checkpoint;
mod doctor;
mod look;
mod put;
mod scripted_table;
mod redrive;
mod replay;
mod replay_on_lambda;
mod unreachable;
mod quarantine;
mod journal;
mod killed;
mod large_records;
mod stranded;
mod scripted_bucket;
mod redrive_queue;
mod redrive_sources;
mod redrive_killed;
mod redrive_losses;
mod paging;
mod progress;
mod skip_failed;
