//! `kinesis-kit redrive`: from failure records to the Kinesis records that they name, and from there to a function.

mod discarded_range;
mod document;
mod source;
mod membership;
mod range_reader;
mod report;
mod job;
mod lane;

use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, HashMap},
    rc::{Rc, Weak},
    time::Duration,
};

use futures_util::stream::{self, StreamExt, TryStreamExt};
use kinesis_esm::StreamArn;
use tokio::time::{sleep, timeout};

use crate::{
    args::RedriveArgs,
    aws::{Attempts, AwsError},
    delivery::{
        Delivery, LargeRecords,
        progress_file::ProgressFile,
        skipped::Skips,
        target::{Target, TargetOptions},
    },
    error::{Completion, Error, chain},
    journal_table::{JournalTable, stranded::Retries},
    output::{
        meter::{Meter, Stdout},
        note::{count, note},
    },
    run::{self, halt::Halt},
    stream::{Api, ReadPace, name::StreamName},
};
use job::Job;
use lane::LaneWork;
use membership::Membership;
use report::{RedriveFate, RedriveReport};
use source::{Lane, Source};

/// Number of lanes that are worked on at once.
const CONCURRENCY: usize = 16;

/// Number of failure records of a lane that are deleted at once.
const DELETIONS: usize = 16;

/// Longest time that giving messages back may take.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest time of a deletion after the run was asked to end: less than the time that the run then has, so that its
/// outcome is reported.
const DELETION_TIMEOUT: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &RedriveArgs) -> Result<Completion, Error> {
    run::block_on(redrive(args))
}

async fn redrive(args: &RedriveArgs) -> Result<Completion, Error> {
    let source = open(args).await?;
    let target = Target::new(args.target.options(), None, args.target.timeout()).await?;
    let membership = membership(args).await?;
    // Events that are only written to files are not processed.
    let is_for_show = args.dry_run || !target.processes();
    let progress = if is_for_show { None } else { Some(open_progress(args)?) };
    let skips = args.skip.open()?;
    let large = args.large.open(&target).await?;
    let halt = Halt::default();
    let redrive = Redrive {
        args,
        source: &source,
        membership,
        delivery: Delivery::new(&target, args.delivery.attempts, &halt),
        large,
        streams: RefCell::default(),
        paces: RefCell::default(),
        skips,
        progress: RefCell::new(progress),
        report: RefCell::new(RedriveReport::new(args.format, Stdout::new())),
        jobs: RefCell::default(),
        next_job: Cell::new(0),
        has_read: Cell::new(false),
        unreachable: RefCell::default(),
        meter: Meter::new("redrive"),
    };
    let ended = run::until_interrupted(redrive.all(), &halt).await;
    target.shutdown().await;
    let interrupted = redrive.report_unfinished();
    let unreachable = redrive.unreachable.take().filter(|_| !redrive.has_read.get());
    let Redrive { progress, report, meter, large, .. } = redrive;
    drop(meter);
    let mut report = report.into_inner();
    let finished = report.finish();
    note(report.summary());
    large.note_stored();
    // What is not given back becomes visible by itself.
    let others = match timeout(RELEASE_TIMEOUT, source.release()).await {
        Ok(Ok(others)) => others,
        Ok(Err(error)) => {
            note(format_args!("messages are not given back yet: {}", chain(&error)));
            0
        }
        Err(_) => 0,
    };
    let is_good = report.is_all_good() && !halt.is_asked_for();
    let ended = ended.and(interrupted).and(finished.map_err(Error::Write));
    if let Some(progress) = progress.into_inner() {
        if !progress.has_begun() || (ended.is_ok() && is_good) {
            progress.delete()?;
        } else {
            let path = progress.path().display();
            note(format_args!("the same command resumes: its progress is in {path}"));
        }
    }
    ended.map_err(Error::of_work)?;
    if halt.is_asked_for() {
        return Err(Error::Interrupted);
    }
    if let Some(error) = unreachable
        && !report.has_delivered()
    {
        return Err(error.into());
    }
    if others > 0 {
        let messages = count(others, "message");
        note(format_args!("{messages} more: another run has or had received them; run again in two minutes"));
    }
    Ok(if is_good && others == 0 { Completion::Done } else { Completion::SomeFailed })
}

async fn open(args: &RedriveArgs) -> Result<Source, Error> {
    let RedriveArgs { queue, s3, file, discarded, .. } = args;
    let filter = args.shards.filter();
    if discarded.is_none() && (filter.application.is_some() || filter.shard_id.is_some()) {
        return Err(Error::Usage("--application and --shard are for --discarded".to_owned()));
    }
    if let Some(name) = queue {
        let visibility = Duration::from_secs(args.visibility_timeout.into());
        return Ok(Source::queue(name, visibility).await?);
    }
    if let Some(prefix) = s3 {
        return Ok(Source::bucket(prefix.clone(), args.bucket_owner.clone()).await?);
    }
    if let Some(path) = file {
        return Source::file(path);
    }
    let table = discarded.as_deref().expect("the command line has one of four sources");
    let table = JournalTable::open(table, &filter).await?;
    let function = match args.target.options() {
        TargetOptions::Function(name) => Some(name),
        _ => None,
    };
    let retries = Retries::new(args.max_age.map(Duration::from_secs), function.as_deref());
    Source::discarded(table, &filter, retries).await
}

async fn membership(args: &RedriveArgs) -> Result<Membership, Error> {
    let stream = args.shards.filter().stream;
    Ok(match (args.any_stream, stream, args.target.options()) {
        (true, ..) => Membership::any(),
        (_, Some(stream), _) => Membership::of_stream(stream),
        (_, _, TargetOptions::Function(name)) => Membership::of_function(&name).await?,
        // Nothing says which mapping invokes these.
        _ => Membership::any(),
    })
}

fn open_progress(args: &RedriveArgs) -> Result<ProgressFile, Error> {
    let RedriveArgs { queue, s3, file, discarded, shards, .. } = args;
    let from = match (queue, s3, file, discarded) {
        (Some(name), ..) => format!("queue {name}"),
        (_, Some(prefix), ..) => prefix.to_string(),
        // From another directory, the same name is another file.
        (_, _, Some(path), _) => format!("file {}", path.canonicalize().unwrap_or(path.clone()).display()),
        (.., table) => {
            format!("discarded records of {} ({})", table.as_deref().unwrap_or_default(), shards.filter())
        }
    };
    let of = format!("redrive {from} to {}", args.target.options());
    let progress = ProgressFile::open(args.progress.progress.as_deref(), &of, args.progress.restart)?;
    if progress.has_begun() {
        note(format_args!("resuming an earlier run: {}", progress.path().display()));
    }
    Ok(progress)
}

/// A run of `redrive`.
struct Redrive<'r> {
    args: &'r RedriveArgs,
    source: &'r Source,
    membership: Membership,
    delivery: Delivery<'r>,
    large: LargeRecords,
    /// By ARN, for as long as a lane uses them.
    streams: RefCell<HashMap<String, Weak<Api>>>,
    /// By stream and shard, as well.
    paces: RefCell<HashMap<String, Weak<ReadPace>>>,
    skips: Option<Skips>,
    /// Progress file; absent if nothing is delivered to a function.
    progress: RefCell<Option<ProgressFile>>,
    report: RefCell<RedriveReport<Stdout>>,
    /// Failure records in work, in the order in which they were begun.
    jobs: RefCell<BTreeMap<u64, Rc<Job>>>,
    next_job: Cell<u64>,
    /// Whether Kinesis has answered a read.
    has_read: Cell<bool>,
    /// The first read that Kinesis did not answer.
    unreachable: RefCell<Option<AwsError>>,
    meter: Meter,
}

impl Redrive<'_> {
    async fn all(&self) -> Result<(), Error> {
        tokio::select! {
            biased;
            ended = self.rounds() => ended,
            () = self.source.hold() => Ok(()),
        }
    }

    async fn rounds(&self) -> Result<(), Error> {
        loop {
            let lanes = tokio::select! {
                lanes = self.source.lanes() => lanes?,
                () = self.delivery.halt.asked() => return Ok(()),
            };
            if lanes.is_empty() {
                return Ok(());
            }
            let lanes = stream::iter(lanes).map(Ok);
            lanes.try_for_each_concurrent(CONCURRENCY, |lane| self.lane(lane)).await?;
            // Of streams and shards that no lane uses any more.
            self.streams.borrow_mut().retain(|_, api| api.strong_count() > 0);
            self.paces.borrow_mut().retain(|_, pace| pace.strong_count() > 0);
        }
    }

    async fn lane(&self, mut lane: Lane) -> Result<(), Error> {
        let mut work = LaneWork::new(self);
        while !self.delivery.halt.is_asked_for() {
            let loaded = self.source.load(&mut lane).await;
            if loaded.is_empty() {
                break;
            }
            for found in loaded {
                if self.delivery.halt.is_asked_for() {
                    break;
                }
                let job = self.begin(Job::new(found));
                if !self.source.holds(&job.found) {
                    let why =
                        "its visibility timeout ran out, so another run may have received it".to_owned();
                    job.fail(RedriveFate::Unknown { why });
                }
                work.add(job).await?;
            }
        }
        work.finish().await
    }

    fn begin(&self, job: Job) -> Rc<Job> {
        let (number, job) = (self.next_job.get(), Rc::new(job));
        self.next_job.set(number + 1);
        job.number.set(number);
        self.jobs.borrow_mut().insert(number, Rc::clone(&job));
        job
    }

    /// Reports finished failure records, and deletes those whose records are all processed.
    async fn settle(&self, jobs: Vec<Rc<Job>>) -> Result<(), Error> {
        let settled = stream::iter(jobs).map(async |job: Rc<Job>| {
            let fate = self.delete(&job).await;
            (job, fate)
        });
        let mut settled = std::pin::pin!(settled.buffered(DELETIONS));
        while let Some((job, fate)) = settled.next().await {
            self.jobs.borrow_mut().remove(&job.number.get());
            self.report.borrow_mut().add(&job.found, job.counts(), &fate?)?;
        }
        self.meter.say(self.report.borrow().summary());
        Ok(())
    }

    /// Deletes a failure record from its source, if all of its records are processed that can be. Returns its outcome.
    async fn delete(&self, job: &Job) -> Result<RedriveFate, Error> {
        let fate = job.fate(self.outcome());
        let is_over = match fate {
            RedriveFate::Processed => true,
            RedriveFate::Lost { .. } => self.args.delete_lost,
            _ => false,
        };
        // What was passed over has only a copy in a file of this machine.
        let is_over = is_over && !job.has_skipped();
        if !is_over || self.args.keep || self.progress.borrow().is_none() || !self.source.deletes() {
            return Ok(fate);
        }
        if !self.source.holds(&job.found) {
            // The progress file remembers that it is processed.
            let error = "its visibility timeout ran out, so another run may have received it".to_owned();
            return Ok(RedriveFate::Kept { error });
        }
        let deleted = tokio::select! {
            deleted = self.source.delete(&job.found) => deleted,
            () = self.give_up() => return Ok(RedriveFate::Kept { error: "the run has ended first".to_owned() }),
        };
        if let Err(error) = deleted {
            return Ok(RedriveFate::Kept { error: chain(&error) });
        }
        if let Some(progress) = self.progress.borrow_mut().as_mut() {
            // The mapping may discard the same records again, in another failure record. The loss is forgotten last: if the
            // run is killed in between, no failure record counts as processed that is not.
            let keys = job.parts_key().into_iter().chain(job.key().map(str::to_owned)).chain(job.loss_key());
            for key in keys {
                progress.forget(&key)?;
            }
        }
        Ok(fate)
    }

    /// Waits until the run was asked to end some time ago.
    async fn give_up(&self) {
        self.delivery.halt.asked().await;
        sleep(DELETION_TIMEOUT).await;
    }

    /// The outcome of a failure record with which nothing is wrong.
    fn outcome(&self) -> RedriveFate {
        match self.progress.borrow().as_ref() {
            Some(_) => RedriveFate::Processed,
            None if self.args.dry_run => RedriveFate::Found,
            None => RedriveFate::Written,
        }
    }

    /// Reports failure records that were in work when the run ended.
    fn report_unfinished(&self) -> Result<(), Error> {
        for job in self.jobs.take().into_values() {
            self.report.borrow_mut().add(&job.found, job.counts(), &RedriveFate::Halted)?;
        }
        Ok(())
    }

    async fn api(&self, stream: &StreamArn) -> Result<Rc<Api>, AwsError> {
        let known = self.streams.borrow().get(stream.as_str()).and_then(Weak::upgrade);
        if let Some(api) = known {
            return Ok(api);
        }
        let api =
            Rc::new(Api::connect(StreamName::Arn(stream.clone())).await?.with_attempts(Attempts::Bounded));
        self.streams.borrow_mut().insert(stream.as_str().to_owned(), Rc::downgrade(&api));
        Ok(api)
    }

    fn pace(&self, stream: &StreamArn, shard_id: &str) -> Rc<ReadPace> {
        let key = format!("{} {shard_id}", stream.as_str());
        let mut paces = self.paces.borrow_mut();
        if let Some(pace) = paces.get(&key).and_then(Weak::upgrade) {
            return pace;
        }
        let pace = Rc::new(ReadPace::every(self.args.pace.interval()));
        paces.insert(key, Rc::downgrade(&pace));
        pace
    }
}
