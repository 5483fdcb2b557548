//! `redrive` with sources and streams that are forged, damaged, out of reach or closed, and runs that end early.

use std::{
    io::Read,
    process::{Child, Command},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where},
    redrive::{RECORDS, World, failure, outcomes, payload, processes_all, queue},
    scripted_bucket::{BUCKET, ScriptedBucket, failure as s3_error},
    scripted_kinesis::{Answer, error, variables},
    scripted_stream::{ARN, SHARD, ScriptedStream},
};

const OTHER: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/other";

fn of_stream(mut failure: Value, arn: &str) -> Value {
    failure["KinesisBatchInfo"]["streamArn"] = json!(arn);
    failure
}

/// The function processes everything, and the other stream must not be read.
fn denies_the_other_stream(code: &'static str) -> impl Fn(&str, usize, &Value) -> Answer {
    let stream = ScriptedStream::of(&RECORDS);
    move |operation, _, request| match operation {
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        "GetShardIterator" if request["StreamARN"] == OTHER => error(400, code),
        other => stream.answer(other, request),
    }
}

#[test]
fn a_stream_that_must_not_be_read_is_the_outcome_of_its_failure_records() {
    for code in ["AccessDeniedException", "KMSAccessDeniedException", "KMSDisabledException"] {
        let world = World::new(denies_the_other_stream(code));
        // Its payload is not complete, so that the stream is asked.
        let mut with_payload = of_stream(failure(14, 16, 3), OTHER);
        with_payload["payload"] = payload(&[14, 16]);
        for record in with_payload["payload"]["Records"].as_array_mut().expect("records") {
            record["eventSourceARN"] = json!(OTHER);
        }
        let args = world.file(&[of_stream(failure(10, 11, 2), OTHER), failure(12, 13, 2), with_payload]);
        let run = world.redrive(&args);
        let mut rows = outcomes(&run);
        rows.sort_by_key(Value::to_string);
        let expected = [
            json!(["failed", 0, "10", null]),
            json!(["failed", 0, "14", null]),
            json!(["processed", 2, null, null]),
        ];
        assert_eq!((run.exit_code, rows), (Some(1), expected.to_vec()), "{}", run.stderr);
        assert!(run.stdout.contains(code), "{}", run.stdout);
    }
}

#[test]
fn a_region_that_no_request_can_reach_does_not_end_the_run() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let nowhere = "arn:aws:kinesis:no where:123456789012:stream/orders";
    let args = world.file(&[of_stream(failure(10, 11, 2), nowhere), failure(12, 13, 2)]);
    let run = world.redrive(&args);
    let mut rows = outcomes(&run);
    rows.sort_by_key(Value::to_string);
    let expected = [json!(["failed", 0, "10", null]), json!(["processed", 2, null, null])];
    assert_eq!((run.exit_code, rows), (Some(1), expected.to_vec()), "{}{}", run.stdout, run.stderr);
}

#[test]
fn credentials_are_asked_for_once_for_all_regions() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let asked = world.folder.path().join("asked");
    let answer = world.folder.path().join("answer");
    std::fs::write(&answer, json!({ "Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b" }).to_string())
        .expect("a writable folder");
    let config = world.folder.path().join("config");
    let process = format!("sh -c \"echo once >> '{}'; cat '{}'\"", asked.display(), answer.display());
    std::fs::write(&config, format!("[default]\nregion = eu-west-1\ncredential_process = {process}\n"))
        .expect("a writable folder");
    let other = ARN.replace("eu-west-1", "us-east-1");
    let args = world.file(&[failure(10, 10, 1), of_stream(failure(11, 11, 1), &other)]);
    let (url, config) = (world.kinesis.url(), config.display().to_string());
    let state = world.folder.path().display().to_string();
    let variables = [
        ("AWS_ENDPOINT_URL", &*url),
        ("AWS_CONFIG_FILE", &config),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null"),
        ("XDG_STATE_HOME", &state),
    ];
    let args = format!("redrive {args} --url {url} --format json");
    let run = kit_where(&variables, args.split_whitespace(), "");
    assert_eq!(run.exit_code, Some(0), "{}{}", run.stdout, run.stderr);
    let mut regions = world.kinesis.regions("GetRecords");
    regions.sort();
    regions.dedup();
    assert_eq!(regions, ["eu-west-1", "us-east-1"]);
    // Once to report their absence early, and once for the requests.
    let asked = std::fs::read_to_string(&asked).expect("it was asked");
    assert!(asked.lines().count() <= 2, "{asked}");
}

#[test]
fn a_run_that_reaches_no_stream_fails_within_seconds() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let args = world.file(&[failure(10, 11, 2), failure(12, 13, 2)]);
    let began = Instant::now();
    for option in ["", "--dry-run"] {
        let mut variables = variables("http://127.0.0.1:1");
        let state = world.folder.path().display().to_string();
        variables.push(("XDG_STATE_HOME", &state));
        let url = world.kinesis.url();
        let run =
            kit_where(&variables, format!("redrive {args} {option} --url {url}").split_whitespace(), "");
        assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
        assert!(run.stderr.contains("stream arn:aws:kinesis:eu-west-1"), "{}", run.stderr);
    }
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
}

#[test]
fn files_hold_failure_records_in_every_form() {
    let body = |first, last, size| json!(failure(first, last, size).to_string());
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let args = world.file(&[
        json!([failure(10, 10, 1), failure(11, 11, 1)]),
        json!({ "Records": [{ "messageId": "m", "body": body(12, 12, 1), "eventSource": "aws:sqs" }] }),
        json!({ "Records": [{ "EventSource": "aws:sns", "Sns": { "Message": body(13, 13, 1) } }] }),
        json!({ "Messages": [{ "MessageId": "m", "Body": body(14, 14, 1) }] }),
        json!({ "source": "lambda", "detail": failure(15, 15, 1) }),
        body(16, 16, 1),
    ]);
    let run = world.redrive(&args);
    assert_eq!(run.exit_code, Some(0), "{}{}", run.stdout, run.stderr);
    assert_eq!(world.events(), [["10 a", "11 b", "12 c", "13 d", "14 e", "15 f", "16 g"]]);
}

#[test]
fn anything_else_in_a_file_is_counted_and_not_printed() {
    let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
    let path = world.folder.path().join("failures.jsonl");
    let lines = [
        // An array of a failure record's members.
        json!([{ "functionArn": "f" }, { "shardId": SHARD, "streamArn": ARN }, "secret"]).to_string(),
        "{secret}".to_owned(),
        json!("secret").to_string(),
        failure(10, 10, 1).to_string(),
    ];
    std::fs::write(&path, format!("\u{feff}{}", lines.join("\n"))).expect("a writable folder");
    let run = world.redrive(&format!("--file {}", path.display()));
    let names: Vec<_> = outcomes(&run).iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, ["unreadable", "unreadable", "unreadable", "unreadable", "processed"]);
    assert!(
        run.stdout.contains("key must be a string (line 2, column 2); 2 lines skipped"),
        "{}",
        run.stdout
    );
    assert!(!run.stdout.contains("secret") && !run.stderr.contains("secret"), "{}{}", run.stdout, run.stderr);
}

/// A bucket and its function, which processes everything.
fn with_bucket(
    bucket: ScriptedBucket,
    fails: impl Fn(&str) -> Option<Answer> + Send + Sync + 'static,
) -> World {
    let stream = ScriptedStream::of(&RECORDS);
    World::new(move |operation, _, request| {
        if let Some(answer) = fails(operation).or_else(|| bucket.answer(operation)) {
            return answer;
        }
        match operation {
            "Invoke" => (200, json!({ "batchItemFailures": [] })),
            other => stream.answer(other, request),
        }
    })
}

#[test]
fn an_object_that_cannot_be_read_or_deleted_does_not_end_the_run() {
    let keys = [
        "aws/lambda/m/shardId-000000000000/1",
        "aws/lambda/m/shardId-000000000000/2 + \u{1}\n%41",
        "denied",
        "huge",
        "undeletable",
    ];
    let bodies = [
        failure(10, 10, 1).to_string(),
        failure(11, 11, 1).to_string(),
        failure(12, 12, 1).to_string(),
        format!("{{\"payload\":\"{}\"}}", "x".repeat(17 * 1024 * 1024)),
        failure(13, 13, 1).to_string(),
    ];
    let world =
        with_bucket(ScriptedBucket::of(keys.into_iter().zip(bodies)), |operation| match ScriptedBucket::key(
            operation,
        )
        .as_deref()
        {
            Some("denied") => Some(s3_error(403, "AccessDenied")),
            Some("undeletable") if operation.starts_with("DELETE") => Some(s3_error(403, "AccessDenied")),
            _ => None,
        });
    let run = world.redrive(&format!("--s3 s3://{BUCKET}"));
    let mut rows: Vec<_> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|line| (line["source"].as_str().expect("text").to_owned(), line["outcome"].clone()))
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = ["processed", "processed", "unreadable", "unreadable", "kept"];
    let expected: Vec<_> =
        keys.into_iter().map(str::to_owned).zip(expected.map(|outcome| json!(outcome))).collect();
    assert_eq!((run.exit_code, rows), (Some(1), expected), "{}", run.stderr);
    assert!(run.stdout.contains("larger than the 16777216 bytes of the largest failure record"));
    // The next run knows that the records of the undeletable one are processed.
    let before = world.events().len();
    world.redrive(&format!("--s3 s3://{BUCKET}"));
    assert_eq!(world.events().len(), before);
}

#[test]
fn an_empty_page_does_not_end_the_list_of_objects() {
    let page = |token: &str, keys: &[&str], next: Option<&str>| {
        let contents: String =
            keys.iter().map(|key| format!("<Contents><Key>{key}</Key></Contents>")).collect();
        let next = next.map(|next| format!("<NextContinuationToken>{next}</NextContinuationToken>"));
        let is_truncated = next.is_some();
        (
            token.to_owned(),
            format!(
                "<ListBucketResult><IsTruncated>{is_truncated}</IsTruncated>{contents}{}</ListBucketResult>",
                next.unwrap_or_default()
            ),
        )
    };
    let pages = [page("", &["a"], Some("t1")), page("t1", &[], Some("t2")), page("t2", &["b"], None)];
    let bucket =
        ScriptedBucket::of([("a", failure(10, 10, 1).to_string()), ("b", failure(11, 11, 1).to_string())]);
    let stream = ScriptedStream::of(&RECORDS);
    let world = World::new(move |operation, _, request| {
        if operation.starts_with(&format!("/{BUCKET}")) && ScriptedBucket::key(operation).is_none() {
            let query = request.as_str().unwrap_or_default();
            let token = query.split('&').find_map(|member| member.strip_prefix("continuation-token="));
            let page = pages.iter().find(|(of, _)| of == token.unwrap_or_default());
            let (_, page) = page.expect("a token that was given out");
            return (200, json!(page));
        }
        match (bucket.answer(operation), operation) {
            (Some(answer), _) => answer,
            (None, "Invoke") => (200, json!({ "batchItemFailures": [] })),
            (None, other) => stream.answer(other, request),
        }
    });
    let run = world.redrive(&format!("--s3 s3://{BUCKET}"));
    assert_eq!((run.exit_code, outcomes(&run).len()), (Some(0), 2), "{}", run.stderr);
}

#[test]
fn a_bucket_of_another_account_is_not_used() {
    let bucket = ScriptedBucket::of([("a", failure(10, 10, 1).to_string())]);
    let world = with_bucket(bucket, |_| None);
    let run = world.redrive(&format!("--s3 s3://{BUCKET} --bucket-owner 123456789012"));
    assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
    // Requests that list, read and delete.
    assert_eq!(world.kinesis.owners(), ["123456789012"; 3]);

    let world = with_bucket(ScriptedBucket::default(), |_| Some(s3_error(403, "AccessDenied")));
    let run = world.redrive(&format!("--s3 s3://{BUCKET} --bucket-owner 210987654321"));
    assert_eq!(run.exit_code, Some(2));
    assert!(run.stderr.contains("bucket failures cannot be used"), "{}", run.stderr);
    let run = world.redrive(&format!("--s3 s3://{BUCKET} --bucket-owner orders"));
    assert!(run.stderr.contains("expected an account ID of 12 digits"), "{}", run.stderr);
}

#[test]
fn a_shard_that_fails_for_a_while_is_read_again() {
    let (denied, stream) = (AtomicUsize::new(0), ScriptedStream::of(&RECORDS));
    let world = World::new(move |operation, _, request| match operation {
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        "GetShardIterator" if denied.fetch_add(1, Ordering::SeqCst) < 2 => {
            error(400, "AccessDeniedException")
        }
        other => stream.answer(other, request),
    });
    let failures: Vec<Value> = (10..14).map(|number| failure(number, number, 1)).collect();
    let run = world.redrive(&world.file(&failures));
    let names: Vec<_> = outcomes(&run).iter().map(|row| row[0].clone()).collect();
    assert_eq!(names, ["failed", "failed", "processed", "processed"], "{}", run.stderr);

    // After three, the others are not asked for.
    let world = World::new(denies_the_other_stream("AccessDeniedException"));
    let failures: Vec<Value> = (10..16).map(|number| of_stream(failure(number, number, 1), OTHER)).collect();
    let run = world.redrive(&world.file(&failures));
    assert_eq!(outcomes(&run).len(), 6);
    assert_eq!(world.kinesis.requests("GetShardIterator").len(), 3);
}

/// Requests for the list of event source mappings.
const MAPPINGS: &str = "/2015-03-31/event-source-mappings";

const FUNCTION: &str = "arn:aws:lambda:eu-west-1:123456789012:function:orders";

/// Answers of Lambda with these mappings of one event source: its ARN and the function that it invokes.
fn listed(mappings: &[(&str, &str)], request: &Value) -> Answer {
    let query = request.as_str().expect("a query").replace("%3A", ":").replace("%2F", "/");
    let asked = query.split('&').find_map(|part| part.strip_prefix("EventSourceArn="));
    let of_source = mappings.iter().filter(|(source, _)| Some(*source) == asked);
    let mapping =
        |(source, function): &(&str, &str)| json!({ "EventSourceArn": source, "FunctionArn": function });
    (200, json!({ "EventSourceMappings": of_source.map(mapping).collect::<Vec<_>>() }))
}

fn by(mut failure: Value, function: &str) -> Value {
    failure["requestContext"] = json!({ "functionArn": function });
    failure
}

/// Redrives failure records to a Lambda function, with these answers to requests for mappings. Returns the outcomes in the
/// order of the stream.
fn redrive_to(
    target: &str,
    failures: &[Value],
    mappings: impl Fn(usize, &Value) -> Answer + Send + Sync + 'static,
) -> (Run, Vec<String>) {
    let stream = ScriptedStream::of(&RECORDS);
    let world = World::new(move |operation, number, request| match operation {
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        MAPPINGS => mappings(number, request),
        other => stream.answer(other, request),
    });
    let run = world.run(&format!("{} {target}", world.file(failures)));
    let mut rows: Vec<_> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"))
        .map(|row| (row["startSequenceNumber"].to_string(), row["outcome"].to_string()))
        .collect();
    rows.sort();
    let outcomes = rows.into_iter().map(|(_, outcome)| outcome.trim_matches('"').to_owned()).collect();
    (run, outcomes)
}

#[test]
fn failure_records_of_other_streams_and_functions_are_refused() {
    let failures = [
        by(failure(10, 10, 1), &format!("{FUNCTION}:live")),
        by(of_stream(failure(11, 11, 1), OTHER), FUNCTION),
        by(of_stream(failure(12, 12, 9), &format!("{ARN}/consumer/forged:1")), FUNCTION),
        by(failure(13, 13, 1), &FUNCTION.replace("orders", "billing")),
        failure(14, 14, 1),
    ];
    let denied = |_: usize, _: &Value| error(403, "AccessDeniedException");
    let of_stream = |_: usize, request: &Value| listed(&[(ARN, FUNCTION)], request);
    let (run, rows) = redrive_to("--function orders", &failures, of_stream);
    assert_eq!(rows, ["processed", "refused", "refused", "refused", "refused"], "{}", run.stderr);
    assert!(run.stdout.contains("confirm with --any-stream"), "{}", run.stdout);
    let (run, rows) = redrive_to("--function orders --any-stream", &failures, denied);
    assert_eq!(rows, ["processed"; 5], "{}", run.stderr);
    let (run, rows) = redrive_to("--function orders --stream orders", &failures, denied);
    assert_eq!(rows, ["processed", "refused", "processed", "processed", "processed"], "{}", run.stderr);
    // Whether they belong to the function cannot be told.
    let (run, rows) = redrive_to("--function orders", &failures, denied);
    assert_eq!((run.exit_code, rows.len()), (Some(2), 0), "{}", run.stderr);
    assert!(run.stderr.contains("allow lambda:ListEventSourceMappings"), "{}", run.stderr);
}

#[test]
fn mappings_of_aliases_and_consumers_are_mappings_of_the_function() {
    const CONSUMER: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders/consumer/c:1";
    let live = format!("{FUNCTION}:live");
    let failures = [
        by(failure(10, 10, 1), FUNCTION),
        by(failure(11, 11, 1), &live),
        by(of_stream(failure(12, 12, 9), CONSUMER), &live),
        by(of_stream(failure(13, 13, 1), OTHER), &live),
    ];
    let (run, rows) = redrive_to("--function orders", &failures, move |_, request| {
        listed(&[(ARN, &live), (CONSUMER, &format!("{FUNCTION}:7")), (OTHER, "billing")], request)
    });
    assert_eq!(rows, ["processed", "processed", "processed", "refused"], "{}{}", run.stdout, run.stderr);
}

#[test]
fn a_stream_in_another_region_than_the_function_is_refused() {
    let elsewhere = ARN.replace("eu-west-1", "eu-west-2");
    let failures =
        [by(of_stream(failure(10, 10, 1), &elsewhere), &FUNCTION.replace("eu-west-1", "eu-west-2"))];
    let (run, rows) = redrive_to("--function orders", &failures, move |number, request| {
        assert_eq!(number, 0, "only the permission is checked: {request}");
        (200, json!({ "EventSourceMappings": [] }))
    });
    assert_eq!(rows, ["refused"], "{}", run.stderr);
    assert!(run.stdout.contains("its stream is in eu-west-2, and orders in eu-west-1"), "{}", run.stdout);
}

#[test]
fn a_throttled_list_of_mappings_is_no_refusal() {
    let failures = [by(failure(10, 10, 1), FUNCTION), by(failure(12, 12, 1), FUNCTION)];
    let (run, rows) = redrive_to("--function orders", &failures, |number, request| match number {
        1..5 => error(429, "TooManyRequestsException"),
        _ => listed(&[(ARN, FUNCTION)], request),
    });
    assert_eq!(rows, ["processed"; 2], "{}{}", run.stdout, run.stderr);

    // It is asked for within a bound, and once for all of them.
    let requests = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&requests);
    let (run, rows) = redrive_to("--function orders", &failures, move |number, request| {
        seen.fetch_max(number + 1, Ordering::SeqCst);
        match number {
            0 => listed(&[], request),
            _ => error(429, "TooManyRequestsException"),
        }
    });
    assert_eq!((run.exit_code, rows), (Some(1), vec!["unknown".to_owned(); 2]), "{}", run.stderr);
    let why = format!("whether an event source mapping of orders reads {ARN} is not known: ");
    assert_eq!(run.stdout.matches(&why).count(), 2, "{}", run.stdout);
    assert!(run.stdout.contains("TooManyRequestsException") && !run.stdout.contains("--any-stream"));
    assert_eq!(requests.load(Ordering::SeqCst), 9);
}

#[test]
fn records_that_are_discarded_again_are_redriven_again() {
    // In the first run the second failure record fails, so that progress is kept. In the second one the mapping, which was
    // set back, has discarded the records of the first one again.
    let runs = [vec![failure(10, 11, 2), failure(12, 13, 2)], vec![failure(10, 11, 2)]];
    let runs = runs.map(|messages| queue(messages, ScriptedStream::of(&RECORDS)));
    let is_second = Arc::new(AtomicBool::new(false));
    let world = World::new({
        let (is_second, received) = (Arc::clone(&is_second), AtomicUsize::new(0));
        move |operation, number, request| {
            let run = usize::from(is_second.load(Ordering::SeqCst));
            match operation {
                // The first receive of each run has the messages.
                "ReceiveMessage" => {
                    runs[run](operation, received.fetch_or(run + 1, Ordering::SeqCst) & (run + 1), request)
                }
                _ => runs[run](operation, number, request),
            }
        }
    });
    world.redrive("--queue failures --attempts 1");
    assert_eq!(world.kinesis.requests("DeleteMessage").len(), 1);
    let events = world.events().len();
    is_second.store(true, Ordering::SeqCst);
    let run = world.redrive("--queue failures --attempts 1");
    assert_eq!(outcomes(&run), [json!(["processed", 2, null, null])], "{}", run.stderr);
    assert_eq!(world.events()[events..], [["10 a", "11 b"]]);
}

/// A world whose function does not answer from its second event on. `reached` gets a message then.
fn hanging(reached: mpsc::Sender<()>) -> World {
    let stream = ScriptedStream::of(&RECORDS);
    let reached = std::sync::Mutex::new(reached);
    World::new(move |operation, number, request| match (operation, number) {
        ("Invoke", 0) => (200, json!({ "batchItemFailures": [] })),
        ("Invoke", _) => {
            let _ = reached.lock().expect("no panic while locked").send(());
            loop {
                thread::park();
            }
        }
        (other, _) => stream.answer(other, request),
    })
}

fn signal(child: &Child) {
    let sent = Command::new("kill").args(["-INT", &child.id().to_string()]).status().expect("kill runs");
    assert!(sent.success());
}

fn finish(mut child: Child) -> Run {
    let (mut stdout, mut stderr) = (String::new(), String::new());
    let pipes = (child.stdout.take(), child.stderr.take());
    pipes.0.expect("piped").read_to_string(&mut stdout).expect("text");
    pipes.1.expect("piped").read_to_string(&mut stderr).expect("text");
    Run { exit_code: child.wait().expect("a child").code(), stdout, stderr }
}

#[test]
fn a_run_that_is_ended_reports_what_it_has_in_work() {
    let (reached, is_reached) = mpsc::channel();
    let world = hanging(reached);
    let args = world.file(&[failure(10, 13, 4), failure(14, 15, 2)]);
    let child = world.start(&format!("{args} --batch-size 2"));
    is_reached.recv_timeout(Duration::from_secs(30)).expect("the second event");
    signal(&child);
    // The second signal counts only after the first one.
    let run = {
        let mut child = child;
        while child.try_wait().expect("a child").is_none() {
            signal(&child);
            thread::sleep(Duration::from_millis(20));
        }
        finish(child)
    };
    assert_eq!(
        (run.exit_code, outcomes(&run)),
        (Some(130), vec![json!(["halted", 2, null, null])]),
        "{}",
        run.stderr
    );
    assert!(run.stderr.contains("1 failure record: 1 halted, 2 Kinesis records delivered"), "{}", run.stderr);
    assert!(run.stderr.contains("the same command resumes: its progress is in "), "{}", run.stderr);
}

#[test]
fn a_closed_output_is_no_success() {
    for format in ["table", "json"] {
        let world = World::new(processes_all(ScriptedStream::of(&RECORDS)));
        let args = world.file(&[failure(10, 11, 2), failure(12, 13, 2)]);
        let mut child = world.start(&format!("{args} --format {format}"));
        drop(child.stdout.take());
        let mut stderr = String::new();
        child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        assert_eq!(child.wait().expect("a child").code(), Some(1), "{stderr}");
        assert!(stderr.contains("standard output was closed before all of the work was done"), "{stderr}");
    }
}

#[test]
fn a_signal_ends_a_run_whose_stream_throttles() {
    let (reached, is_reached) = mpsc::channel();
    let reached = std::sync::Mutex::new(reached);
    let world = World::new(move |operation, _, _| {
        assert_eq!(operation, "GetShardIterator");
        let _ = reached.lock().expect("no panic while locked").send(());
        error(400, "ProvisionedThroughputExceededException")
    });
    let child = world.start(&world.file(&[failure(10, 11, 2)]));
    is_reached.recv_timeout(Duration::from_secs(30)).expect("a read");
    let began = Instant::now();
    signal(&child);
    let run = finish(child);
    assert_eq!(
        (run.exit_code, outcomes(&run)),
        (Some(130), vec![json!(["halted", 0, null, null])]),
        "{}",
        run.stderr
    );
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
