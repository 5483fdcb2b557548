//! Streams to poll: the traits, and a stream whose records are all known.

mod stream;

use std::future::Future;

use kinesis_esm::{ShardInfo, SharedRecord};
use kinesis_handler::BoxError;

pub use stream::{Shard, Stream, StreamReader};

/// A stream to poll.
pub trait Source {
    /// Reads one shard.
    type Reader: ShardReader;

    /// All shards that the stream has now, closed ones included, parents before children.
    ///
    /// # Errors
    ///
    /// An error that a retry cannot fix; it ends the simulation.
    fn shards(&self) -> impl Future<Output = Result<Vec<ShardInfo>, BoxError>>;

    /// A reader of this shard.
    ///
    /// # Errors
    ///
    /// As [`shards`](Self::shards).
    fn reader(&self, shard_id: &str, from: ReadFrom) -> impl Future<Output = Result<Self::Reader, BoxError>>;

    /// Returns the retention of the stream, in milliseconds.
    fn retention_ms(&self) -> u64;
}

/// The position from which a reader begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadFrom {
    /// At the oldest record.
    TrimHorizon,
    /// At the first record that arrived at this time (milliseconds since 1970) or later.
    AtTimestamp(u64),
    /// Behind the newest record. Only a stream in real time need know it: elsewhere it is the time of activation.
    Latest,
}

/// Reads the records of one shard, in order.
pub trait ShardReader {
    /// The next records.
    ///
    /// # Errors
    ///
    /// An error that another read cannot fix; it ends the simulation.
    fn read(&mut self) -> impl Future<Output = Result<Read, BoxError>>;
}

/// The result of a read.
#[derive(Debug, Default)]
pub struct Read {
    /// Possibly none, even if there are more.
    pub records: Vec<SharedRecord>,
    /// Records that the stream has dropped before they could be read (rule 3), as far as it can tell.
    pub trimmed: Vec<SharedRecord>,
    /// Prospects of the next read.
    pub next: NextRead,
}

/// The prospects of reading again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NextRead {
    /// Records or none: the source cannot tell.
    #[default]
    Unknown,
    /// No records before this time, in milliseconds since 1970.
    NotBefore(u64),
    /// No more records: the shard is closed and read to its end.
    ShardEnd,
    /// No more records, although the shard is open: whoever writes to it has ended.
    Never,
}
