//! `kinesis-kit replay`: a range of a stream, once more.

mod bounds;
mod cut;
mod budget;
mod mapping;
mod on_lambda;
mod report;
mod batch;

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use kinesis_esm::Origin;
use kinesis_handler::{
    SequenceNumber,
    checkpoint::{Row, RowCheckpoint},
};
use kpl_deaggregation::Deaggregator;

use crate::{
    args::ReplayArgs,
    delivery::{
        Batcher, Delivery, LargeRecords,
        progress_file::{ProgressFile, ProgressPoint},
        skipped::Skips,
        target::Target,
    },
    error::{Completion, Error, chain},
    lease_table::{self, LeaseTable},
    output::{
        meter::Meter,
        note::{note, warning},
    },
    run::{self, halt::Halt},
    stream::{
        Api, Description, Position, ReadPace, Shard, ShardReader, Visit, Visited, Walk, now_ms,
        point::{self, StreamPoint},
    },
};
use bounds::{Bounds, End, ShardBounds};
use budget::Budget;
use cut::Cut;
use report::{ReplayFate, ReplayReport};

pub(crate) fn run(args: &ReplayArgs) -> Result<Completion, Error> {
    match args.lambda.on_lambda {
        true => run::block_on(on_lambda::run(args)),
        false => run::block_on(replay(args)),
    }
}

async fn replay(args: &ReplayArgs) -> Result<Completion, Error> {
    let shard_ids = point::shards(&args.shards, &[&args.from, &args.to])?;
    check(args, now_ms())?;
    let api = Rc::new(Api::connect(args.stream.clone()).await?);
    let stream = api.describe().await?;
    let stream_arn = stream.arn.clone();
    let region = stream_arn.split(':').nth(3);
    let target = Target::new(args.target.options(), region, args.target.timeout()).await?;
    // What is only written down, or counted, is not done.
    let keeps_progress = !args.dry_run && target.processes();
    let mut progress = if keeps_progress { Some(open_progress(args, &stream_arn)?) } else { None };
    let began_ms = began_ms(args, progress.as_mut())?;
    let (from, to) = check(args, began_ms)?;
    let shards = api.shards().await?;
    let checkpoints = checkpoints(args, &stream, &shards, progress.as_mut()).await?;
    let passed = lease_table::passed(&shards, &checkpoints);
    if args.from == StreamPoint::Checkpoint {
        let is_wanted = |id: &&str| shard_ids.is_empty() || shard_ids.iter().any(|shard| shard == id);
        for shard_id in lease_table::unknown(&shards, &checkpoints, &passed).into_iter().filter(is_wanted) {
            warning(format_args!(
                "warning: shard {shard_id} has no checkpoint: everything in it is replayed"
            ));
        }
    }
    if !args.dry_run {
        mapping::warn_unless_disabled(&args.target.options(), &stream_arn, &args.to).await;
    }
    let whole = match (args.dry_run, target.processes()) {
        (true, _) => ReplayFate::Found,
        (false, false) => ReplayFate::Written,
        (false, true) => ReplayFate::Processed,
    };
    let skips = args.skip.open()?;
    let large = args.large.open(&target).await?;
    let halt = Halt::default();
    let replay = Replay {
        args,
        shard_ids,
        api,
        stream_arn,
        bounds: Bounds { from, to, checkpoints: Rc::new(checkpoints), passed },
        delivery: Delivery::new(&target, args.delivery.attempts, &halt),
        budget: Budget::new(),
        skips,
        large,
        progress: RefCell::new(progress),
        report: RefCell::new(ReplayReport::new(args.format, whole.clone())),
        whole,
        meter: Meter::new("replay"),
    };
    let ended = run::until_interrupted(replay.all(), &halt).await;
    target.shutdown().await;
    let Replay { progress, report, meter, large, .. } = replay;
    drop(meter);
    let mut report = report.into_inner();
    let written = report.halt().and_then(|()| report.finish());
    note(report.summary());
    large.note_stored();
    let ended = if halt.is_asked_for() { ended.and(Err(Error::Interrupted)) } else { ended };
    let is_done = ended.is_ok() && report.is_all_good();
    match progress.into_inner() {
        Some(progress) if is_done => progress.delete()?,
        // Kept, so that the same command does not deliver everything once more.
        Some(_) if ended.is_ok() && report.is_over() => {
            note(
                "the range is at its end, except for the skipped records; to deliver all of it again, add --restart",
            );
        }
        Some(progress) => {
            note(format_args!("the same command resumes from here: {}", progress.path().display()));
        }
        None => {}
    }
    ended?;
    written?;
    Ok(if is_done { Completion::Done } else { Completion::SomeFailed })
}

/// Returns the ends of the range, with times instead of durations before this time.
fn check(args: &ReplayArgs, began_ms: u64) -> Result<(StreamPoint, StreamPoint), Error> {
    let [from, to] = [&args.from, &args.to].map(|point| point.clone().since(began_ms));
    Bounds::check(&from, &to)?;
    Ok((from, to))
}

/// Returns when the first of the runs of this replay began, from which durations ago are counted.
fn began_ms(args: &ReplayArgs, progress: Option<&mut ProgressFile>) -> Result<u64, Error> {
    let now_ms = now_ms();
    let is_ago = |point: &StreamPoint| matches!(point, StreamPoint::Ago(_));
    let Some(progress) = progress.filter(|_| is_ago(&args.from) || is_ago(&args.to)) else {
        return Ok(now_ms);
    };
    if let Some(began) = progress.through(BEGAN) {
        return Ok(began.sequence_number.to_string().parse().unwrap_or(now_ms));
    }
    let began = now_ms.to_string().parse().expect("a number has digits");
    progress.note(BEGAN, ProgressPoint::whole(began))?;
    Ok(now_ms)
}

/// Entry with the time when the first run began, in milliseconds since 1970, in place of a sequence number.
const BEGAN: &str = "run began";

fn open_progress(args: &ReplayArgs, stream_arn: &str) -> Result<ProgressFile, Error> {
    let target = args.target.options();
    let of = format!(
        "replay {stream_arn} from {} to {} (shards {:?}, checkpoints {}) to {target}",
        args.from,
        args.to,
        args.shards,
        args.checkpoint_table.as_deref().unwrap_or("-")
    );
    let progress = ProgressFile::open(args.progress.progress.as_deref(), &of, args.progress.restart)?;
    if progress.has_begun() {
        note(format_args!("going on from an earlier run: {}", progress.path().display()));
    }
    Ok(progress)
}

/// Returns the positions of the mirror, or those when an earlier run began.
async fn checkpoints(
    args: &ReplayArgs,
    stream: &Description,
    shards: &[Shard],
    mut progress: Option<&mut ProgressFile>,
) -> Result<BTreeMap<String, Row>, Error> {
    if ![&args.from, &args.to].contains(&&StreamPoint::Checkpoint) {
        return Ok(BTreeMap::new());
    }
    let Some(table) = &args.checkpoint_table else {
        return Err(Error::Usage("name the mirror's table with --checkpoint-table".to_owned()));
    };
    if let Some(progress) = progress.as_deref_mut()
        && let Some(rows) = snapshot(progress)
    {
        return Ok(rows);
    }
    let leases = LeaseTable::open(table, &stream.arn).await?.read_all(stream, shards).await?;
    let rows: BTreeMap<_, _> = leases.into_iter().map(|(shard_id, lease)| (shard_id, lease.row)).collect();
    if let Some(progress) = progress {
        for (shard_id, row) in &rows {
            let (kind, place) = match row.checkpoint {
                RowCheckpoint::At(sequence_number) => {
                    ("at", ProgressPoint { sequence_number, sub_sequence_number: row.sub_sequence_number })
                }
                RowCheckpoint::ShardEnd => ("end", ProgressPoint::nowhere()),
                RowCheckpoint::TrimHorizon => ("none", ProgressPoint::nowhere()),
                RowCheckpoint::Latest | RowCheckpoint::AtTimestamp => ("later", ProgressPoint::nowhere()),
            };
            progress.note(&format!("checkpoint {kind} {shard_id}"), place)?;
        }
        progress.note(SNAPSHOT, ProgressPoint::nowhere())?;
    }
    Ok(rows)
}

/// Stands behind the checkpoints of a run, when they are complete.
const SNAPSHOT: &str = "checkpoints";

/// The checkpoints that an earlier run has begun with.
fn snapshot(progress: &ProgressFile) -> Option<BTreeMap<String, Row>> {
    progress.through(SNAPSHOT)?;
    let rows = progress.entries().filter_map(|(of, place)| {
        let (kind, shard_id) = of.strip_prefix("checkpoint ")?.split_once(' ')?;
        let mut row = Row::new(match kind {
            "at" => RowCheckpoint::At(place.sequence_number),
            "end" => RowCheckpoint::ShardEnd,
            "later" => RowCheckpoint::Latest,
            _ => RowCheckpoint::TrimHorizon,
        });
        row.sub_sequence_number = place.sub_sequence_number;
        Some((shard_id.to_owned(), row))
    });
    Some(rows.collect())
}

/// A run of `replay`.
struct Replay<'r> {
    args: &'r ReplayArgs,
    /// Shards to replay; none are all.
    shard_ids: Vec<String>,
    api: Rc<Api>,
    stream_arn: String,
    bounds: Bounds,
    delivery: Delivery<'r>,
    budget: Budget,
    skips: Option<Skips>,
    large: LargeRecords,
    progress: RefCell<Option<ProgressFile>>,
    report: RefCell<ReplayReport>,
    /// The outcome of a shard whose whole range was read, and delivered if that was asked for.
    whole: ReplayFate,
    meter: Meter,
}

impl Replay<'_> {
    async fn all(&self) -> Result<(), Error> {
        let walk = Walk {
            api: &self.api,
            shard_ids: &self.shard_ids,
            waits_for_parents: true,
            follows: false,
            concurrency: self.args.concurrency,
        };
        let not_begun = walk.visit(async |Visit { shard, .. }| self.visit(&shard.id).await).await?;
        for shard in not_begun {
            self.report.borrow_mut().end(&shard.id, ReplayFate::NotBegun)?;
        }
        Ok(())
    }

    async fn visit(&self, shard_id: &str) -> Result<Visited, Error> {
        let fate = match self.bounds.of_shard(shard_id) {
            Err(why) => ReplayFate::LeftOut { why },
            Ok(_) if self.delivery.halt.is_asked_for() => ReplayFate::Halted,
            Ok(bounds) => match self.shard(shard_id, bounds).await {
                // It may be about this shard only, such as a checkpoint that is no longer valid.
                Err(Error::Aws(error)) => ReplayFate::Unreadable { error: chain(&error) },
                fate => fate?,
            },
        };
        let visited = match &fate {
            ReplayFate::LeftOut { .. } => Visited::Whole,
            // What follows a record that was passed over is processed.
            ReplayFate::Skipped { .. } => Visited::Whole,
            fate if *fate == self.whole => Visited::Whole,
            _ => Visited::InPart,
        };
        match &fate {
            ReplayFate::Failed { at, error } => note(format_args!("stopped at {shard_id}/{at}: {error}")),
            ReplayFate::Unreadable { error } => note(format_args!("{shard_id} cannot be read: {error}")),
            _ => {}
        }
        self.report.borrow_mut().end(shard_id, fate)?;
        Ok(visited)
    }

    async fn shard(&self, shard_id: &str, bounds: ShardBounds) -> Result<ReplayFate, Error> {
        // From here on it is reported, whatever ends the run.
        self.report.borrow_mut().tally(shard_id);
        let key = format!("shard {shard_id}");
        let done = self.progress.borrow().as_ref().and_then(|progress| progress.through(&key));
        if let Some(skipped) = done.and_then(|done| done.sub_sequence_number) {
            self.report.borrow_mut().tally(shard_id).skipped = skipped;
        }
        let done = done.map(|done| done.sequence_number);
        let begin = done.map_or(bounds.begin, Position::At);
        // It shows whether what follows is still there.
        let mut expected = match begin {
            Position::At(number) => Some(number),
            _ => None,
        };
        let is_processed = done.is_some() || bounds.is_processed;
        let mut is_complete = true;
        let began_ms = now_ms();
        let pace = Rc::new(ReadPace::every(self.args.pace.interval()));
        let mut reader = ShardReader::begin(Rc::clone(&self.api), pace, shard_id, begin).await?;
        let origin = Origin::new(shard_id, &self.stream_arn);
        let mut deaggregator = Deaggregator::default();
        let mut batcher = Batcher::new(self.args.delivery.batch_size);
        let mut is_over = false;
        while !is_over {
            reader.turn().await;
            let mut share = self.budget.for_a_read().await;
            let Some(page) = reader.read().await? else { break };
            share
                .keep(page.records.iter().map(|record| record.data.len() + record.partition_key.len()).sum());
            is_over = match bounds.end {
                End::Latest => page.has_reached(began_ms),
                _ => page.records.is_empty() && !page.is_behind,
            };
            for record in &page.records {
                if let Some(expected) = expected.take() {
                    is_complete = record.sequence_number == expected;
                    if !is_complete && is_processed {
                        note_gap(shard_id, expected);
                        is_complete = true;
                    }
                }
                if done.is_some_and(|done| record.sequence_number <= done) {
                    continue;
                }
                let (record, within) = match bounds.cut(record, &mut deaggregator) {
                    Cut::Within { record, within } => (record, within),
                    Cut::Before => continue,
                    Cut::Behind => {
                        is_over = true;
                        break;
                    }
                };
                let record = record.in_event(&origin).into_owned();
                if let Some(fate) = self.push(shard_id, &key, &mut batcher, record, within).await? {
                    return Ok(fate);
                }
            }
            // What is left must not wait for the next read: that may be the last one.
            if let Some(batch) = batcher.finish()
                && let Some(fate) = self.send(shard_id, &key, batch).await?
            {
                return Ok(fate);
            }
            if self.delivery.halt.is_asked_for() && !is_over {
                return Ok(ReplayFate::Halted);
            }
        }
        if let Some(expected) = expected.take_if(|_| is_processed) {
            note_gap(shard_id, expected);
        }
        let skipped = self.report.borrow_mut().tally(shard_id).skipped;
        Ok(match is_complete && expected.is_none() {
            // Nothing of it is left, or not the first of it.
            false => ReplayFate::Lost,
            true if skipped > 0 => ReplayFate::Skipped { records: skipped },
            true => self.whole.clone(),
        })
    }
}

/// Warns that the stream no longer has the record at which a shard is resumed. That one is processed; whether others
/// followed it that are gone, too, nobody can tell.
fn note_gap(shard_id: &str, processed: SequenceNumber) {
    warning(format_args!(
        "warning: {shard_id}: record {processed} is processed and has left the stream; if unprocessed records followed it, \
         they may have left it, too"
    ));
}
