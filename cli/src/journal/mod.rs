//! `kinesis-kit journal`: the states that the retry journal keeps.

mod row;

use std::io;

use kinesis_handler::journal::{JournalShard, RecordState, StateKind};

use crate::{
    args::{JournalArgs, JournalClearArgs, JournalCommand, JournalListArgs, Kind, TableArgs},
    error::{Error, Outcome},
    journal_table::{Deletion, JournalTable},
    note::{count, note},
    run,
};
use row::Rows;

pub(crate) fn run(args: &JournalArgs) -> Result<Outcome, Error> {
    match &args.command {
        JournalCommand::List(args) => run::block_on(list(args)),
        JournalCommand::Clear(args) => run::block_on(clear(args)).map_err(Error::of_work),
    }
}

async fn list(args: &JournalListArgs) -> Result<Outcome, Error> {
    let table = open(&args.table).await?;
    let mut rows = Rows::new(args.format, io::stdout().lock());
    let unread =
        for_each(&table, &args.table, args.kind, async |shard, state| Ok(rows.add(shard, &state, None)?))
            .await?;
    let states = rows.finish()?;
    note(format_args!("{} in the journal", count(states, "state")));
    Ok(if unread == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

async fn clear(args: &JournalClearArgs) -> Result<Outcome, Error> {
    let table = open(&args.table).await?;
    let mut rows = Rows::new(args.format, io::stdout().lock());
    let (mut deleted, mut left) = (0, 0);
    let ended = for_each(&table, &args.table, args.kind, async |shard, state| {
        if !args.yes {
            left += 1;
            return Ok(rows.add(shard, &state, None)?);
        }
        let outcome = match table.delete_state(shard, &state).await? {
            Deletion::Deleted => {
                deleted += 1;
                return Ok(rows.add(shard, &state, None)?);
            }
            // Whoever says yes has not seen that one.
            Deletion::Changed => "kept, because it was written meanwhile".to_owned(),
            Deletion::Failed(error) => format!("failed: {error}"),
        };
        left += 1;
        Ok(rows.add(shard, &state, Some(&outcome))?)
    })
    .await;
    let finished = rows.finish();
    match args.yes {
        true => note(format_args!("{} deleted, {left} not deleted", count(deleted, "state"))),
        false => note(format_args!("{} would be deleted: add --yes", count(left, "state"))),
    }
    let unread = ended?;
    finished?;
    Ok(if left == 0 && unread == 0 { Outcome::Done } else { Outcome::SomeFailed })
}

async fn open(args: &TableArgs) -> Result<JournalTable, Error> {
    JournalTable::open(&args.table, &args.shards.filter()).await
}

/// Calls `each` with all states of these kinds and shards. Returns how many shards could not be read.
async fn for_each(
    table: &JournalTable,
    args: &TableArgs,
    kind: Kind,
    mut each: impl AsyncFnMut(JournalShard<'_>, RecordState) -> Result<(), Error>,
) -> Result<u64, Error> {
    let kinds: &[StateKind] = match kind {
        Kind::Retry => &[StateKind::Retry],
        Kind::Hole => &[StateKind::Hole],
        Kind::All => &[StateKind::Retry, StateKind::Hole],
    };
    let visit = async |shard: JournalShard<'_>| {
        for &kind in kinds {
            for state in table.states(shard, kind).await?.states {
                each(shard, state).await?;
            }
        }
        Ok(())
    };
    table.for_each_shard(&args.shards.filter(), visit).await
}
