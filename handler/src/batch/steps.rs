use kpl_deaggregation::HashKeyRange;

use crate::{
    batch::{
        quarantine_queue::QuarantineQueue,
        stop::{Failure, StopReason},
        walk::Walk,
    },
    hash_range::filter::is_out_of,
    invocation::{Invocation, deadline::DeadlineCheck},
    journal::{Progress, snapshot::JournalSnapshot},
};

/// The reason why no further user record is processed for now.
pub enum Pause {
    /// The batch is at its end.
    End,
    /// The quarantine queue must be written before the current user record is processed.
    WriteQueue,
    /// The processor has failed with the current user record.
    Failed,
    /// The batch stops at the current user record for another reason, unless the quarantine takes it.
    Stop(StopReason),
}

/// A decision about a user record, before it is processed.
pub(crate) enum Step {
    /// It is passed over.
    Skip(SkipReason),
    Pause(Pause),
    /// It is processed: in this attempt, if the number is known.
    Process(Option<u32>),
}

/// The reason why a user record is not processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SkipReason {
    /// An earlier invocation has processed it.
    Done,
    /// It belongs to another shard.
    OutOfRange,
}

/// All that decides about user records before they are processed.
pub(crate) struct Steps<'s, 'b> {
    pub(crate) snapshot: &'s JournalSnapshot,
    pub(crate) queue: &'s QuarantineQueue<'b>,
    deadline: &'s DeadlineCheck<'s>,
    /// Whether the queue decides nothing about any user record. It does not change in a run.
    is_idle: bool,
    /// Hash keys of the user records that are processed, if they are filtered.
    range: Option<&'s HashKeyRange>,
}

impl<'s, 'b> Steps<'s, 'b> {
    pub(crate) fn new(
        snapshot: &'s JournalSnapshot,
        queue: &'s QuarantineQueue<'b>,
        deadline: &'s DeadlineCheck<'s>,
        invocation: &'s Invocation<'_>,
    ) -> Self {
        Steps { snapshot, queue, deadline, is_idle: queue.is_idle(), range: invocation.hash_range.range() }
    }

    /// Whether the user record at which a walk is needs nothing more: it is processed or quarantined, or one that cannot be told from
    /// it waits for the quarantine. `progress` is that of its Kinesis record.
    #[inline]
    pub(crate) fn is_known(&self, walk: &Walk<'b>, progress: Option<&Progress>) -> bool {
        progress.is_some_and(|progress| walk.is_in(&progress.done))
            || !self.is_idle && self.queue.has_alike(walk.user_record())
    }

    /// Decides about the user record at which a walk is. `progress` is that of its Kinesis record.
    #[inline]
    pub(crate) fn step(&self, walk: &Walk<'b>, progress: Option<&Progress>) -> Step {
        let record = walk.user_record();
        let is_idle = self.is_idle;
        if self.range.is_some_and(|range| is_out_of(range, record)) {
            return Step::Skip(SkipReason::OutOfRange);
        }
        if self.is_known(walk, progress) {
            return Step::Skip(SkipReason::Done);
        }
        let failure: Option<Failure> = walk.failure();
        if failure.is_none() && self.deadline.is_over() {
            return Step::Pause(Pause::Stop(StopReason::Deadline));
        }
        if !is_idle && self.queue.is_due_before(record.partition_key) {
            return Step::Pause(Pause::WriteQueue);
        }
        let failure = match failure {
            None if !is_idle => {
                let behind = self.queue.held_behind(record.partition_key);
                behind.map(|behind| Failure::Held { behind })
            }
            failure => failure,
        };
        match failure {
            Some(failure) => Step::Pause(Pause::Stop(StopReason::Failed(failure))),
            None => Step::Process(self.snapshot.attempt(progress, record)),
        }
    }
}
