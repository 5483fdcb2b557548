use std::{num::NonZeroU32, time::Duration};

use crate::{
    Options,
    batch::stop::{Failure, StopReason},
    journal::{JournalStore, QuarantineReason},
    record::BatchRecord,
};

/// Longest partition key that Kinesis takes, in bytes: 256 characters of UTF-8. A longer one, which only an aggregate can
/// hold, counts more than once towards the quarantine's limit.
const KEY_BYTES: usize = 1024;

/// Failures before a record's age can send it to the quarantine: a single one after an outage proves nothing.
const MIN_ATTEMPTS_FOR_AGE: u32 = 2;

/// The options that decide the fate of a failed user record.
#[derive(Debug, Clone)]
pub(crate) struct FailureRules {
    quarantine: bool,
    hold: bool,
    limit: u64,
    max_attempts: Option<NonZeroU32>,
    max_age: Option<Duration>,
    max_write_items: usize,
}

/// The fate of a failed user record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The batch stops at it.
    Stop,
    /// The batch stops at it, because the quarantine has as many user records of its Kinesis record as it may.
    StopAtLimit,
    /// It is quarantined.
    Quarantine(QuarantineReason),
    /// It is quarantined with the rest of its aggregate, because the quarantine has as many user records of it as it may.
    QuarantineRest(QuarantineReason),
}

impl FailureRules {
    pub(crate) fn new(options: &Options, store: &dyn JournalStore) -> Self {
        FailureRules {
            quarantine: options.quarantine,
            hold: options.hold,
            limit: options.quarantine_limit.get().into(),
            max_attempts: options.max_attempts,
            max_age: options.max_age,
            max_write_items: store.max_write_items(),
        }
    }

    /// Whether later user records follow those of their key into the quarantine.
    pub(crate) fn hold(&self) -> bool {
        self.quarantine && self.hold
    }

    /// Returns the number of items that one write to the journal may have.
    pub(crate) fn max_write_items(&self) -> usize {
        self.max_write_items
    }

    /// Returns the limit of user records of one Kinesis record in the quarantine, in [units](units).
    pub(crate) fn limit(&self) -> u64 {
        self.limit
    }

    /// Decides the fate of a user record that has failed in this many attempts. `quarantined` is the number of units of its
    /// Kinesis record that the quarantine has.
    pub(crate) fn decide(
        &self,
        reason: &StopReason,
        record: &BatchRecord<'_>,
        attempts: u32,
        now_ms: u64,
        quarantined: u64,
    ) -> Decision {
        if matches!(reason, StopReason::Failed(Failure::Unreadable(_))) {
            // There is no data to keep: the mapping's destination has to.
            return Decision::Stop;
        }
        if !reason.is_attempt() && !reason.is_held() {
            return Decision::Stop;
        }
        let arrival_ms = record.kinesis_record.approximate_arrival_ms;
        let age_ms = arrival_ms.map(|arrival_ms| now_ms.saturating_sub(arrival_ms));
        let Some(why) = self.quarantine_reason(reason.is_permanent(), attempts, age_ms) else {
            return Decision::Stop;
        };
        let why = if reason.is_held() { QuarantineReason::Held } else { why };
        // The first one of a Kinesis record goes alone, however long its keys are.
        if quarantined == 0 || quarantined + units(record) <= self.limit {
            return Decision::Quarantine(why);
        }
        match record.sub_sequence_number {
            None => Decision::StopAtLimit,
            Some(_) if record.aggregated => Decision::QuarantineRest(why),
            Some(_) => Decision::Quarantine(why),
        }
    }

    /// Returns why a user record is quarantined; `None` if it is not, or not yet.
    fn quarantine_reason(
        &self,
        is_permanent: bool,
        attempts: u32,
        age_ms: Option<u64>,
    ) -> Option<QuarantineReason> {
        let is_old = || age_ms.zip(self.max_age).is_some_and(|(age, max)| u128::from(age) >= max.as_millis());
        if !self.quarantine {
            None
        } else if is_permanent {
            Some(QuarantineReason::Permanent)
        } else if self.max_attempts.is_some_and(|max_attempts| attempts >= max_attempts.get()) {
            Some(QuarantineReason::MaxAttempts)
        } else if attempts >= MIN_ATTEMPTS_FOR_AGE && is_old() {
            Some(QuarantineReason::MaxAge)
        } else {
            None
        }
    }
}

/// The rule by which a user record that has failed is skipped for its age, instead of stopping the batch.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SkipRule {
    max_age: Duration,
    /// Failed attempts that are needed.
    min_attempts: u32,
}

impl SkipRule {
    /// Returns the rule of these options; `None` if they want nothing to be skipped.
    pub(crate) fn new(options: &Options) -> Option<Self> {
        // Without a journal, nothing knows of earlier attempts.
        let min_attempts = if options.journal.is_some() { MIN_ATTEMPTS_FOR_AGE } else { 1 };
        options.skip_failed_after.map(|max_age| SkipRule { max_age, min_attempts })
    }

    /// Whether a user record is skipped that has failed for this reason. `attempts` is the number of its failed attempts, if it is
    /// known.
    pub(crate) fn applies_to(
        &self,
        reason: &StopReason,
        record: &BatchRecord<'_>,
        attempts: Option<u32>,
        now_ms: u64,
    ) -> bool {
        let age_ms =
            record.kinesis_record.approximate_arrival_ms.map(|arrival_ms| now_ms.saturating_sub(arrival_ms));
        reason.is_attempt()
            && attempts.unwrap_or(1) >= self.min_attempts
            && age_ms.is_some_and(|age_ms| u128::from(age_ms) >= self.max_age.as_millis())
    }
}

/// Returns the share of the quarantine's limit that a user record takes.
pub(crate) fn units(record: &BatchRecord<'_>) -> u64 {
    let key_bytes = record.partition_key.len() + record.explicit_hash_key.map_or(0, <[u8]>::len);
    key_bytes.div_ceil(KEY_BYTES).max(1) as u64
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::{
        ExtendedSequenceNumber, OwnedRecord, event::UnreadableRecord, not_now, permanent, retryable,
    };

    const RULES: FailureRules = FailureRules {
        quarantine: true,
        hold: false,
        limit: 3,
        max_attempts: NonZeroU32::new(5),
        max_age: Some(Duration::from_millis(100)),
        max_write_items: 100,
    };

    fn record(sub_sequence_number: Option<u64>, aggregated: bool) -> OwnedRecord {
        let sequence_number = "7".parse().expect("digits");
        let record = OwnedRecord::new("data")
            .with_position(ExtendedSequenceNumber { sequence_number, sub_sequence_number })
            .with_approximate_arrival_timestamp(UNIX_EPOCH + Duration::from_millis(1_000));
        if aggregated { record.in_aggregate() } else { record }
    }

    fn permanent_failure() -> StopReason {
        StopReason::Failed(permanent("no order").into())
    }

    #[track_caller]
    fn check(rules: &FailureRules, reason: StopReason, attempts: u32, now_ms: u64, expected: Decision) {
        let record = record(Some(0), false);
        assert_eq!(rules.decide(&reason, &record.parts(), attempts, now_ms, 0), expected);
    }

    #[test]
    fn permanent_old_and_often_tried_records_are_quarantined() {
        use Decision::{Quarantine, Stop};
        let busy = || StopReason::Failed(retryable("busy").into());
        check(&RULES, permanent_failure(), 1, 1_000, Quarantine(QuarantineReason::Permanent));
        check(&RULES, busy(), 4, 1_000, Stop);
        check(&RULES, busy(), 5, 1_000, Quarantine(QuarantineReason::MaxAttempts));
        check(&RULES, StopReason::Deadline, 5, 1_000, Quarantine(QuarantineReason::MaxAttempts));
        check(&RULES, busy(), 2, 1_099, Stop);
        check(&RULES, busy(), 2, 1_100, Quarantine(QuarantineReason::MaxAge));
        check(&RULES, busy(), 1, 9_999, Stop);
        check(&RULES, StopReason::Failed(Failure::Unreadable(UnreadableRecord::MissingData)), 9, 9_999, Stop);
        check(&RULES, StopReason::Failed(not_now("maintenance").into()), 9, 9_999, Stop);
        check(&FailureRules { quarantine: false, ..RULES }, permanent_failure(), 9, 9_999, Stop);
    }

    #[test]
    fn old_records_that_have_failed_are_skipped_if_there_is_the_rule() {
        #[track_caller]
        fn check(reason: &StopReason, min_attempts: u32, attempts: Option<u32>, now_ms: u64, expected: bool) {
            let rule = SkipRule { max_age: Duration::from_millis(100), min_attempts };
            assert_eq!(rule.applies_to(reason, &record(Some(0), false).parts(), attempts, now_ms), expected);
        }
        let busy = StopReason::Failed(retryable("busy").into());
        check(&busy, 1, None, 1_099, false);
        check(&busy, 1, None, 1_100, true);
        check(&permanent_failure(), 1, None, 1_100, true);
        check(&StopReason::Deadline, 1, None, 1_100, true);
        check(&StopReason::Failed(not_now("maintenance").into()), 1, None, 1_100, false);
        // With a journal, the second attempt; a journal that could not be read knows of none.
        check(&busy, 2, Some(1), 1_100, false);
        check(&busy, 2, Some(2), 1_100, true);
        check(&busy, 2, None, 1_100, false);
    }

    #[track_caller]
    fn check_limit(record: OwnedRecord, quarantined: u64, expected: fn(QuarantineReason) -> Decision) {
        let decision = RULES.decide(&permanent_failure(), &record.parts(), 1, 1_000, quarantined);
        assert_eq!(decision, expected(QuarantineReason::Permanent));
    }

    #[test]
    fn the_limit_sends_the_rest_of_an_aggregate_or_stops_a_fan_out_consumer() {
        check_limit(record(Some(4), true), 2, Decision::Quarantine);
        check_limit(record(Some(4), true), 3, Decision::QuarantineRest);
        check_limit(record(None, false), 2, Decision::Quarantine);
        check_limit(record(None, false), 3, |_| Decision::StopAtLimit);
        // A key of 3 KiB and a byte takes four units.
        let long_key = || record(Some(4), true).with_partition_key(vec![b'k'; 3 * KEY_BYTES + 1]);
        check_limit(long_key(), 0, Decision::Quarantine);
        check_limit(long_key(), 1, Decision::QuarantineRest);
    }
}
