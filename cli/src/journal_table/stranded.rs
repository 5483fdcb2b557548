//! Retry entries of the journal that the event source mapping no longer retries.
//!
//! The function sees that a Kinesis record was discarded when a later batch of the shard arrives, and moves its entry to
//! the discarded. After the last record of a shard no such batch arrives: the shard is closed, or nothing is put into it.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    time::Duration,
};

use aws_sdk_lambda::types::EventSourceMappingConfiguration;
use kinesis_handler::journal::{JournalShard, RecordState};
use tokio::time::timeout;

use crate::{
    aws::{Attempts, event_source_mappings, function_name::FunctionName},
    error::chain,
    output::note::note,
    stream::{Api, name::StreamName, now_ms},
};

/// Time after which no invocation with the record of an entry is still running: twice the longest timeout of a function,
/// which is 5,400 s on Lambda Managed Instances.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
const QUIET: Duration = Duration::from_secs(3 * 60 * 60);

/// Longest wait for the list of a stream's shards: longer than a request that is throttled is repeated.
const LIST_TIMEOUT: Duration = Duration::from_secs(45);

/// Reason why the mapping no longer retries a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stranded {
    /// The record is older than the mapping's maximum record age.
    MaxAge,
    /// The shard is closed, and nothing has written the entry for three hours.
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

/// A source of the limits that say how long the event source mappings retry.
#[derive(Debug)]
pub(crate) enum Retries {
    /// No age is known: only entries of closed shards are stranded.
    Unknown,
    /// The maximum record age for every stream.
    MaxAge(Duration),
    /// The mappings from the stream to this function.
    Mappings(FunctionName),
}

/// The limits of all mappings from one stream to a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Limits {
    /// Greatest maximum age; absent if one of them has none, or none is known.
    max_age: Option<Duration>,
    /// Whether one of them retries until the record leaves the stream.
    is_endless: bool,
}

impl Retries {
    /// Takes the maximum age that was given, or else the mappings of the function, which are read when they are needed.
    pub(crate) fn new(max_age: Option<Duration>, function: Option<&str>) -> Self {
        match (max_age, function) {
            (Some(max_age), _) => Retries::MaxAge(max_age),
            (None, Some(name)) => Retries::Mappings(FunctionName::parse(name)),
            (None, None) => Retries::Unknown,
        }
    }

    /// Returns the limits for a stream; if its mappings cannot be read, nothing is known.
    async fn limits(&self, stream_arn: &str) -> Limits {
        let function = match self {
            Retries::Unknown => return Limits::default(),
            Retries::MaxAge(max_age) => return Limits { max_age: Some(*max_age), is_endless: false },
            Retries::Mappings(function) => function,
        };
        match event_source_mappings::to_function(function, stream_arn).await {
            Ok(mappings) => limits(&mappings),
            Err(error) => {
                note(format_args!(
                    "the maximum record age of the mappings from {stream_arn} to {} is not known: {}; give it with \
                     --max-age, or entries of open shards count as being retried",
                    function.name,
                    chain(&error)
                ));
                Limits::default()
            }
        }
    }
}

/// Returns what all of these mappings keep: the longest age counts.
fn limits(mappings: &[EventSourceMappingConfiguration]) -> Limits {
    let limits = mappings.iter().map(|mapping| {
        let seconds = mapping.maximum_record_age_in_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        let max_age = seconds.map(Duration::from_secs);
        let retries_endlessly = mapping.maximum_retry_attempts.is_none_or(|times| times < 0);
        Limits { max_age, is_endless: max_age.is_none() && retries_endlessly }
    });
    let longest = limits.reduce(|one, other| Limits {
        max_age: one.max_age.zip(other.max_age).map(|(one, other)| one.max(other)),
        is_endless: one.is_endless || other.is_endless,
    });
    longest.unwrap_or_default()
}

/// Tells stranded entries from those whose records the mapping still retries.
#[derive(Debug)]
pub(crate) struct StrandedEntries {
    retries: Retries,
    now_ms: u64,
    /// The limits by stream ARN.
    limits: RefCell<HashMap<String, Limits>>,
    /// The closed shards by stream ARN; none if they cannot be listed.
    closed: RefCell<HashMap<String, HashSet<String>>>,
}

impl StrandedEntries {
    pub(crate) fn new(retries: Retries) -> Self {
        StrandedEntries { retries, now_ms: now_ms(), limits: RefCell::default(), closed: RefCell::default() }
    }

    /// Returns why the mapping no longer retries the record of a retry entry; `None` if it may.
    pub(crate) async fn reason(&self, shard: JournalShard<'_>, entry: &RecordState) -> Option<Stranded> {
        let is_past = |since_ms: u64, time: Duration| {
            u128::from(self.now_ms.saturating_sub(since_ms)) > time.as_millis()
        };
        let arrival_ms = entry.progress.arrival_ms.unwrap_or(entry.updated_ms);
        // Nothing is asked for without need.
        if !is_past(arrival_ms.min(entry.updated_ms), QUIET) {
            return None;
        }
        let limits = self.limits(shard.stream_arn).await;
        // The mapping tests the age before each invocation, and the last invocation may take its time.
        if limits.max_age.is_some_and(|max_age| is_past(arrival_ms, max_age + QUIET)) {
            return Some(Stranded::MaxAge);
        }
        let may_be = !limits.is_endless && is_past(entry.updated_ms, QUIET);
        (may_be && self.is_closed(shard).await).then_some(Stranded::ClosedShard)
    }

    async fn limits(&self, stream_arn: &str) -> Limits {
        let known = self.limits.borrow().get(stream_arn).copied();
        if let Some(limits) = known {
            return limits;
        }
        let limits = self.retries.limits(stream_arn).await;
        self.limits.borrow_mut().insert(stream_arn.to_owned(), limits);
        limits
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
    let no_answer = |_| format!("no answer within {} seconds", LIST_TIMEOUT.as_secs());
    let shards = shards.map_err(no_answer)?.map_err(|error| chain(&error))?;
    Ok(shards.into_iter().filter(|shard| !shard.is_open).map(|shard| shard.id).collect())
}
