use crate::{
    batch::{
        quarantine_queue::QuarantineQueue,
        stop::{Failure, StopReason},
        walk::Walk,
    },
    invocation::deadline::DeadlineCheck,
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
    /// An earlier invocation has processed it.
    Skip,
    Pause(Pause),
    /// It is processed: in this attempt, if the number is known.
    Process(Option<u32>),
}

/// All that decides about user records before they are processed.
pub(crate) struct Steps<'s, 'b> {
    pub(crate) snapshot: &'s JournalSnapshot,
    pub(crate) queue: &'s QuarantineQueue<'b>,
    pub(crate) deadline: &'s DeadlineCheck<'s>,
}

impl<'b> Steps<'_, 'b> {
    /// Whether the user record at which a walk is needs nothing more: it is processed or quarantined, or one that cannot be told from
    /// it waits for the quarantine. `progress` is that of its Kinesis record.
    #[inline]
    pub(crate) fn is_known(&self, walk: &Walk<'b>, progress: Option<&Progress>) -> bool {
        progress.is_some_and(|progress| walk.is_in(&progress.done))
            || self.queue.has_alike(walk.user_record())
    }

    /// Decides about the user record at which a walk is. `progress` is that of its Kinesis record.
    #[inline]
    pub(crate) fn step(&self, walk: &Walk<'b>, progress: Option<&Progress>) -> Step {
        let record = walk.user_record();
        let is_idle = self.queue.is_idle();
        if self.is_known(walk, progress) {
            return Step::Skip;
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
