use std::collections::HashSet;

use kpl_deaggregation::HashKeyRange;

/// A shard as Kinesis lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Shard {
    pub(crate) id: String,
    /// The shards that it was split or merged from, up to two. Some may be gone.
    pub(crate) parents: Vec<String>,
    pub(crate) hash_key_range: HashKeyRange,
    /// Whether it takes records.
    pub(crate) is_open: bool,
}

/// Kinesis lists them by ID, which puts parents first; nothing promises it.
pub(super) fn parents_first(mut waiting: Vec<Shard>) -> Vec<Shard> {
    let mut sorted: Vec<Shard> = Vec::with_capacity(waiting.len());
    while !waiting.is_empty() {
        let ids: HashSet<String> = waiting.iter().map(|shard| shard.id.clone()).collect();
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
    use super::*;

    fn shard(id: &str, parents: &[&str]) -> Shard {
        let parents = parents.iter().map(|&parent| parent.to_owned()).collect();
        Shard { id: id.to_owned(), parents, hash_key_range: HashKeyRange::FULL, is_open: true }
    }

    #[track_caller]
    fn check(shards: Vec<Shard>, expected: &[&str]) {
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
