//! `kinesis-kit journal`: the states that the retry journal keeps.

mod row;

use std::{io, time::Duration};

use kinesis_handler::journal::{JournalShard, RecordState, StateKind, UnreadableItem};

use crate::{
    args::{
        ItemKeyArgs, JournalArgs, JournalClearArgs, JournalCommand, JournalListArgs, Kind, RetriesArgs,
        TableArgs,
    },
    error::{Completion, Error},
    journal_table::{
        Deletion, JournalTable,
        stranded::{Retries, Stranded, StrandedEntries},
    },
    output::{
        meter::{Meter, Stdout},
        note::{count, note},
    },
    run, table,
};
use row::Rows;

pub(crate) fn run(args: &JournalArgs) -> Result<Completion, Error> {
    match &args.command {
        JournalCommand::List(args) => run::block_on(list(args)),
        JournalCommand::Create(args) => run::block_on(table::create(&table::JOURNAL, &args.create)),
        JournalCommand::Clear(args) => run::block_on(clear(args)).map_err(Error::of_work),
    }
}

/// Something that the journal's table has.
enum JournalEntry<'a> {
    /// A state, and why the mapping no longer retries its record, if that is so.
    State(JournalShard<'a>, Box<RecordState>, Option<Stranded>),
    Unreadable(UnreadableItem),
}

async fn list(args: &JournalListArgs) -> Result<Completion, Error> {
    let table = open(&args.table).await?;
    let mut rows = Rows::new(args.format, Stdout::new());
    let mut unreadable = 0;
    let meter = Meter::new("journal list");
    let unread = for_each(&table, &args.table, args.kind, &args.retries, async |entry| {
        meter.add(1);
        match entry {
            JournalEntry::State(shard, state, stranded) => Ok(rows.add(shard, &state, stranded, None)?),
            JournalEntry::Unreadable(item) => {
                unreadable += 1;
                Ok(rows.add_unreadable(&item)?)
            }
        }
    });
    let unread = unread.await;
    drop(meter);
    let unread = unread?;
    let states = rows.finish()?;
    note(format_args!("{} in the journal", entries(states)));
    note_unreadable(unreadable);
    Ok(if unread == 0 && unreadable == 0 { Completion::Done } else { Completion::SomeFailed })
}

async fn clear(args: &JournalClearArgs) -> Result<Completion, Error> {
    let table = open(&args.table).await?;
    if let Some(key) = args.item.key() {
        return clear_item(&table, args, &key).await;
    }
    let mut rows = Rows::new(args.format, io::stdout().lock());
    let (mut deleted, mut left, mut unreadable) = (0, 0, 0);
    let ended = for_each(&table, &args.table, args.kind, &args.retries, async |entry| {
        let (shard, state, stranded) = match entry {
            JournalEntry::State(shard, state, stranded) => (shard, state, stranded),
            JournalEntry::Unreadable(item) => {
                unreadable += 1;
                return Ok(rows.add_unreadable(&item)?);
            }
        };
        if !args.yes {
            left += 1;
            return Ok(rows.add(shard, &state, stranded, None)?);
        }
        let outcome = match table.delete_state(shard, &state).await? {
            Deletion::Deleted => {
                deleted += 1;
                return Ok(rows.add(shard, &state, stranded, None)?);
            }
            // Whoever says yes has not seen that one.
            Deletion::Changed => "kept, because it was written meanwhile".to_owned(),
            Deletion::Failed(error) => format!("failed: {error}"),
        };
        left += 1;
        Ok(rows.add(shard, &state, stranded, Some(&outcome))?)
    })
    .await;
    let finished = rows.finish();
    match args.yes {
        true => note(format_args!("{} deleted, {left} not deleted", entries(deleted))),
        false => note(format_args!("{} would be deleted: add --yes", entries(left))),
    }
    note_unreadable(unreadable);
    let unread = ended?;
    finished?;
    Ok(if left == 0 && unread == 0 && unreadable == 0 { Completion::Done } else { Completion::SomeFailed })
}

/// Deletes one item, which must be one that cannot be read.
async fn clear_item(
    table: &JournalTable,
    args: &JournalClearArgs,
    ItemKeyArgs { partition_key, sort_key }: &ItemKeyArgs,
) -> Result<Completion, Error> {
    let Some(item) = find_unreadable(table, partition_key, sort_key).await? else {
        let message =
            "no item with this key, or one that can be read: see quarantine purge and journal clear";
        return Err(Error::Usage(message.to_owned()));
    };
    let mut rows = Rows::new(args.format, io::stdout().lock());
    if args.yes {
        table.delete_item(&item.key).await?;
    }
    rows.add_unreadable(&item)?;
    rows.finish()?;
    note(if args.yes { "1 item deleted" } else { "1 item would be deleted: add --yes" });
    Ok(if args.yes { Completion::Done } else { Completion::SomeFailed })
}

/// Finds an item that cannot be read by its key.
async fn find_unreadable(
    table: &JournalTable,
    partition_key: &str,
    sort_key: &str,
) -> Result<Option<UnreadableItem>, Error> {
    let is_it =
        |item: &UnreadableItem| item.key.partition_key == partition_key && item.key.sort_key == sort_key;
    if let Some(shard) = JournalShard::parse(partition_key) {
        for kind in [StateKind::Retry, StateKind::Discarded] {
            if let Some(item) = table.states(shard, kind).await?.unreadable.into_iter().find(is_it) {
                return Ok(Some(item));
            }
        }
        let mut quarantine = table.quarantine(shard);
        while let Some(page) = quarantine.next_page().await.map_err(|source| table.error(source))? {
            if let Some(item) = page.unreadable.into_iter().find(is_it) {
                return Ok(Some(item));
            }
        }
    }
    Ok(table.foreign_items().await?.into_iter().find(is_it))
}

/// A number of entries: `1 entry`, `2 entries`.
fn entries(number: u64) -> String {
    match number {
        1 => "1 entry".to_owned(),
        _ => format!("{number} entries"),
    }
}

fn note_unreadable(items: u64) {
    if items > 0 {
        let items = count(items, "item");
        note(format_args!("{items} cannot be read; to delete one, use journal clear --item PK SK"));
    }
}

async fn open(args: &TableArgs) -> Result<JournalTable, Error> {
    JournalTable::open(&args.table, &args.shards.filter()).await
}

/// Calls `each` with all entries of these kinds and shards. Returns how many shards could not be read.
async fn for_each(
    table: &JournalTable,
    args: &TableArgs,
    kind: Kind,
    retries: &RetriesArgs,
    mut each: impl AsyncFnMut(JournalEntry<'_>) -> Result<(), Error>,
) -> Result<u64, Error> {
    let kinds: &[StateKind] = match kind {
        Kind::Retry | Kind::Stranded => &[StateKind::Retry],
        Kind::Discarded => &[StateKind::Discarded],
        Kind::All => &[StateKind::Retry, StateKind::Discarded],
    };
    let max_age = retries.max_age.map(Duration::from_secs);
    let stranded_entries = StrandedEntries::new(Retries::new(max_age, retries.mapping_of.as_deref()));
    let visit = async |shard: JournalShard<'_>| {
        for &of_kind in kinds {
            let entries = table.states(shard, of_kind).await?;
            for state in entries.states {
                let stranded = match of_kind {
                    StateKind::Retry => stranded_entries.reason(shard, &state).await,
                    StateKind::Discarded => None,
                };
                let is_wanted = match kind {
                    Kind::Retry => stranded.is_none(),
                    Kind::Stranded => stranded.is_some(),
                    Kind::Discarded | Kind::All => true,
                };
                if is_wanted {
                    each(JournalEntry::State(shard, Box::new(state), stranded)).await?;
                }
            }
            for item in entries.unreadable {
                each(JournalEntry::Unreadable(item)).await?;
            }
        }
        Ok(())
    };
    let visited = table.for_each_shard(&args.shards.filter(), visit).await?;
    for item in visited.foreign {
        each(JournalEntry::Unreadable(item)).await?;
    }
    Ok(visited.unread)
}
