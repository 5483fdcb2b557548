//! The processor of a world, and its memory of the user records.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    panic::resume_unwind,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use kinesis_esm_simulator::FaultKind;
use kinesis_handler::{ChunkOutcome, ProcessError, Record, SequenceNumber, permanent, retryable};
use tokio::time::{Instant, sleep};

use super::{
    faults::{Moment, Progress},
    history::{Completion, History, UserRecordInfo},
    plan::{BadEnd, Behaviour, ChunkOutcomePlan, Plan},
    world::Safety,
};

/// The processor has begun a user record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Try {
    pub(super) user_record: usize,
    pub(super) invocation: usize,
    /// Whether it was the first one of its invocation, before any write to the quarantine.
    pub(super) is_first: bool,
    /// The responses of the handler.
    pub(super) attempt: Option<u32>,
    /// In how many other invocations it has failed before: itself, and not because other records had taken the time.
    pub(super) failures_before: u32,
    pub(super) end: End,
    /// Whether it has failed with a retryable error.
    pub(super) is_retryable: bool,
    /// The time that was left to the invocation at the end of a try that has failed.
    pub(super) left: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Done,
    Failed,
    /// It was not let come to an end, or undone.
    Cancelled,
}

/// All tries, and what follows from them.
#[derive(Debug, Default)]
pub(super) struct Tries {
    pub(super) all: Vec<Try>,
    begun: HashMap<usize, u32>,
    of_user_record: HashMap<usize, u32>,
    /// By user record and invocation: whether the last try was a failure of its own.
    failed: HashMap<usize, HashMap<usize, bool>>,
}

impl Tries {
    /// Its position, and which try of the user record it is.
    fn begin(
        &mut self,
        user_record: usize,
        invocation: usize,
        attempt: Option<u32>,
        has_quarantined: bool,
    ) -> (usize, u32) {
        let before = self
            .all
            .iter()
            .rev()
            .find(|before| (before.user_record, before.invocation) == (user_record, invocation));
        let is_first = match before {
            // Tries in place are one attempt.
            Some(before) => before.is_first,
            None => self.begin_other(invocation) == 1 && !has_quarantined,
        };
        let failures = self.failed.get(&user_record);
        let others = failures.into_iter().flatten().filter(|(of, failed)| **of != invocation && **failed);
        let failures_before = others.count() as u32;
        self.all.push(Try {
            user_record,
            invocation,
            is_first,
            attempt,
            failures_before,
            end: End::Cancelled,
            is_retryable: false,
            left: None,
        });
        let tried = self.of_user_record.entry(user_record).or_default();
        *tried += 1;
        (self.all.len() - 1, *tried)
    }

    /// Number of records that the invocation has begun, this one included.
    fn begin_other(&mut self, invocation: usize) -> u32 {
        let begun = self.begun.entry(invocation).or_default();
        *begun += 1;
        *begun
    }

    /// Returns whether the user record has failed.
    fn end(&mut self, position: usize, end: End) -> bool {
        let this = &mut self.all[position];
        this.end = end;
        let has_failed = end == End::Failed || end == End::Cancelled && this.is_first;
        self.failed.entry(this.user_record).or_default().insert(this.invocation, has_failed);
        has_failed
    }

    /// In how many invocations the user record has failed.
    pub(super) fn failures(&self, user_record: usize) -> u32 {
        let failed = self.failed.get(&user_record).into_iter().flatten();
        failed.filter(|(_, failed)| **failed).count() as u32
    }
}

/// The rule by which user records are skipped.
#[derive(Debug, Clone, Copy)]
struct SkipRule {
    age: Duration,
    /// From a failure to the decision about it.
    slack: Duration,
    min_failures: u32,
}

/// Notices when a try ends or is cancelled.
struct Open {
    work: Work,
    user_record: usize,
    position: usize,
    age: Option<Duration>,
    begun: Instant,
    end: End,
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut tries = self.work.tries.borrow_mut();
        let has_failed = tries.end(self.position, self.end);
        if let (Some(rule), Some(age)) = (self.work.skip, self.age)
            && has_failed
            && tries.failures(self.user_record) >= rule.min_failures
            && age + self.begun.elapsed() + rule.slack >= rule.age
        {
            let now = self.work.progress.now();
            self.work.skippable.borrow_mut().entry(self.user_record).or_insert(now);
        }
    }
}

/// The first failure of each invocation, by request ID.
pub(super) type Failed = Rc<RefCell<HashMap<String, SequenceNumber>>>;

/// The work on the user records of a world.
#[derive(Clone)]
pub(super) struct Work {
    tries: Rc<RefCell<Tries>>,
    infos: Rc<Vec<UserRecordInfo>>,
    done: Rc<RefCell<Vec<Completion>>>,
    skippable: Rc<RefCell<HashMap<usize, Moment>>>,
    progress: Arc<Progress>,
    skip: Option<SkipRule>,
    safety: Safety,
    failed: Failed,
}

/// A try that has come to its end, and was neither noted nor undone yet.
struct Tried {
    /// `None` for a record that is none of the plan's: an invalid aggregate that Lambda could not take apart.
    open: Option<Open>,
    /// The bad end that it comes to.
    fails: Option<BadEnd>,
}

impl Work {
    pub(super) fn new(plan: &Plan, history: &History, safety: Safety, failed: Failed) -> Self {
        let jumps = plan.faults.iter().any(|fault| fault.kind == FaultKind::ClockJump);
        let skip = plan.skip_failed_after_secs.map(|seconds| SkipRule {
            // A jump of the clock makes any record old between its failure and the decision about it.
            age: Duration::from_secs(if jumps { 0 } else { seconds }),
            slack: Duration::from_millis(plan.timeout_ms),
            min_failures: if history.journal.is_some() { 2 } else { 1 },
        });
        Work {
            tries: Rc::clone(&history.tries),
            infos: Rc::clone(&history.user_records),
            done: Rc::clone(&history.done),
            skippable: Rc::clone(&history.skippable),
            progress: Arc::clone(&history.progress),
            skip,
            safety,
            failed,
        }
    }

    async fn attempt(&self, record: Record<'_>) -> Tried {
        let Some(number) = record.text().ok().and_then(|text| text.parse::<usize>().ok()) else {
            self.tries.borrow_mut().begin_other(self.progress.invocation());
            return Tried { open: None, fails: Some(BadEnd::Permanent) };
        };
        let Behaviour { delay_ms, failures, how } = self.infos[number].behaviour;
        let invocation = self.progress.invocation();
        let has_quarantined = self.progress.has_quarantined(invocation);
        let (position, tried) =
            self.tries.borrow_mut().begin(number, invocation, record.attempt(), has_quarantined);
        let open = Open {
            work: self.clone(),
            user_record: number,
            position,
            age: record.age(),
            begun: Instant::now(),
            end: End::Cancelled,
        };
        if delay_ms > 0 {
            sleep(Duration::from_millis(delay_ms)).await;
        }
        let fails = failures.is_none_or(|failures| tried <= failures);
        if fails && how == BadEnd::Hang {
            std::future::pending::<()>().await;
        }
        Tried { open: Some(open), fails: fails.then_some(how) }
    }

    /// Notes that the user record is done.
    fn complete(&self, open: Option<Open>) {
        let Some(mut open) = open else { return };
        open.end = End::Done;
        let invocation = self.progress.invocation();
        self.done.borrow_mut().push(Completion { user_record: open.user_record, invocation });
        self.progress.completions.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes that the user record has failed.
    fn fail(&self, open: Option<Open>, how: BadEnd, record: Record<'_>) -> Result<(), ProcessError> {
        if let Some(mut open) = open {
            open.end = End::Failed;
            let this = &mut self.tries.borrow_mut().all[open.position];
            this.left = record.remaining_time();
            this.is_retryable = matches!(how, BadEnd::Error);
        }
        let error = match how {
            BadEnd::Permanent => permanent("asked to"),
            // Not `panic!`, which would print.
            BadEnd::Panic => resume_unwind(Box::new("asked to")),
            _ => retryable("asked to"),
        };
        match self.safety {
            Safety::NoStop => {
                let (request_id, number) =
                    (record.request_id().to_owned(), record.position().sequence_number);
                self.failed
                    .borrow_mut()
                    .entry(request_id)
                    .and_modify(|first| *first = number.min(*first))
                    .or_insert(number);
                Ok(())
            }
            _ => Err(error),
        }
    }

    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        let Tried { open, fails } = self.attempt(record).await;
        match fails {
            None => {
                self.complete(open);
                Ok(())
            }
            Some(how) => self.fail(open, how, record),
        }
    }

    async fn process_chunk(
        &self,
        chunk: &[Record<'_>],
        outcome: ChunkOutcomePlan,
    ) -> Result<ChunkOutcome, ProcessError> {
        let mut tried = Vec::with_capacity(chunk.len());
        for record in chunk {
            tried.push(self.attempt(*record).await);
        }
        let first = chunk[0];
        let panics = tried.iter().any(|tried| tried.fails == Some(BadEnd::Panic));
        let fails = tried.iter().any(|tried| tried.fails.is_some());
        if panics || fails && outcome == ChunkOutcomePlan::Whole {
            // All of it is undone, and only the first one has failed, as far as anybody can know.
            let is_alone = tried.len() == 1;
            let Tried { open, fails } = tried.swap_remove(0);
            let how = match fails {
                _ if panics => BadEnd::Panic,
                Some(how) if is_alone => how,
                _ => BadEnd::Error,
            };
            return self.fail(open, how, first).map(|()| ChunkOutcome::Processed);
        }
        let mut results = Vec::with_capacity(chunk.len());
        let mut failed_keys = HashSet::new();
        for (Tried { open, fails }, &record) in tried.into_iter().zip(chunk) {
            let behind = failed_keys.contains(record.partition_key()).then_some(BadEnd::Error);
            let result = match fails.or(behind) {
                None => {
                    self.complete(open);
                    Ok(())
                }
                Some(how) => self.fail(open, how, record),
            };
            let has_failed = result.is_err();
            if has_failed && outcome == ChunkOutcomePlan::UpTo {
                let is_too_far = self.safety == Safety::MapsChunksTooFar && results.len() + 1 < chunk.len();
                let records = results.len() + usize::from(is_too_far);
                let error = result.err().unwrap_or_else(|| retryable("asked to"));
                return Ok(ChunkOutcome::ProcessedUpTo { records, error });
            }
            if has_failed {
                failed_keys.insert(record.partition_key());
            }
            results.push(result);
        }
        Ok(ChunkOutcome::Each(results))
    }
}

pub(super) fn processor(work: Work) -> impl AsyncFn(Record<'_>) -> Result<(), ProcessError> + 'static {
    async move |record: Record<'_>| work.process(record).await
}

pub(super) fn chunk_processor(
    work: Work,
    outcome: ChunkOutcomePlan,
) -> impl AsyncFn(&[Record<'_>]) -> Result<ChunkOutcome, ProcessError> + 'static {
    async move |chunk: &[Record<'_>]| work.process_chunk(chunk, outcome).await
}
