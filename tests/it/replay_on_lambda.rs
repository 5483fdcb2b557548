//! A range that Lambda replays, and nothing lost by it or outside of it: with stand-ins for all services, a simulated mapping,
//! and a real function.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use kinesis_handler::{
    checkpoint::{Checkpoint, CheckpointOutcome, CheckpointPosition, CheckpointStore},
    journal::{DynamoDbJournal, JournalShard},
    replay::{DynamoDbReplayPositions, ReplayRange},
};
use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, UserRecordInput};
use serde_json::json;

use crate::{
    emulator::wait_for,
    lambda_api::{FUNCTION_ARN, LambdaApi},
    operator::{APPLICATION, JOURNAL, Operator, STREAM},
};

const SHARDS: usize = 16;

/// User records of an aggregated record, about as many as the KPL puts into one of its 50 KB.
const AGGREGATED: u32 = 4_000;

/// Aggregated records of a shard in the range: with one shard that has none, a million user records.
const AGGREGATES: usize = 18;

/// User records that are processed before the command is killed, and again before it is killed for the second time.
const MIN_PROCESSED: u64 = 250_000;

/// Most bytes of a number, and a line feed.
const NUMBER_BYTES: u64 = 7;

/// A hash key of one of the shards before they are split.
fn hash_key(shard: usize) -> u128 {
    ((shard as u128) << 124) + 1
}

/// Puts aggregated records whose user records are numbers in hexadecimal. They are short, because the stand-in for Kinesis takes
/// a second for a megabyte.
struct Numbers {
    next: u32,
    aggregator: Aggregator,
}

impl Numbers {
    fn new() -> Self {
        let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
        let options = AggregatorOptions { grouping, size_limit_bytes: 1_000_000 };
        Numbers { next: 0, aggregator: Aggregator::new(options).expect("a limit of Kinesis") }
    }

    /// Puts so many aggregated records into each of these shards, and returns their numbers.
    fn put(
        &mut self,
        operator: &Operator,
        shards: impl IntoIterator<Item = usize>,
        aggregates: usize,
    ) -> Range<u32> {
        let begin = self.next;
        for shard in shards {
            let hash_key = hash_key(shard);
            let text = hash_key.to_string();
            for _ in 0..aggregates {
                for number in self.next..self.next + AGGREGATED {
                    let data = format!("{number:x}");
                    let mut user_record = UserRecordInput::new("key", &data);
                    user_record.explicit_hash_key = Some(&text);
                    assert_eq!(self.aggregator.add(user_record), Ok(None));
                }
                self.next += AGGREGATED;
                let record = self.aggregator.finish().remove(0);
                operator.kinesis.put(STREAM, &record.partition_key, Some(hash_key), &record.data);
            }
        }
        begin..self.next
    }
}

/// A time in milliseconds since 1970 that no record has.
fn border() -> u128 {
    thread::sleep(Duration::from_millis(50));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_millis();
    thread::sleep(Duration::from_millis(50));
    now
}

fn start_lambda(operator: &Operator) -> LambdaApi {
    let mut variables: BTreeMap<String, String> = operator.variables().into_iter().collect();
    let own = [
        ("KINESIS_HANDLER_APPLICATION", APPLICATION),
        ("KINESIS_HANDLER_JOURNAL_TABLE", JOURNAL),
        ("KINESIS_HANDLER_REPLAYS", "on"),
        ("MENDED", "1"),
    ];
    variables.extend(own.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let live = json!({
        "UUID": "live", "EventSourceArn": format!("arn:aws:kinesis:us-east-1:000000000000:stream/{STREAM}"),
        "FunctionArn": FUNCTION_ARN, "State": "Enabled", "BatchSize": 10, "MaximumBatchingWindowInSeconds": 0,
        "BisectBatchOnFunctionError": true, "MaximumRetryAttempts": 10, "MaximumRecordAgeInSeconds": 60,
        "DestinationConfig": { "OnFailure": { "Destination": "arn:aws:s3:::failures" } },
    });
    LambdaApi::start(live, variables, operator.path(""))
}

/// The partition keys of the journal's table.
fn partition_keys(operator: &Operator) -> BTreeSet<String> {
    let client = aws_sdk_dynamodb::Client::new(&operator.config);
    let answer = operator.runtime.block_on(client.scan().table_name(JOURNAL).send()).expect("moto answers");
    let key = |item: &std::collections::HashMap<String, aws_sdk_dynamodb::types::AttributeValue>| {
        item["pk"].as_s().expect("text").clone()
    };
    answer.items().iter().map(key).collect()
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_range_is_replayed_by_lambda_while_the_command_is_killed_twice() {
    let operator = Operator::start(SHARDS as i32);
    operator.create_journal();
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&operator.config).force_path_style(true).build(),
    );
    operator.runtime.block_on(s3.create_bucket().bucket("failures").send()).expect("moto makes a bucket");
    let mut numbers = Numbers::new();
    numbers.put(&operator, 0..SHARDS, 2);
    let from = border();
    // The last shard has nothing in the range, two are split in it, and one of their children has nothing.
    let first = numbers.put(&operator, 0..SHARDS - 1, AGGREGATES / 2);
    operator.kinesis.split_shard(STREAM, "shardId-000000000000");
    operator.kinesis.split_shard(STREAM, "shardId-000000000001");
    let second = numbers.put(&operator, 0..SHARDS - 1, AGGREGATES / 2);
    let until = border();
    // Some shards stay quiet after the range, one is split.
    operator.kinesis.split_shard(STREAM, "shardId-000000000002");
    numbers.put(&operator, 2..SHARDS / 2, 2);

    let lambda = start_lambda(&operator);
    let replay = format!(
        "replay --on-lambda --stream {STREAM} --function orders --from @{from} --to @{until} --interval 1 --format json"
    );
    let url = lambda.url();
    let variables = [("AWS_ENDPOINT_URL_LAMBDA", url.as_str())];
    for part in [1, 2] {
        let mut run = operator.spawn(&replay, &variables);
        wait_for("some user records", || operator.processed_bytes() >= part * MIN_PROCESSED * NUMBER_BYTES);
        run.kill().expect("it runs");
        run.wait().expect("it ends");
        // A producer writes all the time.
        numbers.put(&operator, 2..SHARDS / 2, 1);
    }
    let run = operator.kit(&replay, &variables);
    assert_eq!(run.exit_code, Some(0), "{}{}", run.stdout, run.stderr);
    assert_eq!((lambda.created().len(), lambda.left()), (1, (0, 0)), "{}", run.stderr);
    let lines = run.lines();
    assert_eq!(lines.len(), SHARDS + 6, "{}", run.stdout);
    let nothing = lines.iter().filter(|line| line["outcome"] == "nothing").count();
    assert!(
        lines.iter().all(|line| line["outcome"] == "nothing" || line["outcome"] == "passed"),
        "{}",
        run.stdout
    );
    // The last shard, a child of each shard that was split in the range, and both children of the one that was split after it.
    assert_eq!(nothing, 5, "{}", run.stdout);

    let mut processed: Vec<u32> =
        operator.processed().iter().map(|text| u32::from_str_radix(text, 16).expect("a number")).collect();
    processed.sort_unstable();
    let expected = first.start..second.end;
    assert!(expected.len() >= 1_000_000 && first.end == second.start);
    // Neither side is printed.
    assert!(
        processed.iter().copied().eq(expected.clone()),
        "nothing is lost or comes twice, and nothing outside of the range is processed: {} instead of {}",
        processed.len(),
        expected.len()
    );
    // What the live mapping has is not touched.
    let own = format!("{APPLICATION}/replay-{from}-{until}#");
    assert!(partition_keys(&operator).iter().all(|key| key.starts_with(&own)));
    assert_eq!(partition_keys(&operator).len(), SHARDS + 6 - nothing);
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_position_never_moves_back_and_is_no_foreign_item_of_the_journal() {
    let operator = Operator::start(1);
    operator.create_journal();
    let client = aws_sdk_dynamodb::Client::new(&operator.config);
    let positions = DynamoDbReplayPositions::with_client(JOURNAL, client);
    let application = ReplayRange::new(1, 2).expect("a range").application(APPLICATION);
    let stream_arn = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";
    let shard = JournalShard { application: &application, stream_arn, shard_id: "shardId-000000000000" };
    let at = |number: &str, sub_sequence_number| {
        let sequence_number = number.parse().expect("digits");
        CheckpointPosition { sequence_number, sub_sequence_number }
    };
    let write = |position| {
        let JournalShard { application, stream_arn, shard_id } = shard;
        let checkpoint =
            Checkpoint { application, stream_arn, shard_id, position, arrival_ms: Some(1), now_ms: 5 };
        operator.runtime.block_on(positions.write(checkpoint)).expect("moto answers")
    };
    let read = || operator.runtime.block_on(positions.position(shard)).expect("moto answers");
    assert_eq!(read(), None);
    assert_eq!(write(at("99", 0)), CheckpointOutcome::Written);
    assert_eq!(write(at("100", 9)), CheckpointOutcome::Written);
    for earlier in [at("99", 3), at("100", 8), at("100", 9)] {
        assert!(matches!(write(earlier), CheckpointOutcome::AlreadyAhead { .. }), "{earlier:?}");
    }
    assert_eq!(write(at("100", 10)), CheckpointOutcome::Written);
    let found = read().expect("a position");
    assert_eq!((found.position, found.arrival_ms, found.updated_ms), (at("100", 10), Some(1), 5));

    let journal = DynamoDbJournal::with_config(JOURNAL, operator.config.clone());
    let keys = operator.runtime.block_on(journal.scan_keys()).expect("moto answers");
    assert_eq!((keys.partition_keys.len(), keys.foreign), (1, Vec::new()));
    operator.runtime.block_on(positions.delete(shard)).expect("moto answers");
    assert_eq!(read(), None);
}
