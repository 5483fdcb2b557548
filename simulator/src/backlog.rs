//! The backlog of a lane and its changes (rules 10 and 15 to 22). Pure: times go in, decisions come out.

use std::collections::VecDeque;

use crate::{Mapping, SharedRecord, pace::Pace, response::Verdict};

/// Records that are delivered together.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub(crate) records: Vec<SharedRecord>,
    /// Rule 10: stays as long as the batch is the same.
    pub(crate) request_id: String,
    /// Rule 15: tries that came to nothing.
    pub(crate) attempts: u32,
    /// Rule 11: tries in a row that did not reach the function; they spend no attempts.
    throttled: u32,
    /// Milliseconds since 1970.
    pub(crate) not_before_ms: u64,
}

/// The batches of a lane in order; only the first one is delivered.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    batches: VecDeque<Batch>,
}

/// The records that an answer has settled.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settlement {
    /// Records that are done.
    pub(crate) acknowledged: Vec<SharedRecord>,
    /// Records that are given up, because the attempts are spent.
    pub(crate) exhausted: Option<Exhausted>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Exhausted {
    pub(crate) records: Vec<SharedRecord>,
    pub(crate) request_id: String,
    pub(crate) attempts: u32,
}

/// Why records leave a batch before it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expiry {
    /// Rule 21: older than the mapping's maximum.
    Age,
    /// Rule 3: older than the stream's retention.
    Retention,
}

/// The limits that [`Expiry`] names, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct AgeLimits {
    pub(crate) maximum_age_ms: Option<u64>,
    pub(crate) retention_ms: u64,
}

impl AgeLimits {
    pub(crate) fn expiry(self, record: &SharedRecord, now_ms: u64) -> Option<Expiry> {
        let age_ms = now_ms.saturating_sub(record.arrival_ms);
        if self.maximum_age_ms.is_some_and(|limit| age_ms > limit && limit <= self.retention_ms) {
            return Some(Expiry::Age);
        }
        (age_ms >= self.retention_ms).then_some(Expiry::Retention)
    }

    /// From when on [`expiry`](Self::expiry) is some reason, in milliseconds since 1970.
    pub(crate) fn expires_ms(self, record: &SharedRecord) -> u64 {
        let limit_ms = self.maximum_age_ms.map_or(u64::MAX, |limit| limit + 1);
        record.arrival_ms.saturating_add(limit_ms.min(self.retention_ms))
    }
}

impl Backlog {
    pub(crate) fn push(&mut self, records: Vec<SharedRecord>, pace: &mut Pace) {
        self.batches.push_back(Batch::new(records, 0, pace));
    }

    pub(crate) fn first(&self) -> Option<&Batch> {
        self.batches.front()
    }

    /// Whether the first batch has failed, or is a part of one that has.
    pub(crate) fn is_failing(&self) -> bool {
        self.batches.len() > 1 || self.first().is_some_and(|batch| batch.attempts > 0)
    }

    /// Takes the records off the front of the first batch that must not be delivered any more for one and the same
    /// reason. What is left is another batch (rule 10). Also returns the request ID that the batch had.
    pub(crate) fn take_expired(
        &mut self,
        now_ms: u64,
        limits: AgeLimits,
        pace: &mut Pace,
    ) -> Option<(Vec<SharedRecord>, Expiry, String)> {
        let batch = self.batches.front_mut()?;
        let expiry = limits.expiry(batch.records.first()?, now_ms)?;
        let expired = batch.records.iter().take_while(|record| limits.expiry(record, now_ms) == Some(expiry));
        let rest = batch.records.split_off(expired.count());
        let batch = self.batches.pop_front()?;
        if !rest.is_empty() {
            self.batches.push_front(Batch::new(rest, now_ms, pace));
        }
        Some((batch.records, expiry, batch.request_id))
    }

    /// Rule 11: the first batch did not reach the function.
    pub(crate) fn throttled(&mut self, now_ms: u64, pace: &mut Pace) {
        if let Some(batch) = self.batches.front_mut() {
            batch.throttled += 1;
            batch.not_before_ms = now_ms + pace.retry_delay(batch.throttled).as_millis() as u64;
        }
    }

    /// Applies the answer to the first batch.
    pub(crate) fn settle(
        &mut self,
        verdict: &Verdict,
        now_ms: u64,
        mapping: &Mapping,
        pace: &mut Pace,
    ) -> Settlement {
        let Some(mut batch) = self.batches.pop_front() else { return Settlement::default() };
        let done = match verdict {
            Verdict::Success => batch.records.len(),
            Verdict::Partial(positions) => positions.first().copied().unwrap_or(0),
            Verdict::Failure => 0,
        };
        if done == 0 && !batch.records.is_empty() {
            return self.failed_attempt(batch, now_ms, mapping, pace);
        }
        // Rule 16: the rest has a fresh budget.
        let rest = batch.records.split_off(done);
        if !rest.is_empty() {
            let not_before_ms = now_ms + pace.progress_delay().as_millis() as u64;
            self.batches.push_front(Batch::new(rest, not_before_ms, pace));
        }
        Settlement { acknowledged: batch.records, exhausted: None }
    }

    fn failed_attempt(
        &mut self,
        mut batch: Batch,
        now_ms: u64,
        mapping: &Mapping,
        pace: &mut Pace,
    ) -> Settlement {
        batch.attempts += 1;
        batch.throttled = 0;
        if mapping.bisect_batch_on_function_error && batch.records.len() > 1 {
            // Rule 18: the left half first, both with fresh budgets.
            let right = batch.records.split_off(batch.records.len() / 2);
            let not_before_ms = now_ms + pace.progress_delay().as_millis() as u64;
            let left = Batch::new(batch.records, not_before_ms, pace);
            self.batches.push_front(Batch::new(right, not_before_ms, pace));
            self.batches.push_front(left);
            return Settlement::default();
        }
        if mapping.maximum_retry_attempts.is_some_and(|retries| batch.attempts > retries) {
            // Rules 19 and 20: without bisection that is the whole rest of the batch.
            let Batch { records, request_id, attempts, .. } = batch;
            let exhausted = Some(Exhausted { records, request_id, attempts });
            return Settlement { acknowledged: Vec::new(), exhausted };
        }
        // Rule 17.
        batch.not_before_ms = now_ms + pace.retry_delay(batch.attempts).as_millis() as u64;
        self.batches.push_front(batch);
        Settlement::default()
    }

    /// All records that are not settled, in order. The backlog is empty then.
    pub(crate) fn take_all(&mut self) -> Vec<SharedRecord> {
        self.batches.drain(..).flat_map(|batch| batch.records).collect()
    }
}

impl Batch {
    fn new(records: Vec<SharedRecord>, not_before_ms: u64, pace: &mut Pace) -> Self {
        Batch { records, request_id: pace.uuid(), attempts: 0, throttled: 0, not_before_ms }
    }
}
