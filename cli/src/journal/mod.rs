//! `kinesis-kit journal`: the states that the retry journal keeps.

mod row;

use std::io;

use kinesis_handler::journal::{JournalShard, JournalStore, StateKind};

use crate::{
    args::{Format, JournalArgs, JournalCommand, Kind, TableArgs},
    error::{Error, Outcome},
    journal_table::JournalTable,
    note::{count, note},
    run,
};
use row::Rows;

pub(crate) fn run(args: &JournalArgs) -> Result<Outcome, Error> {
    run::block_on(async {
        match &args.command {
            JournalCommand::List(args) => {
                let states = go_through(&args.table, args.kind, args.format, false).await?;
                note(format_args!("{} in the journal", count(states, "state")));
                Ok(Outcome::Done)
            }
            JournalCommand::Clear(args) => {
                let states = go_through(&args.table, args.kind, args.format, args.yes).await?;
                if args.yes || states == 0 {
                    note(format_args!("{} deleted", count(states, "state")));
                    return Ok(Outcome::Done);
                }
                note(format_args!("{} would be deleted: add --yes", count(states, "state")));
                Ok(Outcome::SomeFailed)
            }
        }
    })
}

/// Shows states, and deletes them if it shall. Returns how many there were.
async fn go_through(args: &TableArgs, kind: Kind, format: Format, deletes: bool) -> Result<u64, Error> {
    let filter = args.shards.filter();
    let table = JournalTable::open(&args.table, &filter).await?;
    let kinds: &[StateKind] = match kind {
        Kind::Retry => &[StateKind::Retry],
        Kind::Hole => &[StateKind::Hole],
        Kind::All => &[StateKind::Retry, StateKind::Hole],
    };
    let mut rows = Rows::new(format, io::stdout().lock());
    for partition_key in table.partition_keys(&filter).await? {
        let Some(shard) = JournalShard::parse(&partition_key) else { continue };
        for &kind in kinds {
            for state in table.states(shard, kind).await?.states {
                if deletes {
                    let deleted = table.store().delete(shard, kind, state.sequence_number).await;
                    deleted.map_err(|source| table.error(source))?;
                }
                rows.add(shard, &state)?;
            }
        }
    }
    Ok(rows.finish()?)
}
