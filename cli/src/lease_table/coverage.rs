use std::collections::{BTreeMap, HashMap, HashSet};

use kinesis_handler::checkpoint::{Row, RowCheckpoint};

use crate::stream::Shard;

/// The ancestors of shards that have a checkpoint.
pub(crate) fn passed(shards: &[Shard], checkpoints: &BTreeMap<String, Row>) -> HashSet<String> {
    let parents: HashMap<&str, &[String]> =
        shards.iter().map(|shard| (shard.id.as_str(), shard.parents.as_slice())).collect();
    let mut passed = HashSet::new();
    let has_position = |row: &Row| matches!(row.checkpoint, RowCheckpoint::At(_) | RowCheckpoint::ShardEnd);
    let mut open: Vec<&str> =
        checkpoints.iter().filter(|(_, row)| has_position(row)).map(|(id, _)| id.as_str()).collect();
    while let Some(id) = open.pop() {
        for parent in parents.get(id).copied().unwrap_or_default() {
            if passed.insert(parent.clone()) {
                open.push(parent);
            }
        }
    }
    passed
}

/// Shards without a checkpoint of which nothing says that they are not processed: neither an ancestor nor a descendant
/// has a checkpoint, nor a descendant of a parent, which says that the parent is drained.
pub(crate) fn unknown<'s>(
    shards: &'s [Shard],
    checkpoints: &BTreeMap<String, Row>,
    passed: &HashSet<String>,
) -> Vec<&'s str> {
    let mut reached: HashSet<&str> = checkpoints.keys().map(String::as_str).collect();
    let mut unknown = Vec::new();
    // Parents come before their children.
    for Shard { id, parents, .. } in shards {
        if parents.iter().any(|parent| reached.contains(parent.as_str()) || passed.contains(parent)) {
            reached.insert(id);
        }
        if !reached.contains(id.as_str()) && !passed.contains(id) {
            unknown.push(id.as_str());
        }
    }
    unknown
}
