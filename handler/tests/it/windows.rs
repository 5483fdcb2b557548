//! Tumbling windows: the state of exactly the Kinesis records that are processed, and their end.

use std::{
    borrow::Cow,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use kinesis_handler::{
    BatchResponse, Context, Event, Handler, HandlerError, Hooks, KinesisRecord, Options, ProcessError,
    Record, WindowProcessor, Windows, event::TumblingWindow, permanent,
};
use proptest::{collection::vec, prelude::*};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::batch::{NoText, STREAM_ARN, aggregate, json, plain};

/// All texts of a window, in their order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Texts {
    texts: Vec<String>,
}

/// Adds the first word of each text to the state, and then does what it says.
#[derive(Debug, Default)]
struct Collect {
    finished: Mutex<Vec<(Texts, bool)>>,
    refuses_to_finish: Option<fn() -> ProcessError>,
}

impl WindowProcessor for &Collect {
    type State = Texts;

    async fn process(&self, record: Record<'_>, state: &mut Texts) -> Result<(), ProcessError> {
        let text = record.text()?.split(' ').next().unwrap_or_default();
        state.texts.push(text.to_owned());
        tokio::task::yield_now().await;
        match &text[..1] {
            "f" => Err(permanent("asked to")),
            "p" => panic!("asked to"),
            "w" => std::future::pending().await,
            _ => Ok(()),
        }
    }

    async fn finish(&self, state: &Texts, window: &TumblingWindow<'_>) -> Result<(), ProcessError> {
        if let Some(error) = self.refuses_to_finish {
            return Err(error());
        }
        self.finished
            .lock()
            .expect("no panic while locked")
            .push((state.clone(), window.is_terminated_early));
        Ok(())
    }
}

fn raw(state: &str) -> Cow<'static, RawValue> {
    Cow::Owned(RawValue::from_string(state.to_owned()).expect("JSON"))
}

fn event<'a>(records: &[KinesisRecord<'a>], state: &str) -> Event<'a> {
    let mut event = Event::new(records.to_vec());
    event.window = Some(TumblingWindow::new("2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z", raw(state)));
    event
}

async fn handle<P: WindowProcessor>(processor: P, event: &Event<'_>) -> Result<BatchResponse, HandlerError> {
    let handler = Handler::new(Windows::new(processor));
    handler.handle(&event.to_json(), &Context::default()).await
}

#[track_caller]
fn texts(response: &BatchResponse) -> Vec<String> {
    let state: Texts = serde_json::from_str(response.state().expect("a state")).expect("the state's JSON");
    state.texts
}

#[tokio::test]
async fn a_window_begins_with_the_default_and_goes_on_with_the_state() {
    let collect = Collect::default();
    let first = handle(&collect, &event(&[plain(1, "a"), aggregate(2, &["b", "c"])], "{}")).await;
    let first = first.expect("a response");
    assert_eq!((first.batch_item_failure(), texts(&first)), (None, vec!["a".into(), "b".into(), "c".into()]));
    let state = first.state().expect("a state");
    let next = handle(&collect, &event(&[plain(3, "d")], state)).await.expect("a response");
    assert_eq!(texts(&next), ["a", "b", "c", "d"]);
    assert!(collect.finished.lock().expect("no panic while locked").is_empty());
}

#[tokio::test]
async fn a_failure_leaves_the_state_of_the_kinesis_records_before() {
    for failing in ["fails", "panics"] {
        let records = [plain(1, "a"), aggregate(2, &["b", failing, "c"]), plain(3, "d")];
        let response = handle(&Collect::default(), &event(&records, r#"{"texts":["old"]}"#)).await;
        let response = response.expect("a response");
        assert_eq!(response.batch_item_failure().map(|number| number.to_string()).as_deref(), Some("2"));
        assert_eq!(texts(&response), ["old", "a"]);
    }
}

#[tokio::test]
async fn a_failure_of_the_first_record_returns_the_state_to_the_letter() {
    let state = r#"{ "texts":  [ "old" ], "more": 1.0 }"#;
    let response = handle(&Collect::default(), &event(&[aggregate(1, &["a", "fails"])], state)).await;
    let response = json(&response.expect("a response"));
    let expected = format!(r#"{{"batchItemFailures":[{{"itemIdentifier":"1"}}],"state":{state}}}"#);
    assert_eq!(response, expected);
}

#[tokio::test]
async fn an_unreadable_record_leaves_all_that_precedes_it() {
    let mut broken = plain(2, "b");
    broken.data = kinesis_handler::event::RecordData::Base64(Cow::Borrowed(b"?"));
    let response = handle(&Collect::default(), &event(&[plain(1, "a"), broken], "{}")).await;
    assert_eq!(texts(&response.expect("a response")), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_leaves_the_state_of_the_kinesis_records_before() {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    let mut context = Context::default();
    context.deadline = (now + Duration::from_secs(10)).as_millis() as u64;
    let records = [plain(1, "a"), aggregate(2, &["b", "waits", "c"]), plain(3, "d")];
    let collect = Collect::default();
    let handler = Handler::new(Windows::new(&collect));
    let event = event(&records, r#"{"texts":["old"]}"#);
    let response = handler.handle(&event.to_json(), &context).await.expect("a response");
    assert_eq!(response.batch_item_failure().map(|number| number.to_string()).as_deref(), Some("2"));
    assert_eq!(texts(&response), ["old", "a"]);
}

/// A few large Kinesis records at a time are decoded into the same memory.
#[tokio::test]
async fn a_failure_leaves_the_state_also_of_records_that_are_no_longer_in_memory() {
    let text = |number: u64| format!("{number} {}", "x".repeat(300_000));
    for failing in [2, 5, 9] {
        let records: Vec<_> = (1..10)
            .map(|number| match number == failing {
                true => aggregate(number, &["b", "fails", "c"]),
                false => plain(number, &text(number)),
            })
            .collect();
        let response = handle(&Collect::default(), &event(&records, "{}")).await.expect("a response");
        assert_eq!(response.batch_item_failure().map(|number| number.to_string()), Some(failing.to_string()));
        assert_eq!(texts(&response), (1..failing).map(|number| number.to_string()).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn the_last_invocation_gets_the_state_also_without_records() {
    let collect = Collect::default();
    for is_early in [false, true] {
        let mut last = event(&[], r#"{"texts":["a","b"]}"#);
        let window = last.window.as_mut().expect("a window");
        (window.is_final_invoke, window.is_terminated_early) = (true, is_early);
        let response = handle(&collect, &last).await.expect("a response");
        assert_eq!(response.batch_item_failure(), None);
    }
    let finished = collect.finished.lock().expect("no panic while locked").clone();
    let state = Texts { texts: vec!["a".into(), "b".into()] };
    assert_eq!(finished, [(state.clone(), false), (state, true)]);
}

#[tokio::test]
async fn the_last_invocation_belongs_to_the_shard_of_its_window_although_it_has_no_records() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell =
        |line: String, told: &Mutex<Vec<String>>| told.lock().expect("no panic while locked").push(line);
    let (at_start, at_end) = (Arc::clone(&told), Arc::clone(&told));
    let hooks = Hooks::new()
        .on_shard_start(move |start| {
            tell(format!("start {:?} {:?}", start.stream_arn, start.shard_id), &at_start);
            async {}
        })
        .on_batch_end(move |batch| {
            tell(format!("end {:?} {:?}", batch.stream_arn, batch.shard_id), &at_end);
            async {}
        });
    let collect = Collect::default();
    let handler = Handler::try_with_options(Windows::new(&collect), Options::default().with_hooks(hooks))
        .expect("suitable options");
    for (records, is_last, arn) in [
        (vec![plain(1, "a")], false, STREAM_ARN.to_owned()),
        (vec![], true, format!("{STREAM_ARN}/consumer/c:1")),
    ] {
        let mut event = event(&records, "{}");
        let window = event.window.as_mut().expect("a window");
        (window.shard_id, window.event_source_arn) = (Some("shardId-000000000000".into()), Some(arn.into()));
        window.is_final_invoke = is_last;
        handler.handle(&event.to_json(), &Context::default()).await.expect("a response");
    }
    let shard = format!("Some({STREAM_ARN:?}) Some(\"shardId-000000000000\")");
    let expected = [format!("start {shard}"), format!("end {shard}"), format!("end {shard}")];
    assert_eq!(*told.lock().expect("no panic while locked"), expected);
}

#[tokio::test]
async fn a_batch_whose_state_cannot_be_returned_counts_nothing_and_has_an_outcome_with_the_error() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let at_end = Arc::clone(&told);
    let hooks = Hooks::new().on_batch_end(move |batch| {
        at_end.lock().expect("no panic while locked").push((batch.error, batch.records.len()));
        async {}
    });
    let collect = Collect::default();
    let options = Options::default().with_hooks(hooks);
    let handler = Handler::try_with_options(Windows::new(&collect), options).expect("suitable options");
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    for text in ["a".to_owned(), "x".repeat(TumblingWindow::MAX_STATE_BYTES)] {
        let event = event(&[plain(1, &text)], "{}").to_json();
        // Nothing of it waits for another thread.
        let _guard = metrics::set_default_local_recorder(&recorder);
        let _ = handler.handle(&event, &Context::default()).await;
    }
    let error = "the window's state has 1048590 bytes: Lambda keeps at most 1048576";
    let expected = [(None, 1), (Some(error.to_owned()), 1)];
    assert_eq!(*told.lock().expect("no panic while locked"), expected);
    let counted = snapshotter
        .snapshot()
        .into_vec()
        .into_iter()
        .find_map(|(key, _, _, value)| (key.key().name() == "KinesisRecords").then_some(value));
    assert_eq!(counted, Some(metrics_util::debugging::DebugValue::Counter(1)));
}

#[track_caller]
fn check_error(response: Result<BatchResponse, HandlerError>, expected: &str) {
    assert_eq!(response.map(|response| json(&response)).expect_err("an error").to_string(), expected);
}

#[tokio::test]
async fn what_cannot_go_on_fails_the_invocation() {
    let collect = Collect::default();
    let plain_event = Event::new(vec![plain(1, "a")]);
    check_error(
        handle(&collect, &plain_event).await,
        "the event belongs to no tumbling window: set the mapping's TumblingWindowInSeconds",
    );
    check_error(
        handle(&collect, &event(&[plain(1, "a")], r#"{"texts":7}"#)).await,
        "the window's state does not match the processor's type (line 1, column 10)",
    );
    let refusing = |error| Collect { refuses_to_finish: Some(error), ..Collect::default() };
    let mut last = event(&[], "{}");
    last.window.as_mut().expect("a window").is_final_invoke = true;
    let refused = handle(&refusing(|| permanent("asked to")), &last).await;
    check_error(refused, "the window could not be finished: asked to");
    let panicked = handle(&refusing(|| permanent(NoText)), &last).await;
    check_error(panicked, "the window could not be finished: processor panicked: asked to");
}

#[tokio::test]
async fn a_state_that_lambda_would_drop_fails_the_invocation() {
    let large = "x".repeat(TumblingWindow::MAX_STATE_BYTES - 14);
    let fits = handle(&Collect::default(), &event(&[plain(1, &large)], "{}")).await.expect("a response");
    assert_eq!(fits.state().map(str::len), Some(TumblingWindow::MAX_STATE_BYTES));
    check_error(
        handle(&Collect::default(), &event(&[plain(1, &(large + "x"))], "{}")).await,
        "the window's state has 1048577 bytes: Lambda keeps at most 1048576",
    );
}

proptest! {
    /// Whatever fails, the state is the fold of the Kinesis records before the one that is reported.
    #[test]
    fn the_state_is_that_of_exactly_the_records_before_the_reported_one(
        batch in vec(vec(prop_oneof![8 => "[a-e]", 1 => Just("f".to_owned()), 1 => Just("p".to_owned())], 1..5), 1..8),
    ) {
        let records: Vec<_> = (1..).zip(&batch).map(|(number, texts)| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            if texts.len() == 1 { plain(number, texts[0]) } else { aggregate(number, &texts) }
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
        let response = runtime.block_on(handle(&Collect::default(), &event(&records, "{}"))).expect("a response");
        let is_bad = |texts: &Vec<String>| texts.iter().any(|text| text == "f" || text == "p");
        let reported = batch.iter().position(is_bad);
        let number = reported.map(|index| (index + 1).to_string());
        prop_assert_eq!(response.batch_item_failure().map(|number| number.to_string()), number);
        let expected: Vec<String> = batch[..reported.unwrap_or(batch.len())].concat();
        let found = match response.state() {
            Some("{}") => Vec::new(),
            _ => texts(&response),
        };
        prop_assert_eq!(found, expected);
    }
}
