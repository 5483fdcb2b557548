use std::io;

use kinesis_esm_simulator::Origin;
use kinesis_handler::{
    EventMode,
    journal::{JournalShard, QuarantinedRecord},
};

use super::{event::kinesis_record, is_one_of, open, row::Rows};
use crate::{
    args::QuarantineRedriveArgs,
    delivery::{Batch, Batcher, Delivered, Delivery},
    error::{Error, Outcome},
    halt::Halt,
    journal_table::JournalTable,
    meter::Meter,
    note::{count, note},
    run,
    target::Target,
};

pub(super) async fn redrive(args: &QuarantineRedriveArgs) -> Result<Outcome, Error> {
    let table = open(&args.table).await?;
    let target = Target::new(args.target.options(), None, args.target.timeout()).await?;
    let halt = Halt::default();
    let mut redrive = Redrive {
        args,
        table: &table,
        delivery: Delivery::new(&target, EventMode::Replay, args.delivery.attempts, &halt),
        deletes: !args.keep && target.processes(),
        rows: Rows::new(args.format, io::stdout().lock()),
        meter: Meter::new("redrive"),
        done: 0,
        failed: 0,
    };
    let ended = run::until_interrupted(redrive.all(), &halt).await;
    target.shutdown().await;
    let Redrive { rows, meter, done, failed, deletes, .. } = redrive;
    drop(meter);
    rows.finish()?;
    let what = match (args.dry_run, deletes) {
        (true, _) => "would be delivered",
        (false, true) => "delivered, and out of the quarantine",
        (false, false) => "delivered, and still in the quarantine",
    };
    note(format_args!("{} {what}, {failed} failed", count(done, "record")));
    ended?;
    if halt.is_asked_for() {
        return Err(Error::Interrupted);
    }
    Ok(if failed > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

struct Redrive<'r> {
    args: &'r QuarantineRedriveArgs,
    table: &'r JournalTable,
    delivery: Delivery<'r>,
    deletes: bool,
    rows: Rows<io::StdoutLock<'static>>,
    meter: Meter,
    done: u64,
    failed: u64,
}

impl Redrive<'_> {
    async fn all(&mut self) -> Result<(), Error> {
        for partition_key in self.table.partition_keys(&self.args.table.shards.filter()).await? {
            if let Some(shard) = JournalShard::parse(&partition_key) {
                self.shard(shard).await?;
            }
        }
        Ok(())
    }

    async fn shard(&mut self, shard: JournalShard<'_>) -> Result<(), Error> {
        let origin = Origin::new(shard.shard_id, shard.stream_arn);
        let mut quarantine = self.table.quarantine(shard);
        let mut batcher = Batcher::new(self.args.delivery.batch_size);
        while let Some(page) = quarantine.next_page().await.map_err(|source| self.table.error(source))? {
            for record in page.records.into_iter().filter(|record| is_one_of(&self.args.positions, record)) {
                // A response names Kinesis records: no two user records of an event may share their number.
                if batcher.last() == Some(record.sequence_number)
                    && let Some(batch) = batcher.finish()
                {
                    self.send(shard, batch).await?;
                }
                if let Some(batch) = batcher.push(kinesis_record(&record, &origin), record) {
                    self.send(shard, batch).await?;
                }
                if self.delivery.halt.is_asked_for() {
                    return Ok(());
                }
            }
        }
        match batcher.finish() {
            Some(batch) => self.send(shard, batch).await,
            None => Ok(()),
        }
    }

    /// Delivers all of them; what fails is passed over.
    async fn send(
        &mut self,
        shard: JournalShard<'_>,
        Batch { records: batch, known: records }: Batch<QuarantinedRecord>,
    ) -> Result<(), Error> {
        let mut first = 0;
        while first < batch.len() {
            let mut done = 0;
            let delivered = match self.args.dry_run {
                true => Delivered::All,
                false => self.delivery.deliver(batch[first..].to_vec(), |records| done = records).await?,
            };
            if self.args.dry_run {
                done = batch.len();
            }
            self.meter.add(done as u64);
            for record in &records[first..first + done] {
                self.settle(shard, record).await?;
            }
            match delivered {
                Delivered::All => return Ok(()),
                Delivered::Halted => return Ok(()),
                Delivered::UpTo { failed, error } => {
                    self.failed += 1;
                    let outcome = format!("failed: {error}");
                    self.rows.add(shard, &records[first + failed], Some(&outcome))?;
                    first += failed + 1;
                }
            }
        }
        Ok(())
    }

    /// The function has processed it.
    async fn settle(&mut self, shard: JournalShard<'_>, record: &QuarantinedRecord) -> Result<(), Error> {
        self.done += 1;
        let outcome = if self.args.dry_run {
            "found"
        } else if self.deletes {
            let deleted = self.table.store().delete_quarantined(shard, record).await;
            match deleted.map_err(|source| self.table.error(source))? {
                true => "done",
                false => "done; kept, because it was put there again meanwhile",
            }
        } else if self.delivery.target.processes() {
            "done; kept"
        } else {
            "written"
        };
        Ok(self.rows.add(shard, record, Some(outcome))?)
    }
}
