//! `journal` against a table that behaves as told.

use std::sync::Arc;

use serde_json::json;

use crate::{
    kit::kit_where,
    scripted_kinesis::{ScriptedKinesis, variables},
    scripted_stream::SHARD,
    scripted_table::{ScriptedTable, state},
};

fn states() -> Vec<serde_json::Value> {
    vec![state('S', SHARD, 7, 1), state('S', SHARD, 8, 1), state('H', SHARD, 9, 1)]
}

#[test]
fn clear_deletes_what_was_listed_and_confirmed_only() {
    let left = |args: &str| {
        let table = Arc::new(ScriptedTable::of(states()));
        let items = Arc::clone(&table);
        let server = ScriptedKinesis::start(move |operation, _, request| items.answer(operation, request));
        let args = format!("journal clear --table journal {args}");
        let run = kit_where(&variables(&server.url()), args.split_whitespace(), "");
        (run.exit_code, table.sort_keys(), server.requests("DeleteItem").len())
    };
    let keys = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>();
    assert_eq!(left(""), (Some(1), keys(&["H#019", "S#017", "S#018"]), 0));
    assert_eq!(left("--kind all"), (Some(1), keys(&["H#019", "S#017", "S#018"]), 0));
    assert_eq!(left("--yes"), (Some(0), keys(&["H#019"]), 2));
    assert_eq!(left("--kind discarded --yes"), (Some(0), keys(&["S#017", "S#018"]), 1));
    assert_eq!(left("--application billing --yes"), (Some(0), keys(&["H#019", "S#017", "S#018"]), 0));
}

#[test]
fn a_state_that_was_written_since_it_was_listed_is_kept() {
    let table = Arc::new(ScriptedTable::of(states()));
    let items = Arc::clone(&table);
    let server = ScriptedKinesis::start(move |operation, _, request| {
        let answer = items.answer(operation, request);
        if operation == "Query" {
            let mut again = state('S', SHARD, 8, 2);
            again["version"] = json!({ "N": "2" });
            items.put(again);
        }
        answer
    });
    let args = "journal clear --table journal --format json --yes";
    let run = kit_where(&variables(&server.url()), args.split_whitespace(), "");
    assert_eq!(run.exit_code, Some(1), "{}", run.stderr);
    assert!(run.stderr.ends_with("1 entry deleted, 1 not deleted\n"), "{}", run.stderr);
    assert!(run.stdout.contains("kept, because it was written meanwhile"), "{}", run.stdout);
    assert_eq!(table.sort_keys(), ["H#019", "S#018"]);
}
