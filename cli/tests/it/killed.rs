//! Commands that delete, killed at each of their requests: only what was processed, or confirmed with `--yes`, is gone.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::{
    kit::start,
    scripted_kinesis::{Answer, ScriptedKinesis, variables},
    scripted_stream::{SHARD, delivered, failing},
    scripted_table::{ScriptedTable, quarantined, state},
};

/// When the command is killed.
#[derive(Debug, Clone, Copy)]
enum Kill {
    Never,
    /// At the request with this number, before it has any effect.
    Before(usize),
    /// At the request with this number, when it has taken effect and is not answered.
    After(usize),
}

/// The files and the output after a run.
struct Left {
    sort_keys: Vec<String>,
    /// The records that the function has processed, as text.
    processed: String,
    requests: usize,
}

/// Runs a command against a table with these items and a function at URL.
fn run(args: &str, table: &Arc<ScriptedTable>, function: fn(&Value) -> Answer, kill: Kill) -> Left {
    let processed: Arc<Mutex<String>> = Arc::default();
    let number = Arc::new(AtomicUsize::new(0));
    let (reached, is_reached) = mpsc::channel();
    let answer = {
        let (table, processed, number) = (Arc::clone(table), Arc::clone(&processed), Arc::clone(&number));
        let reached = Mutex::new(reached);
        move |operation: &str, _, request: &Value| {
            let number = number.fetch_add(1, Ordering::SeqCst);
            let wait_to_be_killed = || {
                // The command may have ended by then.
                let _ = reached.lock().expect("no panic while locked").send(());
                loop {
                    thread::park();
                }
            };
            if matches!(kill, Kill::Before(at) if at == number) {
                wait_to_be_killed();
            }
            let answer = match operation {
                "Invoke" => {
                    let answer = function(request);
                    let confirmed = confirmed(request, &answer);
                    processed.lock().expect("no panic while locked").push_str(&confirmed);
                    answer
                }
                other => table.answer(other, request),
            };
            if matches!(kill, Kill::After(at) if at == number) {
                wait_to_be_killed();
            }
            answer
        }
    };
    let server = ScriptedKinesis::start(answer);
    let url = server.url();
    let mut child = start(&variables(&url), &args.replace("URL", &url));
    while child.try_wait().expect("a child").is_none() {
        if is_reached.recv_timeout(Duration::from_millis(2)).is_ok() {
            child.kill().expect("it waits for an answer");
        }
    }
    let processed = processed.lock().expect("no panic while locked").clone();
    Left { sort_keys: table.sort_keys(), processed, requests: number.load(Ordering::SeqCst) }
}

/// The records before the first one that the answer names; none if it is not one about the batch.
fn confirmed(event: &Value, (status, response): &Answer) -> String {
    let Some(failures) = response["batchItemFailures"].as_array().filter(|_| *status == 200) else {
        return String::new();
    };
    let failed =
        failures.first().map(|failure| failure["itemIdentifier"].as_str().expect("digits").to_owned());
    let is_confirmed = |record: &String| failed.as_ref().is_none_or(|failed| !record.starts_with(failed));
    delivered(event).into_iter().take_while(is_confirmed).collect()
}

const RECORDS: [(&str, &str); 4] =
    [("Q#017#010", "t7."), ("Q#018#010", "t8a."), ("Q#018#011", "t8b."), ("Q#019#010", "t9.")];

fn quarantine() -> Arc<ScriptedTable> {
    Arc::new(ScriptedTable::of([
        quarantined(7, None, "t7."),
        quarantined(8, Some(0), "t8a."),
        quarantined(8, Some(1), "t8b."),
        quarantined(9, None, "t9."),
    ]))
}

#[test]
fn a_redrive_takes_out_only_what_was_processed() {
    let processes_all: fn(&Value) -> Answer = |_| (200, json!({ "batchItemFailures": [] }));
    let fails: fn(&Value) -> Answer = |event| failing(event, &["t7."]);
    let answers_something_else: fn(&Value) -> Answer = |_| (200, json!({ "ok": true }));
    let args = "quarantine redrive --table journal --attempts 1 --url URL";
    for function in [processes_all, fails, answers_something_else] {
        let requests = run(args, &quarantine(), function, Kill::Never).requests;
        assert!(requests > 4, "{requests}");
        for number in 0..requests {
            for kill in [Kill::Before(number), Kill::After(number)] {
                let table = quarantine();
                let left = run(args, &table, function, kill);
                assert_eq!(left.requests, number + 1, "{kill:?}");
                let rest = run(args, &table, processes_all, Kill::Never);
                assert!(rest.sort_keys.is_empty(), "{kill:?}");
                for (sort_key, text) in RECORDS {
                    let is_kept = left.sort_keys.iter().any(|key| key == sort_key);
                    assert!(is_kept || left.processed.contains(text), "{sort_key} is lost: {kill:?}");
                    // What is out of the quarantine is not delivered again.
                    assert_eq!(rest.processed.contains(text), is_kept, "{sort_key}: {kill:?}");
                }
            }
        }
    }
}

#[test]
fn purge_and_clear_delete_only_what_is_confirmed() {
    let states = || Arc::new(ScriptedTable::of([state('S', SHARD, 7, 1), state('H', SHARD, 9, 1)]));
    let refuses: fn(&Value) -> Answer = |_| panic!("nothing is delivered");
    type Items = fn() -> Arc<ScriptedTable>;
    let cases: [(&str, Items, &[&str]); 4] = [
        ("quarantine purge --table journal", quarantine, &[]),
        ("quarantine purge --table journal 8 --yes", quarantine, &["Q#018#010", "Q#018#011"]),
        ("journal clear --table journal --kind all", states, &[]),
        ("journal clear --table journal --yes", states, &["S#017"]),
    ];
    for (args, items, confirmed) in cases {
        let requests = run(args, &items(), refuses, Kill::Never).requests;
        for number in 0..requests {
            for kill in [Kill::Before(number), Kill::After(number)] {
                let table = items();
                let before = table.sort_keys();
                let left = run(args, &table, refuses, kill).sort_keys;
                let gone = before.iter().filter(|key| !left.contains(key));
                assert!(
                    gone.into_iter().all(|key| confirmed.contains(&key.as_str())),
                    "{args}: {kill:?}: {left:?}"
                );
            }
        }
    }
}
