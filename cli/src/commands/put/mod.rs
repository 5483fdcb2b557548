//! `kinesis-kit put`: from JSON lines to the records of a stream.

mod lines;
mod request;
mod receipts;

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    time::Duration,
};

use kpl_deaggregation::{AggregateError, Aggregator, AggregatorOptions, Grouping, PutEntry, UserRecordInput};
use tokio::time::{sleep, timeout};

use crate::{
    args::{GroupBy, PutArgs},
    aws::payload_bucket::PayloadBucket,
    error::{self, Completion, Error},
    input::{
        compression::compressed,
        user_record_line::{LineError, PAYLOAD_ADVICE, UserRecordLine},
    },
    output::{
        meter::{Meter, Stdout},
        note::{count, note, warning},
    },
    run::{self, halt::Halt},
    stream::Api,
};
use lines::Lines;
use receipts::Receipts;
use request::Request;

/// Time for which user records wait for others to share their Kinesis record.
const LINGER: Duration = Duration::from_millis(100);

/// Time after a signal for putting what has been read.
const LAST_PUT_TIME: Duration = Duration::from_secs(10);

/// Number of user records, and bytes of their lines, after which everything is put that waits to share a Kinesis record.
/// It bounds memory, because each partition key may have a Kinesis record of its own, and the lines that are put twice
/// when they are put again after a run that ended early.
const MAX_GATHERED_RECORDS: u64 = 50_000;
const MAX_GATHERED_BYTES: usize = 64 * 1024 * 1024;

/// Advice about a user record that no Kinesis record can hold.
const LARGE_ADVICE: &str =
    "--large-to s3://BUCKET puts large payloads into S3, and pointers to them into the stream";

/// The counts of the input, kept outside of the work, which may be dropped at any time.
struct Ledger {
    receipts: RefCell<Receipts<Stdout>>,
    wrong_lines: Cell<u64>,
    /// Number of the last line that was read.
    read: Cell<u64>,
    /// Number of the last line up to which everything is put or listed.
    settled: Cell<u64>,
    /// Whether the option for large payloads was named.
    has_advised: Cell<bool>,
    /// The place for large payloads, if there is one.
    large: Option<PayloadBucket>,
}

pub(crate) fn run(args: &PutArgs) -> Result<Completion, Error> {
    run::block_on(async {
        let halt = Halt::default();
        let ledger = Ledger {
            receipts: RefCell::new(Receipts::new(args.format, Stdout::new())),
            wrong_lines: Cell::new(0),
            read: Cell::new(0),
            settled: Cell::new(0),
            has_advised: Cell::new(false),
            large: match &args.large_to {
                Some(prefix) => Some(PayloadBucket::connect(prefix).await?),
                None => None,
            },
        };
        let ended = run::until_interrupted(put(args, &halt, &ledger), &halt).await;
        let ended = if halt.is_asked_for() { ended.and(Err(Error::Interrupted)) } else { ended };
        // A stream that cannot be used has got nothing.
        if ended.is_ok() || ledger.read.get() > 0 {
            note(ledger.receipts.borrow().summary());
        }
        ledger.large.as_ref().and_then(PayloadBucket::summary).into_iter().for_each(note);
        if ended.is_err() {
            ledger.note_rest();
        }
        ended.map_err(|error| with_hint(error, args))?;
        let has_failed = ledger.wrong_lines.get() > 0 || ledger.receipts.borrow().refused() > 0;
        Ok(if has_failed { Completion::SomeFailed } else { Completion::Done })
    })
}

impl Ledger {
    /// Says which lines are to be put again after a run that ended early.
    fn note_rest(&self) {
        let (settled, read) = (self.settled.get(), self.read.get());
        if read > settled {
            let first = settled + 1;
            note(format_args!(
                "some of the lines {first} to {read} may be put, and those before are: put the input again from line \
                 {first} on"
            ));
        } else if read > 0 {
            note(format_args!("everything up to line {read} is put: continue with line {}", read + 1));
        }
    }
}

/// Names the option that makes a stream which is not there.
fn with_hint(error: Error, args: &PutArgs) -> Error {
    match error {
        Error::Aws(source) if source.is("ResourceNotFoundException") && args.create.is_none() => {
            Error::NoStream(source)
        }
        error => error,
    }
}

async fn put(args: &PutArgs, halt: &Halt, ledger: &Ledger) -> Result<(), Error> {
    let lines = Lines::read(&args.file)?;
    let api = Api::connect(args.stream.clone()).await?;
    let meter = Meter::new("put");
    if let Some(shards) = args.create {
        if api.create(shards).await? {
            note(format_args!("making stream {} with {}", args.stream, count(shards as u64, "shard")));
        }
        api.wait_until_active().await?;
    }
    let producer = Producer::new(args, api, ledger, meter).await?;
    let Some(_in_flight) = halt.enter() else { return Ok(()) };
    let time_is_up = async {
        halt.asked().await;
        sleep(LAST_PUT_TIME).await;
    };
    tokio::select! {
        biased;
        ended = put_lines(lines, producer, halt) => ended,
        () = time_is_up => Err(Error::Interrupted),
    }
}

/// Puts all lines, or those that were read before the run shall end.
async fn put_lines(mut lines: Lines, mut producer: Producer<'_>, halt: &Halt) -> Result<(), Error> {
    'input: loop {
        let batch = match timeout(LINGER, lines.next()).await {
            // Nobody else joins them now.
            Err(_) => {
                producer.flush().await?;
                tokio::select! {
                    batch = lines.next() => batch,
                    () = halt.asked() => break,
                }
            }
            Ok(batch) => batch,
        };
        let Some(batch) = batch else { break };
        let batch = match batch {
            Ok(batch) => batch,
            Err(source) => {
                // What was read before is put.
                producer.flush().await?;
                return Err(Error::Read { input: producer.args.file.display().to_string(), source });
            }
        };
        for (number, line) in batch.iter() {
            producer.take(number, line).await?;
            if halt.is_asked_for() {
                break 'input;
            }
        }
    }
    producer.flush().await
}

/// Gathers user records into Kinesis records, and those into requests.
struct Producer<'a> {
    args: &'a PutArgs,
    api: Api,
    /// Aggregator; absent without aggregation.
    aggregator: Option<Aggregator>,
    /// The open shards that the aggregator knows.
    shards: Vec<String>,
    request: Request,
    ledger: &'a Ledger,
    /// User records since everything was put, and the bytes of their lines.
    gathered: (u64, usize),
    meter: Meter,
}

impl<'a> Producer<'a> {
    async fn new(args: &'a PutArgs, api: Api, ledger: &'a Ledger, meter: Meter) -> Result<Self, Error> {
        let mut producer = Producer {
            args,
            api,
            aggregator: None,
            shards: Vec::new(),
            request: Request::default(),
            ledger,
            gathered: (0, 0),
            meter,
        };
        if !args.plain {
            producer.aggregate().await?;
        }
        Ok(producer)
    }

    /// Makes an aggregator for the shards as they are now.
    async fn aggregate(&mut self) -> Result<(), Error> {
        let grouping = match self.args.group_by {
            GroupBy::PartitionKey => Grouping::PartitionKey,
            GroupBy::Shard => {
                let open: Vec<_> =
                    self.api.shards().await?.into_iter().filter(|shard| shard.is_open).collect();
                self.shards = open.iter().map(|shard| shard.id.clone()).collect();
                Grouping::ShardRanges(open.into_iter().map(|shard| shard.hash_key_range).collect())
            }
        };
        let options = AggregatorOptions { size_limit_bytes: self.args.size_limit, grouping };
        let aggregator = Aggregator::new(options);
        self.aggregator =
            Some(aggregator.expect("the command line takes no size limit above the aggregator's"));
        Ok(())
    }

    /// Takes a line. A wrong one is listed.
    async fn take(&mut self, number: u64, line: &[u8]) -> Result<(), Error> {
        self.ledger.read.set(number);
        if line.trim_ascii().is_empty() {
            return Ok(());
        }
        match self.close(line).await? {
            Ok(None) => {}
            Ok(Some(record)) => self.push(record).await?,
            Err(error) => {
                self.ledger.wrong_lines.update(|lines| lines + 1);
                warning(format_args!("line {number}: {}", error::chain(&error)));
                if let LineError::Refused(AggregateError::UserRecordTooLarge { size, .. }) = error
                    && size > self.args.large_above
                    && self.args.large_to.is_none()
                    && !self.ledger.has_advised.replace(true)
                {
                    note(LARGE_ADVICE);
                }
                if number == 1 && self.args.key.is_none() && error.may_be_payload() {
                    note(PAYLOAD_ADVICE);
                }
            }
        }
        self.gathered.0 += 1;
        self.gathered.1 += line.len();
        if self.gathered.0 >= MAX_GATHERED_RECORDS || self.gathered.1 >= MAX_GATHERED_BYTES {
            self.flush().await?;
        }
        Ok(())
    }

    /// The Kinesis record that is complete with, or without, this user record. A large payload is in S3 then.
    async fn close(&mut self, line: &[u8]) -> Result<Result<Option<PutEntry>, LineError>, Error> {
        let line = match UserRecordLine::read(line, self.args.key.as_ref()) {
            Ok(line) => line,
            Err(error) => return Ok(Err(error)),
        };
        let data = match line.data() {
            Ok(data) => compressed(data, self.args.compress),
            Err(error) => return Ok(Err(error)),
        };
        let data = match &self.ledger.large {
            Some(large) if data.len() > self.args.large_above => Cow::Owned(large.put(&data).await?),
            _ => data,
        };
        Ok(self.add(line.user_record(&data)))
    }

    fn add(&mut self, user_record: UserRecordInput<'_>) -> Result<Option<PutEntry>, LineError> {
        if let Some(aggregator) = &mut self.aggregator {
            return Ok(aggregator.add(user_record)?);
        }
        // An aggregator of its own checks it, and puts what is alone as it is.
        let mut alone = Aggregator::new(AggregatorOptions {
            size_limit_bytes: kpl_deaggregation::MAX_SIZE_LIMIT_BYTES,
            grouping: Grouping::PartitionKey,
        })
        .expect("the largest limit is taken");
        alone.add(user_record)?;
        Ok(alone.finish().pop())
    }

    async fn push(&mut self, record: PutEntry) -> Result<(), Error> {
        let was_resharded = if self.request.has_room_for(&record) { false } else { self.send().await? };
        self.request.push(record);
        if was_resharded {
            // What is open was gathered for the old shards: out with it, behind what was closed before, then anew.
            let open = self.aggregator.as_mut().map(Aggregator::finish).unwrap_or_default();
            self.aggregate().await?;
            for record in open {
                if !self.request.has_room_for(&record) {
                    self.send().await?;
                }
                self.request.push(record);
            }
        }
        Ok(())
    }

    /// Puts all that has been gathered.
    async fn flush(&mut self) -> Result<(), Error> {
        let closed = self.aggregator.as_mut().map(Aggregator::finish).unwrap_or_default();
        for record in closed {
            self.push(record).await?;
        }
        if self.send().await? {
            self.aggregate().await?;
        }
        self.gathered = (0, 0);
        self.ledger.settled.set(self.ledger.read.get());
        Ok(())
    }

    /// Returns whether the aggregator no longer knows the shards.
    async fn send(&mut self) -> Result<bool, Error> {
        if self.request.is_empty() {
            return Ok(false);
        }
        let request = std::mem::take(&mut self.request);
        self.meter.add(request.user_records());
        let has_new_shard = request.send(&self.api, &self.ledger.receipts, &self.shards).await?;
        Ok(has_new_shard && self.args.group_by == GroupBy::Shard && self.aggregator.is_some())
    }
}
