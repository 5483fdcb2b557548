//! `kinesis-kit redrive`: from failure records to the Kinesis records that they name, and from there to a function.

mod failure_record;
mod source;
mod report;

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    io,
    rc::Rc,
    time::Duration,
};

use kinesis_esm_simulator::Origin;
use kinesis_handler::{EventMode, KinesisRecord, SequenceNumber};
use tokio::time::timeout;

use crate::{
    args::RedriveArgs,
    delivery::{Batch, Batcher, Delivered, Delivery},
    error::{Error, Outcome},
    halt::Halt,
    journal_table::{JournalTable, ShardFilter},
    kinesis::{Api, ReadPace, StreamRange},
    meter::Meter,
    note::{count, note},
    progress_file::{Place, ProgressFile},
    run,
    stream_arn::StreamArn,
    stream_name::StreamName,
    target::{Target, TargetOptions},
};
use failure_record::FailureRecord;
use report::{Fate, Report};
use source::{Found, Source};

pub(crate) fn run(args: &RedriveArgs) -> Result<Outcome, Error> {
    run::block_on(redrive(args))
}

async fn redrive(args: &RedriveArgs) -> Result<Outcome, Error> {
    let source = open(args).await?;
    let target = Target::new(args.target.options(), None, args.target.timeout()).await?;
    // What is only written down is not done.
    let is_for_show = args.dry_run || !target.processes();
    let progress = if is_for_show { None } else { Some(open_progress(args)?) };
    let halt = Halt::default();
    let redrive = Redrive {
        args,
        delivery: Delivery::new(&target, EventMode::Redrive, args.delivery.attempts, &halt),
        streams: RefCell::default(),
        paces: RefCell::default(),
        progress: RefCell::new(progress),
        owners: RefCell::default(),
        meter: Meter::new("redrive"),
    };
    let mut report = Report::new(args.format, io::stdout().lock());
    let work = redrive.all(&source, &mut report);
    let ended = run::until_interrupted(work, &halt).await;
    target.shutdown().await;
    let Redrive { progress, meter, .. } = redrive;
    drop(meter);
    report.finish()?;
    note(report.summary());
    // What is not given back comes back by itself.
    let others = match timeout(RELEASE_TIMEOUT, source.release()).await {
        Ok(Ok(others)) => others,
        Ok(Err(error)) => {
            note(format_args!("messages are not given back yet: {}", crate::error::chain(&error)));
            0
        }
        Err(_) => 0,
    };
    ended?;
    if halt.is_asked_for() {
        note("interrupted: the same command goes on from here");
        return Err(Error::Interrupted);
    }
    if others > 0 {
        let messages = count(others, "message");
        note(format_args!("{messages} more: another run has them, or had; run again in a minute"));
    }
    let is_done = report.is_all_good() && others == 0;
    if let Some(progress) = progress.into_inner()
        && (report.is_all_good() || !progress.has_begun())
    {
        progress.delete()?;
    }
    Ok(if is_done { Outcome::Done } else { Outcome::SomeFailed })
}

/// How long giving back may take.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

async fn open(args: &RedriveArgs) -> Result<Source, Error> {
    let RedriveArgs { queue, s3, file, holes, .. } = args;
    if holes.is_none() && args.shards.filter() != ShardFilter::default() {
        return Err(Error::Usage("--application, --stream and --shard are for --holes".to_owned()));
    }
    if let Some(name) = queue {
        return Ok(Source::queue(name).await?);
    }
    if let Some(prefix) = s3 {
        return Ok(Source::bucket(prefix.clone()).await?);
    }
    if let Some(path) = file {
        return Source::file(path);
    }
    let table = holes.as_deref().expect("the command line has one of four sources");
    let filter = args.shards.filter();
    Source::holes(JournalTable::open(table, &filter).await?, &filter).await
}

fn open_progress(args: &RedriveArgs) -> Result<ProgressFile, Error> {
    let RedriveArgs { queue, s3, file, holes, shards, .. } = args;
    let from = match (queue, s3, file, holes) {
        (Some(name), ..) => format!("queue {name}"),
        (_, Some(prefix), ..) => prefix.to_string(),
        // From another directory, the same name is another file.
        (_, _, Some(path), _) => format!("file {}", path.canonicalize().unwrap_or(path.clone()).display()),
        (.., table) => format!("holes of {} ({})", table.as_deref().unwrap_or_default(), shards.filter()),
    };
    let of = format!("redrive {from} to {}", args.target.options());
    let progress = ProgressFile::open(args.progress.progress.as_deref(), &of, args.progress.restart)?;
    if progress.has_begun() {
        note(format_args!("going on from an earlier run: {}", progress.path().display()));
    }
    Ok(progress)
}

/// A run.
struct Redrive<'r> {
    args: &'r RedriveArgs,
    delivery: Delivery<'r>,
    /// By ARN.
    streams: RefCell<HashMap<String, Rc<Api>>>,
    /// By stream and shard.
    paces: RefCell<HashMap<String, Rc<ReadPace>>>,
    progress: RefCell<Option<ProgressFile>>,
    /// Functions that somebody has been told of.
    owners: RefCell<HashSet<String>>,
    meter: Meter,
}

/// What delivering has come to, up to now.
#[derive(Debug, Default)]
struct Tally {
    delivered: u64,
    /// Why nothing more is delivered.
    stop: Option<Fate>,
}

impl Redrive<'_> {
    async fn all(&self, source: &Source, report: &mut Report<impl io::Write>) -> Result<(), Error> {
        let work = async {
            while let Some(found) = source.next().await? {
                let mut tally = Tally::default();
                let fate = self.one(&found, &mut tally).await?;
                self.settle(source, &found, &fate).await?;
                report.add(&found, tally.delivered, &fate)?;
                self.meter.say(report.summary());
                if fate == Fate::Halted || self.delivery.halt.is_asked_for() {
                    break;
                }
            }
            Ok(())
        };
        tokio::select! {
            biased;
            ended = work => ended,
            ended = source.hold() => ended,
        }
    }

    /// Takes it out of its source, if all of it is done that can be.
    async fn settle(&self, source: &Source, found: &Found, fate: &Fate) -> Result<(), Error> {
        let is_over = match fate {
            Fate::Done => true,
            Fate::Lost { .. } => self.args.delete_lost,
            _ => false,
        };
        if !is_over || self.args.keep || self.progress.borrow().is_none() || !source.deletes() {
            return Ok(());
        }
        source.delete(found).await?;
        if let (Some(progress), Ok(record)) = (self.progress.borrow_mut().as_mut(), &found.record) {
            // The mapping may discard the same records again, in another failure record.
            progress.forget(&record.key())?;
        }
        Ok(())
    }

    async fn one(&self, found: &Found, tally: &mut Tally) -> Result<Fate, Error> {
        let record = match &found.record {
            Ok(record) => record,
            Err(error) => return Ok(report::unreadable(error)),
        };
        let key = record.key();
        let done = self.progress.borrow().as_ref().and_then(|progress| progress.through(&key));
        let done = done.map(|place| place.sequence_number);
        if done == Some(record.last) {
            return Ok(if self.args.dry_run { Fate::Found } else { Fate::Done });
        }
        self.note_owner(&record.owner);
        let payload = match record.payload_records() {
            Ok(payload) => payload,
            // The stream may still have them.
            Err(error) => {
                note(format_args!("{}: {}", found.name, crate::error::chain(&error)));
                None
            }
        };
        let range = StreamRange::begin(
            self.api(&record.stream).await?,
            self.pace(record),
            &record.shard_id,
            (record.first, record.last),
            done,
        );
        let lost = match (range.await?, payload) {
            (Some(range), payload) if range.has_start() || payload.is_none() => {
                let only = payload.map(|records| numbers(&records).collect::<HashSet<_>>());
                self.deliver_from_stream(record, &key, range, only, done, tally).await?
            }
            (_, Some(payload)) => {
                let wanted = payload
                    .into_iter()
                    .filter(|record| done.is_none_or(|done| record.sequence_number > done));
                self.send_all(&key, wanted.collect(), tally).await?;
                None
            }
            (_, None) => Some((record.batch_size, "the stream or its shard is gone".to_owned())),
        };
        Ok(match (tally.stop.take(), lost) {
            (Some(fate), _) => fate,
            (None, Some((records, why))) => Fate::Lost { records, why },
            (None, None) if self.args.dry_run => Fate::Found,
            (None, None) if self.progress.borrow().is_none() => Fate::Written,
            (None, None) => Fate::Done,
        })
    }

    /// Two functions may share a destination.
    fn note_owner(&self, owner: &str) {
        let TargetOptions::Function(name) = self.args.target.options() else { return };
        // arn:PARTITION:lambda:REGION:ACCOUNT:function:NAME[:QUALIFIER]
        let plain =
            |text: &str| text.split(':').skip_while(|part| *part != "function").nth(1).map(str::to_owned);
        let (Some(of), name) = (plain(owner), plain(&name).unwrap_or(name)) else { return };
        if name.split(':').next() != Some(of.as_str()) && self.owners.borrow_mut().insert(of.clone()) {
            note(format_args!(
                "warning: there are failure records of the function {of}, which go to {name}, too"
            ));
        }
    }

    /// Delivers what the stream still has. Returns how much it has lost, and why that is known.
    async fn deliver_from_stream(
        &self,
        record: &FailureRecord,
        key: &str,
        mut range: StreamRange,
        only: Option<HashSet<SequenceNumber>>,
        done: Option<SequenceNumber>,
        tally: &mut Tally,
    ) -> Result<Option<(Option<u64>, String)>, Error> {
        let origin = Origin::new(&record.shard_id, record.stream.as_str());
        let mut batcher = Batcher::new(self.args.delivery.batch_size);
        let mut read = 0;
        while let Some(records) = range.next().await? {
            for stream_record in records {
                if only.as_ref().is_some_and(|only| !only.contains(&stream_record.sequence_number)) {
                    continue;
                }
                read += 1;
                if let Some(batch) = batcher.push(stream_record.in_event(&origin).into_owned(), true) {
                    self.send(key, batch, tally).await?;
                }
                if tally.stop.is_some() {
                    return Ok(None);
                }
            }
        }
        if let Some(batch) = batcher.finish() {
            self.send(key, batch, tally).await?;
        }
        // Members of aggregates are no measure, and neither is what an earlier run has left over.
        let expected = record.batch_size.filter(|_| !record.is_fan_out && done.is_none());
        let missing = expected.map(|expected| expected.saturating_sub(read));
        if expected.is_some_and(|expected| expected < read) && tally.stop.is_none() {
            let others = count(read - expected.unwrap_or_default(), "record");
            note(format_args!(
                "{}: {others} more than were discarded lie in between; delivered, too",
                record.shard_id
            ));
        }
        Ok(match (range.has_start(), range.has_end(), missing) {
            (true, true, None | Some(0)) => None,
            (false, false, missing) if read == 0 => {
                Some((missing.or(record.batch_size), "the stream has none of them any more".to_owned()))
            }
            (false, ..) => Some((missing, "the stream has dropped the first of them".to_owned())),
            (_, false, missing) => Some((missing, "the stream does not have the last of them".to_owned())),
            (true, true, missing) => Some((missing, "the stream does not have all of them".to_owned())),
        })
    }

    async fn send_all(
        &self,
        key: &str,
        records: Vec<KinesisRecord<'static>>,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        let mut batcher = Batcher::new(self.args.delivery.batch_size);
        let mut records = records.into_iter().peekable();
        while let Some(record) = records.next() {
            let next = records.peek().map(|next| next.sequence_number);
            let is_last = next != Some(record.sequence_number);
            if let Some(batch) = batcher.push(record, is_last) {
                self.send(key, batch, tally).await?;
            }
            if tally.stop.is_some() {
                return Ok(());
            }
        }
        match batcher.finish() {
            Some(batch) => self.send(key, batch, tally).await,
            None => Ok(()),
        }
    }

    async fn send(
        &self,
        key: &str,
        Batch { records: batch, known: is_last }: Batch<bool>,
        tally: &mut Tally,
    ) -> Result<(), Error> {
        if tally.stop.is_some() || self.args.dry_run {
            return Ok(());
        }
        let numbers: Vec<_> = numbers(&batch).collect();
        let mut noted = Ok(());
        let mut delivered = 0;
        let done = |records: usize| {
            self.meter.add((records - delivered) as u64);
            delivered = records;
            // Members of an aggregate that Lambda has taken apart share their number: it is done with the last of them.
            let done = numbers[..records].iter().zip(&is_last);
            let through = done.rev().find(|(_, is_last)| **is_last).map(|(number, _)| number);
            if let (Some(progress), Some(&through)) = (self.progress.borrow_mut().as_mut(), through)
                && noted.is_ok()
            {
                noted = progress.note(key, Place::whole(through));
            }
        };
        let outcome = self.delivery.deliver(batch, done).await?;
        noted?;
        tally.delivered += delivered as u64;
        tally.stop = match outcome {
            Delivered::All => None,
            Delivered::UpTo { failed, error } => Some(Fate::Failed { at: numbers[failed], error }),
            Delivered::Halted => Some(Fate::Halted),
        };
        Ok(())
    }

    async fn api(&self, stream: &StreamArn) -> Result<Rc<Api>, Error> {
        if let Some(api) = self.streams.borrow().get(stream.as_str()) {
            return Ok(Rc::clone(api));
        }
        let api = Rc::new(Api::connect(StreamName::Arn(stream.clone())).await?);
        self.streams.borrow_mut().insert(stream.as_str().to_owned(), Rc::clone(&api));
        Ok(api)
    }

    fn pace(&self, record: &FailureRecord) -> Rc<ReadPace> {
        let key = format!("{} {}", record.stream.as_str(), record.shard_id);
        let new = || Rc::new(ReadPace::every(self.args.pace.interval()));
        self.paces.borrow_mut().entry(key).or_insert_with(new).clone()
    }
}

fn numbers(records: &[KinesisRecord<'_>]) -> impl Iterator<Item = SequenceNumber> {
    records.iter().map(|record| record.sequence_number)
}
