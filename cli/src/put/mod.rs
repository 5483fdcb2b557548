//! `kinesis-kit put`: from JSON lines to the records of a stream.

mod lines;
mod request;
mod receipts;

use std::{io, time::Duration};

use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, KinesisRecordInput};
use tokio::time::timeout;

use crate::{
    args::{GroupBy, PutArgs},
    error::{self, Error, Outcome},
    halt::Halt,
    kinesis::Api,
    meter::Meter,
    note::{count, note},
    run,
    user_record_line::{LineError, UserRecordLine},
};
use lines::Lines;
use receipts::Receipts;
use request::Request;

/// How long user records wait for others to share their Kinesis record.
const LINGER: Duration = Duration::from_millis(100);

pub(crate) fn run(args: &PutArgs) -> Result<Outcome, Error> {
    run::block_on(async {
        let halt = Halt::default();
        run::until_interrupted(put(args, &halt), &halt).await
    })
}

async fn put(args: &PutArgs, halt: &Halt) -> Result<Outcome, Error> {
    let mut lines = Lines::read(&args.file)?;
    let api = Api::connect(args.stream.clone()).await?;
    if let Some(shards) = args.create {
        if api.create(shards).await? {
            note(format_args!("making stream {} with {}", args.stream, count(shards as u64, "shard")));
        }
        api.wait_until_active().await?;
    }
    let mut producer = Producer::new(args, api).await?;
    let mut wrong_lines = 0;
    loop {
        let line = match timeout(LINGER, lines.next()).await {
            // Nobody else joins them now.
            Err(_) => {
                producer.flush().await?;
                tokio::select! {
                    line = lines.next() => line,
                    () = halt.asked() => break,
                }
            }
            Ok(line) => line,
        };
        let Some((number, line)) = line else { break };
        let line = match line {
            Ok(line) => line,
            Err(source) => {
                // What was read before is put.
                producer.flush().await?;
                producer.receipts.finish()?;
                return Err(Error::Read { input: args.file.display().to_string(), source });
            }
        };
        if line.trim_ascii().is_empty() {
            continue;
        }
        if let Err(error) = producer.add(&line).await? {
            wrong_lines += 1;
            note(format_args!("line {number}: {}", error::chain(&error)));
        }
        if halt.is_asked_for() {
            break;
        }
    }
    producer.flush().await?;
    let Producer { receipts, meter, .. } = producer;
    drop(meter);
    let refused = receipts.finish()?;
    if halt.is_asked_for() {
        return Err(Error::Interrupted);
    }
    Ok(if wrong_lines > 0 || refused > 0 { Outcome::SomeFailed } else { Outcome::Done })
}

/// Gathers user records into Kinesis records, and those into requests.
struct Producer<'a> {
    args: &'a PutArgs,
    api: Api,
    /// `None`: without aggregation.
    aggregator: Option<Aggregator>,
    /// The open shards that the aggregator knows.
    shards: Vec<String>,
    request: Request,
    receipts: Receipts<io::StdoutLock<'static>>,
    meter: Meter,
}

impl<'a> Producer<'a> {
    async fn new(args: &'a PutArgs, api: Api) -> Result<Self, Error> {
        let mut producer = Producer {
            args,
            api,
            aggregator: None,
            shards: Vec::new(),
            request: Request::default(),
            receipts: Receipts::new(args.format, io::stdout().lock()),
            meter: Meter::new("put"),
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

    /// The inner result is about the line.
    async fn add(&mut self, line: &[u8]) -> Result<Result<(), LineError>, Error> {
        let closed = match self.close(line) {
            Ok(closed) => closed,
            Err(error) => return Ok(Err(error)),
        };
        if let Some(record) = closed {
            self.push(record).await?;
        }
        Ok(Ok(()))
    }

    /// The Kinesis record that is complete with, or without, this user record.
    fn close(&mut self, line: &[u8]) -> Result<Option<KinesisRecordInput>, LineError> {
        let line = UserRecordLine::parse(line)?;
        let data = line.data()?;
        let user_record = line.user_record(&data);
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

    async fn push(&mut self, record: KinesisRecordInput) -> Result<(), Error> {
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
        Ok(())
    }

    /// Returns whether the aggregator no longer knows the shards.
    async fn send(&mut self) -> Result<bool, Error> {
        if self.request.is_empty() {
            return Ok(false);
        }
        let request = std::mem::take(&mut self.request);
        self.meter.add(request.user_records());
        let has_new_shard = request.send(&self.api, &mut self.receipts, &self.shards).await?;
        Ok(has_new_shard && self.args.group_by == GroupBy::Shard && self.aggregator.is_some())
    }
}
