//! The checkpoint mirror's table, and what goes wrong with it.

use std::{
    future::pending,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use kinesis_handler::checkpoint::{
    Checkpoint, CheckpointError, CheckpointFuture, CheckpointPosition, CheckpointStore, MemoryCheckpoints,
    Outcome, Row, RowCheckpoint,
};
use tokio::time::sleep;

use super::{plan::StoreFault, world::Safety};

/// How far the world has come. The store is the only one that has to know it on another thread, as far as types go.
#[derive(Debug, Default)]
pub(super) struct Progress {
    pub(super) completions: AtomicUsize,
    pub(super) steps: AtomicUsize,
}

/// A write has reached the table, after so many completions and steps of the mapping.
#[derive(Debug, Clone)]
pub(super) struct Write {
    pub(super) completions: usize,
    pub(super) steps: usize,
    pub(super) shard_id: String,
    pub(super) outcome: Outcome,
    /// Where the row stands then.
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
    faults: Vec<StoreFault>,
    calls: AtomicUsize,
    safety: Safety,
    progress: Arc<Progress>,
    writes: Mutex<Vec<Write>>,
}

impl FaultyTable {
    pub(super) fn new(faults: Vec<StoreFault>, safety: Safety, progress: Arc<Progress>) -> Self {
        let shared = Shared {
            table: MemoryCheckpoints::default(),
            faults,
            calls: AtomicUsize::new(0),
            safety,
            progress,
            writes: Mutex::default(),
        };
        FaultyTable { shared: Arc::new(shared) }
    }

    pub(super) fn writes(&self) -> MutexGuard<'_, Vec<Write>> {
        self.shared.writes.lock().expect("nothing panics while it holds the lock")
    }
}

impl Shared {
    fn write(&self, checkpoint: &Checkpoint<'_>, fault: StoreFault) -> Outcome {
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
            Safety::MirrorsAlways | Safety::MirrorsNothing => Outcome::Written,
            _ => self.table.write_now(&checkpoint),
        };
        let Some(row) = self.table.row(checkpoint.shard_id) else { return outcome };
        let RowCheckpoint::At(sequence_number) = row.checkpoint else { panic!("{row:?}") };
        let sub_sequence_number = row.sub_sequence_number.expect("the mirror writes one");
        self.writes.lock().expect("nothing panics while it holds the lock").push(Write {
            completions: self.progress.completions.load(Ordering::Relaxed),
            steps: self.progress.steps.load(Ordering::Relaxed),
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
        let shared = &self.shared;
        let call = shared.calls.fetch_add(1, Ordering::Relaxed);
        let fault = match shared.faults.len() {
            0 => StoreFault::None,
            faults => shared.faults[call % faults],
        };
        Box::pin(async move {
            match fault {
                StoreFault::None => Ok(shared.write(&checkpoint, fault)),
                StoreFault::Fails => Err(CheckpointError::Store { source: "asked to".into() }),
                StoreFault::LosesAnswer => {
                    shared.write(&checkpoint, fault);
                    Err(CheckpointError::Store { source: "asked to".into() })
                }
                StoreFault::Stalls => pending().await,
                StoreFault::AnswersLate(milliseconds) => {
                    let outcome = shared.write(&checkpoint, fault);
                    sleep(Duration::from_millis(milliseconds)).await;
                    Ok(outcome)
                }
                StoreFault::ArrivesLate(milliseconds) => {
                    // On its way, whatever becomes of the one who waits for it.
                    let shared = Arc::clone(shared);
                    let owned = [checkpoint.application, checkpoint.stream_arn, checkpoint.shard_id];
                    let owned = owned.map(str::to_owned);
                    let Checkpoint { position, arrival_ms, now_ms, .. } = checkpoint;
                    let on_its_way = tokio::spawn(async move {
                        sleep(Duration::from_millis(milliseconds)).await;
                        let [application, stream_arn, shard_id] = &owned;
                        let checkpoint =
                            Checkpoint { application, stream_arn, shard_id, position, arrival_ms, now_ms };
                        shared.write(&checkpoint, fault)
                    });
                    Ok(on_its_way.await.expect("it does not panic"))
                }
            }
        })
    }
}
