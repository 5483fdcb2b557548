use std::{cell::RefCell, collections::HashMap, rc::Rc};

use kinesis_esm::ShardInfo;
use kinesis_esm_simulator::{ReadFrom, Source};
use kinesis_handler::BoxError;

use super::reader::KinesisReader;
use crate::stream::{Api, Position, ReadPace, Shard, ShardReader};

/// A Kinesis data stream, read through the API.
#[derive(Debug)]
pub(super) struct KinesisSource {
    api: Rc<Api>,
    retention_ms: u64,
    /// By shard ID.
    paces: RefCell<HashMap<String, Rc<ReadPace>>>,
}

impl KinesisSource {
    pub(super) fn new(api: Api, retention_ms: u64) -> Self {
        KinesisSource { api: Rc::new(api), retention_ms, paces: RefCell::default() }
    }
}

impl Source for KinesisSource {
    type Reader = KinesisReader;

    async fn shards(&self) -> Result<Vec<ShardInfo>, BoxError> {
        let info = |Shard { id, parents, hash_key_range, .. }| ShardInfo { id, parents, hash_key_range };
        Ok(self.api.shards().await?.into_iter().map(info).collect())
    }

    async fn reader(&self, shard_id: &str, from: ReadFrom) -> Result<KinesisReader, BoxError> {
        let pace = self.paces.borrow_mut().entry(shard_id.to_owned()).or_default().clone();
        let position = match from {
            ReadFrom::TrimHorizon => Position::TrimHorizon,
            ReadFrom::Latest => Position::Latest,
            ReadFrom::AtTimestamp(time_ms) => Position::AtTimestamp(time_ms),
        };
        Ok(KinesisReader(ShardReader::begin(Rc::clone(&self.api), pace, shard_id, position).await?))
    }

    fn retention_ms(&self) -> u64 {
        self.retention_ms
    }
}
