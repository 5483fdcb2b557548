//! `quarantine` against a table and a function that behave as told.

use std::{
    fs,
    io::{Read, Write},
    net::{Ipv4Addr, TcpListener},
    sync::{Arc, mpsc},
    thread,
};

use base64::prelude::*;
use serde_json::{Value, json};

use crate::{
    kit::{Run, kit, kit_where, start},
    scripted_kinesis::{Answer, ScriptedKinesis, error, variables},
    scripted_stream::{delivered, failing},
    scripted_table::{ScriptedTable, quarantined},
};

/// A table, and the function that its records go to.
struct World {
    server: ScriptedKinesis,
    table: Arc<ScriptedTable>,
}

impl World {
    /// `function` gets how many invocations came before, and the event.
    fn new(
        items: impl IntoIterator<Item = Value>,
        function: impl Fn(usize, &Value) -> Answer + Send + Sync + 'static,
    ) -> Self {
        let table = Arc::new(ScriptedTable::of(items));
        let items = Arc::clone(&table);
        let server = ScriptedKinesis::start(move |operation, number, request| match operation {
            "Invoke" => function(number, request),
            other => items.answer(other, request),
        });
        World { server, table }
    }

    fn run(&self, args: &str) -> Run {
        kit_where(&variables(&self.server.url()), args.split_whitespace(), "")
    }

    /// Runs `quarantine redrive` with JSON as output.
    fn redrive(&self, args: &str) -> Run {
        let url = self.server.url();
        self.run(&format!("quarantine redrive --table journal --format json --url {url} {args}"))
    }

    /// The delivered records, event by event.
    fn events(&self) -> Vec<Vec<String>> {
        self.server.requests("Invoke").iter().map(delivered).collect()
    }
}

fn processes_all(_: usize, _: &Value) -> Answer {
    (200, json!({ "batchItemFailures": [] }))
}

/// The outcome of each record.
fn outcomes(run: &Run) -> Vec<String> {
    let outcome = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON lines");
        let error = line["outcomeError"].as_str().map_or(String::new(), |error| format!(": {error}"));
        format!(
            "{} {}{error}",
            line["sequenceNumber"].as_str().expect("digits"),
            line["outcome"].as_str().expect("text")
        )
    };
    run.stdout.lines().map(outcome).collect()
}

#[test]
fn only_a_response_about_the_batch_takes_records_out() {
    for (status, response) in [
        (200, json!({ "message": "I am some other service" })),
        (200, json!({ "statusCode": 500 })),
        (200, json!({ "ok": true })),
        (200, json!(true)),
        (200, json!("text")),
        (200, json!({ "batchItemFailures": [], "errorType": "E" })),
        (200, json!({ "batchItemFailures": [{ "itemIdentifier": "99" }] })),
        (202, json!({})),
        (204, json!({})),
        (404, json!({ "batchItemFailures": [] })),
    ] {
        let answer = response.clone();
        let world = World::new([quarantined(7, None, "a"), quarantined(8, None, "b")], move |_, _| {
            (status, answer.clone())
        });
        let run = world.redrive("--attempts 1");
        assert_eq!(run.exit_code, Some(1), "{response}: {}", run.stderr);
        assert_eq!(world.table.sort_keys().len(), 2, "{response}");
        assert!(outcomes(&run).iter().all(|outcome| outcome.contains(" failed: ")), "{}", run.stdout);
    }
    let world = World::new([quarantined(7, None, "a")], |_, _| {
        (200, json!({ "message": "I am some other service" }))
    });
    let outcomes = outcomes(&world.redrive("--attempts 1"));
    assert!(outcomes[0].ends_with(r#"found {"message": "I am some other service"}"#), "{outcomes:?}");
}

#[test]
fn a_response_about_the_batch_takes_out_what_it_confirms() {
    for response in
        [json!({ "batchItemFailures": [] }), json!({ "batchItemFailures": null }), json!({}), Value::Null]
    {
        let answer = response.clone();
        let world = World::new([quarantined(7, None, "a")], move |_, _| (200, answer.clone()));
        let run = world.redrive("--attempts 1");
        assert_eq!((run.exit_code, outcomes(&run)), (Some(0), vec!["7 processed".to_owned()]), "{response}");
        assert_eq!(world.events(), [["7 a"]], "{response}");
        assert!(world.table.sort_keys().is_empty(), "{response}");
    }
}

#[test]
fn records_that_are_quarantined_again_are_counted() {
    let world = World::new([quarantined(7, None, "a"), quarantined(8, None, "b")], |_, _| {
        let quarantined = json!([{ "sequenceNumber": "8", "records": 1 }]);
        let member = json!({ "quarantinedRecords": 1, "quarantined": quarantined });
        (200, json!({ "batchItemFailures": [], "kinesisKit": member }))
    });
    let run = world.redrive("");
    assert_eq!(
        (run.exit_code, outcomes(&run)),
        (Some(0), vec!["7 processed".to_owned(), "8 processed".to_owned()])
    );
    assert!(
        run.stderr.ends_with("deleted from the quarantine, 1 quarantined again, 0 failed\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn rows_of_others_do_nothing_to_the_terminal() {
    let mut item = quarantined(7, None, "a");
    let key = item["pk"]["S"].as_str().expect("a key").replace('#', "\u{1b}[2J\u{9b}31m\u{202e}#");
    item["pk"]["S"] = json!(format!("{key}\u{1b}[2J"));
    item["requestId"] = json!({ "S": "r\u{1b}[2J" });
    item["error"] = json!({ "S": "asked to\u{1b}]0;title\u{7}" });
    let world = World::new([item], processes_all);
    for args in ["quarantine show --table journal", "quarantine list --table journal"] {
        let run = world.run(args);
        assert_eq!(run.exit_code, Some(0), "{}", run.stderr);
        let acts = |char: char| char.is_control() && char != '\n' || char == '\u{202e}';
        assert!(!run.stdout.contains(acts), "{:?}", run.stdout);
        assert!(run.stdout.contains(r"\u{1b}[2J\u{9b}31m\u{202e}"), "{}", run.stdout);
        let json = world.run(&format!("{args} --format json")).stdout;
        assert!(!json.contains(|char: char| char.is_control() && char != '\n'), "{json:?}");
        assert!(json.contains(r"\u001b[2J\u009b31m"), "{json}");
    }
}

#[test]
fn a_url_that_nobody_serves_fails_at_once() {
    let world = World::new([quarantined(7, None, "a")], processes_all);
    // Bound and not served: it is free again when this is dropped.
    let port =
        std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound").port();
    let run = world.run(&format!("quarantine redrive --table journal --url http://127.0.0.1:{port}"));
    assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
    assert!(
        run.stderr.contains("the function's URL cannot be reached: Connection refused"),
        "{}",
        run.stderr
    );
    assert_eq!(world.table.sort_keys().len(), 1);
}

#[test]
fn user_records_of_one_kinesis_record_go_into_events_of_their_own() {
    let items = [quarantined(7, Some(0), "a"), quarantined(7, Some(1), "b"), quarantined(8, None, "c")];
    // A response names Kinesis records: in one event, a failure of the second one would be one of the first one, too.
    let world = World::new(items, |number, _| match number {
        1 => (200, json!({ "batchItemFailures": [{ "itemIdentifier": "7" }] })),
        _ => (200, json!({ "batchItemFailures": [] })),
    });
    let run = world.redrive("--attempts 1");
    assert_eq!(
        outcomes(&run),
        [
            "7 processed",
            "7 failed: the function reported it in batchItemFailures, without a reason",
            "8 processed"
        ]
    );
    assert_eq!(world.table.sort_keys(), ["Q#017#011"]);
    let sizes: Vec<usize> = world.events().iter().map(Vec::len).collect();
    assert_eq!(sizes, [1, 2, 1], "{:?}", world.events());
}

#[test]
fn events_tell_the_handler_to_leave_its_journal_and_quarantine_alone() {
    let world = World::new([quarantined(7, None, "a")], processes_all);
    world.redrive("");
    assert_eq!(world.server.requests("Invoke")[0]["kinesisKit"], json!({ "mode": "reprocess" }));
}

#[test]
fn a_record_that_fails_does_not_keep_others_back() {
    let items = [7, 8, 9].map(|number| quarantined(number, None, &format!("r{number}")));
    let world = World::new(items, |_, event| failing(event, &["r8"]));
    let run = world.redrive("--attempts 1");
    assert_eq!(
        (run.exit_code, world.table.sort_keys()),
        (Some(1), vec!["Q#018#010".to_owned()]),
        "{}",
        run.stderr
    );
    assert!(
        run.stderr.ends_with("2 records processed and deleted from the quarantine, 1 failed\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn records_that_are_held_wait_for_the_one_before_them() {
    // The last one has another partition key, the one before it was not held.
    let held = |number, key: &str| {
        let mut item = quarantined(number, None, &format!("r{number}"));
        item["reason"] = json!({ "S": "held" });
        item["partitionKey"] = json!({ "B": BASE64_STANDARD.encode(key) });
        item
    };
    let items = [
        quarantined(6, None, "r6"),
        quarantined(7, None, "r7"),
        held(8, "k"),
        held(9, "k"),
        quarantined(10, None, "r10"),
        held(11, "other"),
    ];
    for args in ["--attempts 1", "--attempts 1 --batch-size 1"] {
        let world = World::new(items.clone(), |_, event| failing(event, &["r7"]));
        let run = world.redrive(args);
        let held = "held: an earlier record of its partition key has failed";
        let mut found = outcomes(&run);
        found.sort_by_key(|line| line.split(' ').next().expect("a number").parse::<u64>().expect("digits"));
        assert_eq!(found.len(), 6, "{found:?}");
        assert!(found[1].starts_with("7 failed"), "{found:?}");
        assert_eq!(
            [&found[0], &found[2], &found[3], &found[4], &found[5]],
            ["6 processed", &format!("8 {held}"), &format!("9 {held}"), "10 processed", "11 processed"]
        );
        // Events with them begin with the one before them, at which the function stops.
        let events = world.events();
        let has = |event: &[String], record: &str| event.iter().any(|found| found == record);
        assert!(
            events.iter().all(|event| has(event, "7 r7") || !has(event, "8 r8") && !has(event, "9 r9")),
            "{events:?}"
        );
        assert_eq!(world.table.sort_keys().len(), 3);
        assert!(
            run.stderr.ends_with(
                "3 records processed and deleted from the quarantine, 1 failed, 2 held behind them\n"
            ),
            "{}",
            run.stderr
        );
    }
}

#[test]
fn each_half_of_a_batch_has_all_attempts() {
    // It throws for both records together, and once for the first one alone.
    let world =
        World::new([quarantined(7, None, "a"), quarantined(8, None, "b")], |number, _| match number {
            0..=2 => (500, json!({ "errorType": "E", "errorMessage": "no" })),
            _ => (200, json!({ "batchItemFailures": [] })),
        });
    let run = world.redrive("--attempts 2");
    assert_eq!(outcomes(&run), ["7 processed", "8 processed"], "{}", run.stderr);
    assert_eq!(
        world.events(),
        [vec!["7 a", "8 b"], vec!["7 a", "8 b"], vec!["7 a"], vec!["7 a"], vec!["8 b"]]
    );
}

/// A table whose first deletion is refused.
fn refuses_a_deletion(items: impl IntoIterator<Item = Value>) -> ScriptedKinesis {
    let table = ScriptedTable::of(items);
    ScriptedKinesis::start(move |operation, number, request| match (operation, number) {
        ("Invoke", _) => (200, json!({})),
        ("DeleteItem", 0) => error(400, "AccessDeniedException"),
        _ => table.answer(operation, request),
    })
}

#[test]
fn a_deletion_that_fails_is_the_outcome_of_its_record() {
    let items = [7, 8].map(|number| quarantined(number, None, "a"));
    let server = refuses_a_deletion(items.clone());
    let url = server.url();
    let args = format!("quarantine redrive --table journal --format json --url {url}");
    let run = kit_where(&variables(&url), args.split_whitespace(), "");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    let expected = [
        "7 kept: processed, but not deleted: table journal cannot be used: the journal's store failed: AccessDeniedException: asked to",
        "8 processed",
    ];
    assert_eq!(outcomes(&run), expected);

    let server = refuses_a_deletion(items);
    let args = "quarantine purge --table journal --yes";
    let run = kit_where(&variables(&server.url()), args.split_whitespace(), "");
    assert_eq!((run.exit_code, server.requests("DeleteItem").len()), (Some(1), 2), "{}", run.stderr);
    assert!(run.stderr.ends_with("1 record deleted, 1 not deleted\n"), "{}", run.stderr);
}

#[test]
fn a_shard_that_cannot_be_read_does_not_keep_others_back() {
    let mut other = quarantined(9, None, "b");
    other["pk"] =
        json!({ "S": "orders#arn:aws:kinesis:eu-west-1:123456789012:stream/orders#shardId-000000000001" });
    let table = ScriptedTable::of([quarantined(7, None, "a"), other]);
    let server = ScriptedKinesis::start(move |operation, number, request| match (operation, number) {
        ("Query", 0) => error(400, "AccessDeniedException"),
        ("Invoke", _) => (200, json!({})),
        _ => table.answer(operation, request),
    });
    let url = server.url();
    let args = format!("quarantine redrive --table journal --format json --url {url}");
    let run = kit_where(&variables(&url), args.split_whitespace(), "");
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), vec!["9 processed".to_owned()]), "{}", run.stderr);
    assert!(run.stderr.contains("shardId-000000000000: table journal cannot be used: "), "{}", run.stderr);
    // Without any shard, there is nothing to go on with.
    let server = ScriptedKinesis::start(|_, _, _| error(400, "AccessDeniedException"));
    let run = kit_where(&variables(&server.url()), ["quarantine", "list", "--table", "journal"], "");
    assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
}

#[test]
fn work_does_not_end_silently_when_the_output_is_closed() {
    // More than a pipe holds.
    let items = || (0..2_000).map(|number| quarantined(10_000 + number, None, "a"));
    for args in ["redrive --batch-size 10 --format json --url URL", "purge --yes --format json"] {
        let world = World::new(items(), processes_all);
        let url = world.server.url();
        let args = format!("quarantine {} --table journal", args.replace("URL", &url));
        let mut child = start(&variables(&url), &args);
        drop(child.stdout.take());
        let output = child.wait_with_output().expect("it ends");
        let stderr = String::from_utf8(output.stderr).expect("text");
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("standard output was closed before all of the work was done"), "{stderr}");
        assert!(stderr.contains("1 record") || stderr.contains("10 records"), "{stderr}");
    }
}

#[test]
fn a_purge_deletes_what_was_listed_and_confirmed_only() {
    let items = || [7, 8, 9].map(|number| quarantined(number, None, "a"));
    let left = |args: &str| {
        let world = World::new(items(), processes_all);
        let run = world.run(&format!("quarantine purge --table journal {args}"));
        (run.exit_code, world.table.sort_keys().len(), world.server.requests("DeleteItem").len())
    };
    assert_eq!(left(""), (Some(1), 3, 0));
    assert_eq!(left("8"), (Some(1), 3, 0));
    assert_eq!(left("8 --yes"), (Some(0), 2, 1));
    assert_eq!(left("--before 2026-01-01T00:00:00Z --yes"), (Some(0), 3, 0));
    assert_eq!(left("--yes"), (Some(0), 0, 3));

    // Quarantined again between the two.
    let table = Arc::new(ScriptedTable::of(items()));
    let items = Arc::clone(&table);
    let server = ScriptedKinesis::start(move |operation, _, request| {
        let answer = items.answer(operation, request);
        if operation == "Query" {
            let mut again = quarantined(8, None, "a");
            again["quarantinedAt"] = json!({ "N": "1767225600001" });
            items.put(again);
        }
        answer
    });
    let run =
        kit_where(&variables(&server.url()), ["quarantine", "purge", "--table", "journal", "--yes"], "");
    assert_eq!((run.exit_code, table.sort_keys()), (Some(1), vec!["Q#018#010".to_owned()]), "{}", run.stderr);
}

#[test]
fn parts_that_are_written_during_a_deletion_are_kept() {
    // One byte more than an item holds.
    const ITEM_BYTES: usize = 350 * 1024;
    let part = |index: usize, quarantined_at: &str, request_id: &str| {
        let mut part = quarantined(7, None, &"a".repeat([ITEM_BYTES, 1][index]));
        part["sk"] = json!({ "S": format!("Q#017#010#P000{index}") });
        part["writtenAt"] = json!({ "N": quarantined_at });
        part["requestId"] = json!({ "S": request_id });
        part
    };
    let mut head = quarantined(7, None, &"a".repeat(ITEM_BYTES + 1));
    head["parts"] = json!({ "N": "2" });
    head.as_object_mut().expect("an item").remove("data");
    let items = [head, part(0, "1767225600000", "r"), part(1, "1767225600000", "r")];
    let table = Arc::new(ScriptedTable::of(items));
    let items = Arc::clone(&table);
    let server = ScriptedKinesis::start(move |operation, number, request| {
        let answer = items.answer(operation, request);
        // Another invocation quarantines the record again, as soon as its head is gone: the first part of it is there.
        if (operation, number) == ("DeleteItem", 0) {
            items.put(part(0, "1767225600009", "other"));
        }
        answer
    });
    let run =
        kit_where(&variables(&server.url()), ["quarantine", "purge", "--table", "journal", "--yes"], "");
    assert_eq!(
        (run.exit_code, table.sort_keys()),
        (Some(0), vec!["Q#017#010#P0000".to_owned()]),
        "{}",
        run.stderr
    );
}

#[test]
fn a_record_that_cannot_be_read_hides_no_other() {
    let mut damaged = quarantined(7, None, "a");
    damaged["reason"] = json!({ "S": "other" });
    let world = World::new([damaged, quarantined(8, None, "b")], processes_all);
    let list = world.run("quarantine list --table journal --format json");
    assert_eq!((list.exit_code, list.stdout.lines().count()), (Some(1), 2), "{}", list.stderr);
    assert!(
        list.stdout.contains(r#""sk":"Q#017#010","unreadable":"reason is S(\"other\")""#),
        "{}",
        list.stdout
    );
    assert!(list.stderr.contains("1 item cannot be read"), "{}", list.stderr);

    let run = world.redrive("");
    assert_eq!((run.exit_code, world.events()), (Some(1), vec![vec!["8 b".to_owned()]]), "{}", run.stderr);
    let purge = world.run("quarantine purge --table journal --yes");
    assert_eq!((purge.exit_code, world.table.sort_keys()), (Some(1), vec!["Q#017#010".to_owned()]));
    let pk = quarantined(7, None, "a")["pk"]["S"].as_str().expect("text").to_owned();
    let clear = world.run(&format!("journal clear --table journal --item {pk} Q#017#010 --yes"));
    assert_eq!((clear.exit_code, world.table.sort_keys()), (Some(0), vec![]), "{}", clear.stderr);
}

#[test]
fn a_program_gets_the_whole_environment_or_only_what_is_named() {
    let variables_of = |args: &[&str]| {
        let world = World::new([quarantined(7, None, "a")], processes_all);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("environment");
        let script = format!("env > {}", path.display());
        let start = ["quarantine", "redrive", "--table", "journal", "--attempts", "1"];
        let command = ["--", "sh", "-c", &script];
        let url = world.server.url();
        let mut variables = variables(&url);
        variables.extend([("PASSED", "on"), ("KEPT_BACK", "x")]);
        let run = kit_where(&variables, start.iter().chain(args).chain(&command).copied(), "");
        assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
        fs::read_to_string(path).expect("the program has run")
    };
    let whole = variables_of(&[]);
    assert!(whole.contains("AWS_SECRET_ACCESS_KEY=b\n") && whole.contains("KEPT_BACK=x\n"), "{whole}");
    let named = variables_of(&["--clean-env", "--env", "PASSED", "--env", "NEW=a=b"]);
    for expected in ["PASSED=on\n", "NEW=a=b\n", "PATH=", "AWS_LAMBDA_RUNTIME_API=127.0.0.1:", "AWS_REGION="]
    {
        assert!(named.contains(expected), "{expected}: {named}");
    }
    assert!(!named.contains("AWS_SECRET_ACCESS_KEY") && !named.contains("KEPT_BACK"), "{named}");
}

/// Answers one request to STS with credentials, at the URL that is returned. What was asked for is sent.
fn sts() -> (String, mpsc::Receiver<String>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let (asked, requests) = mpsc::channel();
    thread::spawn(move || {
        let (mut connection, _) = listener.accept().expect("a connection");
        let mut request = String::new();
        while !request.contains("RoleSessionName") {
            let mut buffer = [0; 4096];
            let length = connection.read(&mut buffer).expect("a request");
            request.push_str(&String::from_utf8_lossy(&buffer[..length]));
        }
        let body = "<AssumeRoleResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\"><AssumeRoleResult>\
            <AssumedRoleUser><AssumedRoleId>r:kinesis-kit</AssumedRoleId><Arn>arn:aws:sts::123456789012:assumed-role/orders/kinesis-kit</Arn></AssumedRoleUser><Credentials>\
            <AccessKeyId>role-key</AccessKeyId><SecretAccessKey>role-secret</SecretAccessKey>\
            <SessionToken>role-token</SessionToken><Expiration>2999-01-01T00:00:00Z</Expiration></Credentials>\
            </AssumeRoleResult></AssumeRoleResponse>";
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        connection.write_all(answer.as_bytes()).expect("an answer");
        asked.send(request).expect("the test waits");
    });
    (url, requests)
}

#[test]
fn a_program_gets_the_credentials_of_a_role_instead_of_the_operators() {
    let world = World::new([quarantined(7, None, "a")], processes_all);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("environment");
    let script = format!("env > {}", path.display());
    let role = "arn:aws:iam::123456789012:role/orders";
    let (sts_url, requests) = sts();
    let url = world.server.url();
    let mut variables = variables(&url);
    variables.push(("AWS_ENDPOINT_URL_STS", &sts_url));
    let args = ["quarantine", "redrive", "--table", "journal", "--attempts", "1", "--assume-role", role];
    let run = kit_where(&variables, args.into_iter().chain(["--", "sh", "-c", &script]), "");
    assert_eq!(run.exit_code, Some(2), "{}", run.stderr);
    let asked = requests.recv().expect("STS was asked");
    assert!(asked.contains("RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Forders"), "{asked}");
    let environment = fs::read_to_string(path).expect("the program has run");
    for expected in [
        "AWS_ACCESS_KEY_ID=role-key\n",
        "AWS_SECRET_ACCESS_KEY=role-secret\n",
        "AWS_SESSION_TOKEN=role-token\n",
    ] {
        assert!(environment.contains(expected), "{expected}: {environment}");
    }
    let run = kit("quarantine redrive --table t --assume-role orders -- function", "");
    assert_eq!(run.exit_code, Some(2));
    assert!(run.stderr.contains("expected arn:PARTITION:iam::ACCOUNT:role/NAME"), "{}", run.stderr);
}
