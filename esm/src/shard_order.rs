use std::collections::HashMap;

use kpl_deaggregation::HashKeyRange;

/// A shard as a stream lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShardInfo {
    /// Such as `shardId-000000000000`.
    pub id: String,
    /// The shards that it was split or merged from, up to two. Some may be gone.
    pub parents: Vec<String>,
    /// Hash keys of the shard.
    pub hash_key_range: HashKeyRange,
}

/// The order in which the shards of a stream are consumed: parents before children (rule 2).
///
/// Each list, each shard and each of its parents is looked at once.
#[derive(Debug, Default)]
pub struct ShardOrder {
    shards: HashMap<String, ShardProgress>,
    /// IDs of the known children of each shard that is not finished, in the order of the lists.
    children: HashMap<String, Vec<String>>,
    ready: Vec<Ready>,
}

/// The progress of reading a shard.
#[derive(Debug)]
enum ShardProgress {
    Waiting { shard: ShardInfo, number: u64 },
    Started,
    Finished,
}

/// A shard that can be consumed now.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ready {
    /// The shard, with its range and its parents.
    pub shard: ShardInfo,
    /// Counted from zero, in the order in which the shards became known.
    pub number: u64,
    /// Reason why it can be consumed now.
    pub start: Start,
}

/// The reason why a shard is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It was in the first list, and has no parents to wait for.
    First,
    /// It was known, and its parents have been consumed.
    AfterParents,
    /// It was not in an earlier list.
    New,
}

impl ShardOrder {
    /// Returns the order of the shards of a first list.
    pub fn new(listed: Vec<ShardInfo>) -> Self {
        let mut order = ShardOrder::default();
        order.learn(listed, Start::First);
        order
    }

    /// Adds the shards of a later list that are not known yet.
    pub fn add(&mut self, listed: Vec<ShardInfo>) {
        self.learn(listed, Start::New);
    }

    /// Returns the shards that became ready since the last call.
    pub fn take_ready(&mut self) -> Vec<Ready> {
        std::mem::take(&mut self.ready)
    }

    /// Notes that a shard has been consumed. Returns whether it has known children.
    pub fn finish(&mut self, shard_id: &str) -> bool {
        self.shards.insert(shard_id.to_owned(), ShardProgress::Finished);
        let Some(children) = self.children.remove(shard_id) else { return false };
        for child in &children {
            self.start_if_ready(child, Start::AfterParents);
        }
        true
    }

    fn learn(&mut self, listed: Vec<ShardInfo>, start: Start) {
        let mut new = Vec::new();
        for shard in listed {
            if self.shards.contains_key(&shard.id) {
                continue;
            }
            new.push(shard.id.clone());
            for parent in &shard.parents {
                self.children.entry(parent.clone()).or_default().push(shard.id.clone());
            }
            let number = self.shards.len() as u64;
            self.shards.insert(shard.id.clone(), ShardProgress::Waiting { shard, number });
        }
        for shard_id in &new {
            self.start_if_ready(shard_id, start);
        }
    }

    fn start_if_ready(&mut self, shard_id: &str, start: Start) {
        let Some(ShardProgress::Waiting { shard, .. }) = self.shards.get(shard_id) else { return };
        // A parent that is not listed is gone, with all of its records.
        let is_finished = |parent: &String| {
            self.shards.get(parent).is_none_or(|parent| matches!(parent, ShardProgress::Finished))
        };
        if !shard.parents.iter().all(is_finished) {
            return;
        }
        let started = self.shards.insert(shard_id.to_owned(), ShardProgress::Started);
        if let Some(ShardProgress::Waiting { shard, number }) = started {
            self.ready.push(Ready { shard, number, start });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shards(shards: &[(&str, &[&str])]) -> Vec<ShardInfo> {
        let info = |&(id, parents): &(&str, &[&str])| ShardInfo {
            id: id.to_owned(),
            parents: parents.iter().map(|&parent| parent.to_owned()).collect(),
            hash_key_range: HashKeyRange::FULL,
        };
        shards.iter().map(info).collect()
    }

    #[track_caller]
    fn check_ready(order: &mut ShardOrder, expected: &[(&str, u64, Start)]) {
        let ready = order.take_ready();
        let ready: Vec<_> =
            ready.iter().map(|ready| (ready.shard.id.as_str(), ready.number, ready.start)).collect();
        assert_eq!(ready, expected);
    }

    #[test]
    fn rule_2_a_child_waits_for_all_of_its_known_parents() {
        let mut order =
            ShardOrder::new(shards(&[("a", &["gone"]), ("b", &[]), ("c", &["a", "b"]), ("d", &["c"])]));
        check_ready(&mut order, &[("a", 0, Start::First), ("b", 1, Start::First)]);
        assert!(order.finish("b"));
        check_ready(&mut order, &[]);
        assert!(order.finish("a"));
        check_ready(&mut order, &[("c", 2, Start::AfterParents)]);
        assert!(order.finish("c"));
        check_ready(&mut order, &[("d", 3, Start::AfterParents)]);
        assert!(!order.finish("d"));
        check_ready(&mut order, &[]);
    }

    #[test]
    fn a_later_list_adds_only_what_is_new() {
        let mut order = ShardOrder::new(shards(&[("a", &[]), ("b", &[])]));
        check_ready(&mut order, &[("a", 0, Start::First), ("b", 1, Start::First)]);
        assert!(!order.finish("a"));
        order.add(shards(&[("a", &[]), ("b", &[]), ("c", &["a"]), ("d", &["b"])]));
        check_ready(&mut order, &[("c", 2, Start::New)]);
        assert!(order.finish("b"));
        check_ready(&mut order, &[("d", 3, Start::AfterParents)]);
    }
}
