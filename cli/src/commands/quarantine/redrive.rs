use std::io;

use kinesis_esm::Origin;
use kinesis_handler::{
    EventMode, KinesisRecord,
    journal::{JournalShard, QuarantinedRecord},
};

use super::{
    event::kinesis_record,
    failed_keys::FailedKeys,
    is_one_of, open,
    row::{Outcome, Rows},
};
use crate::{
    args::QuarantineRedriveArgs,
    delivery::{Batcher, Delivered, Delivery, DeliveryProgress, EventBatch, target::Target},
    error::{Completion, Error},
    journal_table::{Deletion, JournalTable},
    output::{
        meter::{Meter, Stdout},
        note::{count, note},
    },
    run::{self, halt::Halt},
};

pub(super) async fn redrive(args: &QuarantineRedriveArgs) -> Result<Completion, Error> {
    let table = open(&args.table).await?;
    let target = Target::new(args.target.options(), None, args.target.timeout()).await?;
    let halt = Halt::default();
    let mut redrive = Redrive {
        args,
        table: &table,
        delivery: Delivery::new(&target, args.delivery.attempts, &halt),
        deletes: !args.keep && target.processes(),
        rows: Rows::with_outcomes(args.format, Stdout::new()),
        meter: Meter::new("redrive"),
        output: Ok(()),
        done: 0,
        quarantined: 0,
        failed: 0,
        held: 0,
        unread: 0,
    };
    let ended = run::until_interrupted(redrive.all(), &halt).await;
    target.shutdown().await;
    let Redrive { rows, meter, done, quarantined, failed, held, unread, deletes, .. } = redrive;
    drop(meter);
    let finished = rows.finish();
    let what = match (args.dry_run, deletes) {
        (true, _) => "would be delivered",
        (false, true) => "processed and deleted from the quarantine",
        (false, false) if target.processes() => "processed and kept in the quarantine",
        (false, false) => "written",
    };
    let again = match quarantined {
        0 => String::new(),
        records => format!(", {records} quarantined again"),
    };
    let behind = match held {
        0 => String::new(),
        records => format!(", {records} held behind them"),
    };
    note(format_args!("{} {what}{again}, {failed} failed{behind}", count(done, "record")));
    ended?;
    finished?;
    if halt.is_asked_for() {
        return Err(Error::Interrupted);
    }
    Ok(if failed > 0 || unread > 0 { Completion::SomeFailed } else { Completion::Done })
}

struct Redrive<'r> {
    args: &'r QuarantineRedriveArgs,
    table: &'r JournalTable,
    delivery: Delivery<'r>,
    deletes: bool,
    rows: Rows<Stdout>,
    meter: Meter,
    /// Whether the rows could be written. What is processed is settled all the same.
    output: io::Result<()>,
    done: u64,
    /// User records that the function put into its quarantine again, if it says so.
    quarantined: u64,
    failed: u64,
    /// Records that were not delivered, because one of their partition key had failed.
    held: u64,
    /// Shards that could not be read to their end.
    unread: u64,
}

impl Redrive<'_> {
    async fn all(&mut self) -> Result<(), Error> {
        let filter = self.args.table.shards.filter();
        let visited = self.table.for_each_shard(&filter, async |shard| self.shard(shard).await).await?;
        self.unread = visited.unread;
        Ok(())
    }

    async fn shard(&mut self, shard: JournalShard<'_>) -> Result<(), Error> {
        let origin = Origin::new(shard.shard_id, shard.stream_arn);
        let mut quarantine = self.table.quarantine(shard);
        let mut batcher = Batcher::new(self.args.delivery.batch_size);
        let mut failed_keys = FailedKeys::default();
        while let Some(page) = quarantine.next_page().await.map_err(|source| self.table.error(source))? {
            for item in &page.unreadable {
                self.failed += 1;
                self.rows.add_unreadable(item)?;
            }
            for record in
                page.records.into_iter().filter(|record| is_one_of(&self.args.positions, shard, record))
            {
                // A response names Kinesis records: no two user records of an event may share their number.
                if batcher.last() == Some(record.sequence_number)
                    && let Some(batch) = batcher.finish()
                {
                    self.send(shard, &mut failed_keys, batch).await?;
                }
                if let Some(batch) = batcher.push(kinesis_record(&record, &origin), record) {
                    self.send(shard, &mut failed_keys, batch).await?;
                }
                if self.delivery.halt.is_asked_for() {
                    return Ok(());
                }
            }
        }
        match batcher.finish() {
            Some(batch) => self.send(shard, &mut failed_keys, batch).await,
            None => Ok(()),
        }
    }

    /// Delivers all of them; those that fail are passed over, and so are those that are held behind them.
    async fn send(
        &mut self,
        shard: JournalShard<'_>,
        failed_keys: &mut FailedKeys,
        EventBatch { records, known }: EventBatch<QuarantinedRecord>,
    ) -> Result<(), Error> {
        let mut left: Vec<(KinesisRecord<'static>, QuarantinedRecord)> =
            records.into_iter().zip(known).collect();
        loop {
            left.retain(|(_, record)| !self.hold(shard, failed_keys, record));
            std::mem::replace(&mut self.output, Ok(()))?;
            if left.is_empty() {
                return Ok(());
            }
            let mut done = 0;
            let delivered = match self.args.dry_run {
                true => {
                    done = left.len();
                    Ok(Delivered::All)
                }
                false => {
                    let on_progress = |progress: DeliveryProgress| {
                        done = progress.processed;
                        self.quarantined += progress.quarantined.map_or(0, |quarantined| quarantined.total());
                    };
                    let records = left.iter().map(|(kinesis_record, _)| kinesis_record.clone()).collect();
                    self.delivery.deliver(EventMode::Reprocess, records, on_progress).await
                }
            };
            self.meter.add(done as u64);
            for (_, record) in &left[..done] {
                self.settle(shard, record).await?;
            }
            if let Ok(Delivered::UpTo { failed, failure, .. }) = &delivered {
                self.failed += 1;
                let (_, record) = &left[*failed];
                failed_keys.note(record);
                self.report(shard, record, Outcome { name: "failed", error: Some(&failure.error) });
                left.drain(..=*failed);
            }
            std::mem::replace(&mut self.output, Ok(()))?;
            if !matches!(delivered?, Delivered::UpTo { .. }) {
                return Ok(());
            }
        }
    }

    /// Whether a record is not delivered, because one of its partition key has failed. It is reported.
    fn hold(
        &mut self,
        shard: JournalShard<'_>,
        failed_keys: &mut FailedKeys,
        record: &QuarantinedRecord,
    ) -> bool {
        let is_held = failed_keys.hold(record);
        if is_held {
            failed_keys.note(record);
            self.held += 1;
            let error = "an earlier record of its partition key has failed";
            self.report(shard, record, Outcome { name: "held", error: Some(error) });
        }
        is_held
    }

    /// Takes a record out of the quarantine, because the function has processed it.
    async fn settle(&mut self, shard: JournalShard<'_>, record: &QuarantinedRecord) -> Result<(), Error> {
        let (name, error) = if self.args.dry_run {
            ("found", None)
        } else if self.deletes {
            match self.table.delete_quarantined(shard, record).await? {
                Deletion::Deleted => ("processed", None),
                Deletion::Changed => {
                    ("kept", Some("processed, but it was quarantined again meanwhile".to_owned()))
                }
                Deletion::Failed(error) => {
                    self.failed += 1;
                    let error = format!("processed, but not deleted: {error}");
                    self.report(shard, record, Outcome { name: "kept", error: Some(&error) });
                    return Ok(());
                }
            }
        } else if self.delivery.target.processes() {
            ("processed", None)
        } else {
            ("written", None)
        };
        self.done += 1;
        self.report(shard, record, Outcome { name, error: error.as_deref() });
        Ok(())
    }

    fn report(&mut self, shard: JournalShard<'_>, record: &QuarantinedRecord, outcome: Outcome<'_>) {
        if self.output.is_ok() {
            self.output = self.rows.add(shard, record, Some(outcome));
        }
    }
}
