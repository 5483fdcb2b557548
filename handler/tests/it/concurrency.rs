//! Several user records at once: order by partition key, failures, deadlines, and what the journal keeps.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use kinesis_handler::{
    Context, Event, Handler, KinesisRecord, ProcessError, Record, RecordProcessor, SequenceNumber,
    journal::{
        JournalEntries, JournalError, JournalFuture, JournalShard, JournalStore, JournalWrite, MemoryJournal,
        StateKind, StateRange, UserRecordId, WriteOutcome,
    },
    permanent, retryable,
};
use kpl_deaggregation::{UserRecord, encode};
use proptest::{collection::vec, prelude::*};
use tokio::time::sleep;

use crate::batch::{STREAM_ARN, SUCCESS, failure, json, plain, raw};
use crate::options::TestOptions;

/// The behaviour of a user record when it is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behaviour {
    Succeeds,
    /// In its first attempts, so many of them.
    Fails(u32),
    Panics(u32),
    IsBad,
}

/// A user record of a plan.
#[derive(Debug, Clone, Copy)]
struct Planned {
    key: u8,
    milliseconds: u64,
    behaviour: Behaviour,
}

/// The Kinesis records of a stream with their user records.
type Plan = Vec<Vec<Planned>>;

fn planned() -> impl Strategy<Value = Planned> {
    let behaviour = prop_oneof![
        16 => Just(Behaviour::Succeeds),
        2 => (1..3u32).prop_map(Behaviour::Fails),
        1 => (1..3u32).prop_map(Behaviour::Panics),
        1 => Just(Behaviour::IsBad),
    ];
    (0..4u8, 0..20u64, behaviour).prop_map(|(key, milliseconds, behaviour)| Planned {
        key,
        milliseconds,
        behaviour,
    })
}

fn plan() -> impl Strategy<Value = Plan> {
    vec(vec(planned(), 1..5), 1..7)
}

fn kinesis_record(sequence_number: u64, planned: &[Planned]) -> KinesisRecord<'static> {
    let keys: Vec<_> = planned.iter().map(|planned| format!("key-{}", planned.key)).collect();
    let user_records = keys.iter().map(|key| UserRecord::new(key.as_bytes(), b"data"));
    raw(sequence_number, &encode(user_records).expect("a small aggregate"))
}

/// Sequence number and sub-sequence number.
type Id = (u64, u64);

fn id(record: &Record<'_>) -> Id {
    let position = record.position();
    let number = position.sequence_number.to_string().parse().expect("a small number");
    (number, position.sub_sequence_number.expect("a standard mapping"))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moment {
    Begun,
    Done,
    Failed,
}

/// A processor that follows a plan, and what it has seen in each invocation.
struct World {
    plan: Plan,
    attempts: Mutex<HashMap<Id, u32>>,
    trace: Mutex<Vec<(Id, Moment)>>,
}

impl World {
    fn new(plan: Plan) -> Self {
        World { plan, attempts: Mutex::default(), trace: Mutex::default() }
    }

    fn planned(&self, (number, sub_number): Id) -> Planned {
        let index = |number: u64| usize::try_from(number).expect("a small number");
        self.plan[index(number) - 1][index(sub_number)]
    }

    fn note(&self, id: Id, moment: Moment) {
        self.trace.lock().expect("no panic while locked").push((id, moment));
    }

    async fn run(&self, id: Id) -> Result<(), ProcessError> {
        let Planned { milliseconds, behaviour, .. } = self.planned(id);
        self.note(id, Moment::Begun);
        let attempt = {
            let mut attempts = self.attempts.lock().expect("no panic while locked");
            let attempt = attempts.entry(id).or_default();
            *attempt += 1;
            *attempt
        };
        if milliseconds > 0 {
            sleep(Duration::from_millis(milliseconds)).await;
        }
        let end = |moment| self.note(id, moment);
        match behaviour {
            Behaviour::Fails(times) if attempt <= times => {
                end(Moment::Failed);
                Err(retryable("asked to"))
            }
            Behaviour::Panics(times) if attempt <= times => {
                end(Moment::Failed);
                panic!("asked to");
            }
            Behaviour::IsBad => {
                end(Moment::Failed);
                Err(permanent("never will be"))
            }
            _ => {
                end(Moment::Done);
                Ok(())
            }
        }
    }

    /// All user records from a Kinesis record on, in stream order.
    fn ids(&self, from: u64) -> Vec<Id> {
        let ids = (1..).zip(&self.plan).flat_map(|(number, user_records)| {
            (0..).zip(user_records).map(move |(sub_number, _)| (number, sub_number))
        });
        ids.filter(|(number, _)| *number >= from).collect()
    }

    /// Checks the trace of one invocation. `done_before` are those that were done before it.
    fn check(
        &self,
        trace: &[(Id, Moment)],
        done_before: &BTreeSet<Id>,
        concurrency: usize,
        look_ahead: usize,
    ) -> Result<(), String> {
        let (mut begun, mut ended, mut done) = (BTreeSet::new(), BTreeSet::new(), done_before.clone());
        let mut failed = BTreeSet::new();
        for &(id, moment) in trace {
            match moment {
                Moment::Begun => {
                    if !begun.insert(id) {
                        return Err(format!("{id:?} was begun twice"));
                    }
                    if begun.len() - ended.len() > concurrency {
                        return Err(format!("{id:?} was begun, which is one too many"));
                    }
                    if let Some(first) = failed.first().filter(|first| **first < id && !self.is_bad(**first))
                    {
                        return Err(format!("{id:?} was begun after {first:?} had failed"));
                    }
                    let key = self.planned(id).key;
                    let is_before = |other: &Id| *other < id && self.planned(*other).key == key;
                    let from = trace[0].0.0;
                    if let Some(before) = self
                        .ids(from)
                        .into_iter()
                        .filter(is_before)
                        .find(|other| !done.contains(other) && !self.is_bad(*other))
                    {
                        return Err(format!(
                            "{id:?} was begun before {before:?}, which has the same key, was done"
                        ));
                    }
                    let between = |other: &&Id| **other < id && !done_before.contains(other);
                    let lowest = self.ids(from).into_iter().find(|other| {
                        !done.contains(other) && !failed.contains(other) && !self.is_bad(*other)
                    });
                    if let Some(lowest) = lowest {
                        let ahead =
                            self.ids(from).iter().filter(|other| **other >= lowest).filter(between).count();
                        if ahead > look_ahead {
                            return Err(format!("{id:?} is {ahead} beyond {lowest:?}"));
                        }
                    }
                }
                Moment::Done => {
                    ended.insert(id);
                    done.insert(id);
                }
                Moment::Failed => {
                    ended.insert(id);
                    failed.insert(id);
                }
            }
        }
        Ok(())
    }

    /// Whether the quarantine takes it.
    fn is_bad(&self, id: Id) -> bool {
        self.planned(id).behaviour == Behaviour::IsBad
    }
}

impl RecordProcessor for &World {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        self.run(id(&record)).await
    }
}

/// The rest of a history that a mapping makes of a plan: invocations until all is done.
async fn run_to_the_end(
    plan: &Plan,
    options: &TestOptions,
    has_quarantine: bool,
) -> Result<BTreeMap<Id, usize>, TestCaseError> {
    let world = World::new(plan.clone());
    let handler = Handler::with_options(&world, options.build());
    let records: Vec<_> =
        (1..).zip(plan).map(|(number, user_records)| kinesis_record(number, user_records)).collect();
    let (mut from, mut completions) = (1, BTreeMap::<Id, usize>::new());
    let mut done = BTreeSet::new();
    for invocation in 0..100 {
        let rest = records[usize::try_from(from - 1).expect("a small number")..].to_vec();
        let event = Event::new(rest).to_json();
        let response = handler.handle(&event, &Context::default()).await.expect("a Kinesis event");
        let trace = std::mem::take(&mut *world.trace.lock().expect("no panic while locked"));
        let known = if options.journal.is_some() { done.clone() } else { BTreeSet::new() };
        let limit = |limit: Option<u32>| limit.expect("set") as usize;
        let checked = world.check(&trace, &known, limit(options.concurrency), limit(options.look_ahead));
        prop_assert_eq!(checked, Ok(()), "invocation {}: {:?}", invocation, trace);
        let mut done_now = known;
        for (id, moment) in trace {
            if moment == Moment::Done {
                *completions.entry(id).or_default() += 1;
                done.insert(id);
                done_now.insert(id);
            }
        }
        let is_passed = |id: &Id| done_now.contains(id) || has_quarantine && world.is_bad(*id);
        let expected = world.ids(from).into_iter().find(|id| !is_passed(id));
        let reported = response.batch_item_failure();
        let number = |number: SequenceNumber| number.to_string().parse::<u64>().expect("a small number");
        prop_assert_eq!(reported.map(number), expected.map(|(number, _)| number), "{}", json(&response));
        match expected {
            None => return Ok(completions),
            Some((number, _)) => from = number,
        }
    }
    Err(TestCaseError::fail("a record was retried 100 times"))
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime")
}

proptest! {
    /// I2 and I1: what precedes the reported record is done, in the order of each key, in every retry.
    #[test]
    fn keys_are_processed_in_order_and_nothing_is_lost(
        mut plan in plan(), concurrency in 2..6u32, look_ahead in 1..12u32,
    ) {
        for planned in plan.iter_mut().flatten() {
            // Without a quarantine, it would block the shard for good.
            if planned.behaviour == Behaviour::IsBad {
                planned.behaviour = Behaviour::Fails(1);
            }
        }
        let options =
            TestOptions { concurrency: Some(concurrency), look_ahead: Some(look_ahead), ..TestOptions::default() };
        let completions = runtime().block_on(run_to_the_end(&plan, &options, false))?;
        prop_assert_eq!(completions.len(), plan.iter().flatten().count());
    }

    /// I3: what was processed beyond a failure is in the journal, and is not processed again.
    #[test]
    fn with_the_journal_each_user_record_is_done_exactly_once(
        plan in plan(), concurrency in 2..6u32, look_ahead in 1..12u32, limit in 1..4u32,
    ) {
        let options = TestOptions {
            application: Some("orders".to_owned()),
            journal: Some(Arc::new(MemoryJournal::default())),
            quarantine: true,
            quarantine_limit: Some(limit),
            concurrency: Some(concurrency),
            look_ahead: Some(look_ahead),
            ..TestOptions::default()
        };
        // The rest of an aggregate may go to the quarantine with a bad user record, so fewer may be done.
        let completions = runtime().block_on(run_to_the_end_or_quarantine(&plan, &options))?;
        prop_assert!(completions.values().all(|&times| times == 1), "{:?}", completions);
    }
}

/// As [`run_to_the_end`], where user records may be quarantined with the rest of their aggregate.
async fn run_to_the_end_or_quarantine(
    plan: &Plan,
    options: &TestOptions,
) -> Result<BTreeMap<Id, usize>, TestCaseError> {
    let bad_in = |user_records: &Vec<Planned>| {
        user_records.iter().filter(|planned| planned.behaviour == Behaviour::IsBad).count()
    };
    let limit = options.quarantine_limit.expect("set") as usize;
    if plan.iter().all(|user_records| bad_in(user_records) <= limit) {
        return run_to_the_end(plan, options, true).await;
    }
    // Only the number of completions is checked then.
    let world = World::new(plan.clone());
    let handler = Handler::with_options(&world, options.build());
    let records: Vec<_> =
        (1..).zip(plan).map(|(number, user_records)| kinesis_record(number, user_records)).collect();
    let mut from = 0;
    let mut completions = BTreeMap::<Id, usize>::new();
    for _ in 0..100 {
        let event = Event::new(records[from..].to_vec()).to_json();
        let response = handler.handle(&event, &Context::default()).await.expect("a Kinesis event");
        for (id, moment) in std::mem::take(&mut *world.trace.lock().expect("no panic while locked")) {
            if moment == Moment::Done {
                *completions.entry(id).or_default() += 1;
            }
        }
        let Some(reported) = response.batch_item_failure() else { return Ok(completions) };
        from = reported.to_string().parse::<usize>().expect("a small number") - 1;
    }
    Err(TestCaseError::fail("a record was retried 100 times"))
}

#[tokio::test(start_paused = true)]
async fn handler_rule_7_members_that_are_alike_are_done_one_by_one() {
    let member = |key: &'static str, data| {
        let mut record = plain(9, data);
        record.partition_key = key.into();
        record.event_source_arn = Some(format!("{STREAM_ARN}/consumer/orders:1").into());
        record
    };
    let event = Event::new(vec![member("k", "slow"), member("l", "twin"), member("l", "twin")]).to_json();
    let (calls, done) = (Mutex::new(0), Mutex::new(Vec::new()));
    let processor = async |record: Record<'_>| -> Result<(), ProcessError> {
        let text = record.text()?.to_owned();
        let call = {
            let mut calls = calls.lock().expect("no panic while locked");
            *calls += 1;
            *calls
        };
        if text == "slow" {
            sleep(Duration::from_secs(1)).await;
        }
        // The slow one and the second twin fail in the first invocation.
        if [1, 3].contains(&call) {
            return Err(retryable("asked to"));
        }
        done.lock().expect("no panic while locked").push(text);
        Ok(())
    };
    let options = TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(Arc::new(MemoryJournal::default())),
        concurrency: Some(2),
        ..TestOptions::default()
    };
    let handler = Handler::with_options(&processor, options.build());
    let first = handler.handle(&event, &Context::default()).await.expect("a Kinesis event");
    assert_eq!((json(&first), *calls.lock().expect("no panic while locked")), (failure(9), 3));
    let second = handler.handle(&event, &Context::default()).await.expect("a Kinesis event");
    assert_eq!(json(&second), SUCCESS);
    let done = done.lock().expect("no panic while locked").join(" ");
    assert_eq!(done, "twin twin twin slow", "the first twin twice, and the second one once");
}

/// The check of the properties notices a handler that starts user records as they arrive.
#[test]
fn an_order_by_arrival_only_is_noticed() {
    let planned = |key, milliseconds| Planned { key, milliseconds, behaviour: Behaviour::Succeeds };
    let world = World::new(vec![vec![planned(1, 10), planned(2, 5), planned(1, 1)]]);
    runtime().block_on(async {
        let mut in_flight: FuturesUnordered<_> = world.ids(1).into_iter().map(|id| world.run(id)).collect();
        while in_flight.next().await.is_some() {}
    });
    let trace = world.trace.lock().expect("no panic while locked").clone();
    assert_eq!(
        world.check(&trace, &BTreeSet::new(), 3, 10),
        Err("(1, 2) was begun before (1, 0), which has the same key, was done".to_owned())
    );
}

/// A journal whose write for the Kinesis record 1 takes its time, and whose other writes fail at once.
#[derive(Debug, Default)]
struct FailingAhead(MemoryJournal);

impl JournalStore for FailingAhead {
    fn read<'a>(&'a self, shard: JournalShard<'a>, range: StateRange) -> JournalFuture<'a, JournalEntries> {
        self.0.read(shard, range)
    }

    fn write<'a>(&'a self, writes: &'a [JournalWrite<'a>]) -> JournalFuture<'a, WriteOutcome> {
        Box::pin(async move {
            if writes.iter().any(|write| write.state.sequence_number.to_string() != "1") {
                return Err(JournalError::Store { source: "asked to".into() });
            }
            sleep(Duration::from_millis(1)).await;
            self.0.write(writes).await
        })
    }

    fn delete<'a>(
        &'a self,
        shard: JournalShard<'a>,
        kind: StateKind,
        sequence_number: SequenceNumber,
    ) -> JournalFuture<'a, ()> {
        self.0.delete(shard, kind, sequence_number)
    }
}

#[test]
fn the_failed_attempt_is_kept_although_what_was_processed_beyond_it_cannot_be() {
    let planned = |key, milliseconds, behaviour| vec![Planned { key, milliseconds, behaviour }];
    let plan = vec![planned(1, 5, Behaviour::Fails(9)), planned(2, 1, Behaviour::Succeeds)];
    let journal = Arc::new(FailingAhead::default());
    let options = TestOptions {
        application: Some("orders".to_owned()),
        journal: Some(journal.clone()),
        concurrency: Some(2),
        ..TestOptions::default()
    };
    let records: Vec<_> =
        (1..).zip(&plan).map(|(number, user_records)| kinesis_record(number, user_records)).collect();
    let world = World::new(plan);
    let handler = Handler::with_options(&world, options.build());
    let event = Event::new(records).to_json();
    let response = runtime().block_on(handler.handle(&event, &Context::default())).expect("a Kinesis event");
    assert_eq!(response.counts().journal_write_errors, 1);
    let shard =
        JournalShard { application: "orders", stream_arn: STREAM_ARN, shard_id: "shardId-000000000000" };
    let attempts: Vec<_> = journal.0.states(shard).into_iter().map(|state| state.progress.attempts).collect();
    assert_eq!(attempts, [BTreeMap::from([(UserRecordId::Sub(0), 1)])]);
}
