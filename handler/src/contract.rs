//! The contracts of stores, as functions that test a store of your own. They need the feature `contract`.
//!
//! ```
//! use kinesis_handler::{contract, journal::MemoryJournal};
//!
//! # async fn test() {
//! contract::check_journal(&MemoryJournal::default()).await;
//! # }
//! ```

use crate::{
    SequenceNumber,
    checkpoint::{Checkpoint, CheckpointOutcome, CheckpointPosition, CheckpointStore, Refusal},
    circuit::{CircuitStore, OpenCircuit},
    journal::{
        JournalShard, JournalStore, JournalWrite, Progress, RecordState, StateKind, StateRange, WriteOutcome,
    },
};

const APPLICATION: &str = "contract";
const STREAM: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/contract";
const SHARD_ID: &str = "shardId-000000000000";
const SHARD: JournalShard<'static> =
    JournalShard { application: APPLICATION, stream_arn: STREAM, shard_id: SHARD_ID };

fn number(number: u64) -> SequenceNumber {
    number.to_string().parse().expect("digits are a sequence number")
}

fn state(kind: StateKind, sequence_number: u64, version: u64) -> RecordState {
    let written_by = format!("{sequence_number}/{version}");
    let mut state = RecordState::first(kind, number(sequence_number), Progress::default(), written_by, 7_000);
    state.version = version;
    state
}

/// Returns the numbers and versions of the entries in a range, and of so many before it.
async fn read(
    store: &dyn JournalStore,
    shard: JournalShard<'_>,
    kind: StateKind,
    range: (u64, u64),
    earlier: usize,
) -> Vec<(String, u64)> {
    let (from, through) = (number(range.0), number(range.1));
    let entries = store.read(shard, StateRange { kind, from, through, earlier }).await;
    let entries = entries.expect("a journal can be read");
    assert!(entries.unreadable.is_empty(), "unreadable items: {:?}", entries.unreadable);
    entries.states.iter().map(|state| (state.sequence_number.to_string(), state.version)).collect()
}

async fn write(
    store: &dyn JournalStore,
    writes: &[(JournalShard<'_>, &RecordState, Option<u64>)],
) -> WriteOutcome {
    let writes: Vec<_> = writes
        .iter()
        .map(|&(shard, state, expected_version)| JournalWrite {
            shard,
            state,
            expected_version,
            quarantined: &[],
        })
        .collect();
    store.write(&writes).await.expect("a journal can be written")
}

#[track_caller]
fn check(found: &[(String, u64)], expected: &[(u64, u64)], rule: &str) {
    let expected: Vec<_> = expected.iter().map(|(number, version)| (number.to_string(), *version)).collect();
    assert_eq!(found, expected, "{rule}");
}

/// Checks that a journal keeps its contract. It writes under the application `contract`, of which the store must be empty.
///
/// # Panics
///
/// If the store breaks the contract, with the rule that it breaks.
pub async fn check_journal(store: &dyn JournalStore) {
    use StateKind::{Discarded, Retry};

    check(&read(store, SHARD, Retry, (0, 99), 9).await, &[], "a journal without entries is empty");

    let [first, second] = [state(Retry, 10, 1), state(Retry, 20, 1)];
    let outcome = write(store, &[(SHARD, &first, None), (SHARD, &second, None)]).await;
    assert_eq!(outcome, WriteOutcome::Written, "entries are written if there are none");
    check(
        &read(store, SHARD, Retry, (0, 99), 0).await,
        &[(10, 1), (20, 1)],
        "a read returns the last write, in order",
    );
    assert_eq!(
        store
            .read(SHARD, StateRange { kind: Retry, from: number(10), through: number(10), earlier: 0 })
            .await
            .expect("a journal can be read")
            .states,
        std::slice::from_ref(&first),
        "an entry is read as it was written"
    );

    let outcome = write(store, &[(SHARD, &first, None)]).await;
    assert_eq!(outcome, WriteOutcome::Conflict, "an entry is not written over another one unexpectedly");
    let next = state(Retry, 10, 2);
    let outcome = write(store, &[(SHARD, &next, Some(7))]).await;
    assert_eq!(outcome, WriteOutcome::Conflict, "an entry is not written over another version");
    let third = state(Retry, 30, 1);
    let outcome = write(store, &[(SHARD, &third, None), (SHARD, &next, Some(7))]).await;
    assert_eq!(outcome, WriteOutcome::Conflict, "one conflict is that of the whole write");
    check(
        &read(store, SHARD, Retry, (0, 99), 0).await,
        &[(10, 1), (20, 1)],
        "a write is stored as a whole or not at all",
    );
    let outcome = write(store, &[(SHARD, &next, Some(1)), (SHARD, &third, None)]).await;
    assert_eq!(outcome, WriteOutcome::Written, "the expected version is written over");
    check(
        &read(store, SHARD, Retry, (0, 99), 0).await,
        &[(10, 2), (20, 1), (30, 1)],
        "a write replaces a version",
    );

    check(&read(store, SHARD, Retry, (15, 20), 0).await, &[(20, 1)], "a range includes both of its ends");
    check(
        &read(store, SHARD, Retry, (25, 99), 1).await,
        &[(20, 1), (30, 1)],
        "earlier entries are the latest ones",
    );
    check(
        &read(store, SHARD, Retry, (25, 26), 9).await,
        &[(10, 2), (20, 1)],
        "earlier entries come without a range's own",
    );

    check(&read(store, SHARD, Discarded, (0, 99), 9).await, &[], "kinds do not see each other");
    let other_stream = format!("{STREAM}-2");
    for other in [
        JournalShard { application: "contract-2", ..SHARD },
        JournalShard { stream_arn: &other_stream, ..SHARD },
        JournalShard { shard_id: "shardId-000000000001", ..SHARD },
    ] {
        check(
            &read(store, other, Retry, (0, 99), 9).await,
            &[],
            "shards, streams and applications do not see each other",
        );
        store.delete(other, Retry, number(10)).await.expect("deleting what is not there is not an error");
    }
    store.delete(SHARD, Discarded, number(10)).await.expect("deleting what is not there is not an error");
    store.delete(SHARD, Retry, number(10)).await.expect("an entry can be deleted");
    check(
        &read(store, SHARD, Retry, (0, 99), 9).await,
        &[(20, 1), (30, 1)],
        "a deletion deletes one entry, of any version",
    );
    for (version, expected, rule) in [
        (2, WriteOutcome::Conflict, "an entry of another version is not deleted"),
        (1, WriteOutcome::Written, "an entry of this version is deleted"),
        (1, WriteOutcome::Written, "deleting a version of what is not there is no conflict"),
    ] {
        let outcome = store.delete_version(SHARD, Retry, number(20), version).await;
        assert_eq!(outcome.expect("an entry can be deleted"), expected, "{rule}");
    }
    check(&read(store, SHARD, Retry, (0, 99), 9).await, &[(30, 1)], "a deletion deletes one entry");
    for number in [20, 30].map(number) {
        store.delete(SHARD, Retry, number).await.expect("an entry can be deleted");
    }
}

/// Checks that a store of checkpoints keeps its contract. It writes rows of the shards `shardId-000000000000` and
/// `shardId-000000000001`, of which the store must be empty.
///
/// # Panics
///
/// If the store breaks the contract, with the rule that it breaks.
pub async fn check_checkpoints(store: &dyn CheckpointStore) {
    let checkpoint = |sequence_number: u64, sub_sequence_number, now_ms| Checkpoint {
        application: APPLICATION,
        stream_arn: STREAM,
        shard_id: SHARD_ID,
        position: CheckpointPosition { sequence_number: number(sequence_number), sub_sequence_number },
        arrival_ms: Some(1),
        now_ms,
    };
    let write = async |checkpoint| store.write(checkpoint).await.expect("a checkpoint can be written");
    let at = |sequence_number: u64, sub_sequence_number| {
        let position = CheckpointPosition { sequence_number: number(sequence_number), sub_sequence_number };
        CheckpointOutcome::AlreadyAhead { at: Some(position) }
    };

    assert_eq!(
        write(checkpoint(9, 1, 10)).await,
        CheckpointOutcome::Written,
        "the first checkpoint makes the row"
    );
    assert_eq!(
        write(checkpoint(9, 2, 20)).await,
        CheckpointOutcome::Written,
        "a row moves on inside an aggregate"
    );
    assert_eq!(write(checkpoint(9, 1, 30)).await, at(9, 2), "a row does not move back inside an aggregate");
    // As integers: as text, 10 is before 9.
    assert_eq!(
        write(checkpoint(10, 0, 40)).await,
        CheckpointOutcome::Written,
        "a row moves on in the order of integers"
    );
    assert_eq!(write(checkpoint(9, 5, 50)).await, at(10, 0), "a row does not move back");
    assert_eq!(write(checkpoint(10, 0, 60)).await, at(10, 0), "a row is not written twice for one position");
    assert_eq!(
        write(checkpoint(10, 0, 40)).await,
        CheckpointOutcome::Written,
        "a write whose answer was lost may be repeated"
    );

    let other_stream = format!("{STREAM}-2");
    let other = Checkpoint { stream_arn: &other_stream, ..checkpoint(11, 0, 70) };
    let refusal = Refusal::OtherStream { stream_arn: STREAM.to_owned() };
    assert_eq!(write(other).await, CheckpointOutcome::Refused(refusal), "a row stays with its stream");
    let other = Checkpoint { application: "contract-2", ..checkpoint(11, 0, 80) };
    let refusal = Refusal::OtherApplication { application: APPLICATION.to_owned() };
    assert_eq!(write(other).await, CheckpointOutcome::Refused(refusal), "a row stays with its application");

    let other = Checkpoint { shard_id: "shardId-000000000001", ..checkpoint(1, 0, 90) };
    assert_eq!(write(other).await, CheckpointOutcome::Written, "shards do not see each other");
    assert_eq!(
        write(checkpoint(11, 0, 100)).await,
        CheckpointOutcome::Written,
        "a refused checkpoint leaves the row as it was"
    );
}

/// Checks that a store of circuits keeps its contract. It uses IDs that begin with `contract`, of which the store must have none.
///
/// # Panics
///
/// If the store breaks the contract, with the rule that it breaks.
pub async fn check_circuits(store: &dyn CircuitStore) {
    const USABLE: &str = "a store of circuits can be used";
    let id = "contract#circuit#one";
    let circuit =
        |since_ms, until_ms, error: &str| OpenCircuit { since_ms, until_ms, error: error.to_owned() };
    let read = async || store.read(id).await.expect(USABLE);
    let open = async |circuit: OpenCircuit| store.open(id, &circuit).await.expect(USABLE);
    let claim = async |read_ms, until_ms| store.claim(id, read_ms, until_ms).await.expect(USABLE);
    let close = async |until_ms| store.close(id, until_ms).await.expect(USABLE);

    assert_eq!(read().await, None, "a circuit that nobody has opened is closed");
    close(30).await;
    assert!(!claim(30, 40).await, "a closed circuit is not claimed");
    assert_eq!(read().await, None, "a claim opens nothing");

    open(circuit(10, 30, "first")).await;
    assert_eq!(read().await, Some(circuit(10, 30, "first")), "a circuit is read as it was opened");
    open(circuit(15, 25, "earlier")).await;
    assert_eq!(read().await, Some(circuit(10, 30, "first")), "a circuit is not open for a shorter time");
    open(circuit(20, 40, "second")).await;
    assert_eq!(
        read().await,
        Some(circuit(10, 40, "second")),
        "a circuit keeps the time since which it is not closed"
    );

    assert!(!claim(30, 50).await, "what has changed since it was read is not claimed");
    assert!(claim(40, 50).await, "an open circuit is claimed");
    assert!(!claim(40, 60).await, "one environment claims a circuit");
    assert_eq!(read().await, Some(circuit(10, 50, "second")), "a claim changes the time alone");

    close(40).await;
    assert_eq!(
        read().await,
        Some(circuit(10, 50, "second")),
        "what has changed since it was claimed is not closed"
    );
    store.open("contract#circuit#two", &circuit(1, 50, "other")).await.expect(USABLE);
    close(50).await;
    assert_eq!(read().await, None, "a circuit is closed");
    let other = store.read("contract#circuit#two").await.expect(USABLE);
    assert_eq!(other, Some(circuit(1, 50, "other")), "circuits do not see each other");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{checkpoint::MemoryCheckpoints, circuit::MemoryCircuits, journal::MemoryJournal};

    #[tokio::test]
    async fn the_stores_in_memory_keep_the_contracts() {
        check_journal(&MemoryJournal::default()).await;
        check_checkpoints(&MemoryCheckpoints::default()).await;
        check_circuits(&MemoryCircuits::default()).await;
    }
}
