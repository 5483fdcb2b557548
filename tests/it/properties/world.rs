//! A plan made real: the stream, the handler with its processor, and the simulation of both.

use std::{
    cell::RefCell,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    task,
    time::Duration,
};

use bytes::Bytes;
use kinesis_esm_simulator::{SCENARIO_START_MS, Simulation, SimulationClock, Stream};
use kinesis_handler::{
    Chunks, Event, Handler, HandlerError, JournalOptions, LambdaEvent, MirrorOptions, Options, Processor,
    QuarantineOptions, RawEvent,
    journal::{MemoryJournal, RecordState, StateKind},
};
use lambda_host::ServiceFunction;
use serde_json::{Value, json};
use tower::Service;

use super::{
    faults::Progress,
    history::{Call, History},
    journal::FaultyJournal,
    mirror::FaultyTable,
    plan::{ChunkPlan, Plan},
    processor::{Failed, Work, chunk_processor, processor},
    stream::shards,
};

/// The safeties of the handler.
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
    /// Its journal says of each Kinesis record that one user record more is done.
    SaysDoneTooFar,
    /// Its journal says that nothing is done.
    ForgetsDone,
    /// Says that it puts into the quarantine.
    QuarantinesNothing,
    /// Its journal keeps the items of all applications as if they were one.
    IgnoresApplication,
    /// Takes the partition key of each Kinesis record for another one, so only the arrival orders them.
    IgnoresKeys,
    /// Processes later user records of a quarantined one's key, although they are to follow it.
    HoldsNothing,
    /// Does not try again in place.
    RetriesNothing,
    /// Tries once more than it should.
    RetriesTooOften,
    /// Its journal has one failed attempt more of each user record that has failed, as if it counted tries in place.
    CountsEveryTry,
    /// Skips old records that have failed, although nobody wants that.
    SkipsUnasked,
    /// Takes one user record more of a chunk for processed.
    MapsChunksTooFar,
}

/// The plan of an application, and its history.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) history: History,
}

/// Runs the world to its end. If there is another application, its world comes second.
pub(super) fn run(plan: &Plan, safety: Safety) -> Vec<World> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let journal = Arc::<MemoryJournal>::default();
        // Without the stop, the ledger takes as done what is not.
        let other = plan.of_another_application().filter(|_| safety != Safety::NoStop);
        let Some(other) = other else { return vec![application("app", plan, safety, journal).await] };
        let first = application("app", plan, safety, Arc::clone(&journal));
        let (first, second) = tokio::join!(first, application("another", &other, safety, journal));
        vec![first, second]
    })
}

async fn application(
    application: &'static str,
    plan: &Plan,
    safety: Safety,
    journal: Arc<MemoryJournal>,
) -> World {
    let simulation = Simulation {
        mapping: plan.mapping.mapping(),
        undocumented: plan.mapping.undocumented(),
        function_timeout: Duration::from_millis(plan.timeout_ms),
        faults: plan.faults.clone(),
        seed: plan.seed,
        ..Simulation::default()
    };
    let clock = Rc::new(simulation.clock(SCENARIO_START_MS));

    let (shards, records) = shards(plan);
    let mut history = History::new(application, records);
    let stream = Stream::new(Rc::clone(&clock), Duration::from_secs(plan.retention_minutes * 60), shards);
    let mut options = Options::builder().clock(Arc::new((*clock).clone())).application(application);
    if let Some(mirror) = plan.mirror.as_ref().filter(|_| safety != Safety::NoStop) {
        let table = FaultyTable::new(mirror.faults.clone(), safety, Arc::clone(&history.progress));
        history.mirror = Some(table.clone());
        let options_of_mirror = MirrorOptions::new(Arc::new(table));
        options = options.mirror(if mirror.strict { options_of_mirror.strict() } else { options_of_mirror });
    }
    if let Some(of_plan) = plan.journal.as_ref().filter(|_| safety != Safety::NoStop) {
        let progress = Arc::clone(&history.progress);
        let journal = FaultyJournal::new(journal, of_plan, safety, progress);
        history.make_up(of_plan);
        for (record, progress) in history.made_up_states(plan.mapping.is_enhanced_fan_out()) {
            let (kind, number) = (StateKind::Retry, record.sequence_number);
            let state = RecordState::first(kind, number, progress, "made up", SCENARIO_START_MS);
            journal.put(history.journal_shard(&record.shard_id), state);
        }
        history.journal = Some(journal.clone());
        let mut options_of_journal = JournalOptions::new(Arc::new(journal));
        if of_plan.quarantine {
            let mut quarantine = QuarantineOptions::default();
            if let Some(limit) = of_plan.quarantine_limit {
                quarantine = quarantine.limit(limit);
            }
            if let Some(attempts) = of_plan.max_attempts {
                quarantine = quarantine.max_attempts(attempts);
            }
            if let Some(seconds) = of_plan.max_age_secs {
                quarantine = quarantine.max_age(Duration::from_secs(seconds));
            }
            if of_plan.hold && safety != Safety::HoldsNothing {
                quarantine = quarantine.hold();
            }
            options_of_journal = options_of_journal.quarantine(quarantine);
        }
        options = options.journal(options_of_journal);
        if of_plan.says_parallelization_factor {
            options = options.parallelization_factor(plan.mapping.lanes);
        }
    }
    let tries = match safety {
        Safety::RetriesNothing => 1,
        Safety::RetriesTooOften if plan.chunks.is_none() => plan.retry_attempts + 1,
        _ => plan.retry_attempts,
    };
    options = options.concurrency(plan.concurrency).look_ahead(plan.look_ahead).retry_attempts(tries);
    let quarantines_old = plan.journal.as_ref().is_some_and(|journal| journal.max_age_secs.is_some());
    let skip_failed_after_secs = match safety {
        Safety::SkipsUnasked if plan.chunks.is_none() && !quarantines_old => Some(1),
        // Without a journal, chunks refuse it.
        Safety::NoStop if plan.chunks.is_some() => None,
        _ => plan.skip_failed_after_secs,
    };
    if let Some(seconds) = skip_failed_after_secs {
        options = options.skip_failed_after(Duration::from_secs(seconds));
    }
    let options = options.build().expect("plans are legal");
    let failed = Failed::default();
    let work = Work::new(plan, &history, safety, Rc::clone(&failed));
    let world = (simulation, clock, stream);
    match plan.chunks {
        Some(ChunkPlan { records, outcome }) => {
            let chunks = Chunks::new(chunk_processor(work, outcome)).max_records(records);
            let handler = Handler::try_with_options(chunks, options).expect("plans are legal");
            simulate(world, handler, safety, failed, &history).await;
        }
        None => {
            let handler = Handler::with_options(processor(work), options);
            simulate(world, handler, safety, failed, &history).await;
        }
    }
    World { plan: plan.clone(), history }
}

/// Runs a handler in a world to its end.
async fn simulate<P: Processor + 'static>(
    (simulation, clock, stream): (Simulation, Rc<SimulationClock>, Stream),
    handler: Handler<P>,
    safety: Safety,
    failed: Failed,
    history: &History,
) {
    let (calls, progress) = (Rc::clone(&history.calls), Arc::clone(&history.progress));
    let function = ServiceFunction::<_, RawEvent>::new(Weakened { handler, safety, failed, calls, progress });
    let observer = history.observer();
    simulation.run(clock, stream, function, observer).await.expect("nothing impossible");
}

/// The handler, and what was taken away from it.
struct Weakened<P> {
    handler: Handler<P>,
    safety: Safety,
    failed: Failed,
    calls: Rc<RefCell<Vec<Call>>>,
    progress: Arc<Progress>,
}

impl<P> Clone for Weakened<P> {
    fn clone(&self) -> Self {
        Weakened {
            handler: self.handler.clone(),
            safety: self.safety,
            failed: Rc::clone(&self.failed),
            calls: Rc::clone(&self.calls),
            progress: Arc::clone(&self.progress),
        }
    }
}

impl<P: Processor + 'static> Service<LambdaEvent<RawEvent>> for Weakened<P> {
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
        if safety == Safety::IgnoresKeys {
            event.payload = with_unique_keys(&event.payload);
        }
        let payload = event.payload.clone();
        let request_id = event.context.request_id.clone();
        let mut answer = self.handler.call(event);
        let (calls, progress) = (Rc::clone(&self.calls), Arc::clone(&self.progress));
        let invocation = calls.borrow().len();
        calls.borrow_mut().push(Call::default());
        Box::pin(async move {
            failed.borrow_mut().remove(&request_id);
            let response = poll_fn(|context| {
                // Whatever is called from here belongs to this invocation.
                progress.invocation.store(invocation, Ordering::Relaxed);
                answer.as_mut().poll(context)
            })
            .await;
            calls.borrow_mut()[invocation].ended = Some(progress.now().steps);
            let response = response?;
            calls.borrow_mut()[invocation].skipped = response.counts().skipped;
            let reported = response.batch_item_failure();
            let reported = match safety {
                Safety::All
                | Safety::NoDeadline
                | Safety::MirrorsTooFar
                | Safety::MirrorsAlways
                | Safety::MirrorsNothing
                | Safety::SaysDoneTooFar
                | Safety::ForgetsDone
                | Safety::QuarantinesNothing
                | Safety::IgnoresApplication
                | Safety::IgnoresKeys
                | Safety::HoldsNothing
                | Safety::RetriesNothing
                | Safety::RetriesTooOften
                | Safety::CountsEveryTry
                | Safety::SkipsUnasked
                | Safety::MapsChunksTooFar => return Ok(json!(response)),
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

/// Returns the event with another partition key for each Kinesis record.
fn with_unique_keys(event: &RawEvent) -> RawEvent {
    let mut event: Value = serde_json::from_slice(event.as_ref()).expect("an event");
    for record in event["Records"].as_array_mut().expect("records") {
        let key = record["kinesis"]["sequenceNumber"].clone();
        record["kinesis"]["partitionKey"] = key;
    }
    RawEvent::from(Bytes::from(event.to_string()))
}
