//! `quarantine` against a table and a function that behave as told.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, variables},
    scripted_stream::delivered,
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

    /// What was delivered, event by event.
    fn events(&self) -> Vec<Vec<String>> {
        self.server.requests("Invoke").iter().map(delivered).collect()
    }
}

fn processes_all(_: usize, _: &Value) -> Answer {
    (200, json!({ "batchItemFailures": [] }))
}

/// What has become of each record.
fn outcomes(run: &Run) -> Vec<String> {
    let outcome = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON lines");
        format!(
            "{} {}",
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
        assert_eq!((run.exit_code, outcomes(&run)), (Some(0), vec!["7 done".to_owned()]), "{response}");
        assert_eq!(world.events(), [["7 a"]], "{response}");
        assert!(world.table.sort_keys().is_empty(), "{response}");
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
