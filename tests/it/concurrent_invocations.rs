//! A real binary with several invocations at once, as on Lambda Managed Instances.

use std::{collections::HashMap, ffi::OsString, fs, num::NonZeroUsize};

use futures_util::future::join_all;
use kinesis_handler::{Event, KinesisRecord, SequenceNumber};
use lambda_host::{Answer, BinaryFunction, BinaryOptions, Fate};
use serde_json::{Value, json};

use crate::{emulator::misbehaving_function, events};

const INVOCATIONS: u64 = 8;

/// An invocation with records that nobody else has.
struct Invocation {
    request_id: String,
    shard_id: String,
    event: Vec<u8>,
    user_records: u64,
    waits: u64,
    /// Record that the response must name.
    failed: Option<SequenceNumber>,
}

impl Invocation {
    /// One wait or two, some other records, and in every second invocation a record that fails.
    fn new(number: u64) -> Self {
        let (waits, others) = (1 + number % 2, number);
        let mut texts = vec!["wait 500 ms"; waits as usize];
        texts.extend(vec!["fine"; others as usize]);
        let fails = number.is_multiple_of(2);
        if fails {
            texts.push("retryable");
        }
        let shard_id = format!("shardId-{number:012}");
        let first = 100 * number;
        let record = |(position, text): (u64, &&str)| {
            let mut record = KinesisRecord::new(events::sequence_number(position), "key", text.as_bytes());
            record.shard_id = Some(shard_id.clone().into());
            record
        };
        let records: Vec<_> = (first..).zip(&texts).map(record).collect();
        Invocation {
            request_id: format!("request-{number}"),
            failed: fails.then(|| records[records.len() - 1].sequence_number),
            event: Event::new(records).to_json(),
            user_records: waits + others,
            waits,
            shard_id,
        }
    }

    fn response(&self) -> Value {
        let failures: Vec<_> =
            self.failed.iter().map(|number| json!({ "itemIdentifier": number.to_string() })).collect();
        json!({ "batchItemFailures": failures })
    }
}

/// Returns the values of these members in the lines that have the metric, by request ID. An invocation has one such line.
fn metrics<const N: usize>(log: &str, metric: &str, members: [&str; N]) -> HashMap<String, [Value; N]> {
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).expect("a log line is JSON"));
    let mut values = HashMap::new();
    for line in lines.filter(|line| line.get("_aws").is_some() && line.get(metric).is_some()) {
        let request_id = line["requestId"].as_str().expect("an invocation's line").to_owned();
        let former = values.insert(request_id, members.map(|member| line[member].clone()));
        assert_eq!(former, None, "a second line: {line}");
    }
    values
}

#[tokio::test]
async fn one_process_has_several_invocations_at_once_and_each_its_own_answer_and_metrics() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let log = folder.path().join("log");
    let command: [OsString; 3] = ["sh".into(), "-c".into(), r#"exec "$BINARY" >>"$LOG""#.into()];
    let mut options = BinaryOptions::new(command);
    options.concurrency = NonZeroUsize::new(4).expect("not zero");
    options.variables.push(("BINARY".into(), misbehaving_function().into_os_string()));
    options.variables.push(("LOG".into(), log.clone().into_os_string()));
    let function = BinaryFunction::new(options);

    let invocations: Vec<_> = (0..INVOCATIONS).map(Invocation::new).collect();
    let invoke = async |invocation: &Invocation| {
        let event = invocation.event.clone().into();
        function
            .invoke(event, &invocation.request_id, Fate::Normal)
            .await
            .expect("the program can be started")
    };
    let answers = join_all(invocations.iter().map(invoke)).await;
    function.shutdown().await;

    for (invocation, answer) in invocations.iter().zip(answers) {
        let Answer::Response(response) = answer else { panic!("{answer:?}") };
        let response: Value = serde_json::from_slice(&response).expect("JSON");
        assert_eq!(response, invocation.response(), "{}", invocation.request_id);
    }
    let measurement = function.measurement();
    assert!((3..=4).contains(&measurement.max_concurrency), "{measurement:?}");
    assert_eq!((measurement.starts, measurement.invocations), (2, INVOCATIONS));

    let log = fs::read_to_string(log).expect("the log");
    let batches = metrics(&log, "UserRecords", ["shardId", "UserRecords", "FailedBatches"]);
    // The processor's own, which has other dimensions.
    let own = metrics(&log, "Waits", ["shardId", "Waits"]);
    assert_eq!((batches.len(), own.len()), (invocations.len(), invocations.len()));
    for Invocation { request_id, shard_id, user_records, waits, failed, .. } in &invocations {
        let failed_batches = failed.map_or(Value::Null, |_| json!(1));
        assert_eq!(
            batches[request_id],
            [json!(shard_id), json!(user_records), failed_batches],
            "{request_id}"
        );
        assert_eq!(own[request_id], [json!(shard_id), json!(waits)], "{request_id}");
    }
}
