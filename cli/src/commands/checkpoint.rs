//! `kinesis-kit checkpoint`: the table of a checkpoint mirror.

use crate::{
    args::{CheckpointArgs, CheckpointCommand},
    error::{Completion, Error},
    run, table,
};

pub(crate) fn run(args: &CheckpointArgs) -> Result<Completion, Error> {
    let CheckpointCommand::Create(args) = &args.command;
    run::block_on(table::create(&table::CHECKPOINTS, &args.create))
}
