//! A Kinesis data stream behind its API: its name, positions in it, its shards, and how they are read.

pub(crate) mod name;
pub(crate) mod arrival;
pub(crate) mod record_position;
pub(crate) mod point;
mod position;
mod shard;
mod record;
mod read_pace;
mod api;
mod shard_reader;
mod walk;

pub(crate) use api::{Api, Description, MAX_PUT_BYTES, MAX_PUT_RECORDS};
pub(crate) use position::Position;
pub(crate) use read_pace::ReadPace;
pub(crate) use record::now_ms;
pub(crate) use shard::Shard;
pub(crate) use shard_reader::{Page, ShardReader};
pub(crate) use walk::{Visit, Visited, Walk};
