//! Discarded and quarantined records come back: with stand-ins for Kinesis, SQS, S3, DynamoDB and Lambda, and a real
//! function.

use std::path::Path;

use aws_sdk_s3::primitives::ByteStream;
use serde_json::{Value, json};

use crate::{
    emulator::{Function, misbehaving_function, wait_for},
    operator::{APPLICATION, JOURNAL, Operator, STREAM, WITH_JOURNAL},
};

fn scenario(retries: u32) -> Value {
    json!({ "mapping": {
        "MaximumRetryAttempts": retries,
        "BisectBatchOnFunctionError": true,
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
    } })
}

/// A stream of an aggregate with a record that fails for good, which the mapping has discarded. Returns its failure record.
fn discard(operator: &Operator, switches: &[(&str, &str)]) -> Value {
    operator.kinesis.put(STREAM, "k", None, b"first");
    operator.kinesis.put_aggregate(STREAM, None, &["before", "permanent", "behind"]);
    operator.kinesis.put(STREAM, "k", None, b"last");
    let mut mapping = operator.mapping(&scenario(1), switches);
    mapping.wait_for_records(2);
    mapping.interrupt();
    let mut failures = mapping.failure_records();
    assert_eq!(failures.len(), 1);
    let mut failure = failures.remove(0);
    // SQS and SNS do not get it.
    failure.as_object_mut().expect("a failure record").remove("payload");
    assert!(operator.processed().contains(&"last".to_owned()), "{:?}", operator.processed());
    failure
}

/// Returns the records that were processed after this many user records.
fn processed_since(operator: &Operator, before: usize) -> Vec<String> {
    operator.processed()[before..].to_vec()
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_queue_is_emptied_of_what_is_processed() {
    let operator = Operator::start(1);
    let failure = discard(&operator, &[]);
    let sqs = aws_sdk_sqs::Client::new(&operator.config);
    let wrapped = json!({ "Type": "Notification", "Message": failure.to_string() });
    operator.runtime.block_on(async {
        let queue = sqs.create_queue().queue_name("failures").send().await.expect("moto makes a queue");
        for body in [failure.to_string(), wrapped.to_string(), "something else".to_owned()] {
            let message = sqs.send_message().set_queue_url(queue.queue_url.clone()).message_body(body);
            message.send().await.expect("moto takes a message");
        }
    });

    // As long as the function fails, messages stay.
    let function = misbehaving_function();
    let before = operator.processed().len();
    let failed =
        operator.kit(&format!("redrive --queue failures --attempts 1 -- {}", function.display()), &[]);
    assert_eq!(failed.exit_code, Some(1), "{}", failed.stderr);
    assert!(failed.stdout.contains("asked to"), "{}", failed.stdout);

    let before_mended = operator.processed().len();
    assert_eq!(processed_since(&operator, before), ["before", "before"]);
    let run = operator.kit_mended("redrive --queue failures --format json");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    let mut outcomes: Vec<_> = run.lines().iter().map(|line| line["outcome"].clone()).collect();
    outcomes.sort_by_key(Value::to_string);
    // Both are of the same records: the second one knows that they are done.
    assert_eq!(outcomes, ["processed", "processed", "unreadable"], "{}", run.stdout);
    assert_eq!(processed_since(&operator, before_mended), ["before", "permanent", "behind"]);

    let left = operator.kit_mended("redrive --queue failures --format json");
    assert_eq!(left.lines().len(), 1, "{}", left.stdout);
    assert_eq!(left.lines()[0]["outcome"], "unreadable");
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn objects_are_deleted_when_their_records_are_processed() {
    let operator = Operator::start(1);
    let failure = discard(&operator, &[]);
    let number = failure["KinesisBatchInfo"]["startSequenceNumber"].as_str().expect("digits").to_owned();
    // One whose records were never there, and which has them itself; as text, and as JSON.
    let mut gone = failure.clone();
    gone["KinesisBatchInfo"]["shardId"] = json!("shardId-000000000077");
    let kept = json!({ "Records": [{
        "kinesis": { "partitionKey": "k", "sequenceNumber": number, "data": "a2VwdA==" },
        "eventSource": "aws:kinesis",
        "eventID": format!("shardId-000000000077:{number}"),
        "eventSourceARN": failure["KinesisBatchInfo"]["streamArn"],
    }] });
    gone["payload"] = json!(kept.to_string());
    let s3_config = aws_sdk_s3::config::Builder::from(&operator.config).force_path_style(true).build();
    let s3 = aws_sdk_s3::Client::from_conf(s3_config);
    let put = async |key: &str, body: &Value| {
        let object =
            s3.put_object().bucket("failures").key(key).body(ByteStream::from(body.to_string().into_bytes()));
        object.send().await.expect("moto takes an object");
    };
    operator.runtime.block_on(async {
        s3.create_bucket().bucket("failures").send().await.expect("moto makes a bucket");
        put("aws/lambda/m/shardId-000000000000/2026/01/01/2026-01-01T00.00.00-1", &failure).await;
        put("aws/lambda/m/shardId-000000000077/2026/01/01/2026-01-01T00.00.00-2", &gone).await;
        put("other/object", &failure).await;
    });
    let before = operator.processed().len();

    let dry = operator.kit_mended("redrive --s3 s3://failures/aws/lambda/ --dry-run --format json");
    let outcomes: Vec<_> = dry.lines().iter().map(|line| line["outcome"].clone()).collect();
    assert_eq!((dry.exit_code, outcomes), (Some(0), vec![json!("found"), json!("found")]), "{}", dry.stderr);

    let run = operator.kit_mended("redrive --s3 s3://failures/aws/lambda/");
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert!(
        run.stderr.ends_with("2 failure records: 2 processed, 2 Kinesis records delivered\n"),
        "{}",
        run.stderr
    );
    // Both shards are redriven at once.
    let mut processed = processed_since(&operator, before);
    processed.retain(|order| order != "kept");
    assert_eq!(processed, ["before", "permanent", "behind"]);
    assert_eq!(operator.processed().len(), before + 4);
    let left =
        operator.runtime.block_on(s3.list_objects_v2().bucket("failures").send()).expect("moto answers");
    let keys: Vec<_> = left.contents().iter().filter_map(|object| object.key()).collect();
    assert_eq!(keys, ["other/object"]);
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_discarded_record_in_the_journal_resumes_inside_its_aggregate() {
    let operator = Operator::start(1);
    operator.create_journal();
    discard(&operator, &WITH_JOURNAL);
    // The function sees that it was discarded when the next batch comes.
    operator.kinesis.put(STREAM, "k", None, b"next");
    let list = format!("journal list --table {JOURNAL} --format json");
    let states = operator.kit(&list, &[]).lines();
    assert_eq!(states.len(), 1, "{states:?}");
    assert_eq!((&states[0]["kind"], &states[0]["done"]), (&json!("discarded"), &json!([[0, 0]])));
    assert_eq!(states[0]["lastError"], "asked to");

    let before = operator.processed().len();
    let redrive = format!("redrive --discarded {JOURNAL} --application {APPLICATION}");
    let function = misbehaving_function();
    let mut switches = WITH_JOURNAL.to_vec();
    switches.push(("MENDED", "1"));
    let run = operator.kit(&format!("{redrive} -- {}", function.display()), &switches);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(processed_since(&operator, before), ["permanent", "behind"], "what is done is not done again");
    assert!(operator.kit(&list, &[]).lines().is_empty());
    // Once more, there is nothing.
    let run = operator.kit_mended(&redrive);
    assert!(run.stderr.contains("0 failure records"), "{}", run.stderr);
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn the_quarantine_is_listed_shown_redriven_and_purged() {
    let operator = Operator::start(1);
    operator.create_journal();
    operator.kinesis.put(STREAM, "plain", None, b"permanent");
    operator.kinesis.put_aggregate(STREAM, None, &["a", "permanent", "b", "permanent"]);
    let mut switches = WITH_JOURNAL.to_vec();
    switches.push(("KINESIS_HANDLER_QUARANTINE", "on"));
    let mut mapping = operator.mapping(&scenario(1), &switches);
    mapping.wait_for_records(2);
    mapping.interrupt();
    assert_eq!(operator.processed(), ["a", "b"]);

    let list = format!("quarantine list --table {JOURNAL} --format json");
    let records = operator.kit(&list, &[]).lines();
    let subs: Vec<_> = records
        .iter()
        .map(|record| (record["subSequenceNumber"].clone(), record["partitionKey"].clone()))
        .collect();
    let expected = [(0, "plain"), (1, "key-1"), (3, "key-3")].map(|(sub, key)| (json!(sub), json!(key)));
    assert_eq!(subs, expected);
    assert!(records.iter().all(|record| record["reason"] == "permanent" && record.get("data").is_none()));
    let position = format!("{}:3", records[2]["sequenceNumber"].as_str().expect("digits"));
    let shown = operator.kit(&format!("quarantine show --table {JOURNAL} {position} --raw"), &[]);
    assert_eq!((shown.exit_code, shown.stdout.as_str()), (Some(0), "permanent"), "{}", shown.stderr);

    // It fails again: it stays, and the journal does not count it.
    let function = misbehaving_function();
    let redrive = format!("quarantine redrive --table {JOURNAL}");
    let failed = operator.kit(&format!("{redrive} --attempts 1 -- {}", function.display()), &switches);
    assert_eq!(failed.exit_code, Some(1), "{}", failed.stderr);
    assert!(
        failed.stderr.contains("0 records processed and deleted from the quarantine, 3 failed"),
        "{}",
        failed.stderr
    );
    assert_eq!(operator.kit(&list, &[]).lines(), records);

    // Nothing is deleted without a word.
    let purge = format!("quarantine purge --table {JOURNAL} {position}");
    let asked = operator.kit(&purge, &[]);
    assert_eq!(asked.exit_code, Some(1));
    assert!(asked.stderr.contains("1 record would be deleted: add --yes"), "{}", asked.stderr);
    assert_eq!(operator.kit(&list, &[]).lines().len(), 3);
    assert_eq!(operator.kit(&format!("{purge} --yes"), &[]).exit_code, Some(0));
    assert_eq!(operator.kit(&list, &[]).lines(), records[..2]);

    let run = operator.kit_mended(&redrive);
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(processed_since(&operator, 2), ["permanent", "permanent"]);
    assert!(operator.kit(&list, &[]).lines().is_empty());
}

#[test]
#[ignore = "needs kinesis-local and moto: make test"]
fn a_cleared_journal_forgets_what_is_done() {
    let operator = Operator::start(1);
    operator.create_journal();
    operator.kinesis.put_aggregate(STREAM, None, &["a", "retryable"]);
    let mut mapping = operator.mapping(&scenario(1_000), &WITH_JOURNAL);
    wait_for("a failure", || !mapping.steps("invoked").is_empty());
    mapping.interrupt();
    let list = format!("journal list --table {JOURNAL} --format json");
    let states = operator.kit(&list, &[]).lines();
    assert_eq!((&states[0]["kind"], &states[0]["done"]), (&json!("retry"), &json!([[0, 0]])));

    let clear = format!("journal clear --table {JOURNAL} --application {APPLICATION} --stream {STREAM}");
    assert_eq!(operator.kit(&clear, &[]).exit_code, Some(1));
    assert_eq!(operator.kit(&list, &[]).lines().len(), 1);
    let other = operator.kit(&format!("journal clear --table {JOURNAL} --application billing --yes"), &[]);
    assert!(other.stderr.contains("0 entries deleted"), "{}", other.stderr);
    let cleared = operator.kit(&format!("{clear} --yes"), &[]);
    assert_eq!(cleared.exit_code, Some(0), "{}", cleared.stderr);
    assert!(operator.kit(&list, &[]).lines().is_empty());
}

#[test]
#[ignore = "needs kinesis-local, moto and cargo-lambda: make test"]
fn events_go_to_a_function_behind_lambdas_api() {
    let operator = Operator::start(1);
    let failure = discard(&operator, &[]);
    let file = operator.path("failure.json");
    std::fs::write(&file, failure.to_string()).expect("a writable folder");
    let processed = operator.path("processed");
    let variables = [("MENDED", "1"), ("PROCESSED", text(&processed))];
    let function = Function::start(&misbehaving_function(), &variables);
    let before = operator.processed().len();
    let lambda = function.invoke_url();
    let (endpoint, _) = lambda.split_once("/2015").expect("the API's path");
    let run = operator.kit(
        // The stand-in for Lambda knows no event source mappings.
        &format!("redrive --file {} --function _ --any-stream", file.display()),
        &[("AWS_ENDPOINT_URL_LAMBDA", endpoint)],
    );
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    assert_eq!(processed_since(&operator, before), ["before", "permanent", "behind"]);
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}
