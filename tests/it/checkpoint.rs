//! The commands of `kinesis-kit checkpoint`, on lease tables of a function and of other applications.

use std::{fs, process::Command};

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::{
    emulator::kinesis_kit,
    kinesis::{CREDENTIALS, Kinesis},
    lease_table::LeaseTable,
};

const STREAM: &str = "orders";
const ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
const PARENT: &str = "shardId-000000000000";
const LOW: &str = "shardId-000000000001";
const HIGH: &str = "shardId-000000000002";

/// The exit code and the output of a command.
pub(crate) struct Run {
    pub(crate) exit_code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// Runs a command on the table.
pub(crate) fn checkpoint(kinesis: &Kinesis, table: &LeaseTable, args: &str) -> Run {
    let output = Command::new(kinesis_kit())
        .arg("checkpoint")
        .args(args.split_whitespace())
        .args(["--table", LeaseTable::NAME])
        .envs(CREDENTIALS)
        .env("AWS_ENDPOINT_URL_KINESIS", kinesis.url())
        .env("AWS_ENDPOINT_URL_DYNAMODB", table.url())
        .output()
        .expect("the binary runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Run { exit_code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

struct World {
    kinesis: Kinesis,
    table: LeaseTable,
}

impl World {
    fn start() -> Self {
        let kinesis = Kinesis::start();
        kinesis.create_stream(STREAM, 1);
        World { kinesis, table: LeaseTable::start() }
    }

    #[track_caller]
    fn run(&self, args: &str, exit_code: i32) -> Run {
        let run = checkpoint(&self.kinesis, &self.table, &format!("{args} --stream {STREAM}"));
        assert_eq!(run.exit_code, Some(exit_code), "{}{}", run.stdout, run.stderr);
        run
    }

    /// The lines of `status`, of which these members are looked at.
    #[track_caller]
    fn status(&self, exit_code: i32, members: &[&str]) -> Vec<Value> {
        let run = self.run("status --count --format json", exit_code);
        let line = |line: &str| {
            let line: Value = serde_json::from_str(line).expect("JSON");
            members.iter().map(|&member| line[member].clone()).collect::<Value>()
        };
        run.stdout.lines().map(line).collect()
    }

    /// A row as the mirror writes it.
    fn mirror(&self, shard_id: &str, checkpoint: &str, sub: u64) {
        self.row(&[
            ("leaseKey", text(shard_id)),
            ("checkpoint", text(checkpoint)),
            ("checkpointSubSequenceNumber", number(sub)),
            ("leaseCounter", number(7)),
            ("kitStream", text(ARN)),
            ("kitApp", text(STREAM)),
        ]);
    }

    fn row(&self, item: &[(&str, AttributeValue)]) {
        self.table.put(LeaseTable::NAME, "leaseKey", item);
    }

    /// A lease of the first shard, as a KCL application for several streams writes it.
    fn of_several_streams(&self, table: &str, identifier: &str, checkpoint: &str, sub: u64) {
        let item = [
            ("leaseKey", text(&format!("{identifier}:{PARENT}"))),
            ("checkpoint", text(checkpoint)),
            ("checkpointSubSequenceNumber", number(sub)),
            ("leaseCounter", number(1)),
            ("streamName", text(identifier)),
            ("shardId", text(PARENT)),
            ("entityType", text("LEASE")),
        ];
        self.table.put(table, "leaseKey", &item);
    }
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn status_tells_how_far_each_shard_is_and_which_has_no_row() {
    let world = World::start();
    let first = world.kinesis.put_aggregate(STREAM, None, &["a", "b", "c"]);
    world.kinesis.put(STREAM, "key", None, b"d");
    world.mirror(PARENT, &first, 1);
    let members = ["shardId", "state", "unprocessedKinesisRecords", "unprocessedUserRecords"];
    assert_eq!(world.status(0, &members), [json!([PARENT, "known", 2, 2])]);

    world.kinesis.split_shard(STREAM, PARENT);
    let high = world.kinesis.put(STREAM, "key", Some(u128::MAX), b"high");
    world.mirror(HIGH, &high, 0);
    assert_eq!(
        world.status(1, &members),
        [json!([PARENT, "known", 2, 2]), json!([LOW, "missing", 0, 0]), json!([HIGH, "known", 0, 0]),]
    );
    let run = world.run("status", 1);
    assert!(run.stdout.contains(&format!("{PARENT}/{first}:1")), "{}", run.stdout);
    assert!(
        run.stderr.contains("1 shard without a row: before a KCL application takes over"),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("a new mapping loses nothing if it starts AT_TIMESTAMP"), "{}", run.stderr);
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn complete_adds_what_a_kcl_needs_and_leaves_positions_alone() {
    let world = World::start();
    let parent = world.kinesis.put(STREAM, "key", None, b"a");
    world.mirror(PARENT, &parent, 0);
    world.kinesis.split_shard(STREAM, PARENT);
    let run = world.run("complete --dry-run", 0);
    assert!(run.stderr.contains("2 rows would be added"), "{}", run.stderr);
    assert_eq!(world.table.positions().len(), 1);

    world.run("complete", 0);
    let begin = ("TRIM_HORIZON".to_owned(), 0);
    let positions = world.table.positions();
    assert_eq!(positions[PARENT], (parent, 0));
    assert_eq!((&positions[LOW], &positions[HIGH]), (&begin, &begin));
    assert_eq!(world.table.row(LOW)["parentShardId"], AttributeValue::Ss(vec![PARENT.to_owned()]));
    assert_eq!(
        (&world.table.row(LOW)["kitStream"], &world.table.row(LOW)["kitApp"]),
        (&text(ARN), &text(STREAM))
    );
    assert_eq!(world.table.row(PARENT)["startingHashKey"], text("0"));
    let run = world.run("complete", 0);
    assert!(run.stderr.contains("0 rows added; parents and hash keys added to 0 rows"), "{}", run.stderr);
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn complete_adds_no_row_for_a_parent_whose_children_have_positions() {
    let world = World::start();
    world.kinesis.put(STREAM, "key", None, b"a");
    world.kinesis.split_shard(STREAM, PARENT);
    let low = world.kinesis.put(STREAM, "key", Some(0), b"low");
    world.mirror(LOW, &low, 0);
    world.run("complete", 0);
    assert_eq!(world.table.positions().into_keys().collect::<Vec<_>>(), [LOW, HIGH]);
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn release_takes_leases_from_a_dead_worker_only() {
    let world = World::start();
    let sequence_number = world.kinesis.put(STREAM, "key", None, b"a");
    let owned = |counter| {
        world.row(&[
            ("leaseKey", text(PARENT)),
            ("checkpoint", text(&sequence_number)),
            ("checkpointSubSequenceNumber", number(0)),
            ("leaseCounter", number(counter)),
            ("leaseOwner", text("worker-7")),
        ]);
    };
    owned(1);
    let run = world.run("release --owner worker-8 --wait 1 --yes", 2);
    assert!(run.stderr.contains("no selected lease has the owner \"worker-8\""), "{}", run.stderr);
    world.run("release --owner worker-7 --wait 1", 1);
    assert!(world.table.row(PARENT).contains_key("leaseOwner"));

    std::thread::scope(|scope| {
        let running = scope.spawn(|| world.run("release --owner worker-7 --wait 3 --yes", 1));
        // Until the command has ended, the worker renews its lease.
        for counter in 2.. {
            owned(counter);
            if running.is_finished() {
                break;
            }
        }
        let run = running.join().expect("it ends");
        assert!(
            run.stderr.contains("kept, because it was written meanwhile: the owner is alive"),
            "{}",
            run.stderr
        );
    });
    assert!(world.table.row(PARENT).contains_key("leaseOwner"));

    let run = world.run("release --owner worker-8 --owner worker-7 --wait 1 --yes", 0);
    assert!(run.stderr.contains("no selected lease has the owner \"worker-8\""), "{}", run.stderr);
    assert!(run.stderr.contains("1 lease of worker-7: "), "{}", run.stderr);
    assert!(!world.table.row(PARENT).contains_key("leaseOwner"));
    assert_eq!(world.table.positions()[PARENT], (sequence_number, 0));
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn reset_moves_a_lease_unless_a_worker_owns_it() {
    let world = World::start();
    let sequence_number = world.kinesis.put(STREAM, "key", None, b"a");
    world.mirror(PARENT, &sequence_number, 0);
    world.run("reset --to trim-horizon", 1);
    assert_eq!(world.table.positions()[PARENT], (sequence_number.clone(), 0));
    world.run("reset --to trim-horizon --yes", 0);
    assert_eq!(world.table.positions()[PARENT], ("TRIM_HORIZON".to_owned(), 0));
    world.run(&format!("reset --to {PARENT}/{sequence_number}:3 --yes"), 0);
    assert_eq!(world.table.positions()[PARENT], (sequence_number.clone(), 3));
    world.run("reset --to 10m --yes", 2);
    world.run("reset --to latest --shard shardId-000000000009 --yes", 2);

    world.row(&[
        ("leaseKey", text(PARENT)),
        ("checkpoint", text(&sequence_number)),
        ("checkpointSubSequenceNumber", number(3)),
        ("leaseCounter", number(1)),
        ("leaseOwner", text("worker-7")),
    ]);
    let run = world.run("reset --to trim-horizon --yes", 1);
    assert!(run.stderr.contains("because worker-7 owns the lease"), "{}", run.stderr);
    assert_eq!(world.table.positions()[PARENT], (sequence_number, 3));
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn exported_positions_are_imported_once() {
    let world = World::start();
    let sequence_number = world.kinesis.put_aggregate(STREAM, None, &["a", "b", "c"]);
    world.mirror(PARENT, &sequence_number, 1);
    let export = world.run("export", 0).stdout;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("positions.jsonl");
    fs::write(&file, &export).expect("a file");

    let other = World { table: LeaseTable::start(), ..world };
    let import = format!("import {} --application {STREAM}", file.display());
    other.run(&import, 0);
    assert_eq!(other.table.positions()[PARENT], (sequence_number.clone(), 1));
    assert!(other.table.row(PARENT).contains_key("kitArrivalAt"));
    other.run(&import, 0);
    other.run("reset --to trim-horizon --yes", 0);
    let run = other.run(&import, 1);
    assert!(run.stderr.contains("kept at TRIM_HORIZON"), "{}", run.stderr);

    fs::write(&file, export.replace("stream/orders", "stream/other")).expect("a file");
    let run = other.run(&import, 2);
    assert!(run.stderr.contains("line 1: a position of another stream"), "{}", run.stderr);
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn tables_of_other_applications_are_imported() {
    let world = World::start();
    let aggregate = world.kinesis.put_aggregate(STREAM, None, &["a", "b", "c"]);
    world.table.put(
        "go-kcl",
        "ShardID",
        &[("ShardID", text(PARENT)), ("Checkpoint", text(&aggregate)), ("AssignedTo", text("worker"))],
    );
    let run = world.run(&format!("import --from-table go-kcl --application {STREAM}"), 0);
    // All three user records are processed.
    assert_eq!(world.table.positions()[PARENT], (aggregate.clone(), 2));
    assert!(run.stderr.contains("worker owns the lease"), "{}", run.stderr);

    let other = World { table: LeaseTable::start(), ..world };
    let created = other.kinesis.created_s(STREAM);
    for (name, epoch) in [("orders", created), ("orders", created - 1), ("other", created)] {
        let sub = u64::from(name == "orders" && epoch == created);
        other.of_several_streams("kcl", &format!("000000000000:{name}:{epoch}"), &aggregate, sub);
    }
    let leader = [("leaseKey", text("Leader")), ("entityType", text("LEADER"))];
    other.table.put("kcl", "leaseKey", &leader);
    other.run(&format!("import --from-table kcl --application {STREAM}"), 0);
    assert_eq!(other.table.positions()[PARENT], (aggregate, 1));
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn no_row_is_added_to_the_table_of_an_application_for_several_streams() {
    let world = World::start();
    let sequence_number = world.kinesis.put(STREAM, "key", None, b"a");
    world.mirror(PARENT, &sequence_number, 0);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("positions.jsonl");
    fs::write(&file, world.run("export", 0).stdout).expect("a file");

    let other = World { table: LeaseTable::start(), ..world };
    other.kinesis.split_shard(STREAM, PARENT);
    let identifier = format!("000000000000:{STREAM}:{}", other.kinesis.created_s(STREAM));
    other.of_several_streams(LeaseTable::NAME, &identifier, &sequence_number, 0);
    for command in ["complete".to_owned(), format!("import {} --application {STREAM}", file.display())] {
        let run = other.run(&command, 2);
        let message = format!("is of a KCL application for several streams ({identifier}:{PARENT})");
        assert!(run.stderr.contains(&message), "{command}: {}", run.stderr);
    }
    assert_eq!(other.table.positions().into_keys().collect::<Vec<_>>(), [format!("{identifier}:{PARENT}")]);
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn status_names_a_start_only_if_it_knows_all_positions() {
    let world = World::start();
    let first = world.kinesis.put(STREAM, "key", None, b"a");
    world.kinesis.put(STREAM, "key", None, b"b");
    world.mirror(PARENT, &first, 0);
    let start = "a new mapping loses nothing if it starts AT_TIMESTAMP";
    assert!(world.run("status", 0).stderr.contains(start));
    // Of one shard alone it would be too late for the others.
    assert!(!world.run(&format!("status --shard {PARENT}"), 0).stderr.contains("a new mapping"));
    world.mirror(PARENT, "LATEST", 0);
    let run = world.run("status", 0);
    assert!(run.stderr.contains("a new mapping must start at TRIM_HORIZON"), "{}", run.stderr);
}
