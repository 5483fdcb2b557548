//! Commands that cannot reach AWS, or no longer: none of them may wait for ever.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_interrupted, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, error, variables},
    scripted_stream::{SHARD, ScriptedStream},
};

/// More than the ten seconds of the first answer, for a machine that is busy.
const SECONDS: Duration = Duration::from_secs(25);

const LINE: &str = r#"{"partitionKey":"k","text":"hello"}"#;

const FAILURE_RECORD: &str = r#"{"requestContext":{"functionArn":"arn:aws:lambda:eu-west-1:123456789012:function:orders","condition":"RetryAttemptsExhausted","approximateInvokeCount":1},"version":"1.0","timestamp":"2026-01-01T00:00:00.000Z","KinesisBatchInfo":{"shardId":"shardId-000000000000","startSequenceNumber":"7","endSequenceNumber":"9","approximateArrivalOfFirstRecord":"2026-01-01T00:00:00Z","approximateArrivalOfLastRecord":"2026-01-01T00:00:00Z","batchSize":3,"streamArn":"arn:aws:kinesis:eu-west-1:123456789012:stream/orders"}}"#;

/// A command for each way to reach AWS, and its input.
const COMMANDS: [(&str, &str); 12] = [
    ("inspect --stream orders", ""),
    ("tail --stream orders", ""),
    ("put --stream orders", LINE),
    ("put --stream orders --plain", LINE),
    ("put --stream orders --create 1", LINE),
    ("replay --stream orders --from trim-horizon --function orders", ""),
    ("redrive --queue http://127.0.0.1:1/queue --function orders", ""),
    ("redrive --s3 s3://failures --function orders", ""),
    ("redrive --discarded journal --function orders", ""),
    ("quarantine list --table journal", ""),
    ("journal list --table journal", ""),
    ("doctor --function orders", ""),
];

/// Each command ends within seconds, with exit code 2 and a reason.
#[track_caller]
fn check_all(url: &str) {
    let runs = thread::scope(|scope| {
        let start = |(args, stdin): &'static (&str, &str)| {
            scope.spawn(move || {
                let folder = tempfile::tempdir().expect("a temporary folder");
                let mut variables = variables(url);
                variables.push(("XDG_STATE_HOME", folder.path().to_str().expect("a plain path")));
                let begun = Instant::now();
                let run = kit_where(&variables, args.split_whitespace(), stdin);
                (*args, run, begun.elapsed())
            })
        };
        let running: Vec<_> = COMMANDS.iter().map(start).collect();
        running.into_iter().map(|run| run.join().expect("no panic")).collect::<Vec<_>>()
    });
    for (args, Run { exit_code, stderr, .. }, time) in runs {
        assert_eq!(exit_code, Some(2), "{args}: {stderr}");
        assert!(stderr.starts_with("kinesis-kit: "), "{args}: {stderr}");
        assert!(time < SECONDS, "{args}: {time:?}");
    }
}

/// A server that answers each connection with these bytes, and then does nothing.
fn server(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound port"));
    thread::spawn(move || {
        for mut client in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let _ = client.write_all(answer);
                // Until the other side has gone away.
                let _ = client.read_to_end(&mut Vec::new());
            });
        }
    });
    url
}

#[test]
fn a_refused_connection_ends_every_command_within_seconds() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("a bound port"));
    drop(listener);
    check_all(&url);
}

#[test]
fn a_host_that_does_not_exist_ends_every_command_within_seconds() {
    check_all("http://no-such-host.invalid");
}

#[test]
fn a_server_that_never_answers_ends_every_command_within_seconds() {
    check_all(&server(b""));
}

#[test]
fn a_server_that_is_not_aws_ends_every_command_within_seconds() {
    check_all(&server(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"));
}

#[test]
fn endless_throttling_ends_every_command_within_seconds() {
    let kinesis = ScriptedKinesis::start(|_, _, _| error(400, "ThrottlingException"));
    check_all(&kinesis.url());
}

#[test]
fn an_empty_endpoint_url_is_named() {
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_KINESIS", "AWS_ENDPOINT_URL_STS"] {
        let mut variables = variables("http://127.0.0.1:1");
        variables.push((name, ""));
        let run = kit_where(&variables, "inspect --stream orders".split(' '), "");
        assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
        assert!(run.stderr.starts_with("kinesis-kit: an AWS endpoint URL is empty: "), "{}", run.stderr);
    }
}

#[test]
fn a_profile_with_an_empty_endpoint_url_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config");
    let keys = "region = eu-west-1\naws_access_key_id = a\naws_secret_access_key = b\n";
    for text in [
        format!("[default]\n{keys}endpoint_url =\n"),
        format!("[default]\n{keys}services = local\n[services local]\nkinesis =\n  endpoint_url =\n"),
    ] {
        std::fs::write(&path, text).expect("a writable folder");
        let variables = [
            ("AWS_CONFIG_FILE", path.to_str().expect("a plain path")),
            ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ];
        let run = kit_where(&variables, "inspect --stream orders".split(' '), "");
        assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains("an AWS endpoint URL is empty"), "{}", run.stderr);
    }
}

#[test]
fn credentials_that_cannot_be_used_are_refused() {
    let mut variables = variables("http://127.0.0.1:1");
    variables.push(("AWS_ACCESS_KEY_ID", "a\nb"));
    let run = kit_where(&variables, "inspect --stream orders".split(' '), "");
    assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
    assert_eq!(
        run.stderr,
        "kinesis-kit: no AWS credentials: the access key ID contains a control character\n"
    );
}

#[test]
fn a_credential_process_that_hangs_is_not_waited_for() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("config");
    std::fs::write(&path, "[default]\nregion = eu-west-1\ncredential_process = sleep 100\n").expect("a file");
    let variables = [
        ("AWS_CONFIG_FILE", path.to_str().expect("a plain path")),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
    ];
    let begun = Instant::now();
    let run = kit_where(&variables, "inspect --stream orders".split(' '), "");
    assert!(begun.elapsed() < SECONDS);
    assert_eq!(run.exit_code, Some(2));
    assert!(run.stderr.contains("their provider did not answer within 10 seconds"), "{}", run.stderr);
}

/// A stream that can be found, and whose records cannot be read or put.
fn broken(answer: impl Fn() -> Answer + Send + Sync + 'static) -> ScriptedKinesis {
    let stream = ScriptedStream::of(&[(7, b"a"), (8, b"b"), (9, b"c")]);
    ScriptedKinesis::start(move |operation, _, request| match operation {
        "GetRecords" | "PutRecords" => answer(),
        other => stream.answer(other, request),
    })
}

/// The command ends within seconds of the first signal, and says how far it has come.
#[track_caller]
fn check_interrupted(answer: fn() -> Answer, args: &str, waits_for: &str, says: &str) {
    let kinesis = broken(answer);
    let url = kinesis.url();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut variables = variables(&url);
    variables.push(("XDG_STATE_HOME", folder.path().to_str().expect("a plain path")));
    let stdin = if args.starts_with("redrive") { FAILURE_RECORD } else { LINE };
    let is_time = || !kinesis.requests(waits_for).is_empty();
    let (run, time) = kit_interrupted(&variables, args.split_whitespace(), stdin, is_time);
    assert_eq!(run.exit_code, Some(130), "{args}: {}", run.stderr);
    assert!(time < SECONDS, "{args}: {time:?}");
    assert!(run.stderr.contains(says), "{args}: {}", run.stderr);
}

/// An answer that never comes: longer than any of these tests.
fn hang() -> Answer {
    thread::sleep(Duration::from_secs(60));
    (200, Value::Null)
}

#[test]
fn the_first_signal_ends_every_retry_loop() {
    let throttle = || error(400, "ProvisionedThroughputExceededException");
    let garbage = || (200, json!("hello"));
    let replay =
        format!("replay --stream orders --from trim-horizon --url http://127.0.0.1:1/ --shard {SHARD}");
    let answers: [fn() -> Answer; 4] = [throttle, || error(500, "InternalFailure"), garbage, hang];
    thread::scope(|scope| {
        for answer in answers {
            for (args, waits_for, says) in [
                ("put --stream orders", "PutRecords", "put the input again from line 1 on"),
                (
                    replay.as_str(),
                    "GetRecords",
                    "0 user records in 0 Kinesis records, of 1 shard, 0 processed",
                ),
                ("redrive --file - --url http://127.0.0.1:1/", "GetRecords", "interrupted"),
                ("inspect --stream orders", "GetRecords", "interrupted"),
            ] {
                scope.spawn(move || check_interrupted(answer, args, waits_for, says));
            }
        }
    });
}

#[test]
fn a_table_that_does_not_answer_is_waited_for_with_a_note() {
    for command in ["journal list --table journal", "quarantine list --table journal"] {
        let run = kit_where(&variables("http://127.0.0.1:1"), command.split_whitespace(), "");
        let note = "kinesis-kit: DynamoDB does not answer; retrying for up to 3 seconds\n";
        assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
        assert!(run.stderr.starts_with(note), "{}", run.stderr);
        assert_eq!(run.stderr.matches("does not answer").count(), 1, "{}", run.stderr);
    }
    // An answer, whatever it says, is none.
    let refused = ScriptedKinesis::start(|_, _, _| error(400, "ResourceNotFoundException"));
    let run = kit_where(&variables(&refused.url()), "journal list --table journal".split_whitespace(), "");
    assert!(!run.stderr.contains("does not answer"), "{}", run.stderr);
}
