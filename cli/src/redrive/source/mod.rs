//! Where failure records come from.

mod file;
mod queue;
mod bucket;
mod holes;

use super::failure_record::{FailureRecord, FailureRecordError};
use std::path::Path;

use crate::{
    aws::AwsError,
    error::Error,
    journal_table::{JournalTable, ShardFilter},
    object_prefix::ObjectPrefix,
};

use self::{bucket::Bucket, file::FailureFile, holes::Holes, queue::Queue};

/// A failure record, or what stands in the place of one.
#[derive(Debug)]
pub(super) struct Found {
    /// What a person calls it: a message ID, an object's key, a line.
    pub(super) name: String,
    pub(super) record: Result<FailureRecord, FailureRecordError>,
    /// What its source calls it.
    pub(super) handle: Handle,
}

#[derive(Debug)]
pub(super) enum Handle {
    /// It stays where it is.
    None,
    /// ID of a message.
    Message(String),
    /// Key of an object.
    Object(String),
    /// Partition key of a hole in the journal's table.
    Hole(String),
}

#[derive(Debug)]
pub(super) enum Source {
    File(FailureFile),
    Queue(Queue),
    Bucket(Bucket),
    Holes(Holes),
}

impl Source {
    pub(super) fn file(path: &Path) -> Result<Self, Error> {
        FailureFile::read(path).map(Source::File)
    }

    pub(super) async fn queue(name: &str) -> Result<Self, AwsError> {
        Queue::open(name).await.map(Source::Queue)
    }

    pub(super) async fn bucket(prefix: ObjectPrefix) -> Result<Self, AwsError> {
        Bucket::open(prefix).await.map(Source::Bucket)
    }

    pub(super) async fn holes(table: JournalTable, filter: &ShardFilter) -> Result<Self, Error> {
        Holes::open(table, filter).await.map(Source::Holes)
    }

    /// The next one; `None` if there are no more.
    pub(super) async fn next(&self) -> Result<Option<Found>, Error> {
        match self {
            Source::File(file) => Ok(file.next()),
            Source::Queue(queue) => Ok(queue.next().await?),
            Source::Bucket(bucket) => Ok(bucket.next().await?),
            Source::Holes(holes) => Ok(holes.next()),
        }
    }

    /// Whether what is processed is taken out of it.
    pub(super) fn deletes(&self) -> bool {
        !matches!(self, Source::File(_))
    }

    /// Takes it out of its source: everything in it is processed.
    pub(super) async fn delete(&self, found: &Found) -> Result<(), Error> {
        match (self, &found.handle) {
            (Source::Queue(queue), Handle::Message(id)) => queue.delete(id).await?,
            (Source::Bucket(bucket), Handle::Object(key)) => bucket.delete(key).await?,
            (Source::Holes(holes), Handle::Hole(partition_key)) => {
                if let Ok(record) = &found.record {
                    holes.delete(partition_key, record.first).await?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Keeps what was taken for this run from others, for as long as this is waited for: it never ends.
    pub(super) async fn hold(&self) -> Result<(), Error> {
        match self {
            Source::Queue(queue) => Ok(queue.hold().await?),
            _ => std::future::pending().await,
        }
    }

    /// Gives back what was taken and is still there. Returns how many failure records others have in work.
    pub(super) async fn release(&self) -> Result<u64, Error> {
        match self {
            Source::Queue(queue) => Ok(queue.release().await?),
            _ => Ok(0),
        }
    }
}
