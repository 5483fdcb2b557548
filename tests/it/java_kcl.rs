//! AWS's own KCL for Java continues where a function has stopped, a function where that KCL has stopped, and the KCL once more:
//! nothing is lost, and nothing comes twice.
//!
//! The stand-ins need of the KCL 3.5.1: polling over HTTP/1.1 (fan-out and HTTP/2 need TLS), no metrics, and moto behind a proxy
//! that lets one request in at a time, because moto checks the condition of a write and then writes. An empty table works only with
//! a stream that was never resharded: kinesis-local lists parents and children for the shards at `TRIM_HORIZON`, and the KCL waits
//! for a parent without a lease. Its initialization takes 15 to 40 seconds, and a failover time below its default of ten seconds
//! cuts a graceful shutdown off.
//!
//! `make test-java-kcl` installs the jars and runs these tests, which `make test` leaves out. Without the jars they do nothing.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use crate::{
    emulator::{wait_at_most, wait_for},
    fault_proxy::FaultProxy,
    kcl::{JavaKclWorker, KCL_PATIENCE, KclWorker, UserRecord, java_kcl_jars},
    lease_table::LeaseTable,
    moto,
    operator::{APPLICATION, JOURNAL, Operator, Run, STREAM},
    take_over::{FAILING, World},
};

const TABLE: &str = "orders-checkpoints";
const FUNCTION: &str = "orders-consumer";

/// The function's variables. The journal keeps it from repeating what comes before a failure in an aggregate.
const VARIABLES: [(&str, &str); 4] = [
    ("KINESIS_HANDLER_APPLICATION", APPLICATION),
    ("KINESIS_HANDLER_CHECKPOINT_TABLE", TABLE),
    ("KINESIS_HANDLER_CUTOVER", "on"),
    ("KINESIS_HANDLER_JOURNAL_TABLE", JOURNAL),
];

const SHARDS: [&str; 6] = [
    "shardId-000000000000",
    "shardId-000000000001",
    "shardId-000000000002",
    "shardId-000000000003",
    "shardId-000000000004",
    "shardId-000000000005",
];

/// A KCL takes a mirror over whose shards are split while the function is behind in one of them, and inside an aggregate in another.
fn take_over(initial_position: &str) {
    let Some(jars) = java_kcl_jars() else { return };
    let [first, second, low_of_first, high_of_first, low_of_second, high_of_second] = SHARDS;
    let mut world = World::start(2);
    world.put(first, &["plain"]);
    world.put(first, &["a-0", "a-1", FAILING, "a-3"]);
    world.put(first, &["b"]);
    world.put(second, &["c"]);
    world.put(second, &["d-0", "d-1"]);
    world.split(first);
    // Neither child has a row.
    world.put(low_of_first, &["e-0", "e-1"]);
    world.put(high_of_first, &["f"]);
    world.put(low_of_first, &["last-low-of-first"]);
    world.put(high_of_first, &["last-high-of-first"]);
    world.split(second);
    world.put(low_of_second, &["g-0", "g-1", FAILING, "g-3"]);
    // Nothing of it is processed, so it has no row.
    world.put(high_of_second, &[FAILING]);
    world.put(high_of_second, &["h-0", "h-1"]);
    world.put(low_of_second, &["last-low-of-second"]);
    world.put(high_of_second, &["last-high-of-second"]);
    world.run_function_up_to(&["a-1", "d-1", "g-1"]);
    // As if the mirror was switched on after the function had processed the parent: neither it nor one of its children has a row.
    world.table.delete(second);
    world.complete_table();

    let expected = world.rest();
    let worker =
        JavaKclWorker { stream: STREAM, table: LeaseTable::NAME, initial_position, name: "worker-1" };
    let worker = KclWorker::start_java(&worker, &jars, &world.kinesis, &world.table.url());
    world.wait_for(&worker, &expected, KCL_PATIENCE);
    world.check(worker.stop(), expected);
}

#[test]
#[ignore = "needs Java, and takes a minute: make test-java-kcl"]
fn the_kcl_for_java_takes_a_mirror_over_whose_shards_are_split_and_would_start_at_latest() {
    take_over("LATEST");
}

#[test]
#[ignore = "needs Java, and takes a minute: make test-java-kcl"]
fn the_kcl_for_java_takes_a_mirror_over_whose_shards_are_split_and_would_start_at_trim_horizon() {
    take_over("TRIM_HORIZON");
}

/// A stream of two shards, which a function and a KCL process in turns.
struct Turns {
    operator: Operator,
    proxy: FaultProxy,
    jars: PathBuf,
    /// Texts of all user records that were put.
    put: Vec<String>,
    /// Texts of those that were processed in earlier turns.
    processed: Vec<String>,
}

impl Turns {
    fn start() -> Option<Self> {
        let jars = java_kcl_jars()?;
        let operator = Operator::start(2);
        operator.create_journal();
        operator.create_function(FUNCTION, &VARIABLES);
        let url = operator.config.endpoint_url().and_then(|url| url.rsplit_once(':'));
        let (_, port) = url.expect("moto's address");
        let proxy = FaultProxy::start(port.parse().expect("a port"));
        Some(Turns { operator, proxy, jars, put: Vec::new(), processed: Vec::new() })
    }

    /// Puts a plain record, or an aggregate. The hash key is a number of eighths of the range.
    fn put(&mut self, eighths: u128, texts: &[&str]) {
        let (kinesis, hash_key) = (&self.operator.kinesis, Some(eighths << 125));
        match texts {
            [text] => drop(kinesis.put(STREAM, "key", hash_key, text.as_bytes())),
            _ => drop(kinesis.put_aggregate(STREAM, hash_key, texts)),
        }
        self.put.extend(texts.iter().map(|&text| text.to_owned()));
    }

    #[track_caller]
    fn kit(&self, args: &str) -> Run {
        let run = self.operator.kit(&format!("checkpoint {args} --stream {STREAM}"), &[]);
        assert_eq!(run.exit_code, Some(0), "{args}: {}", run.stderr);
        run
    }

    /// The states of the shards in a table, of which none is missing or unreadable.
    #[track_caller]
    fn status(&self, table: &str) -> Vec<Value> {
        self.kit(&format!("status --table {table} --format json")).lines()
    }

    fn kcl(&self, table: &str, initial_position: &str, name: &str) -> KclWorker {
        let worker = JavaKclWorker { stream: STREAM, table, initial_position, name };
        KclWorker::start_java(&worker, &self.jars, &self.operator.kinesis, &moto::endpoint(self.proxy.port))
    }

    /// Ends the turn of a KCL, which has processed these user records, in whatever order of shards.
    #[track_caller]
    fn end_kcl(&mut self, worker: KclWorker, expected: &[&str]) {
        let texts = worker.stop().into_iter().map(|UserRecord { text, .. }| text);
        self.end(texts.collect(), expected);
    }

    /// Lets the function process these user records, in whatever order of shards, from the mapping's starting position.
    #[track_caller]
    fn run_function(&mut self, start: &Value, expected: &[&str]) {
        let mut mapping = start.clone();
        mapping["FunctionResponseTypes"] = json!(["ReportBatchItemFailures"]);
        let scenario = json!({ "mapping": mapping });
        let mut polling = self.operator.mapping(&scenario, &VARIABLES);
        // Whatever it repeats comes before these, because each shard has one of them.
        wait_for("the function", || {
            let processed = self.operator.processed();
            expected.iter().all(|text| processed.iter().any(|found| found == text))
        });
        polling.interrupt();
        let processed = self.operator.processed();
        fs::remove_file(self.operator.path("processed")).expect("something was processed");
        self.end(processed, expected);
    }

    #[track_caller]
    fn end(&mut self, mut processed: Vec<String>, expected: &[&str]) {
        self.processed.extend(processed.iter().cloned());
        processed.sort();
        let mut expected = expected.to_vec();
        expected.sort_unstable();
        assert_eq!(processed, expected);
    }

    /// Freezes the positions in the function's table, and returns the starting position of its next mapping.
    #[track_caller]
    fn cut_over(&self) -> Value {
        let run = self.kit(&format!("cutover --table {TABLE} --function {FUNCTION} --no-mapping --yes"));
        match run.stdout.trim_end().rsplit_once("StartingTimestamp=") {
            Some((_, seconds)) => {
                let seconds: u64 = seconds.parse().expect("digits");
                json!({ "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": seconds })
            }
            None => json!({ "StartingPosition": "TRIM_HORIZON" }),
        }
    }

    /// Checks that all turns together have processed all user records once.
    #[track_caller]
    fn check(mut self) {
        self.put.sort();
        self.processed.sort();
        assert_eq!(self.processed, self.put);
    }
}

#[test]
#[ignore = "needs Java, and takes two minutes: make test-java-kcl"]
fn a_function_and_the_kcl_for_java_take_turns_on_one_table() {
    let Some(mut turns) = Turns::start() else { return };
    turns.operator.create_lease_table(TABLE);
    turns.put(0, &["a"]);
    turns.put(0, &["b-0", FAILING, "b-2"]);
    turns.put(0, &["c-0", "c-1", "stop", "c-3", FAILING, "c-5"]);
    turns.put(0, &["d"]);
    turns.put(4, &["e"]);
    turns.put(4, &["f-0", "f-1"]);
    let start = json!({ "StartingPosition": "TRIM_HORIZON" });
    turns.run_function(&start, &["a", "b-0", "e", "f-0", "f-1"]);

    // Both shards have rows, of the function.
    let worker = turns.kcl(TABLE, "LATEST", "worker-1");
    turns.put(4, &["g-0", "g-1"]);
    wait_for_kcl(&worker, |worker| worker.has_stopped(SHARDS[0]) && worker.has_processed("g-1"));
    turns.end_kcl(worker, &[FAILING, "b-2", "c-0", "c-1", "g-0", "g-1"]);

    // It leaves its name in the leases, although it has shut down gracefully.
    let owners: Vec<Value> = turns.status(TABLE).into_iter().map(|line| line["leaseOwner"].clone()).collect();
    assert_eq!(owners, ["worker-1", "worker-1"]);
    turns.kit(&format!("release --table {TABLE} --owner worker-1 --wait 15 --yes"));
    turns.put(4, &["h"]);
    let start = turns.cut_over();
    turns.run_function(&start, &["stop", "c-3", "h"]);

    // The function has not seen the children.
    turns.operator.kinesis.split_shard(STREAM, SHARDS[0]);
    turns.put(0, &["i-0", "i-1"]);
    turns.put(3, &["j"]);
    turns.put(4, &["k"]);
    turns.kit(&format!("complete --table {TABLE}"));
    let worker = turns.kcl(TABLE, "LATEST", "worker-2");
    let last = ["i-1", "j", "k"];
    wait_for_kcl(&worker, |worker| last.iter().all(|text| worker.has_processed(text)));
    turns.end_kcl(worker, &[FAILING, "c-5", "d", "i-0", "i-1", "j", "k"]);
    turns.check();
}

#[test]
#[ignore = "needs Java, and takes two minutes: make test-java-kcl"]
fn a_function_imports_the_table_of_the_kcl_for_java_and_another_kcl_continues_in_its_own() {
    const APPLICATION_OF_KCL: &str = "orders-kcl";
    let Some(mut turns) = Turns::start() else { return };
    turns.operator.create_lease_table(TABLE);
    turns.put(0, &["a"]);
    turns.put(0, &["b-0", "b-1", "stop", "b-3"]);
    turns.put(4, &["c"]);
    turns.put(4, &["d-0", "d-1"]);
    // It makes its table, with rows for its leader, its migration and itself.
    let worker = turns.kcl(APPLICATION_OF_KCL, "TRIM_HORIZON", "worker-1");
    wait_for_kcl(&worker, |worker| worker.has_stopped(SHARDS[0]) && worker.has_processed("d-1"));
    turns.end_kcl(worker, &["a", "b-0", "b-1", "c", "d-0", "d-1"]);
    let shards: Vec<Value> =
        turns.status(APPLICATION_OF_KCL).into_iter().map(|line| line["shardId"].clone()).collect();
    assert_eq!(shards, SHARDS[..2]);

    turns.kit(&format!(
        "import --from-table {APPLICATION_OF_KCL} --table {TABLE} --application {APPLICATION}"
    ));
    turns.operator.kinesis.split_shard(STREAM, SHARDS[1]);
    turns.put(4, &["e-0", "e-1", FAILING, "e-3"]);
    let start = turns.cut_over();
    turns.run_function(&start, &["stop", "b-3", "e-0", "e-1"]);

    // One child has a row of the function, which has read nothing of the other.
    turns.put(0, &["f"]);
    turns.put(7, &["g-0", "g-1"]);
    turns.kit(&format!("complete --table {TABLE}"));
    let worker = turns.kcl(TABLE, "TRIM_HORIZON", "worker-2");
    let last = ["e-3", "f", "g-1"];
    wait_for_kcl(&worker, |worker| last.iter().all(|text| worker.has_processed(text)));
    turns.end_kcl(worker, &[FAILING, "e-3", "f", "g-0", "g-1"]);
    turns.check();
}

#[track_caller]
fn wait_for_kcl(worker: &KclWorker, condition: impl Fn(&KclWorker) -> bool) {
    wait_at_most(KCL_PATIENCE, "the KCL", || condition(worker));
}
