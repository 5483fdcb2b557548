use std::{cell::RefCell, collections::HashMap, rc::Rc};

use kinesis_esm_simulator::{BoxError, ReadFrom, ShardInfo, Source};

use super::{StreamError, api::Api, read_pace::ReadPace, reader::KinesisReader, record::shard_info};

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

    async fn list(&self) -> Result<Vec<ShardInfo>, StreamError> {
        let mut shards = Vec::new();
        let mut next_token = None;
        loop {
            let Some(page) = self.api.list_shards(next_token.take()).await? else {
                // From the beginning: it may have changed.
                shards.clear();
                continue;
            };
            for shard in page.shards.unwrap_or_default() {
                shards.push(shard_info(shard)?);
            }
            match page.next_token {
                None => return Ok(parents_first(shards)),
                next => next_token = next,
            }
        }
    }
}

impl Source for KinesisSource {
    type Reader = KinesisReader;

    async fn shards(&self) -> Result<Vec<ShardInfo>, BoxError> {
        Ok(self.list().await?)
    }

    async fn reader(&self, shard_id: &str, from: ReadFrom) -> Result<KinesisReader, BoxError> {
        let pace = self
            .paces
            .borrow_mut()
            .entry(shard_id.to_owned())
            .or_insert_with(|| Rc::new(ReadPace::new()))
            .clone();
        Ok(KinesisReader::begin(Rc::clone(&self.api), pace, shard_id, from).await?)
    }

    fn retention_ms(&self) -> u64 {
        self.retention_ms
    }
}

/// Kinesis lists them by ID, which puts parents first; nothing promises it.
fn parents_first(mut waiting: Vec<ShardInfo>) -> Vec<ShardInfo> {
    let mut sorted: Vec<ShardInfo> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ids: std::collections::HashSet<String> = waiting.iter().map(|shard| shard.id.clone()).collect();
        let (later, now): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|shard| shard.parents.iter().any(|parent| ids.contains(parent)));
        // A circle has no order.
        let is_stuck = now.is_empty();
        sorted.extend(now);
        if is_stuck {
            sorted.extend(later);
            break;
        }
        waiting = later;
    }
    sorted
}

#[cfg(test)]
mod tests {
    use kpl_deaggregation::HashKeyRange;

    use super::*;

    fn shard(id: &str, parents: &[&str]) -> ShardInfo {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        ShardInfo { id: id.to_owned(), parents, hash_key_range: HashKeyRange::FULL }
    }

    #[track_caller]
    fn check(shards: Vec<ShardInfo>, expected: &[&str]) {
        let sorted = parents_first(shards);
        let ids: Vec<_> = sorted.iter().map(|shard| shard.id.as_str()).collect();
        assert_eq!(ids, expected);
    }

    #[test]
    fn parents_come_before_their_children() {
        check(vec![], &[]);
        check(vec![shard("a", &["gone"]), shard("b", &[])], &["a", "b"]);
        let merged = shard("m", &["b", "c"]);
        check(vec![merged, shard("c", &["a"]), shard("b", &["a"]), shard("a", &[])], &["a", "c", "b", "m"]);
        check(vec![shard("a", &["b"]), shard("b", &["a"]), shard("c", &[])], &["c", "a", "b"]);
    }
}
