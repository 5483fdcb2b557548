use std::{collections::HashMap, sync::Arc};

use kinesis_esm_simulator::{Invoked, Outcome, Step};
use kinesis_handler::SequenceNumber;

/// The origin of the batch of an invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// A batch of which nothing was delivered before.
    New,
    /// The batch before, as it was: with its request ID.
    Retry,
    /// The batch before, although it was answered.
    Duplicate,
    /// The rest of a batch after the part that is processed or expired.
    Remainder,
    /// A half of a batch that failed.
    Bisected,
    /// Read again after a restart of the poller.
    Reread,
    /// No records: the end of a tumbling window.
    WindowClose,
}

impl Origin {
    pub(super) fn name(self) -> &'static str {
        match self {
            Origin::New => "new",
            Origin::Retry => "retry",
            Origin::Duplicate => "duplicate",
            Origin::Remainder => "remainder",
            Origin::Bisected => "bisected",
            Origin::Reread => "reread",
            Origin::WindowClose => "window-close",
        }
    }
}

/// The kind of an invocation in its lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Descent {
    pub(super) origin: Origin,
    /// Number of the invocation among those with its request ID, counted from one.
    pub(super) tries: u32,
    /// Whether it repeats the invocation before, with the same outcome.
    pub(super) repeats_outcome: bool,
}

/// Tells of each invocation where its batch comes from. It must see all of them, in the order in which they began.
#[derive(Debug)]
pub(super) struct Lineage {
    bisects: bool,
    lanes: HashMap<(Arc<str>, u32), TracedLane>,
}

#[derive(Debug, Default)]
struct TracedLane {
    request_id: String,
    tries: u32,
    outcome: Option<Outcome>,
    ended_ms: u64,
    /// Each is a part of the one before it. The last one was invoked last.
    batches: Vec<TracedBatch>,
}

#[derive(Debug)]
struct TracedBatch {
    first: SequenceNumber,
    last: SequenceNumber,
    made_progress: bool,
    is_to_be_reread: bool,
}

impl Lineage {
    /// `bisects`: whether the mapping splits batches that fail.
    pub(super) fn new(bisects: bool) -> Self {
        Lineage { bisects, lanes: HashMap::new() }
    }

    /// Returns the kind of the invocation.
    pub(super) fn follow(&mut self, step: &Step, invoked: &Invoked) -> Descent {
        let lane = self.lanes.entry((Arc::clone(&step.shard_id), step.lane)).or_default();
        let is_repeated = lane.request_id == invoked.request_id;
        if is_repeated {
            lane.tries += 1;
        } else {
            lane.request_id.clone_from(&invoked.request_id);
            lane.tries = 1;
        }
        // A retry comes later than the end of the invocation before.
        let is_duplicate = is_repeated && invoked.is_ignored && invoked.began_ms == lane.ended_ms;
        lane.ended_ms = step.at_ms;
        let repeats_outcome = lane.outcome.replace(invoked.outcome) == Some(invoked.outcome) && is_repeated;
        let origin =
            if is_duplicate { Origin::Duplicate } else { lane.receive(invoked, is_repeated, self.bisects) };
        Descent { origin, tries: lane.tries, repeats_outcome }
    }
}

impl TracedLane {
    fn receive(&mut self, invoked: &Invoked, is_repeated: bool, bisects: bool) -> Origin {
        let (Some(first), Some(last)) = (invoked.records.first(), invoked.records.last()) else {
            return Origin::WindowClose;
        };
        let (first, last) = (first.sequence_number, last.sequence_number);
        let origin = if is_repeated { Origin::Retry } else { self.origin(first, last, bisects) };
        if is_repeated {
            self.batches.pop();
        }
        self.batches.push(TracedBatch {
            first,
            last,
            made_progress: invoked.outcome == Outcome::Partial && invoked.reported.first() > Some(&first),
            is_to_be_reread: invoked.is_ignored,
        });
        origin
    }

    fn origin(&mut self, first: SequenceNumber, last: SequenceNumber, bisects: bool) -> Origin {
        while let Some(batch) = self.batches.pop_if(|batch| batch.first > first || batch.last < last) {
            if batch.is_to_be_reread && batch.first <= last {
                return Origin::Reread;
            }
        }
        match self.batches.last() {
            None => Origin::New,
            Some(batch) if batch.is_to_be_reread => Origin::Reread,
            Some(batch) if bisects && !batch.made_progress => Origin::Bisected,
            Some(_) => Origin::Remainder,
        }
    }
}
