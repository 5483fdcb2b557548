//! `kinesis-kit quarantine`: what was given up, seen, sent again, or deleted.

mod row;
mod event;
mod show;
mod redrive;

use std::io;

use kinesis_handler::journal::{JournalShard, QuarantinedRecord};

use crate::{
    args::{QuarantineArgs, QuarantineCommand, QuarantineListArgs, QuarantinePurgeArgs, TableArgs},
    error::{Error, Outcome},
    journal_table::JournalTable,
    note::{count, note},
    record_position::RecordPosition,
    run,
};
use row::Rows;

pub(crate) fn run(args: &QuarantineArgs) -> Result<Outcome, Error> {
    match &args.command {
        QuarantineCommand::List(args) => run::block_on(list(args)),
        QuarantineCommand::Show(args) => run::block_on(show::show(args)),
        QuarantineCommand::Redrive(args) => run::block_on(redrive::redrive(args)),
        QuarantineCommand::Purge(args) => run::block_on(purge(args)),
    }
}

/// Calls `each` with all records of these shards, in the order of the shards' keys and of the stream.
async fn for_each(
    table: &JournalTable,
    args: &TableArgs,
    mut each: impl AsyncFnMut(JournalShard<'_>, QuarantinedRecord) -> Result<(), Error>,
) -> Result<(), Error> {
    for partition_key in table.partition_keys(&args.shards.filter()).await? {
        let Some(shard) = JournalShard::parse(&partition_key) else { continue };
        let mut quarantine = table.quarantine(shard);
        while let Some(page) = quarantine.next_page().await.map_err(|source| table.error(source))? {
            for record in page.records {
                each(shard, record).await?;
            }
        }
    }
    Ok(())
}

async fn open(args: &TableArgs) -> Result<JournalTable, Error> {
    JournalTable::open(&args.table, &args.shards.filter()).await
}

/// Whether it is one of these; of none, it is.
fn is_one_of(positions: &[RecordPosition], record: &QuarantinedRecord) -> bool {
    positions.is_empty()
        || positions.iter().any(|position| position.is_of(record.sequence_number, &record.id))
}

async fn list(args: &QuarantineListArgs) -> Result<Outcome, Error> {
    let table = open(&args.table).await?;
    let mut rows = Rows::new(args.format, io::stdout().lock());
    for_each(&table, &args.table, async |shard, record| Ok(rows.add(shard, &record, None)?)).await?;
    let records = rows.finish()?;
    note(format_args!("{} in the quarantine", count(records, "record")));
    Ok(Outcome::Done)
}

async fn purge(args: &QuarantinePurgeArgs) -> Result<Outcome, Error> {
    let table = open(&args.table).await?;
    let mut rows = Rows::new(args.format, io::stdout().lock());
    let before_ms = args.before.map(|before| before.epoch_milliseconds());
    for_each(&table, &args.table, async |shard, record| {
        if !is_one_of(&args.positions, &record)
            || before_ms.is_some_and(|before| record.quarantined_ms >= before)
        {
            return Ok(());
        }
        if args.yes {
            let deleted = table.store().delete_quarantined(shard, &record).await;
            // Put there once more since it was read: that one was not seen by whoever says yes.
            if !deleted.map_err(|source| table.error(source))? {
                return Ok(());
            }
        }
        Ok(rows.add(shard, &record, None)?)
    })
    .await?;
    let records = rows.finish()?;
    if args.yes {
        note(format_args!("{} deleted", count(records, "record")));
        return Ok(Outcome::Done);
    }
    note(format_args!("{} would be deleted: add --yes", count(records, "record")));
    Ok(if records == 0 { Outcome::Done } else { Outcome::SomeFailed })
}
