use std::io::{self, Write};

use kinesis_handler::journal::{JournalShard, QuarantinedRecord};

use super::{QuarantineEntry, for_each, is_one_of, open, row::QuarantineLine};
use crate::{
    args::{Format, QuarantineShowArgs},
    error::{Completion, Error},
    output::{
        cell,
        note::{count, note},
    },
    stream::record_position::RecordPosition,
};

/// Length of a payload that people are shown.
const SHOWN_DATA: usize = 100_000;

/// Most records that people are shown without asking for them.
const MAX_SHOWN: u64 = 10;

pub(super) async fn show(args: &QuarantineShowArgs) -> Result<Completion, Error> {
    let table = open(&args.table).await?;
    let mut stdout = io::stdout().lock();
    let (mut shown, mut hidden) = (0u64, 0u64);
    let unread = for_each(&table, &args.table, async |shard, entry| {
        // `quarantine list` has the others.
        let QuarantineEntry::Record(record) = entry else { return Ok(()) };
        if !is_one_of(&args.positions, shard, &record) {
            return Ok(());
        }
        if args.positions.is_empty() && args.format == Format::Table && shown == MAX_SHOWN {
            hidden += 1;
            return Ok(());
        }
        shown += 1;
        match args.format {
            _ if args.raw => stdout.write_all(&record.data)?,
            Format::Json => QuarantineLine::new(shard, &record).with_data(&record).write(&mut stdout)?,
            Format::Table => write_text(&mut stdout, shard, &record, shown > 1)?,
        }
        Ok(())
    })
    .await?;
    stdout.flush()?;
    if hidden > 0 {
        note(format_args!(
            "{} not shown: give their positions, which `kinesis-kit quarantine list` shows, or --format json",
            count(hidden, "more record")
        ));
    }
    if shown == 0 {
        note("no quarantined record matches");
        return Ok(Completion::SomeFailed);
    }
    Ok(if unread == 0 { Completion::Done } else { Completion::SomeFailed })
}

fn write_text(
    output: &mut impl Write,
    shard: JournalShard<'_>,
    record: &QuarantinedRecord,
    has_others: bool,
) -> io::Result<()> {
    if has_others {
        writeln!(output)?;
    }
    let text = |bytes: &[u8]| cell::data(bytes, SHOWN_DATA);
    let dash = || "-".to_owned();
    let lines = [
        ("application", cell::escape(shard.application)),
        ("stream", cell::escape(shard.stream_arn)),
        ("position", cell::escape(&RecordPosition::of_quarantined(shard.shard_id, record).to_string())),
        ("content", record.content.to_string()),
        ("partition key", text(&record.partition_key)),
        ("hash key", record.explicit_hash_key.as_deref().map_or_else(dash, text)),
        ("arrival", record.arrival_ms.map_or_else(dash, cell::time)),
        ("quarantined", cell::time(record.quarantined_ms)),
        ("reason", record.reason.to_string()),
        ("attempts", record.attempts.to_string()),
        ("error", cell::text(&record.error, SHOWN_DATA)),
        ("request ID", cell::text(&record.request_id, SHOWN_DATA)),
        ("size", format!("{} bytes", record.data.len())),
        ("data", cell::payload(&record.data, SHOWN_DATA)),
    ];
    for (name, value) in lines {
        writeln!(output, "{name:13}  {value}")?;
    }
    Ok(())
}
