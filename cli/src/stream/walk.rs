use std::collections::HashSet;

use futures_util::stream::{FuturesUnordered, StreamExt};

use super::{Api, Shard};
use crate::error::Error;

/// The order in which the shards of a stream are visited.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    pub(crate) api: &'a Api,
    /// Only these; all, if there are none.
    pub(crate) shard_ids: &'a [String],
    /// Whether a shard that is there at the start waits for its parents. One that comes later always does.
    pub(crate) waits_for_parents: bool,
    /// Whether shards count that are made while others are read.
    pub(crate) follows: bool,
    /// Most shards that are read at once.
    pub(crate) concurrency: usize,
}

/// A shard whose turn it is.
#[derive(Debug)]
pub(crate) struct Visit {
    pub(crate) shard: Shard,
    /// Whether it was made while others were read: it is read from its start.
    pub(crate) is_new: bool,
}

/// The outcome of a visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Visited {
    /// All that is wanted of the shard is done: its children may follow.
    Whole,
    /// Its children must not follow.
    InPart,
}

impl Walk<'_> {
    /// Visits shards beside each other, parents before their children. Ends when no visit is left. Returns the shards
    /// that were not visited, because their parents were visited in part.
    ///
    /// # Errors
    ///
    /// The first one of a visit, which ends all others.
    pub(crate) async fn visit(
        &self,
        visit: impl AsyncFn(Visit) -> Result<Visited, Error>,
    ) -> Result<Vec<Shard>, Error> {
        let mut waiting: Vec<Visit> =
            self.shards().await?.map(|shard| Visit { shard, is_new: false }).collect();
        let mut known: HashSet<String> = waiting.iter().map(|visit| visit.shard.id.clone()).collect();
        // Those whose children have to wait.
        let mut unfinished = known.clone();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < self.concurrency
                && let Some(next) = waiting.iter().position(|Visit { shard, is_new }| {
                    (!self.waits_for_parents && !is_new)
                        || shard.parents.iter().all(|parent| !unfinished.contains(parent))
                })
            {
                let next = waiting.remove(next);
                let id = next.shard.id.clone();
                let visit = visit(next);
                running.push(async move { (id, visit.await) });
            }
            let Some((id, visited)) = running.next().await else { break };
            if visited? == Visited::Whole {
                unfinished.remove(&id);
            }
            if self.follows {
                for shard in self.shards().await?.filter(|shard| !known.contains(&shard.id)) {
                    unfinished.insert(shard.id.clone());
                    waiting.push(Visit { shard, is_new: true });
                }
                known.extend(waiting.iter().map(|visit| visit.shard.id.clone()));
            }
        }
        Ok(waiting.into_iter().map(|visit| visit.shard).collect())
    }

    async fn shards(&self) -> Result<impl Iterator<Item = Shard>, Error> {
        let shards = self.api.shards().await?;
        let is_wanted = |shard: &Shard| self.shard_ids.is_empty() || self.shard_ids.contains(&shard.id);
        if let Some(unknown) = self.shard_ids.iter().find(|id| !shards.iter().any(|shard| shard.id == **id)) {
            return Err(Error::NoShard { shard_id: unknown.clone() });
        }
        Ok(shards.into_iter().filter(is_wanted).collect::<Vec<_>>().into_iter())
    }
}
