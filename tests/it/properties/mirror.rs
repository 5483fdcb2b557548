//! The checkpoint mirror's table, and what goes wrong with it.

use std::sync::{Arc, Mutex, MutexGuard};

use kinesis_handler::checkpoint::{
    Checkpoint, CheckpointError, CheckpointFuture, CheckpointOutcome, CheckpointPosition, CheckpointStore,
    MemoryCheckpoints, Row, RowCheckpoint,
};

use super::{
    faults::{self, FaultSchedule, Moment, Progress},
    plan::StoreFault,
    world::Safety,
};

/// A write has reached the table.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) at: Moment,
    pub(super) invocation: usize,
    pub(super) shard_id: String,
    pub(super) outcome: CheckpointOutcome,
    /// Returns the position of the row then.
    pub(super) row: CheckpointPosition,
    pub(super) fault: StoreFault,
}

/// A table behind a connection with faults, one after the other and over again.
#[derive(Debug, Clone)]
pub(super) struct FaultyTable {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    table: MemoryCheckpoints,
    faults: FaultSchedule,
    safety: Safety,
    progress: Arc<Progress>,
    writes: Mutex<Vec<Write>>,
    /// The invocations whose write had a fault.
    troubled: Mutex<Vec<usize>>,
}

impl FaultyTable {
    pub(super) fn new(faults: Vec<StoreFault>, safety: Safety, progress: Arc<Progress>) -> Self {
        let shared = Shared {
            table: MemoryCheckpoints::default(),
            faults: FaultSchedule::new(faults),
            safety,
            progress,
            writes: Mutex::default(),
            troubled: Mutex::default(),
        };
        FaultyTable { shared: Arc::new(shared) }
    }

    pub(super) fn writes(&self) -> MutexGuard<'_, Vec<Write>> {
        self.shared.writes.lock().expect("nothing panics while it holds the lock")
    }

    /// The invocations whose write had a fault.
    pub(super) fn troubled(&self) -> MutexGuard<'_, Vec<usize>> {
        self.shared.troubled.lock().expect("nothing panics while it holds the lock")
    }
}

impl Shared {
    fn write(&self, checkpoint: &Checkpoint<'_>, fault: StoreFault, invocation: usize) -> CheckpointOutcome {
        let mut checkpoint = *checkpoint;
        if self.safety == Safety::MirrorsTooFar {
            // Numbers are consecutive here.
            let number = checkpoint.position.sequence_number.to_string();
            let next = number.parse::<u64>().expect("a small number") + 1;
            checkpoint.position.sequence_number = next.to_string().parse().expect("digits");
            checkpoint.position.sub_sequence_number = 0;
        }
        if self.safety == Safety::MirrorsAlways {
            let mut row = Row::new(RowCheckpoint::At(checkpoint.position.sequence_number));
            row.sub_sequence_number = Some(checkpoint.position.sub_sequence_number);
            self.table.put(checkpoint.shard_id, row);
        }
        let outcome = match self.safety {
            Safety::MirrorsAlways | Safety::MirrorsNothing => CheckpointOutcome::Written,
            _ => self.table.write_now(&checkpoint),
        };
        let Some(row) = self.table.row(checkpoint.shard_id) else { return outcome };
        let RowCheckpoint::At(sequence_number) = row.checkpoint else { panic!("{row:?}") };
        let sub_sequence_number = row.sub_sequence_number.expect("the mirror writes one");
        self.writes.lock().expect("nothing panics while it holds the lock").push(Write {
            at: self.progress.now(),
            invocation,
            shard_id: checkpoint.shard_id.to_owned(),
            outcome: outcome.clone(),
            row: CheckpointPosition { sequence_number, sub_sequence_number },
            fault,
        });
        outcome
    }
}

impl CheckpointStore for FaultyTable {
    fn write<'a>(&'a self, checkpoint: Checkpoint<'a>) -> CheckpointFuture<'a> {
        let fault = self.shared.faults.next();
        let invocation = self.shared.progress.invocation();
        if fault != StoreFault::None {
            self.troubled().push(invocation);
        }
        let shared = Arc::clone(&self.shared);
        let owned = [checkpoint.application, checkpoint.stream_arn, checkpoint.shard_id].map(str::to_owned);
        let Checkpoint { position, arrival_ms, now_ms, .. } = checkpoint;
        Box::pin(async move {
            let write = move || {
                let [application, stream_arn, shard_id] = &owned;
                let checkpoint =
                    Checkpoint { application, stream_arn, shard_id, position, arrival_ms, now_ms };
                shared.write(&checkpoint, fault, invocation)
            };
            let outcome = faults::answer(fault, write).await;
            outcome.ok_or_else(|| CheckpointError::Store { source: "asked to".into() })
        })
    }
}
