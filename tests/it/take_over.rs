//! A KCL goes on where a function has stopped: it reads the same stream, and the table that the function wrote.
//!
//! It begins exactly after the mirrored position: nothing is lost, and nothing comes twice.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use serde_json::json;

use crate::{
    checkpoint::checkpoint,
    emulator::{misbehaving_function, wait_at_most, wait_for},
    kcl::{KclWorker, UserRecord},
    kinesis::Kinesis,
    lease_table::LeaseTable,
    polling::Polling,
};

const STREAM: &str = "orders";

const PARENT: &str = "shardId-000000000000";
const LOW: &str = "shardId-000000000001";
const HIGH: &str = "shardId-000000000002";

/// The record at which the function fails each time, so that its shard makes no progress. Other texts differ from each
/// other.
pub(crate) const FAILING: &str = "permanent";

/// A stream, its lease table, and the user records in the stream.
pub(crate) struct World {
    pub(crate) kinesis: Kinesis,
    pub(crate) table: LeaseTable,
    user_records: Vec<UserRecord>,
}

impl World {
    /// A stream of so many shards.
    pub(crate) fn start(shards: i32) -> Self {
        let kinesis = Kinesis::start();
        kinesis.create_stream(STREAM, shards);
        World { kinesis, table: LeaseTable::start(), user_records: Vec::new() }
    }

    /// Puts one Kinesis record into the shard: a plain one, or an aggregate of several texts.
    pub(crate) fn put(&mut self, shard_id: &str, texts: &[&str]) {
        let shards = self.kinesis.shards(STREAM);
        let shard = shards.iter().find(|shard| shard.shard_id == shard_id).expect("a shard of the stream");
        let start = &shard.hash_key_range.as_ref().expect("a shard has a range").starting_hash_key;
        let hash_key = Some(start.parse::<u128>().expect("a hash key") + 1);
        let sequence_number = match texts {
            [text] => self.kinesis.put(STREAM, "key", hash_key, text.as_bytes()),
            _ => self.kinesis.put_aggregate(STREAM, hash_key, texts),
        };
        for (sub_sequence_number, text) in (0..).zip(texts) {
            let (shard_id, sequence_number) = (shard_id.to_owned(), sequence_number.clone());
            let text = (*text).to_owned();
            self.user_records.push(UserRecord { shard_id, sequence_number, sub_sequence_number, text });
        }
    }

    pub(crate) fn split(&self, shard_id: &str) {
        self.kinesis.split_shard(STREAM, shard_id);
    }

    /// Runs the function until its table has a row for each of these, and for no other shard: the last user record done.
    pub(crate) fn run_function_up_to(&self, last: &[&str]) {
        let position = |text: &&str| {
            let mut found = self.user_records.iter().filter(|user_record| user_record.text == *text);
            let (Some(user_record), None) = (found.next(), found.next()) else { panic!("one {text}") };
            let UserRecord { shard_id, sequence_number, sub_sequence_number, .. } = user_record.clone();
            (shard_id, (sequence_number, sub_sequence_number))
        };
        let expected: BTreeMap<_, _> = last.iter().map(position).collect();
        // What fails is tried again for ever, as with a mapping that has no options.
        let scenario = json!({ "mapping": { "FunctionResponseTypes": ["ReportBatchItemFailures"] } });
        let function = misbehaving_function();
        let arguments = ["--", function.to_str().expect("a plain path")];
        let url = self.table.url();
        let variables = [
            ("AWS_ENDPOINT_URL_DYNAMODB", url.as_str()),
            ("KINESIS_HANDLER_CHECKPOINT_TABLE", LeaseTable::NAME),
        ];
        let mut polling = Polling::start_with(&self.kinesis, STREAM, &scenario, &arguments, &variables);
        wait_for("the mirror", || self.table.positions() == expected);
        polling.interrupt();
        assert_eq!(self.table.positions(), expected);
    }

    /// Does what an operator has to do after a split.
    pub(crate) fn complete_table(&self) {
        let run = checkpoint(&self.kinesis, &self.table, &format!("complete --stream {STREAM}"));
        assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    }

    /// Lets a KCL worker process the rest of each shard, and checks that it is what lies after the table's position.
    fn take_over(&self) {
        let expected = self.rest();
        let worker = KclWorker::start(&self.kinesis, STREAM, &self.table);
        self.wait_for(&worker, &expected, Duration::from_secs(60));
        self.check(worker.user_records(), expected);
    }

    /// Returns the user records that lie after the table's position. A shard without a row is processed if a child of it has one.
    pub(crate) fn rest(&self) -> Vec<UserRecord> {
        let positions = self.table.positions();
        let shards = self.kinesis.shards(STREAM);
        let is_passed = |shard_id: &str| {
            let mut children = shards.iter().filter(|shard| shard.parent_shard_id() == Some(shard_id));
            children.any(|child| positions.contains_key(&child.shard_id))
        };
        let mut rest = self.user_records.clone();
        rest.retain(|user_record| {
            let UserRecord { shard_id, sequence_number, sub_sequence_number, .. } = user_record;
            match positions.get(shard_id) {
                Some((checkpoint, _)) if checkpoint == "TRIM_HORIZON" => true,
                // They all have the same length.
                Some((checkpoint, sub)) => (sequence_number, sub_sequence_number) > (checkpoint, sub),
                None if is_passed(shard_id) => false,
                None => panic!("no row for {shard_id}"),
            }
        });
        rest
    }

    /// Waits until a worker has come to the end of each shard.
    ///
    /// Every open shard has an unprocessed user record as its last one, and so whatever comes before it is seen.
    pub(crate) fn wait_for(&self, worker: &KclWorker, expected: &[UserRecord], patience: Duration) {
        for shard in self.kinesis.shards(STREAM) {
            let shard_id = shard.shard_id.as_str();
            let is_open =
                shard.sequence_number_range.is_none_or(|range| range.ending_sequence_number.is_none());
            let last = expected.iter().rfind(|user_record| user_record.shard_id == shard_id);
            wait_at_most(patience, shard_id, || match (is_open, last) {
                (true, last) => {
                    worker.user_records().contains(last.expect("an open shard has a last user record"))
                }
                (false, Some(_)) => worker.has_ended(shard_id),
                // Its children begin after its end.
                (false, None) => true,
            });
        }
    }

    /// Checks that a worker has processed these user records, those of each shard in their order, and parents before their children.
    pub(crate) fn check(&self, mut processed: Vec<UserRecord>, mut expected: Vec<UserRecord>) {
        let shards = self.kinesis.shards(STREAM);
        let parents: HashMap<_, _> =
            shards.iter().filter_map(|shard| Some((&shard.shard_id, shard.parent_shard_id()?))).collect();
        for (index, user_record) in processed.iter().enumerate() {
            let Some(parent) = parents.get(&user_record.shard_id) else { continue };
            let is_late = processed[index..].iter().any(|later| later.shard_id == *parent);
            assert!(!is_late, "{} before its parent: {processed:#?}", user_record.shard_id);
        }
        for user_records in [&mut processed, &mut expected] {
            // Keeps the order within each.
            user_records.sort_by(|a, b| a.shard_id.cmp(&b.shard_id));
        }
        assert_eq!(processed, expected);
    }
}

#[test]
#[ignore = "needs kinesis-local, moto and kcl-rs: make test"]
fn a_kcl_goes_on_in_the_middle_of_an_aggregate() {
    let mut world = World::start(1);
    world.put(PARENT, &["plain"]);
    world.put(PARENT, &["a-0", "a-1"]);
    world.put(PARENT, &["b-0", "b-1", FAILING, "b-3"]);
    world.put(PARENT, &["c"]);
    world.put(PARENT, &["d-0", "d-1"]);
    world.put(PARENT, &["last"]);
    world.run_function_up_to(&["b-1"]);
    world.take_over();
}

#[test]
#[ignore = "needs kinesis-local, moto and kcl-rs: make test"]
fn a_kcl_goes_on_after_a_finished_aggregate() {
    let mut world = World::start(1);
    world.put(PARENT, &["plain"]);
    world.put(PARENT, &["a-0", "a-1", "a-2"]);
    world.run_function_up_to(&["a-2"]);
    world.put(PARENT, &["b-0", "b-1"]);
    world.put(PARENT, &["last"]);
    world.take_over();
}

#[test]
#[ignore = "needs kinesis-local, moto and kcl-rs: make test"]
fn a_kcl_goes_on_in_a_parent_and_then_reads_its_children() {
    let mut world = World::start(1);
    world.put(PARENT, &["plain"]);
    world.put(PARENT, &["a-0", FAILING, "a-2"]);
    world.put(PARENT, &["b"]);
    world.split(PARENT);
    world.put(LOW, &["low-0", "low-1"]);
    world.put(HIGH, &["high"]);
    world.put(LOW, &["last-low"]);
    world.put(HIGH, &["last-high"]);
    world.run_function_up_to(&["a-0"]);
    world.complete_table();
    world.take_over();
}

#[test]
#[ignore = "needs kinesis-local, moto and kcl-rs: make test"]
fn a_kcl_goes_on_in_a_child_and_reads_its_sibling_from_the_start() {
    let mut world = World::start(1);
    world.put(PARENT, &["plain"]);
    world.put(PARENT, &["a-0", "a-1"]);
    world.split(PARENT);
    world.put(LOW, &["low-0", "low-1", FAILING, "low-3"]);
    // Nothing of it is done, so the function writes no row.
    world.put(HIGH, &[FAILING]);
    world.put(HIGH, &["high-0", "high-1"]);
    world.put(LOW, &["last-low"]);
    world.put(HIGH, &["last-high"]);
    world.run_function_up_to(&["a-1", "low-1"]);
    world.complete_table();
    world.take_over();
}
