//! A function is cut over to a new event source mapping that starts at a time, in the simulator: no user record is lost, and none
//! is processed by both mappings.
//!
//! The steps are those of `kinesis-kit checkpoint cutover`: the old mapping ends, the positions are frozen, and the new one starts
//! a minute before the first record that is not processed.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task,
    time::Duration,
};

use kinesis_esm::{Mapping, ShardInfo, SharedRecord, StartingPosition, StreamRecord};
use kinesis_esm_simulator::{SCENARIO_START_MS, Shard, Simulation, SimulationClock, Step, Stream};
use kinesis_handler::{
    BoxError, Handler, JournalOptions, LambdaEvent, MirrorOptions, Options, ProcessError, RawEvent, Record,
    RecordProcessor,
    checkpoint::{CheckpointPosition, FrozenPosition, MemoryCheckpoints, RowCheckpoint},
    journal::MemoryJournal,
    retryable,
};
use kpl_deaggregation::{HashKeyRange, UserRecord, encode};
use lambda_host::ServiceFunction;
use proptest::{
    collection::vec, option, prelude::*, sample::Index, strategy::ValueTree, test_runner::TestRunner,
};
use serde_json::{Value, json};
use tokio::time::timeout;
use tower::Service;

/// Longest time of an invocation.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Time before the first record that is not processed at which the new mapping starts, in milliseconds.
const MARGIN_MS: u64 = 60_000;

const RETENTION: Duration = Duration::from_secs(24 * 60 * 60);

/// A world with a cut-over.
#[derive(Debug, Clone)]
struct Plan {
    records: Vec<RecordPlan>,
    batch_size: usize,
    /// When the old mapping is disabled, in milliseconds since the start.
    stop_ms: u64,
    /// A user record that fails until the cut-over, so that its shard is behind.
    stuck: Option<Index>,
    /// With a journal: number of user records at once.
    journal: Option<u32>,
    /// Whether the environments of the old mapping serve the new one.
    is_warm: bool,
    /// Number of environments that take turns.
    environments: usize,
    seed: u64,
}

#[derive(Debug, Clone)]
struct RecordPlan {
    /// Milliseconds since the record before.
    after_ms: u64,
    /// A split, or a merge, before it.
    reshard: Option<(Index, bool)>,
    shard: Index,
    /// One is a plain record; none is an empty aggregate.
    user_records: usize,
}

fn plan() -> impl Strategy<Value = Plan> {
    let after_ms = prop_oneof![4 => 0..5_000_u64, 2 => 5_000..60_000_u64, 1 => 60_000..400_000_u64];
    let reshard = option::weighted(0.15, (any::<Index>(), prop::bool::weighted(0.7)));
    let record = (after_ms, reshard, any::<Index>(), 0..5_usize);
    let record = record.prop_map(|(after_ms, reshard, shard, user_records)| RecordPlan {
        after_ms,
        reshard,
        shard,
        user_records,
    });
    let times = (1..20_usize, 0..1_500_000_u64);
    let function =
        (option::of(any::<Index>()), option::of(1..4_u32), any::<bool>(), 1..3_usize, any::<u64>());
    (vec(record, 1..40), times, function).prop_map(
        |(records, (batch_size, stop_ms), (stuck, journal, is_warm, environments, seed))| Plan {
            records,
            batch_size,
            stop_ms,
            stuck,
            journal,
            is_warm,
            environments,
            seed,
        },
    )
}

/// A shard with all that it will ever have.
struct PlannedShard {
    info: ShardInfo,
    records: Vec<SharedRecord>,
    is_open: bool,
}

impl PlannedShard {
    fn new(number: usize, parents: Vec<String>, hash_key_range: HashKeyRange) -> Self {
        let info = ShardInfo { id: format!("shardId-{number:012}"), parents, hash_key_range };
        PlannedShard { info, records: Vec::new(), is_open: true }
    }
}

/// Returns the shards with their records, and the number of user records. A user record's data is its number.
fn shards(plan: &Plan) -> (Vec<PlannedShard>, usize) {
    let mut shards = vec![PlannedShard::new(0, Vec::new(), HashKeyRange::FULL)];
    let (mut at_ms, mut user_records) = (SCENARIO_START_MS, 0);
    for (position, record) in plan.records.iter().enumerate() {
        at_ms += record.after_ms;
        let open: Vec<usize> = (0..shards.len()).filter(|&shard| shards[shard].is_open).collect();
        if let Some((chosen, is_split)) = record.reshard {
            let chosen = open[chosen.index(open.len())];
            let range = shards[chosen].info.hash_key_range;
            let after = open
                .iter()
                .copied()
                .find(|&other| range.end().checked_add(1) == Some(shards[other].info.hash_key_range.start()));
            let id = |shards: &[PlannedShard], shard: usize| shards[shard].info.id.clone();
            let number = shards.len();
            if is_split {
                let middle = range.start() + (range.end() - range.start()) / 2;
                let parents = vec![id(&shards, chosen)];
                shards[chosen].is_open = false;
                for (child, (start, end)) in
                    [(range.start(), middle), (middle + 1, range.end())].into_iter().enumerate()
                {
                    let range = HashKeyRange::new(start, end).expect("start before end");
                    shards.push(PlannedShard::new(number + child, parents.clone(), range));
                }
            } else if let Some(after) = after {
                let end = shards[after].info.hash_key_range.end();
                let range = HashKeyRange::new(range.start(), end).expect("start before end");
                let parents = vec![id(&shards, chosen), id(&shards, after)];
                (shards[chosen].is_open, shards[after].is_open) = (false, false);
                shards.push(PlannedShard::new(number, parents, range));
            }
        }
        let open: Vec<usize> = (0..shards.len()).filter(|&shard| shards[shard].is_open).collect();
        let shard = open[record.shard.index(open.len())];
        let (first, end) = (user_records, user_records + record.user_records);
        user_records = end;
        // A key in the shard's range, so that the user records are of this shard.
        let hash_key = shards[shard].info.hash_key_range.start().to_string();
        let texts: Vec<_> =
            (first..end).map(|number| (format!("k{}", number % 3), number.to_string())).collect();
        let members = texts.iter().map(|(key, text)| {
            let mut member = UserRecord::new(key.as_bytes(), text.as_bytes());
            member.explicit_hash_key = Some(hash_key.as_bytes());
            member
        });
        let data = match record.user_records {
            0 => EMPTY_AGGREGATE.to_vec(),
            1 => first.to_string().into_bytes(),
            _ => encode(members).expect("a small aggregate"),
        };
        // Numbers of different lengths.
        let sequence_number = (95 + position).to_string().parse().expect("digits");
        shards[shard].records.push(Arc::new(StreamRecord {
            sequence_number,
            partition_key: "a".to_owned(),
            data: data.into(),
            arrival_ms: at_ms,
            encryption_type: "NONE",
        }) as SharedRecord);
    }
    (shards, user_records)
}

/// Magic number, an empty partition key, MD5 of that.
const EMPTY_AGGREGATE: [u8; 22] = [
    0xf3, 0x89, 0x9a, 0xc2, 0x0a, 0x00, 0x9d, 0xd9, 0x4c, 0x5a, 0x4b, 0x02, 0x91, 0x4a, 0xf4, 0x2e, 0x8e,
    0x63, 0x72, 0xe0, 0xb7, 0x09,
];

/// The environments of a function, and the clock until whose time they take events.
struct Function<P> {
    environments: Rc<Vec<Handler<P>>>,
    invocations: Rc<RefCell<usize>>,
    clock: Rc<SimulationClock>,
    until_ms: u64,
}

impl<P> Clone for Function<P> {
    fn clone(&self) -> Self {
        Function {
            environments: Rc::clone(&self.environments),
            invocations: Rc::clone(&self.invocations),
            clock: Rc::clone(&self.clock),
            until_ms: self.until_ms,
        }
    }
}

impl<P: RecordProcessor + 'static> Service<LambdaEvent<RawEvent>> for Function<P> {
    type Response = Value;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Value, BoxError>>>>;

    fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), BoxError>> {
        task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, event: LambdaEvent<RawEvent>) -> Self::Future {
        if self.clock.now_ms() >= self.until_ms {
            return Box::pin(async { Err("the mapping is disabled".into()) });
        }
        let mut invocations = self.invocations.borrow_mut();
        *invocations += 1;
        let mut handler = self.environments[*invocations % self.environments.len()].clone();
        Box::pin(async move { Ok(json!(handler.call(event).await?)) })
    }
}

/// The user records that were processed, by their numbers.
type Processed = Rc<RefCell<Vec<usize>>>;

/// A world at work.
struct World {
    plan: Plan,
    table: Arc<MemoryCheckpoints>,
    journal: Arc<MemoryJournal>,
    processed: Processed,
    /// The user record that fails.
    stuck: Rc<RefCell<Option<usize>>>,
}

impl World {
    fn environments(
        &self,
        clock: &SimulationClock,
        skips_frozen: bool,
    ) -> Vec<Handler<impl RecordProcessor + 'static + use<>>> {
        let environment = |_| {
            let (processed, stuck) = (Rc::clone(&self.processed), Rc::clone(&self.stuck));
            let process = async move |record: Record<'_>| -> Result<(), ProcessError> {
                let number: usize = record.parse()?;
                tokio::time::sleep(Duration::from_millis(number as u64 % 7 * 100)).await;
                if *stuck.borrow() == Some(number) {
                    return Err(retryable("it is stuck"));
                }
                processed.borrow_mut().push(number);
                Ok(())
            };
            let mirror = MirrorOptions::new(self.table.clone());
            let mirror = if skips_frozen { mirror.cutover() } else { mirror };
            let mut options =
                Options::builder().application("app").clock(Arc::new(clock.clone())).mirror(mirror);
            if let Some(concurrency) = self.plan.journal {
                let journal = JournalOptions::new(self.journal.clone());
                options = options.journal(journal).concurrency(concurrency).parallelization_factor(1);
            }
            Handler::with_options(process, options.build().expect("legal options"))
        };
        (0..self.plan.environments).map(environment).collect()
    }

    fn simulation(&self, starting_position: StartingPosition) -> Simulation {
        let mut mapping = Mapping::default();
        mapping.batch_size = self.plan.batch_size;
        mapping.report_batch_item_failures = true;
        mapping.starting_position = starting_position;
        Simulation { mapping, function_timeout: TIMEOUT, seed: self.plan.seed, ..Simulation::default() }
    }
}

/// Returns the number of user records in a Kinesis record of [`shards`]. An empty aggregate counts as one.
fn user_records(plan: &Plan, record: &SharedRecord) -> u64 {
    let number: usize = record.sequence_number.to_string().parse().expect("a small number");
    plan.records[number - 95].user_records.max(1) as u64
}

/// Freezes the positions, and returns the time at which the new mapping must start.
fn freeze(world: &World, shards: &[PlannedShard], now_ms: u64) -> u64 {
    let mut first_ms = now_ms;
    for PlannedShard { info, records, .. } in shards {
        let arrived = records.iter().take_while(|record| record.arrival_ms <= now_ms);
        let through = world.table.row(&info.id).map(|row| match row.checkpoint {
            RowCheckpoint::At(sequence_number) => CheckpointPosition {
                sequence_number,
                sub_sequence_number: row.sub_sequence_number.expect("the mirror writes one"),
            },
            other => panic!("the mirror does not write {other}"),
        });
        let is_left = |record: &&SharedRecord| {
            let last = CheckpointPosition {
                sequence_number: record.sequence_number,
                sub_sequence_number: user_records(&world.plan, record) - 1,
            };
            through.is_none_or(|through| last > through)
        };
        if let Some(first) = arrived.into_iter().find(is_left) {
            first_ms = first_ms.min(first.arrival_ms);
        }
        if let (Some(mut row), Some(_)) = (world.table.row(&info.id), through) {
            row.frozen = Some(FrozenPosition { through, expires_ms: now_ms + RETENTION.as_millis() as u64 });
            world.table.put(&info.id, row);
        }
    }
    first_ms / 1_000 * 1_000 - MARGIN_MS
}

/// The result of a world.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// The user records that the old mapping has delivered.
    before: BTreeSet<usize>,
    after: Vec<usize>,
    user_records: usize,
    /// Shards whose cut-over is pending, and those of them that have a record after the frozen position.
    pending: Vec<String>,
    overdue: Vec<String>,
    /// Number of parents that the old mapping has begun.
    drained_with_row: usize,
    /// Whether there is a record before the start of the new mapping.
    starts_late: bool,
    /// Whether a position is inside an aggregate.
    resumes_inside: bool,
}

/// Runs the world: the old mapping until it is disabled, the cut-over, and the new mapping to its end.
fn run(plan: &Plan, skips_frozen: bool) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let (shards, user_record_count) = shards(plan);
    let stuck = plan.stuck.filter(|_| user_record_count > 0).map(|stuck| stuck.index(user_record_count));
    let world = World {
        plan: plan.clone(),
        table: Arc::default(),
        journal: Arc::default(),
        processed: Rc::default(),
        stuck: Rc::new(RefCell::new(stuck)),
    };
    runtime.block_on(async {
        let stream = |clock: &Rc<SimulationClock>| {
            let shards = shards.iter().map(|PlannedShard { info, records, is_open }| Shard {
                info: info.clone(),
                is_closed: !is_open,
                records: records.clone().into(),
            });
            Stream::new(Rc::clone(clock), RETENTION, shards.collect())
        };
        let simulation = world.simulation(StartingPosition::TrimHorizon);
        let clock = Rc::new(simulation.clock(SCENARIO_START_MS));
        let environments = Rc::new(world.environments(&clock, plan.is_warm && skips_frozen));
        let function = |environments: &Rc<Vec<_>>, until_ms| Function {
            environments: Rc::clone(environments),
            invocations: Rc::default(),
            clock: Rc::clone(&clock),
            until_ms,
        };
        let until_ms = SCENARIO_START_MS + plan.stop_ms;
        let old = ServiceFunction::new(function(&environments, until_ms));
        let run = simulation.run(Rc::clone(&clock), stream(&clock), old, |_: Step| {});
        // Until the last invocation has ended; the mapping's retries come to nothing.
        let waited = timeout(Duration::from_millis(plan.stop_ms) + TIMEOUT, run).await;
        waited.unwrap_or(Ok(())).expect("nothing impossible");
        let before: BTreeSet<usize> = world.processed.take().into_iter().collect();

        let now_ms = clock.now_ms();
        let start_ms = freeze(&world, &shards, now_ms);
        *world.stuck.borrow_mut() = None;
        let rows = shards.iter().filter_map(|PlannedShard { info, records, is_open }| {
            let through = world.table.row(&info.id)?.frozen?.through?;
            let record = records.iter().find(|record| record.sequence_number == through.sequence_number)?;
            Some((*is_open, through.sub_sequence_number + 1 < user_records(plan, record)))
        });
        let rows: Vec<(bool, bool)> = rows.collect();
        let all_records = || shards.iter().flat_map(|shard| &shard.records);
        let starts_late = all_records().any(|record| record.arrival_ms < start_ms);
        let simulation = world.simulation(StartingPosition::AtTimestamp(start_ms));
        let environments = match plan.is_warm && skips_frozen {
            true => environments,
            false => Rc::new(world.environments(&clock, skips_frozen)),
        };
        // The command waits for so long at least.
        tokio::time::sleep(Duration::from_secs(35)).await;
        let new = ServiceFunction::new(function(&environments, u64::MAX));
        let run = simulation.run(Rc::clone(&clock), stream(&clock), new, |_: Step| {});
        run.await.expect("nothing impossible");
        let mut pending = Vec::new();
        let mut overdue = Vec::new();
        for PlannedShard { info, records, .. } in &shards {
            let Some(frozen) = world.table.row(&info.id).and_then(|row| row.frozen) else { continue };
            pending.push(info.id.clone());
            let through = frozen.through.expect("a position");
            if records.iter().any(|record| record.sequence_number > through.sequence_number) {
                overdue.push(info.id.clone());
            }
        }
        Outcome {
            before,
            after: world.processed.take(),
            user_records: user_record_count,
            pending,
            overdue,
            drained_with_row: rows.iter().filter(|(is_open, _)| !is_open).count(),
            starts_late,
            resumes_inside: rows.iter().any(|&(_, is_inside)| is_inside),
        }
    })
}

impl Outcome {
    /// Returns the numbers of user records that were processed by both mappings, or twice by the new one.
    fn doubles(&self) -> Vec<usize> {
        let mut times: BTreeMap<usize, usize> = self.before.iter().map(|&number| (number, 1)).collect();
        for &number in &self.after {
            *times.entry(number).or_default() += 1;
        }
        times.into_iter().filter(|&(_, times)| times > 1).map(|(number, _)| number).collect()
    }

    fn lost(&self) -> Vec<usize> {
        (0..self.user_records)
            .filter(|number| !self.before.contains(number) && !self.after.contains(number))
            .collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn no_user_record_is_lost_and_none_is_processed_by_both_mappings(plan in plan()) {
        let outcome = run(&plan, true);
        prop_assert_eq!(outcome.lost(), Vec::<usize>::new());
        prop_assert_eq!(outcome.doubles(), Vec::<usize>::new());
        prop_assert_eq!(outcome.overdue, Vec::<String>::new(), "these cut-overs have not ended themselves");
    }
}

/// The worlds of some seeds, the same each time.
fn plans() -> impl Iterator<Item = Plan> {
    let mut runner = TestRunner::deterministic();
    (0..300).map(move |_| plan().new_tree(&mut runner).expect("a plan rejects nothing").current())
}

/// The test above can fail.
#[test]
fn a_function_that_does_not_skip_is_noticed() {
    assert!(plans().any(|plan| !run(&plan, false).doubles().is_empty()));
}

#[test]
fn worlds_have_everything_that_a_cut_over_must_cope_with() {
    let mut found = BTreeSet::new();
    for plan in plans() {
        let outcome = run(&plan, true);
        let is_resharded = plan.records.iter().any(|record| record.reshard.is_some());
        for (name, is_so) in [
            ("a quiet shard", !outcome.pending.is_empty()),
            ("both mappings at work", !outcome.before.is_empty() && !outcome.after.is_empty()),
            ("shards that are split or merged", is_resharded && outcome.drained_with_row > 0),
            ("a start after a record that is processed", outcome.starts_late && is_resharded),
            ("an aggregate that is resumed", outcome.resumes_inside),
        ] {
            if is_so {
                found.insert(name);
            }
        }
    }
    assert_eq!(found.len(), 5, "{found:?}");
}
