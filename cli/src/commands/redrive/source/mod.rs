//! The sources of failure records.

mod file;
mod queue;
mod bucket;
mod discarded;

use std::{
    collections::{BTreeMap, VecDeque},
    path::Path,
    time::Duration,
};

use kinesis_handler::EventMode;

use super::{
    discarded_range::{DiscardedRange, FoundError, Owner},
    document,
};
use crate::{
    aws::{AwsError, object_prefix::ObjectPrefix},
    error::Error,
    journal_table::{JournalTable, ShardFilter, stranded::Retries},
};

use self::{
    bucket::Bucket,
    discarded::{DiscardedRecords, Entries},
    file::FailureFile,
    queue::Queue,
};

/// A failure record, or what its source has instead of one.
#[derive(Debug)]
pub(super) struct Found {
    /// The name for people: a message ID, an object's key, a position in a file.
    pub(super) name: String,
    pub(super) record: Result<DiscardedRange, FoundError>,
    handle: Handle,
}

impl Found {
    /// Returns the mode of the events with its records.
    pub(super) fn mode(&self) -> EventMode {
        match &self.record {
            // It may be one user record of its aggregate, which has another number in the journal.
            Ok(DiscardedRange { owner: Owner::Skipped { .. }, .. }) => EventMode::Reprocess,
            _ => EventMode::Resume,
        }
    }

    /// Returns the number of the first user record of its payload in the record of the stream.
    pub(super) fn first_sub(&self) -> u64 {
        match &self.record {
            Ok(DiscardedRange { owner: Owner::Skipped { sub_sequence_number }, .. }) => {
                sub_sequence_number.unwrap_or(0)
            }
            _ => 0,
        }
    }

    /// Returns the text that identifies the failure record in the progress file.
    pub(super) fn key(&self) -> Option<String> {
        let copy = match &self.handle {
            Handle::Message(name) | Handle::Object(name) => Some(name.as_str()),
            Handle::None | Handle::Entries(_) => None,
        };
        self.record.as_ref().ok().map(|record| record.key(copy))
    }
}

/// The name of a failure record in its source.
#[derive(Debug)]
enum Handle {
    /// It stays where it is.
    None,
    /// The ID of a message.
    Message(String),
    /// The key of an object.
    Object(String),
    /// The entries of a Kinesis record in the journal's table.
    Entries(Entries),
}

/// Failure records that are redriven one after the other, because they may belong to one shard. Lanes are independent.
#[derive(Debug, Default)]
pub(super) struct Lane {
    waiting: VecDeque<Waiting>,
}

#[derive(Debug)]
enum Waiting {
    Found(Box<Found>),
    /// An object that has not been read yet.
    Object {
        key: String,
        bytes: u64,
    },
}

/// Most failure records that a lane loads at once, so that an object is in memory for a short time only.
const MAX_LOADED: usize = 100;

/// Bytes of objects that a lane loads at once, unless a single one is larger.
const MAX_LOADED_BYTES: u64 = 8 * 1024 * 1024;

#[derive(Debug)]
pub(super) enum Source {
    File(FailureFile),
    Queue(Queue),
    Bucket(Bucket),
    Discarded(DiscardedRecords),
}

impl Source {
    pub(super) fn file(path: &Path) -> Result<Self, Error> {
        FailureFile::read(path).map(Source::File)
    }

    /// Opens a queue, whose messages are hidden from others for this time and again while the run goes on.
    pub(super) async fn queue(name: &str, visibility: Duration) -> Result<Self, AwsError> {
        Queue::open(name, visibility).await.map(Source::Queue)
    }

    /// Opens a bucket; with an owner, only if that account owns it.
    pub(super) async fn bucket(prefix: ObjectPrefix, owner: Option<String>) -> Result<Self, AwsError> {
        Bucket::open(prefix, owner).await.map(Source::Bucket)
    }

    pub(super) async fn discarded(
        table: JournalTable,
        filter: &ShardFilter,
        retries: Retries,
    ) -> Result<Self, Error> {
        DiscardedRecords::open(table, filter, retries).await.map(Source::Discarded)
    }

    /// Returns the next lanes; none if there are no more failure records. Earlier ones should be finished, because the
    /// same shard may appear again.
    pub(super) async fn lanes(&self) -> Result<Vec<Lane>, Error> {
        match self {
            Source::File(file) => Ok(lanes(file.take())),
            Source::Queue(queue) => Ok(lanes(queue.receive().await?)),
            Source::Bucket(bucket) => Ok(bucket.lanes().await?),
            Source::Discarded(discarded) => Ok(lanes(discarded.take())),
        }
    }

    /// Returns the next failure records of a lane, in the order of their shard; none at its end.
    pub(super) async fn load(&self, lane: &mut Lane) -> Vec<Found> {
        let (mut found, mut objects, mut bytes) = (Vec::new(), Vec::new(), 0);
        while let Some(next) = lane.waiting.pop_front() {
            match next {
                Waiting::Found(next) => found.push(*next),
                Waiting::Object { key, bytes: of_object } => {
                    objects.push(key);
                    bytes += of_object;
                }
            }
            if found.len() + objects.len() >= MAX_LOADED || bytes >= MAX_LOADED_BYTES {
                break;
            }
        }
        match self {
            Source::Bucket(bucket) => {
                found = bucket.load(objects).await;
                sort(&mut found);
            }
            Source::Discarded(discarded) => found = discarded.unchanged(found).await,
            Source::File(_) | Source::Queue(_) => {}
        }
        // Somebody else may have deleted or changed all of them.
        if found.is_empty() && !lane.waiting.is_empty() {
            return Box::pin(self.load(lane)).await;
        }
        found
    }

    /// Whether a failure record is deleted when it is processed.
    pub(super) fn deletes(&self) -> bool {
        !matches!(self, Source::File(_))
    }

    /// Deletes a failure record: everything in it is processed.
    pub(super) async fn delete(&self, found: &Found) -> Result<(), Error> {
        match (self, &found.handle) {
            (Source::Queue(queue), Handle::Message(id)) => queue.delete(id).await?,
            (Source::Bucket(bucket), Handle::Object(key)) => bucket.delete(key).await?,
            (Source::Discarded(discarded), Handle::Entries(entries)) => discarded.delete(entries).await?,
            _ => {}
        }
        Ok(())
    }

    /// Returns whether no other run can have taken a failure record since this run has.
    pub(super) fn holds(&self, found: &Found) -> bool {
        match (self, &found.handle) {
            (Source::Queue(queue), Handle::Message(id)) => queue.holds(id),
            _ => true,
        }
    }

    /// Keeps failure records that were taken for this run from others, for as long as this is waited for. It never ends.
    pub(super) async fn hold(&self) {
        match self {
            Source::Queue(queue) => queue.hold().await,
            _ => std::future::pending().await,
        }
    }

    /// Gives back what was taken and not deleted. Returns the number of failure records that others are working on.
    pub(super) async fn release(&self) -> Result<u64, Error> {
        match self {
            Source::Queue(queue) => Ok(queue.release().await?),
            _ => Ok(0),
        }
    }
}

/// Makes a lane of the failure records of each shard, and one of what is not a failure record.
fn lanes(found: Vec<Found>) -> Vec<Lane> {
    let mut shards: BTreeMap<Option<(String, String)>, Vec<Found>> = BTreeMap::new();
    for found in found {
        let shard = found.record.as_ref().ok();
        let shard = shard.map(|record| (record.stream.as_str().to_owned(), record.shard_id.clone()));
        shards.entry(shard).or_default().push(found);
    }
    let lane = |mut found: Vec<Found>| {
        sort(&mut found);
        Lane { waiting: found.into_iter().map(|found| Waiting::Found(Box::new(found))).collect() }
    };
    shards.into_values().map(lane).collect()
}

fn sort(found: &mut [Found]) {
    let order = |found: &Found| {
        found.record.as_ref().ok().map(|record| {
            let (stream, shard_id, first, last) = record.order();
            (stream.to_owned(), shard_id.to_owned(), first, last)
        })
    };
    found.sort_by_cached_key(order);
}
