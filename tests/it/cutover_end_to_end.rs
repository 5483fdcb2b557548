//! A real function is cut over with `kinesis-kit checkpoint cutover`, with stand-ins for Kinesis, DynamoDB and Lambda.

use std::time::{SystemTime, UNIX_EPOCH};

use aws_sdk_dynamodb::types::AttributeValue;
use aws_sdk_lambda::types::EventSourcePosition;
use serde_json::{Value, json};

use crate::{
    emulator::wait_for,
    operator::{APPLICATION, Operator, STREAM},
};

const TABLE: &str = "orders-checkpoints";
const FUNCTION: &str = "orders-consumer";
const PARENT: &str = "shardId-000000000000";

/// The record at which the function fails until it is mended.
const FAILING: &str = "permanent";

/// Variables of the function.
const VARIABLES: [(&str, &str); 3] = [
    ("KINESIS_HANDLER_APPLICATION", APPLICATION),
    ("KINESIS_HANDLER_CHECKPOINT_TABLE", TABLE),
    ("KINESIS_HANDLER_CUTOVER", "on"),
];

fn mapping(start: Value) -> Value {
    let mut mapping = start;
    mapping["FunctionResponseTypes"] = json!(["ReportBatchItemFailures"]);
    mapping["BatchSize"] = json!(3);
    json!({ "mapping": mapping })
}

fn start() -> Operator {
    let operator = Operator::start(2);
    operator.create_lease_table(TABLE);
    operator.create_function(FUNCTION, &VARIABLES);
    operator
}

/// The hash key of a record for one shard or the other.
fn hash_key(shard: u128) -> Option<u128> {
    Some(shard << 127)
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_function_is_cut_over_and_processes_everything_once() {
    let operator = start();
    let kinesis = &operator.kinesis;
    kinesis.put(STREAM, "k", hash_key(0), b"a");
    kinesis.put_aggregate(STREAM, hash_key(0), &["b-0", "b-1", FAILING, "b-3"]);
    kinesis.put(STREAM, "k", hash_key(0), b"c");
    kinesis.put_aggregate(STREAM, hash_key(1), &["d-0", "d-1", "d-2"]);
    kinesis.put(STREAM, "k", hash_key(1), b"e");

    let old = mapping(json!({ "StartingPosition": "TRIM_HORIZON" }));
    let mut polling = operator.mapping(&old, &VARIABLES);
    let processed = || {
        let mut processed = operator.processed();
        processed.sort();
        processed
    };
    let before = ["a", "b-0", "b-1", "d-0", "d-1", "d-2", "e"];
    // Without a journal, the aggregate that fails is processed again from its start.
    wait_for("both shards", || {
        let mut processed = processed();
        processed.dedup();
        processed == before
    });
    polling.interrupt();
    std::fs::remove_file(operator.path("processed")).expect("something was processed");
    // The parent is closed while it is behind.
    kinesis.split_shard(STREAM, PARENT);
    kinesis.put(STREAM, "k", hash_key(0), b"f");
    kinesis.put_aggregate(STREAM, Some(3 << 125), &["g-0", "g-1"]);

    let cutover = format!(
        "checkpoint cutover --table {TABLE} --stream {STREAM} --function {FUNCTION} --no-mapping --yes"
    );
    let run = operator.kit(&cutover, &[]);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    let prefix = "StartingPosition=AT_TIMESTAMP StartingTimestamp=";
    let start_s = run.stdout.trim_end().strip_prefix(prefix).unwrap_or_else(|| panic!("{}", run.stdout));
    let start_s: u64 = start_s.parse().expect("digits");
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_secs();
    assert!((now_s - 120..now_s - 59).contains(&start_s), "{start_s} at {now_s}");

    let new = mapping(json!({ "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": start_s }));
    let mut switches = VARIABLES.to_vec();
    switches.push(("MENDED", "1"));
    let mut polling = operator.mapping(&new, &switches);
    let after = ["b-3", "c", "f", "g-0", "g-1", FAILING];
    wait_for("the rest", || processed().len() >= after.len());
    // The quiet shard has been delivered, too, and ends its cut-over with its next record.
    let pending = || {
        let status = format!("checkpoint status --table {TABLE} --stream {STREAM} --format json");
        let lines = operator.kit(&status, &[]).lines();
        lines.iter().filter(|line| !line["cutoverSequence"].is_null()).count()
    };
    wait_for("the shard that was behind", || pending() == 1);
    kinesis.put(STREAM, "k", hash_key(1), b"z");
    wait_for("the quiet shard", || pending() == 0);
    polling.interrupt();
    assert_eq!(processed(), ["b-3", "c", "f", "g-0", "g-1", FAILING, "z"]);
}

#[test]
#[ignore = "needs kinesis-local and moto, and takes 40 seconds: make test"]
fn a_mapping_is_disabled_and_made_again() {
    let operator = start();
    // moto knows mappings of its own streams only.
    let at = operator.config.endpoint_url().expect("moto's address").to_owned();
    let kinesis = aws_sdk_kinesis::Client::new(&operator.config);
    let lambda = aws_sdk_lambda::Client::new(&operator.config);
    let dynamodb = aws_sdk_dynamodb::Client::new(&operator.config);
    let (arn, old) = operator.runtime.block_on(async {
        kinesis.create_stream().stream_name(STREAM).shard_count(1).send().await.expect("a new stream");
        let put = kinesis.put_record().stream_name(STREAM).partition_key("k");
        let put = put.data(aws_sdk_kinesis::primitives::Blob::new("a")).send().await.expect("a record");
        let summary = kinesis.describe_stream_summary().stream_name(STREAM).send().await.expect("a stream");
        let arn = summary.stream_description_summary.expect("a summary").stream_arn;
        let row = dynamodb.put_item().table_name(TABLE);
        let row = row.item("leaseKey", AttributeValue::S(put.shard_id));
        let row = row.item("checkpoint", AttributeValue::S(put.sequence_number));
        let row = row.item("checkpointSubSequenceNumber", AttributeValue::N("0".to_owned()));
        let row = row.item("leaseCounter", AttributeValue::N("1".to_owned()));
        row.send().await.expect("a row as the mirror has it");
        let old = lambda.create_event_source_mapping().event_source_arn(&arn).function_name(FUNCTION);
        let old = old.starting_position(EventSourcePosition::TrimHorizon).batch_size(77);
        (arn, old.send().await.expect("a mapping").uuid.expect("a UUID"))
    });
    let run = operator.kit(
        &format!("checkpoint cutover --table {TABLE} --stream {STREAM} --function {FUNCTION} --yes"),
        &[("AWS_ENDPOINT_URL_KINESIS", &at)],
    );
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    for step in [format!("mapping {old}: Disabled"), format!("mapping {old}: deleted")] {
        assert!(run.stderr.contains(&step), "{step} in {}", run.stderr);
    }
    let mappings = operator.runtime.block_on(async {
        let list = lambda.list_event_source_mappings().event_source_arn(arn).send().await;
        list.expect("a list").event_source_mappings.expect("mappings")
    });
    let [new] = &mappings[..] else { panic!("{mappings:#?}") };
    assert_ne!(new.uuid, Some(old));
    assert_eq!(new.starting_position, Some(EventSourcePosition::AtTimestamp));
    assert_eq!((new.batch_size, new.state.as_deref()), (Some(77), Some("Enabled")));
}
