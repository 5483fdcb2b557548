//! Retry entries of the journal that the event source mapping no longer retries.
//!
//! The function sees that a Kinesis record was discarded when a later batch of the shard arrives, and moves its entry to
//! the holes. After the last record of a shard no such batch arrives: the shard is closed, or nothing is put into it.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    time::Duration,
};

use aws_sdk_lambda::Client;
use kinesis_handler::journal::{JournalShard, RecordState};
use tokio::time::timeout;

use crate::{
    aws::{self, ApiFailure, Attempts},
    error::chain,
    kinesis::{Api, now_ms},
    note::note,
    stream_name::StreamName,
};

/// Time after which no invocation with the record of an entry is still running: twice the longest timeout of a function.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const QUIET: Duration = Duration::from_secs(60 * 60);

/// Longest wait for the list of a stream's shards, or of a function's mappings.
const LIST_TIMEOUT: Duration = Duration::from_secs(10);

/// Reason why the mapping no longer retries a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranded {
    /// The record is older than the mapping's maximum record age.
    MaxAge,
    /// The shard is closed, and nothing has written the entry for an hour.
    ClosedShard,
}

impl Stranded {
    /// The name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Stranded::MaxAge => "maxAge",
            Stranded::ClosedShard => "closedShard",
        }
    }
}

/// Settings of event source mappings that say how long they retry.
#[derive(Debug, Clone, Default)]
pub(crate) struct Retries {
    /// The maximum record age for every stream, if it was given.
    max_age: Option<Duration>,
    /// The limits by stream ARN, if a function's mappings were read.
    by_stream: HashMap<String, Limits>,
}

/// The limits of all mappings from one stream to a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Limits {
    /// `None` if one of them has no maximum age.
    max_age: Option<Duration>,
    /// Whether one of them retries until the record leaves the stream.
    is_endless: bool,
}

impl Retries {
    /// Takes the maximum age that was given, or else reads the mappings of the function. Without either, and if they
    /// cannot be read, only entries of closed shards are stranded.
    pub(crate) async fn new(max_age: Option<Duration>, function: Option<&str>) -> Self {
        let (None, Some(name)) = (max_age, function) else {
            return Retries { max_age, ..Retries::default() };
        };
        let limits = timeout(LIST_TIMEOUT, limits(name)).await;
        match limits.unwrap_or_else(|_| Err(no_answer())) {
            Ok(by_stream) => Retries { max_age, by_stream },
            Err(failure) => {
                note(format_args!(
                    "the maximum record age of {name} is not known: {failure}; give it with --max-age, or entries of \
                     open shards count as being retried"
                ));
                Retries::default()
            }
        }
    }

    fn of(&self, stream_arn: &str) -> Limits {
        let unknown = Limits { max_age: self.max_age, is_endless: false };
        self.by_stream.get(stream_arn).copied().unwrap_or(unknown)
    }
}

/// Reads the limits of a function's mappings, by stream ARN.
async fn limits(function: &str) -> Result<HashMap<String, Limits>, String> {
    let region = function.strip_prefix("arn:").and_then(|rest| rest.split(':').nth(2));
    let config = aws::config(region).await.map_err(|error| chain(&error))?;
    let request = Client::new(&config).list_event_source_mappings().function_name(function);
    let mut pages = request.into_paginator().items().send();
    let mut by_stream: HashMap<String, Limits> = HashMap::new();
    while let Some(mapping) = pages.next().await {
        let mapping = mapping.map_err(|error| ApiFailure::from(error).to_string())?;
        let Some(source_arn) = mapping.event_source_arn else { continue };
        // A fan-out consumer's ARN has that of its stream in front.
        let stream_arn = source_arn.split_once("/consumer/").map_or(&*source_arn, |(stream, _)| stream);
        let seconds = mapping.maximum_record_age_in_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let max_age = seconds.map(Duration::from_secs);
        let is_endless = max_age.is_none() && mapping.maximum_retry_attempts.is_none_or(|times| times < 0);
        let limits = by_stream.entry(stream_arn.to_owned()).or_insert(Limits { max_age, is_endless });
        limits.max_age = limits.max_age.zip(max_age).map(|(one, other)| one.max(other));
        limits.is_endless |= is_endless;
    }
    Ok(by_stream)
}

/// Tells stranded entries from those whose records the mapping still retries.
#[derive(Debug)]
pub(crate) struct StrandedEntries {
    retries: Retries,
    now_ms: u64,
    /// The closed shards by stream ARN; none if they cannot be listed.
    closed: RefCell<HashMap<String, HashSet<String>>>,
}

impl StrandedEntries {
    pub(crate) fn new(retries: Retries) -> Self {
        StrandedEntries { retries, now_ms: now_ms(), closed: RefCell::default() }
    }

    /// Returns why the mapping no longer retries the record of a retry entry; `None` if it may.
    pub(crate) async fn reason(&self, shard: JournalShard<'_>, entry: &RecordState) -> Option<Stranded> {
        let is_past = |since_ms: u64, time: Duration| {
            u128::from(self.now_ms.saturating_sub(since_ms)) > time.as_millis()
        };
        let limits = self.retries.of(shard.stream_arn);
        let arrival_ms = entry.progress.arrival_ms.unwrap_or(entry.updated_ms);
        // The mapping tests the age before each invocation, and the last invocation may take its time.
        if limits.max_age.is_some_and(|max_age| is_past(arrival_ms, max_age + QUIET)) {
            return Some(Stranded::MaxAge);
        }
        let may_be = !limits.is_endless && is_past(entry.updated_ms, QUIET);
        (may_be && self.is_closed(shard).await).then_some(Stranded::ClosedShard)
    }

    async fn is_closed(&self, shard: JournalShard<'_>) -> bool {
        if !self.closed.borrow().contains_key(shard.stream_arn) {
            let closed = match closed_shards(shard.stream_arn).await {
                Ok(closed) => closed,
                Err(failure) => {
                    note(format_args!(
                        "which shards of {} are closed is not known: {failure}; their entries count as being retried",
                        shard.stream_arn
                    ));
                    HashSet::new()
                }
            };
            self.closed.borrow_mut().insert(shard.stream_arn.to_owned(), closed);
        }
        self.closed.borrow().get(shard.stream_arn).is_some_and(|closed| closed.contains(shard.shard_id))
    }
}

async fn closed_shards(stream_arn: &str) -> Result<HashSet<String>, String> {
    let arn = stream_arn.parse().map_err(|error| chain(&error))?;
    let list = async {
        let api = Api::connect(StreamName::Arn(arn)).await?.with_attempts(Attempts::Bounded);
        api.shards().await
    };
    let shards = timeout(LIST_TIMEOUT, list).await;
    let shards = shards.map_err(|_| no_answer())?;
    let shards = shards.map_err(|error| chain(&error))?;
    Ok(shards.into_iter().filter(|shard| !shard.is_open).map(|shard| shard.id).collect())
}

fn no_answer() -> String {
    format!("no answer within {} seconds", LIST_TIMEOUT.as_secs())
}
