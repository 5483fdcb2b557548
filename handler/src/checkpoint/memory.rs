use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard},
};

use super::{Checkpoint, CheckpointFuture, CheckpointOutcome, CheckpointStore, Row, RowFuture};

/// A lease table in memory, with exactly the rules of the real one: for tests.
///
/// ```
/// use std::sync::Arc;
///
/// use kinesis_handler::{MirrorOptions, Options, checkpoint::MemoryCheckpoints};
///
/// # fn main() -> Result<(), kinesis_handler::OptionsError> {
/// let table = Arc::new(MemoryCheckpoints::default());
/// let options = Options::builder().application("orders").mirror(MirrorOptions::new(table.clone())).build()?;
/// // … a handler with these options, and an event …
/// assert_eq!(table.row("shardId-000000000000"), None);
/// # let _ = options;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Default)]
pub struct MemoryCheckpoints {
    rows: Mutex<BTreeMap<String, Row>>,
}

impl MemoryCheckpoints {
    /// The row of a shard.
    pub fn row(&self, shard_id: &str) -> Option<Row> {
        self.rows().get(shard_id).cloned()
    }

    /// Writes the row of a shard as it is, without any condition: as another program would.
    pub fn put(&self, shard_id: impl Into<String>, row: Row) {
        self.rows().insert(shard_id.into(), row);
    }

    /// Does what [`write`](CheckpointStore::write) does.
    pub fn write_now(&self, checkpoint: &Checkpoint<'_>) -> CheckpointOutcome {
        let mut rows = self.rows();
        match rows.get_mut(checkpoint.shard_id) {
            None => drop(rows.insert(checkpoint.shard_id.to_owned(), Row::first(checkpoint))),
            Some(row) => match row.admits(checkpoint) {
                Ok(()) => row.advance(checkpoint),
                Err(outcome) => return outcome,
            },
        }
        CheckpointOutcome::Written
    }

    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Row>> {
        self.rows.lock().expect("nothing panics while it holds the lock")
    }
}

impl CheckpointStore for MemoryCheckpoints {
    fn write<'a>(&'a self, checkpoint: Checkpoint<'a>) -> CheckpointFuture<'a> {
        Box::pin(async move { Ok(self.write_now(&checkpoint)) })
    }

    fn read<'a>(&'a self, shard_id: &'a str) -> RowFuture<'a> {
        Box::pin(async move { Ok(self.row(shard_id)) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{CheckpointPosition, Refusal, RowCheckpoint};

    const SHARD: &str = "shardId-000000000000";
    const STREAM: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";

    fn position(text: &str) -> CheckpointPosition {
        let (sequence_number, sub_sequence_number) = text.split_once('/').expect("number/sub");
        CheckpointPosition {
            sequence_number: sequence_number.parse().expect("digits"),
            sub_sequence_number: sub_sequence_number.parse().expect("digits"),
        }
    }

    fn checkpoint(text: &str) -> Checkpoint<'static> {
        Checkpoint {
            application: "app",
            stream_arn: STREAM,
            shard_id: SHARD,
            position: position(text),
            arrival_ms: Some(5),
            now_ms: 7,
        }
    }

    fn ahead(at: &str) -> CheckpointOutcome {
        CheckpointOutcome::AlreadyAhead { at: Some(position(at)) }
    }

    /// A row as the mirror leaves it.
    fn mirrored(text: &str) -> Row {
        let mut row = Row::first(&checkpoint(text));
        row.updated_ms = Some(6);
        row
    }

    #[track_caller]
    fn check(row: Row, text: &str, expected: CheckpointOutcome) {
        let table = MemoryCheckpoints::default();
        table.put(SHARD, row.clone());
        assert_eq!(table.write_now(&checkpoint(text)), expected);
        let written = table.row(SHARD).expect("a row");
        if expected == CheckpointOutcome::Written && row.updated_ms != Some(7) {
            let mut moved = row;
            moved.advance(&checkpoint(text));
            assert_eq!(written, moved);
        } else {
            assert_eq!(written, row, "nothing changes");
        }
    }

    #[test]
    fn the_first_write_makes_the_row() {
        let table = MemoryCheckpoints::default();
        assert_eq!(table.write_now(&checkpoint("9/2")), CheckpointOutcome::Written);
        let expected = Row {
            sub_sequence_number: Some(2),
            stream_arn: Some(STREAM.to_owned()),
            application: Some("app".to_owned()),
            arrival_ms: Some(5),
            updated_ms: Some(7),
            ..Row::new(RowCheckpoint::At("9".parse().expect("digits")))
        };
        assert_eq!(table.row(SHARD), Some(expected));
    }

    #[test]
    fn a_row_moves_forward_in_integer_order() {
        check(mirrored("9/2"), "9/3", CheckpointOutcome::Written);
        check(mirrored("9/2"), "10/0", CheckpointOutcome::Written);
        check(mirrored("9/2"), "9/2", ahead("9/2"));
        check(mirrored("9/2"), "9/1", ahead("9/2"));
        check(mirrored("10/0"), "9/5", ahead("10/0"));
        check(mirrored("10/0"), "11/0", CheckpointOutcome::Written);
        check(mirrored("99999999999999999999/0"), "100000000000000000000/0", CheckpointOutcome::Written);
    }

    #[test]
    fn a_row_of_another_program_is_taken_over_unless_it_is_further() {
        for start in [RowCheckpoint::TrimHorizon, RowCheckpoint::Latest, RowCheckpoint::AtTimestamp] {
            check(Row::new(start), "9/0", CheckpointOutcome::Written);
        }
        check(Row::new(RowCheckpoint::ShardEnd), "9/0", CheckpointOutcome::AlreadyAhead { at: None });
        let at_nine = RowCheckpoint::At("9".parse().expect("digits"));
        check(Row::new(at_nine), "9/0", CheckpointOutcome::Written);
        check(Row::new(at_nine), "8/4", ahead("9/0"));
        check(Row { sub_sequence_number: Some(0), ..Row::new(at_nine) }, "9/0", ahead("9/0"));
    }

    #[test]
    fn a_row_that_a_kcl_worker_owns_is_left_alone() {
        for checkpoint in [RowCheckpoint::TrimHorizon, RowCheckpoint::ShardEnd] {
            let row = Row { lease_owner: Some("worker-1".to_owned()), ..Row::new(checkpoint) };
            check(row, "9/0", CheckpointOutcome::OwnedByKcl { owner: "worker-1".to_owned() });
        }
        // It was the mirror's row, and was taken over.
        let row = Row { lease_owner: Some("worker-1".to_owned()), ..mirrored("9/2") };
        check(row, "10/0", CheckpointOutcome::OwnedByKcl { owner: "worker-1".to_owned() });
    }

    #[test]
    fn a_row_of_another_stream_or_application_is_refused() {
        let other = "arn:aws:kinesis:us-east-1:123456789012:stream/other";
        let row = Row { stream_arn: Some(other.to_owned()), ..mirrored("9/2") };
        check(row, "10/0", CheckpointOutcome::Refused(Refusal::OtherStream { stream_arn: other.to_owned() }));
        let row = Row { application: Some("other".to_owned()), ..mirrored("9/2") };
        let refused =
            CheckpointOutcome::Refused(Refusal::OtherApplication { application: "other".to_owned() });
        check(row.clone(), "10/0", refused.clone());
        check(Row { lease_owner: Some("worker-1".to_owned()), ..row }, "10/0", refused);
        let row = Row { application: None, ..mirrored("9/2") };
        let nobody = Refusal::OtherApplication { application: String::new() };
        check(row, "10/0", CheckpointOutcome::Refused(nobody));
    }

    #[test]
    fn a_write_that_is_tried_again_after_a_lost_answer_is_written() {
        check(Row { updated_ms: Some(7), ..mirrored("9/2") }, "9/2", CheckpointOutcome::Written);
    }
}
