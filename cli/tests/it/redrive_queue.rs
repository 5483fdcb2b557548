//! `redrive` from a queue whose messages are hidden from others for a while, or no longer.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    redrive::{RECORDS, World, failure, outcomes, queue},
    scripted_kinesis::{Answer, error},
    scripted_stream::ScriptedStream,
};

/// Longer than any test takes: what is waited for comes much earlier, or a test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The number of rounds in which visibility timeouts were extended.
#[derive(Default)]
struct Extensions {
    number: Mutex<u32>,
    changed: Condvar,
}

impl Extensions {
    fn add(&self) {
        *self.number.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.changed.notify_all();
    }

    /// Waits for a number of extensions; `false` if they do not come.
    fn reach(&self, number: u32) -> bool {
        let extensions = self.number.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.changed.wait_timeout_while(extensions, PATIENCE, |extensions| *extensions < number);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

/// A queue with two messages of one record each, whose function answers after this number of extensions. `extend` answers
/// requests that extend.
fn slow_queue(
    invoked_after: u32,
    extend: impl Fn(&Value) -> Answer + Send + Sync + 'static,
) -> impl Fn(&str, usize, &Value) -> Answer {
    let queue = queue(vec![failure(10, 10, 1), failure(11, 11, 1)], ScriptedStream::of(&RECORDS));
    let extensions = Arc::new(Extensions::default());
    move |operation, number, request| match operation {
        "ChangeMessageVisibilityBatch" if request["Entries"][0]["VisibilityTimeout"] != 0 => {
            let answer = extend(request);
            extensions.add();
            answer
        }
        "Invoke" if extensions.reach(invoked_after) => (200, json!({ "batchItemFailures": [] })),
        "Invoke" => error(500, "NoExtension"),
        _ => queue(operation, number, request),
    }
}

/// The answer that extends these entries of a request and none of the others.
fn extended(request: &Value, is_extended: impl Fn(&str) -> bool) -> Answer {
    let entries = request["Entries"].as_array().expect("entries");
    let (mut successful, mut failed) = (Vec::new(), Vec::new());
    for entry in entries {
        if is_extended(entry["ReceiptHandle"].as_str().expect("text")) {
            successful.push(json!({ "Id": entry["Id"] }));
        } else {
            failed.push(json!({ "Id": entry["Id"], "Code": "ReceiptHandleIsInvalid", "SenderFault": true }));
        }
    }
    (200, json!({ "Successful": successful, "Failed": failed }))
}

#[test]
fn messages_are_hidden_from_others_for_as_long_as_the_run_takes() {
    // Six extensions take longer than the visibility timeout.
    let world = World::new(slow_queue(6, |request| extended(request, |_| true)));
    let run = world.redrive("--queue failures --visibility-timeout 4 --attempts 1");
    let expected = [json!(["processed", 1, null, null]), json!(["processed", 1, null, null])];
    assert_eq!((run.exit_code, outcomes(&run)), (Some(0), expected.to_vec()), "{}", run.stderr);
    let extensions = world.kinesis.requests("ChangeMessageVisibilityBatch");
    let receipts = extensions[0]["Entries"].as_array().expect("entries").len();
    assert_eq!((receipts, &extensions[0]["Entries"][0]["VisibilityTimeout"]), (2, &json!(4)));
    assert_eq!(world.kinesis.requests("DeleteMessage").len(), 2);
}

#[test]
fn a_message_that_another_run_may_have_received_is_not_deleted() {
    let world = World::new(slow_queue(6, |request| extended(request, |receipt| receipt != "r1")));
    let run = world.redrive("--queue failures --visibility-timeout 4 --attempts 1");
    // It was in the event already, so its record is processed.
    let expected = [json!(["processed", 1, null, null]), json!(["kept", 1, null, null])];
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), expected.to_vec()), "{}", run.stderr);
    assert!(run.stdout.contains("its visibility timeout ran out"), "{}", run.stdout);
    let deleted = world.kinesis.requests("DeleteMessage");
    assert_eq!(deleted.iter().map(|request| &request["ReceiptHandle"]).collect::<Vec<_>>(), ["r0"]);
}

#[test]
fn a_message_that_another_run_may_have_received_is_not_delivered() {
    // Events of one record: the second message waits for the first one's.
    let world = World::new(slow_queue(6, |request| extended(request, |receipt| receipt != "r1")));
    let run = world.redrive("--queue failures --visibility-timeout 4 --attempts 1 --batch-size 1");
    let expected = [json!(["processed", 1, null, null]), json!(["unknown", 0, null, null])];
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), expected.to_vec()), "{}", run.stderr);
    assert_eq!(world.events(), [["10 a"]]);
    assert_eq!(world.kinesis.requests("DeleteMessage").len(), 1);
}

#[test]
fn extensions_that_fail_end_neither_the_run_nor_each_other() {
    // The server does not answer the first two requests in time for the next round, and refuses the others.
    let world = World::new(slow_queue(2, |_| error(400, "AWS.SimpleQueueService.NonExistentQueue")));
    let run = world.redrive("--queue failures --attempts 1 --visibility-timeout 12");
    let expected = [json!(["processed", 1, null, null]), json!(["processed", 1, null, null])];
    assert_eq!((run.exit_code, outcomes(&run)), (Some(0), expected.to_vec()), "{}", run.stderr);
    assert_eq!(run.stderr.matches("visibility timeouts cannot be extended").count(), 1, "{}", run.stderr);
}

#[test]
fn a_message_that_cannot_be_deleted_is_kept_and_known_to_the_next_run() {
    let queue = queue(vec![failure(10, 10, 1)], ScriptedStream::of(&RECORDS));
    let world = World::new(move |operation, number, request| match operation {
        "ReceiveMessage" => queue(operation, number % 2, request),
        "DeleteMessage" if number == 0 => error(400, "InvalidParameterValue"),
        "Invoke" => (200, json!({ "batchItemFailures": [] })),
        _ => queue(operation, number, request),
    });
    let run = world.redrive("--queue failures");
    assert_eq!((run.exit_code, outcomes(&run)), (Some(1), vec![json!(["kept", 1, null, null])]));
    let run = world.redrive("--queue failures");
    assert_eq!((run.exit_code, outcomes(&run)), (Some(0), vec![json!(["processed", 0, null, null])]));
    assert_eq!((world.events().len(), world.kinesis.requests("DeleteMessage").len()), (1, 2));
}
