//! The backlog of a lane and its changes (rules 10 and 15 to 22). Pure: times go in, decisions come out.

use std::{collections::VecDeque, time::Duration};

use crate::{Mapping, SharedRecord, Verdict};

/// The choices that Lambda makes by chance, or does not document: IDs and delays.
pub trait Pace {
    /// Returns a request ID for a new batch.
    fn request_id(&mut self) -> String;

    /// Returns the time from a failed attempt to the next one, given the number of attempts that failed, at least one
    /// (rule 17).
    fn retry_delay(&mut self, failed: u32) -> Duration;

    /// Returns the time until a new batch of records that were delivered before is delivered (rule 16).
    fn progress_delay(&mut self) -> Duration;
}

/// Records that are delivered together.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Batch {
    /// Records of the batch, in stream order.
    pub records: Vec<SharedRecord>,
    /// Rule 10: stays as long as the batch is the same.
    pub request_id: String,
    /// Rule 15: tries that came to nothing.
    pub attempts: u32,
    /// Rule 11: tries in a row that did not reach the function; they spend no attempts.
    throttled: u32,
    /// Time before which it is not delivered, in milliseconds since 1970.
    pub not_before_ms: u64,
}

/// The batches of a lane in order; only the first one is delivered.
#[derive(Debug, Default)]
pub struct Backlog {
    batches: VecDeque<Batch>,
}

/// The records that an answer has settled.
#[derive(Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settlement {
    /// Records that are done.
    pub acknowledged: Vec<SharedRecord>,
    /// Records that are given up, because the attempts are spent.
    pub exhausted: Option<Exhausted>,
}

/// A batch whose attempts are spent (rules 19 and 20).
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Exhausted {
    /// Records of the batch that was given up.
    pub records: Vec<SharedRecord>,
    /// Request ID of its last attempt.
    pub request_id: String,
    /// Number of its attempts.
    pub attempts: u32,
}

/// Why records leave a batch before it is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// Rule 21: older than the mapping's maximum.
    Age,
    /// Rule 3: older than the stream's retention.
    Retention,
}

/// The limits that [`Expiry`] names, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct AgeLimits {
    /// Maximum record age of the mapping. `None`: there is no limit.
    pub maximum_age_ms: Option<u64>,
    /// Retention of the stream.
    pub retention_ms: u64,
}

impl AgeLimits {
    /// Returns the reason why the record must not be delivered at this time (milliseconds since 1970), if there is one.
    pub fn expiry(self, record: &SharedRecord, now_ms: u64) -> Option<Expiry> {
        let age_ms = now_ms.saturating_sub(record.arrival_ms);
        if self.maximum_age_ms.is_some_and(|limit| age_ms > limit && limit <= self.retention_ms) {
            return Some(Expiry::Age);
        }
        (age_ms >= self.retention_ms).then_some(Expiry::Retention)
    }

    /// From when on [`expiry`](Self::expiry) is some reason, in milliseconds since 1970.
    pub fn expires_ms(self, record: &SharedRecord) -> u64 {
        let limit_ms = self.maximum_age_ms.map_or(u64::MAX, |limit| limit + 1);
        record.arrival_ms.saturating_add(limit_ms.min(self.retention_ms))
    }
}

impl Backlog {
    /// Appends a new batch of these records.
    pub fn push(&mut self, records: Vec<SharedRecord>, pace: &mut impl Pace) {
        self.batches.push_back(Batch::new(records, 0, pace));
    }

    /// Returns the batch that is delivered next.
    pub fn first(&self) -> Option<&Batch> {
        self.batches.front()
    }

    /// Returns whether the first batch has failed, or is a part of one that has.
    pub fn is_failing(&self) -> bool {
        self.batches.len() > 1 || self.first().is_some_and(|batch| batch.attempts > 0)
    }

    /// Takes the records off the front of the first batch that must not be delivered any more for one and the same
    /// reason. What is left is another batch (rule 10). Also returns the request ID that the batch had.
    pub fn take_expired(
        &mut self,
        now_ms: u64,
        limits: AgeLimits,
        pace: &mut impl Pace,
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
    pub fn throttled(&mut self, now_ms: u64, pace: &mut impl Pace) {
        if let Some(batch) = self.batches.front_mut() {
            batch.throttled += 1;
            batch.not_before_ms = now_ms + pace.retry_delay(batch.throttled).as_millis() as u64;
        }
    }

    /// Applies the answer to the first batch.
    pub fn settle(
        &mut self,
        verdict: &Verdict,
        now_ms: u64,
        mapping: &Mapping,
        pace: &mut impl Pace,
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
        pace: &mut impl Pace,
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
    pub fn take_all(&mut self) -> Vec<SharedRecord> {
        self.batches.drain(..).flat_map(|batch| batch.records).collect()
    }
}

impl Batch {
    fn new(records: Vec<SharedRecord>, not_before_ms: u64, pace: &mut impl Pace) -> Self {
        Batch { records, request_id: pace.request_id(), attempts: 0, throttled: 0, not_before_ms }
    }
}
