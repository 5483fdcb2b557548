//! A plan made real: the stream, the handler with its processor, and the simulation of both.

use std::{
    cell::RefCell,
    collections::HashMap,
    future::Future,
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task,
    time::Duration,
};

use kinesis_esm_simulator::{
    SCENARIO_START_MS, ServiceFunction, Shard, ShardInfo, SharedRecord, Simulation, Stream, StreamRecord,
};
use kinesis_handler::{
    Event, Handler, HandlerError, InvalidFramePolicy, LambdaEvent, Options, ProcessError, RawEvent, Record,
    SequenceNumber, permanent, retryable,
};
use kpl_deaggregation::{
    Aggregator, AggregatorOptions, Deaggregator, Grouping, HashKeyRange, UserRecordInput,
};
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::Service;

use super::{
    history::{Completion, History, KinesisRecordInfo, UserRecordInfo},
    mirror::FaultyTable,
    plan::{BadEnd, Behaviour, Content, Plan, UserRecordPlan},
};

/// Which safeties the handler has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Safety {
    /// The real one.
    All,
    /// Goes on after a failure. What it reports is right all the same.
    NoStop,
    /// Reports the record behind the first failed one, or nothing if that is the last.
    ReportsTooLate,
    /// Takes every failure for a success.
    NoReport,
    /// Reports a number that is not in the batch.
    ReportsForeign,
    /// Lets a batch run into the function's timeout.
    NoDeadline,
    /// Mirrors one Kinesis record more than is done.
    MirrorsTooFar,
    /// Mirrors without looking at the row.
    MirrorsAlways,
    /// Says that it mirrors.
    MirrorsNothing,
}

/// Runs the world to its end.
pub(super) fn run(plan: &Plan, safety: Safety) -> History {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let simulation = Simulation {
            mapping: plan.mapping.mapping(),
            undocumented: plan.mapping.undocumented(),
            function_timeout: Duration::from_millis(plan.timeout_ms),
            faults: plan.faults.clone(),
            seed: plan.seed,
        };
        let clock = Rc::new(simulation.clock(SCENARIO_START_MS));

        let (shards, records) = shards(plan);
        let mut history = History::new(records);
        let stream = Stream::new(Rc::clone(&clock), Duration::from_secs(plan.retention_minutes * 60), shards);
        let failed = Rc::default();
        let processor = processor(&history, safety, Rc::clone(&failed));
        let mut options = Options::default();
        options.clock = Arc::new((*clock).clone());
        // Without the stop, the ledger takes as done what is not.
        if let Some(mirror) = plan.mirror.as_ref().filter(|_| safety != Safety::NoStop) {
            let table = FaultyTable::new(mirror.faults.clone(), safety, Arc::clone(&history.progress));
            history.mirror = Some(table.clone());
            options.application = "app".to_owned();
            options.checkpoints = Some(Arc::new(table));
            options.checkpoint_strict = mirror.strict;
        }
        let handler = Handler::with_options(processor, options);
        let function = ServiceFunction::<_, RawEvent>::new(Weakened { handler, safety, failed });
        let observer = history.observer();
        simulation.run(clock, stream, function, observer).await.expect("nothing impossible");
        history
    })
}

/// The first failure of each invocation, by request ID.
type Failed = Rc<RefCell<HashMap<String, SequenceNumber>>>;

fn processor(
    history: &History,
    safety: Safety,
    failed: Failed,
) -> impl AsyncFn(Record<'_>) -> Result<(), ProcessError> + 'static {
    let tries: RefCell<HashMap<usize, u32>> = RefCell::default();
    let infos = Rc::clone(&history.user_records);
    let done = Rc::clone(&history.done);
    let progress = Arc::clone(&history.progress);
    async move |record: Record<'_>| {
        let Some(number) = record.text().ok().and_then(|text| text.parse::<usize>().ok()) else {
            return Err(permanent("no number"));
        };
        let Behaviour { delay_ms, failures, how } = infos[number].behaviour;
        let tried = {
            let mut tries = tries.borrow_mut();
            let tried = tries.entry(number).or_default();
            *tried += 1;
            *tried
        };
        if delay_ms > 0 {
            sleep(Duration::from_millis(delay_ms)).await;
        }
        let result = if failures.is_none_or(|failures| tried <= failures) {
            match how {
                BadEnd::Error => Err(retryable("asked to")),
                BadEnd::Permanent => Err(permanent("asked to")),
                // Not `panic!`, which would print.
                BadEnd::Panic => std::panic::resume_unwind(Box::new("asked to")),
                BadEnd::Hang => std::future::pending().await,
            }
        } else {
            Ok(())
        };
        let position = record.position();
        match result {
            Ok(()) => {
                done.borrow_mut().push(Completion { user_record: number });
                progress.completions.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) if safety == Safety::NoStop => {
                // The first failure is the lowest.
                let request_id = record.request_id().to_owned();
                failed.borrow_mut().entry(request_id).or_insert(position.sequence_number);
                drop(error);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The handler, and what was taken away from it.
struct Weakened<P> {
    handler: Handler<P>,
    safety: Safety,
    failed: Failed,
}

impl<P> Clone for Weakened<P> {
    fn clone(&self) -> Self {
        Weakened { handler: self.handler.clone(), safety: self.safety, failed: Rc::clone(&self.failed) }
    }
}

impl<P: kinesis_handler::RecordProcessor + 'static> Service<LambdaEvent<RawEvent>> for Weakened<P> {
    type Response = Value;
    type Error = HandlerError;
    type Future = Pin<Box<dyn Future<Output = Result<Value, HandlerError>>>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), HandlerError>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut event: LambdaEvent<RawEvent>) -> Self::Future {
        let (safety, failed) = (self.safety, Rc::clone(&self.failed));
        if safety == Safety::NoDeadline {
            event.context.deadline = 0;
        }
        let payload = event.payload.clone();
        let request_id = event.context.request_id.clone();
        let answer = self.handler.call(event);
        Box::pin(async move {
            failed.borrow_mut().remove(&request_id);
            let response = answer.await?;
            let reported = response.batch_item_failure();
            let reported = match safety {
                Safety::All
                | Safety::NoDeadline
                | Safety::MirrorsTooFar
                | Safety::MirrorsAlways
                | Safety::MirrorsNothing => return Ok(json!(response)),
                Safety::NoStop => {
                    let failed = failed.borrow_mut().remove(&request_id);
                    reported.into_iter().chain(failed).min()
                }
                Safety::NoReport => None,
                Safety::ReportsForeign => reported.map(|_| "7".parse().expect("digits")),
                Safety::ReportsTooLate => reported.and_then(|number| {
                    let event = Event::parse(payload.as_ref()).expect("the handler has read it");
                    event.records.iter().map(|record| record.sequence_number).find(|&next| next > number)
                }),
            };
            let items: Vec<_> = reported.iter().map(|number| json!({ "itemIdentifier": number })).collect();
            Ok(json!({ "batchItemFailures": items }))
        })
    }
}

/// A shard in the making.
struct OpenShard {
    info: ShardInfo,
    records: Vec<SharedRecord>,
    is_open: bool,
}

/// The shards with their records, and what the records are.
fn shards(plan: &Plan) -> (Vec<Shard>, Vec<KinesisRecordInfo>) {
    let mut reshards = plan.reshards.clone();
    reshards.sort_by_key(|reshard| reshard.at_ms);
    let mut reshards = reshards.into_iter().peekable();
    let mut shards = vec![new_shard(0, Vec::new(), HashKeyRange::FULL)];
    let mut infos = Vec::new();
    let mut user_records = 0;
    let mut at_ms = 0;
    for (position, record) in plan.records.iter().enumerate() {
        at_ms += record.after_ms;
        while let Some(reshard) = reshards.next_if(|reshard| reshard.at_ms <= at_ms) {
            let open: Vec<usize> = (0..shards.len()).filter(|&shard| shards[shard].is_open).collect();
            reshard_one(&mut shards, &open, reshard.shard.index(open.len()), reshard.split);
        }
        let open: Vec<usize> = (0..shards.len()).filter(|&shard| shards[shard].is_open).collect();
        let mut number = |plan: &UserRecordPlan, shard: &ShardInfo| {
            user_records += 1;
            UserRecordInfo {
                number: user_records - 1,
                key: key_in(plan.key, &shard.hash_key_range),
                behaviour: plan.behaviour,
            }
        };
        let chosen = open[record.shard.index(open.len())];
        let shard = &shards[chosen].info;
        let (partition_key, data, members) = match &record.content {
            Content::Plain(plan) => {
                let info = number(plan, shard);
                (info.key.clone(), info.number.to_string().into_bytes(), vec![info])
            }
            Content::Aggregate(plans) => {
                let members: Vec<_> = plans.iter().map(|plan| number(plan, shard)).collect();
                ("a".to_owned(), aggregate(&members), members)
            }
            Content::Invalid => ("a".to_owned(), INVALID_FRAME.to_vec(), Vec::new()),
        };
        let sequence_number = (1_000 + position as u64).to_string().parse().expect("digits");
        let is_invalid = matches!(record.content, Content::Invalid);
        let shard_id = shard.id.clone();
        infos.push(KinesisRecordInfo { sequence_number, shard_id, user_records: members, is_invalid });
        shards[chosen].records.push(Arc::new(StreamRecord {
            sequence_number,
            partition_key,
            data: data.into(),
            arrival_ms: SCENARIO_START_MS + at_ms,
            encryption_type: "NONE",
        }));
    }
    let shards = shards.into_iter().map(|OpenShard { info, records, is_open }| Shard {
        info,
        is_closed: !is_open,
        records: records.into(),
    });
    (shards.collect(), infos)
}

fn new_shard(number: usize, parents: Vec<String>, hash_key_range: HashKeyRange) -> OpenShard {
    let info = ShardInfo { id: format!("shardId-{number:012}"), parents, hash_key_range };
    OpenShard { info, records: Vec::new(), is_open: true }
}

fn reshard_one(shards: &mut Vec<OpenShard>, open: &[usize], chosen: usize, split: bool) {
    let range = |shards: &[OpenShard], shard: usize| shards[shard].info.hash_key_range;
    let shard = open[chosen];
    let (start, end) = (range(shards, shard).start(), range(shards, shard).end());
    let id = shards[shard].info.id.clone();
    if split && open.len() < 5 {
        let middle = start + (end - start) / 2;
        shards[shard].is_open = false;
        for (start, end) in [(start, middle), (middle + 1, end)] {
            let range = HashKeyRange::new(start, end).expect("start before end");
            shards.push(new_shard(shards.len(), vec![id.clone()], range));
        }
        return;
    }
    let neighbour =
        open.iter().copied().find(|&other| end.checked_add(1) == Some(range(shards, other).start()));
    if let Some(neighbour) = neighbour {
        let range = HashKeyRange::new(start, range(shards, neighbour).end()).expect("start before end");
        let parents = vec![id, shards[neighbour].info.id.clone()];
        shards[shard].is_open = false;
        shards[neighbour].is_open = false;
        shards.push(new_shard(shards.len(), parents, range));
    }
}

/// A key of this number that belongs to the range. The same key for the same range, and mostly for a narrower one.
fn key_in(number: u8, range: &HashKeyRange) -> String {
    let mut deaggregator = Deaggregator::new(InvalidFramePolicy::Fail);
    (0u32..)
        .map(|attempt| format!("{number}-{attempt}"))
        .find(|key| {
            let mut plain = deaggregator.deaggregate(key.as_bytes(), b"").expect("a plain record");
            plain.next().is_some_and(|record| record.belongs_to(range))
        })
        .expect("keys do not run out")
}

fn aggregate(members: &[UserRecordInfo]) -> Vec<u8> {
    let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
    let options = AggregatorOptions { grouping, ..AggregatorOptions::default() };
    let mut aggregator = Aggregator::new(options).expect("the default limit");
    for member in members {
        let data = member.number.to_string();
        let full = aggregator.add(UserRecordInput::new(&member.key, &data)).expect("a small record");
        assert!(full.is_none());
    }
    aggregator.finish().remove(0).data
}

/// Magic number, a table without keys and one record with key index 0 and data "x", MD5 of that.
const INVALID_FRAME: [u8; 27] = [
    0xf3, 0x89, 0x9a, 0xc2, 0x1a, 0x05, 0x08, 0x00, 0x1a, 0x01, b'x', 0x25, 0xc3, 0x57, 0xc2, 0xb8, 0xfe,
    0xf9, 0x19, 0xc9, 0x96, 0xde, 0x60, 0xa4, 0x70, 0x8e, 0xed,
];
