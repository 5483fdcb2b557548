//! The parts of a world: a mapping, a stream, its records, what the processor does with them, and faults.

use std::time::Duration;

use kinesis_esm::{FailingLane, Mapping, Undocumented};
use kinesis_esm_simulator::{Fault, FaultKind};
use proptest::{collection::vec, option, prelude::*};

/// Longest time in which the poller restarts after each batch.
const LONGEST_RESTART_MS: u64 = 300_000;

/// The plan of one world.
#[derive(Debug, Clone)]
pub(super) struct Plan {
    pub(super) mapping: MappingPlan,
    pub(super) retention_minutes: u64,
    /// Splits and merges: when, and which of the shards that are open then.
    pub(super) reshards: Vec<Reshard>,
    /// The writes to the stream, in order of time.
    pub(super) records: Vec<KinesisRecordPlan>,
    pub(super) faults: Vec<Fault>,
    pub(super) timeout_ms: u64,
    /// Only with one lane.
    pub(super) mirror: Option<MirrorPlan>,
    pub(super) journal: Option<JournalPlan>,
    /// Most user records that are processed at once. 1 with chunks.
    pub(super) concurrency: u32,
    pub(super) look_ahead: u32,
    /// Most tries of a user record within an invocation. 1 with chunks.
    pub(super) retry_attempts: u32,
    /// Whether the processor gets chunks of user records.
    pub(super) chunks: Option<ChunkPlan>,
    /// Age from which user records that have failed are skipped.
    pub(super) skip_failed_after_secs: Option<u64>,
    pub(super) seed: u64,
}

/// The processor's treatment of chunks. A chunk is one transaction: a panic or a cancellation undoes all of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChunkPlan {
    /// Most user records of a chunk.
    pub(super) records: usize,
    pub(super) outcome: ChunkOutcomePlan,
}

/// The processor's statement about a chunk of which user records fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChunkOutcomePlan {
    /// It states the outcome of each of them, and does nothing for later ones of a failed one's key.
    Each,
    /// It stops at the first one that fails.
    UpTo,
    /// It says that the chunk has failed, and does nothing.
    Whole,
}

#[derive(Debug, Clone)]
pub(super) struct MirrorPlan {
    pub(super) strict: bool,
    /// The fates of writes, in a cycle. None at all: nothing goes wrong.
    pub(super) faults: Vec<StoreFault>,
}

#[derive(Debug, Clone)]
pub(super) struct JournalPlan {
    /// The fates of calls, in a cycle. None at all: nothing goes wrong.
    pub(super) faults: Vec<StoreFault>,
    pub(super) quarantine: bool,
    /// Whether later user records of a quarantined one's key follow it.
    pub(super) hold: bool,
    /// `None` for the default.
    pub(super) quarantine_limit: Option<u32>,
    /// Most items that a write of the journal takes; `None` for the default.
    pub(super) max_write_items: Option<usize>,
    pub(super) max_attempts: Option<u32>,
    pub(super) max_age_secs: Option<u64>,
    /// Whether the handler is told the number of lanes.
    pub(super) says_parallelization_factor: bool,
    /// Whether another application reads the same stream, and keeps its journal in the same store.
    pub(super) has_another_application: bool,
    /// User records that are done in the journal before anything has happened: some of some Kinesis records.
    pub(super) made_up: Vec<(prop::sample::Index, Vec<prop::sample::Index>)>,
}

/// A fault in a call of a store. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoreFault {
    None,
    /// The call has no effect, and the answer is an error.
    Fails,
    /// It takes effect, and the answer is an error.
    LosesAnswer,
    /// The call has no effect, and no answer comes.
    Stalls,
    /// It takes effect at once.
    AnswersLate(u64),
    /// It takes effect later, also if nobody waits for it any more.
    ArrivesLate(u64),
}

#[derive(Debug, Clone)]
pub(super) struct MappingPlan {
    batch_size: usize,
    batching_window_secs: u64,
    pub(super) lanes: u32,
    stall: bool,
    retries: Option<u32>,
    age_secs: Option<u64>,
    bisect: bool,
    destination: bool,
    enhanced_fan_out: bool,
    enabled_at_ms: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Reshard {
    pub(super) at_ms: u64,
    pub(super) shard: prop::sample::Index,
    /// Whether the shard is split, else merged with its neighbour.
    pub(super) split: bool,
}

#[derive(Debug, Clone)]
pub(super) struct KinesisRecordPlan {
    /// Milliseconds since the record before.
    pub(super) after_ms: u64,
    pub(super) content: Content,
    /// Chooses the shard of an aggregate.
    pub(super) shard: prop::sample::Index,
}

#[derive(Debug, Clone)]
pub(super) enum Content {
    Plain(UserRecordPlan),
    Aggregate(Vec<UserRecordPlan>),
    /// A right digest, and no legal frame.
    Invalid,
}

#[derive(Debug, Clone)]
pub(super) struct UserRecordPlan {
    /// Number of the partition key.
    pub(super) key: u8,
    pub(super) behaviour: Behaviour,
}

/// The processor's treatment of a user record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Behaviour {
    /// Duration of each try.
    pub(super) delay_ms: u64,
    /// Number of tries that fail; `None` means all.
    pub(super) failures: Option<u32>,
    pub(super) how: BadEnd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadEnd {
    Error,
    Permanent,
    Panic,
    /// Never ends: the deadline guard has to.
    Hang,
}

impl Plan {
    /// The work of another application on the same stream: nothing ever fails there.
    pub(super) fn of_another_application(&self) -> Option<Plan> {
        let journal = self.journal.as_ref().filter(|journal| journal.has_another_application)?;
        let mut plan = self.clone();
        plan.faults.clear();
        plan.mirror = None;
        plan.journal = Some(JournalPlan { faults: Vec::new(), made_up: Vec::new(), ..journal.clone() });
        for record in &mut plan.records {
            let user_records = match &mut record.content {
                Content::Plain(user_record) => std::slice::from_mut(user_record),
                Content::Aggregate(user_records) => user_records,
                Content::Invalid => &mut [],
            };
            for user_record in user_records {
                user_record.behaviour.failures = Some(0);
            }
        }
        Some(plan)
    }

    /// Whether every answer of the function counts: nothing hides from the mapping what was done.
    pub(super) fn has_answers_only(&self) -> bool {
        use FaultKind::{Crash, Duplicate, LostResponse, Restart, Timeout, Zombie};
        let hides = [Timeout, Crash, LostResponse, Zombie, Duplicate, Restart];
        self.faults.iter().all(|fault| !hides.contains(&fault.kind))
    }
}

impl MappingPlan {
    pub(super) fn mapping(&self) -> Mapping {
        let mut mapping = Mapping::default();
        mapping.batch_size = self.batch_size;
        mapping.batching_window = Duration::from_secs(self.batching_window_secs);
        mapping.parallelization_factor = self.lanes;
        mapping.maximum_retry_attempts = self.retries;
        mapping.maximum_record_age = self.age_secs.map(Duration::from_secs);
        mapping.bisect_batch_on_function_error = self.bisect;
        mapping.report_batch_item_failures = true;
        mapping.enabled_at_ms = self.enabled_at_ms;
        if self.destination {
            mapping.on_failure = Some("arn:aws:s3:::failures".parse().expect("a destination"));
        }
        if self.enhanced_fan_out {
            mapping.event_source_arn.push_str("/consumer/c:1");
        }
        mapping
    }

    pub(super) fn undocumented(&self) -> Undocumented {
        let mut undocumented = Undocumented::default();
        if self.stall {
            undocumented.failing_lane = FailingLane::Stall;
        }
        undocumented
    }

    pub(super) fn is_enhanced_fan_out(&self) -> bool {
        self.enhanced_fan_out
    }
}

pub(super) fn plan() -> impl Strategy<Value = Plan> {
    (
        mapping(),
        prop_oneof![3 => Just(24 * 60), 1 => 2..120u64],
        prop_oneof![2 => Just(Vec::new()), 1 => vec(reshard(), 1..5)],
        vec(record(), 1..30),
        prop_oneof![1 => Just(Vec::new()), 2 => vec(fault(), 1..5)],
        prop_oneof![3 => Just(60_000), 1 => 3_000..10_000u64],
        (option::weighted(0.8, mirror()), option::weighted(0.7, journal())),
        (prop_oneof![2 => Just(1), 1 => 2..6u32], 1..20u32, any::<u64>()),
        (
            prop_oneof![2 => Just(1), 1 => 2..5u32],
            option::weighted(0.25, chunks()),
            option::weighted(0.2, 1..400u64),
        ),
    )
        .prop_map(
            |(
                mapping,
                retention_minutes,
                reshards,
                mut records,
                faults,
                timeout_ms,
                (mirror, mut journal),
                (mut concurrency, look_ahead, seed),
                (mut retry_attempts, chunks, skip_failed_after_secs),
            )| {
                if mapping.lanes > 1 && !mapping.enhanced_fan_out {
                    // Rule 8: all aggregates have one key, so lanes would break the order of the keys in them.
                    for record in &mut records {
                        if let Content::Aggregate(user_records) = &record.content {
                            record.content = Content::Plain(user_records[0].clone());
                        }
                    }
                }
                let mirror = mirror.filter(|_| mapping.lanes == 1);
                if chunks.is_some() {
                    (concurrency, retry_attempts) = (1, 1);
                }
                let skip_failed_after_secs =
                    skip_failed_after_secs.filter(|_| chunks.is_none() || journal.is_some());
                if skip_failed_after_secs.is_some() {
                    if let Some(journal) = &mut journal {
                        journal.max_age_secs = None;
                    }
                    // One that is skipped makes the next one not the first, and no processor sees it.
                    for record in records.iter_mut().filter(|of| matches!(of.content, Content::Invalid)) {
                        let behaviour = Behaviour { delay_ms: 0, failures: None, how: BadEnd::Error };
                        record.content = Content::Plain(UserRecordPlan { key: 0, behaviour });
                    }
                }
                Plan {
                    mapping,
                    retention_minutes,
                    reshards,
                    records,
                    faults,
                    timeout_ms,
                    mirror,
                    journal,
                    concurrency,
                    look_ahead,
                    retry_attempts,
                    chunks,
                    skip_failed_after_secs,
                    seed,
                }
            },
        )
}

fn chunks() -> impl Strategy<Value = ChunkPlan> {
    let outcome = prop_oneof![
        2 => Just(ChunkOutcomePlan::Each),
        1 => Just(ChunkOutcomePlan::UpTo),
        1 => Just(ChunkOutcomePlan::Whole),
    ];
    (1..8usize, outcome).prop_map(|(records, outcome)| ChunkPlan { records, outcome })
}

fn mirror() -> impl Strategy<Value = MirrorPlan> {
    let faults = prop_oneof![1 => Just(Vec::new()), 2 => vec(store_fault(), 1..8)];
    (prop::bool::weighted(0.3), faults).prop_map(|(strict, faults)| MirrorPlan { strict, faults })
}

fn journal() -> impl Strategy<Value = JournalPlan> {
    let index = any::<prop::sample::Index>;
    (
        prop_oneof![1 => Just(Vec::new()), 1 => vec(store_fault(), 1..8)],
        (
            prop::bool::weighted(0.7),
            option::weighted(0.6, 1..5u32),
            option::weighted(0.3, 2..12usize),
            prop::bool::weighted(0.3),
        ),
        option::weighted(0.6, 1..5u32),
        option::weighted(0.3, 1..400u64),
        any::<bool>(),
        prop::bool::weighted(0.3),
        prop_oneof![2 => Just(Vec::new()), 1 => vec((index(), vec(index(), 1..4)), 1..4)],
    )
        .prop_map(
            |(
                faults,
                (quarantine, quarantine_limit, max_write_items, hold),
                max_attempts,
                max_age_secs,
                says_parallelization_factor,
                has_another_application,
                made_up,
            )| {
                JournalPlan {
                    faults,
                    quarantine,
                    hold: quarantine && hold,
                    quarantine_limit,
                    max_write_items,
                    max_attempts,
                    max_age_secs,
                    says_parallelization_factor,
                    has_another_application,
                    made_up,
                }
            },
        )
}

fn store_fault() -> impl Strategy<Value = StoreFault> {
    let late = || prop_oneof![3 => 1..500u64, 1 => 500..20_000u64];
    prop_oneof![
        3 => Just(StoreFault::None),
        1 => Just(StoreFault::Fails),
        1 => Just(StoreFault::LosesAnswer),
        1 => Just(StoreFault::Stalls),
        1 => late().prop_map(StoreFault::AnswersLate),
        3 => late().prop_map(StoreFault::ArrivesLate),
    ]
}

fn mapping() -> impl Strategy<Value = MappingPlan> {
    (
        (prop_oneof![1..4usize, 4..20usize, Just(100)], prop_oneof![3 => Just(0), 1 => 1..5u64]),
        (prop_oneof![4 => Just(1), 1 => 2..4u32], any::<bool>()),
        (prop_oneof![4 => (0..5u32).prop_map(Some), 1 => Just(None)], option::weighted(0.3, 60..400u64)),
        (any::<bool>(), prop::bool::weighted(0.8), prop::bool::weighted(0.15)),
        prop_oneof![3 => Just(0), 1 => 0..600_000u64],
    )
        .prop_map(
            |(
                (batch_size, batching_window_secs),
                (lanes, stall),
                (retries, age_secs),
                (bisect, destination, enhanced_fan_out),
                enabled_at_ms,
            )| MappingPlan {
                batch_size,
                batching_window_secs,
                lanes,
                stall,
                retries,
                age_secs,
                bisect,
                destination,
                enhanced_fan_out,
                enabled_at_ms,
            },
        )
}

fn reshard() -> impl Strategy<Value = Reshard> {
    (0..30_000u64, any::<prop::sample::Index>(), prop::bool::weighted(0.7))
        .prop_map(|(at_ms, shard, split)| Reshard { at_ms, shard, split })
}

fn record() -> impl Strategy<Value = KinesisRecordPlan> {
    let content = prop_oneof![
        6 => user_record().prop_map(Content::Plain),
        6 => vec(user_record(), 2..6).prop_map(Content::Aggregate),
        1 => bad_aggregate(),
        1 => Just(Content::Invalid),
    ];
    let after_ms = prop_oneof![3 => Just(0), 3 => 0..100u64, 1 => 0..20_000u64];
    (after_ms, content, any::<prop::sample::Index>())
        .prop_map(|(after_ms, content, shard)| KinesisRecordPlan { after_ms, content, shard })
}

/// An aggregate of which nothing succeeds: it goes beyond a low limit of the quarantine.
fn bad_aggregate() -> impl Strategy<Value = Content> {
    let how = prop_oneof![1 => Just(BadEnd::Error), 2 => Just(BadEnd::Permanent)];
    (how, vec(0..5u8, 3..8)).prop_map(|(how, keys)| {
        let behaviour = Behaviour { delay_ms: 0, failures: None, how };
        Content::Aggregate(keys.into_iter().map(|key| UserRecordPlan { key, behaviour }).collect())
    })
}

fn user_record() -> impl Strategy<Value = UserRecordPlan> {
    (0..5u8, behaviour()).prop_map(|(key, behaviour)| UserRecordPlan { key, behaviour })
}

fn behaviour() -> impl Strategy<Value = Behaviour> {
    let delay_ms = prop_oneof![3 => Just(0), 2 => 1..50u64, 1 => 50..2_000u64];
    let failures = prop_oneof![12 => Just(Some(0)), 2 => (1..4u32).prop_map(Some), 1 => Just(None)];
    let how = prop_oneof![
        3 => Just(BadEnd::Error),
        1 => Just(BadEnd::Permanent),
        1 => Just(BadEnd::Panic),
        1 => Just(BadEnd::Hang),
    ];
    (delay_ms, failures, how).prop_map(|(delay_ms, failures, how)| {
        // A processor that says permanent says that no try will ever succeed.
        let is_permanent = how == BadEnd::Permanent && failures != Some(0);
        let failures = if is_permanent { None } else { failures };
        Behaviour { delay_ms, failures, how }
    })
}

fn fault() -> impl Strategy<Value = Fault> {
    let kind = prop::sample::select(vec![
        FaultKind::Throttle,
        FaultKind::Timeout,
        FaultKind::Crash,
        FaultKind::LostResponse,
        FaultKind::Duplicate,
        FaultKind::Zombie,
        FaultKind::DestinationFailure,
        FaultKind::LateActivation,
        FaultKind::ClockJump,
        FaultKind::Restart,
    ]);
    // Most within the time in which records arrive; a jump may also pass age and retention.
    let length_ms = prop_oneof![4 => 1..10_000u64, 1 => 10_000..10_000_000u64];
    (0..30_000u64, length_ms, any::<bool>(), kind).prop_map(|(at_ms, length_ms, once, kind)| {
        // Until it ends, the poller forgets each batch: in hours of that, the same few records come thousands of times.
        let length_ms =
            if kind == FaultKind::Restart { length_ms.min(LONGEST_RESTART_MS) } else { length_ms };
        let needs_end = matches!(kind, FaultKind::ClockJump | FaultKind::LateActivation);
        let until_ms = (needs_end || !once).then_some(at_ms + length_ms);
        Fault { at_ms, until_ms, kind }
    })
}
