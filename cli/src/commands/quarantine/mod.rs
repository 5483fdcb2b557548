//! `kinesis-kit quarantine`: the quarantined user records, shown, redelivered or deleted.

mod row;
mod event;
mod failed_keys;
mod show;
mod redrive;

use std::io;

use kinesis_handler::journal::{JournalShard, QuarantinedRecord, UnreadableItem};

use crate::{
    args::{QuarantineArgs, QuarantineCommand, QuarantineListArgs, QuarantinePurgeArgs, TableArgs},
    error::{Completion, Error},
    journal_table::{Deletion, JournalTable},
    output::{
        meter::{Meter, Stdout},
        note::{count, note},
    },
    run,
    stream::record_position::RecordPosition,
};
use row::{Outcome, Rows};

pub(crate) fn run(args: &QuarantineArgs) -> Result<Completion, Error> {
    match &args.command {
        QuarantineCommand::List(args) => run::block_on(list(args)),
        QuarantineCommand::Show(args) => run::block_on(show::show(args)),
        QuarantineCommand::Redrive(args) => run::block_on(redrive::redrive(args)).map_err(Error::of_work),
        QuarantineCommand::Purge(args) => run::block_on(purge(args)).map_err(Error::of_work),
    }
}

/// Something that the quarantine of a shard has.
enum QuarantineEntry {
    Record(QuarantinedRecord),
    Unreadable(UnreadableItem),
}

/// Calls `each` with all entries of these shards, in the order of the shards' keys and of the stream. Returns how many
/// shards could not be read to their end.
async fn for_each(
    table: &JournalTable,
    args: &TableArgs,
    mut each: impl AsyncFnMut(JournalShard<'_>, QuarantineEntry) -> Result<(), Error>,
) -> Result<u64, Error> {
    let visit = async |shard: JournalShard<'_>| {
        let mut quarantine = table.quarantine(shard);
        while let Some(page) = quarantine.next_page().await.map_err(|source| table.error(source))? {
            for record in page.records {
                each(shard, QuarantineEntry::Record(record)).await?;
            }
            for item in page.unreadable {
                each(shard, QuarantineEntry::Unreadable(item)).await?;
            }
        }
        Ok(())
    };
    Ok(table.for_each_shard(&args.shards.filter(), visit).await?.unread)
}

async fn open(args: &TableArgs) -> Result<JournalTable, Error> {
    JournalTable::open(&args.table, &args.shards.filter()).await
}

/// Whether it is one of these; of none, it is.
fn is_one_of(positions: &[RecordPosition], shard: JournalShard<'_>, record: &QuarantinedRecord) -> bool {
    positions.is_empty()
        || positions.iter().any(|position| position.is_of(shard.shard_id, record.sequence_number, &record.id))
}

async fn list(args: &QuarantineListArgs) -> Result<Completion, Error> {
    let table = open(&args.table).await?;
    let mut rows = Rows::new(args.format, Stdout::new());
    let mut unreadable = 0;
    let meter = Meter::new("quarantine list");
    let unread = for_each(&table, &args.table, async |shard, entry| {
        meter.add(1);
        match entry {
            QuarantineEntry::Record(record) => Ok(rows.add(shard, &record, None)?),
            QuarantineEntry::Unreadable(item) => {
                unreadable += 1;
                Ok(rows.add_unreadable(&item)?)
            }
        }
    });
    let unread = unread.await;
    drop(meter);
    let unread = unread?;
    let records = rows.finish()?;
    note(format_args!("{} in the quarantine", count(records, "record")));
    note_unreadable(unreadable);
    Ok(if unread == 0 && unreadable == 0 { Completion::Done } else { Completion::SomeFailed })
}

/// Says how to get rid of items that cannot be read.
fn note_unreadable(items: u64) {
    if items > 0 {
        let items = count(items, "item");
        note(format_args!("{items} cannot be read; to delete one, use journal clear --item PK SK"));
    }
}

async fn purge(args: &QuarantinePurgeArgs) -> Result<Completion, Error> {
    let table = open(&args.table).await?;
    let output = io::stdout().lock();
    let mut rows =
        if args.yes { Rows::with_outcomes(args.format, output) } else { Rows::new(args.format, output) };
    let before_ms = args.before.map(|before| before.epoch_milliseconds());
    let (mut deleted, mut left) = (0, 0);
    let mut unreadable = 0;
    let ended = for_each(&table, &args.table, async |shard, entry| {
        let record = match entry {
            QuarantineEntry::Record(record) => record,
            // It may be one of those that are meant.
            QuarantineEntry::Unreadable(item) => {
                unreadable += 1;
                return Ok(rows.add_unreadable(&item)?);
            }
        };
        if !is_one_of(&args.positions, shard, &record)
            || before_ms.is_some_and(|before| record.quarantined_ms >= before)
        {
            return Ok(());
        }
        if !args.yes {
            left += 1;
            return Ok(rows.add(shard, &record, None)?);
        }
        let (name, error) = match table.delete_quarantined(shard, &record).await? {
            Deletion::Deleted => {
                deleted += 1;
                let outcome = Outcome { name: "deleted", error: None };
                return Ok(rows.add(shard, &record, Some(outcome))?);
            }
            // Whoever says yes has not seen that one.
            Deletion::Changed => ("kept", "it was quarantined again meanwhile".to_owned()),
            Deletion::Failed(error) => ("failed", error),
        };
        left += 1;
        let outcome = Outcome { name, error: Some(&error) };
        Ok(rows.add(shard, &record, Some(outcome))?)
    })
    .await;
    let finished = rows.finish();
    match args.yes {
        true => note(format_args!("{} deleted, {left} not deleted", count(deleted, "record"))),
        false => note(format_args!("{} would be deleted: add --yes", count(left, "record"))),
    }
    note_unreadable(unreadable);
    let unread = ended?;
    finished?;
    Ok(if left == 0 && unread == 0 && unreadable == 0 { Completion::Done } else { Completion::SomeFailed })
}
