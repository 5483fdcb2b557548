use std::{
    collections::HashSet,
    io::{self, IsTerminal, Write},
    rc::Rc,
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use kinesis_handler::journal::{JournalShard, RecordState, StateKind};
use tokio::time::sleep;

use super::{
    Positions,
    start::{self, MappingStart},
    status_table::{ShardStatus, State, StatusTable},
};
use crate::{
    args::{CheckpointStatusArgs, LeaseTableArgs},
    error::{Completion, Error, chain},
    journal_table::{JournalTable, ShardFilter},
    lease_table::{self, Backlog, Lease, Leases, Processed, READERS, WaitLimit, unread},
    output::{
        cell,
        note::{count, note, warning},
    },
    run::interrupts::Interrupts,
    stream::{ReadPace, Shard, now_ms},
};

pub(super) async fn run(args: &CheckpointStatusArgs) -> Result<Completion, Error> {
    let Some(seconds) = args.watch else { return show(args).await };
    let mut interrupts = Interrupts::listen().map_err(Error::Start)?;
    let is_terminal = io::stdout().is_terminal();
    let watch = async {
        loop {
            if is_terminal {
                // Clears the screen, and begins at its top.
                io::stdout().write_all(b"\x1b[2J\x1b[H")?;
            }
            show(args).await?;
            io::stdout().flush()?;
            sleep(Duration::from_secs(seconds)).await;
        }
    };
    tokio::select! {
        ended = watch => ended,
        // The usual end.
        _ = interrupts.next() => Ok(Completion::Done),
    }
}

async fn show(args: &CheckpointStatusArgs) -> Result<Completion, Error> {
    let began_ms = now_ms();
    let LeaseTableArgs { table, stream } = &args.of;
    let positions = Positions::open(&args.of).await?;
    positions.check_shards(&args.shards)?;
    let leases = positions.table.read(&positions.stream, &positions.shards).await?;
    if let Some(found) = leases.found_instead() {
        warning(format_args!("warning: table {table} has no row of a shard of the stream: {found}"));
    }
    let rows = leases.by_shard.iter().map(|(id, lease)| (id.clone(), lease.row.clone())).collect();
    let status = Status {
        passed: lease_table::passed(&positions.shards, &rows),
        journal: match &args.journal_table {
            Some(journal) => Some(open_journal(journal, &positions.stream.arn).await?),
            None => None,
        },
        positions,
        leases,
        counts: args.count,
    };
    let shards = status.positions.shards.iter().filter(|shard| super::is_selected(&args.shards, &shard.id));
    let statuses: Vec<ShardStatus> =
        stream::iter(shards).map(|shard| status.of(shard)).buffered(READERS).try_collect().await?;
    let mut table_of_shards = StatusTable::new(args.format, args.count, io::stdout().lock());
    for shard in &statuses {
        table_of_shards.add(shard)?;
    }
    table_of_shards.finish()?;
    let missing = statuses.iter().filter(|status| status.state == State::Missing).count() as u64;
    if missing > 0 {
        note(format_args!(
            "{} without a row: before a KCL application takes over, add rows with `kinesis-kit checkpoint complete --table \
             {table} --stream {stream}`",
            count(missing, "shard")
        ));
    }
    let mut backlog = Backlog::default();
    statuses.iter().for_each(|status| backlog.add(status.unread));
    note(backlog.text(WaitLimit::retention(status.positions.stream.retention_ms)));
    // Of some of the shards it would be too late for the others.
    if args.shards.is_empty() {
        note_start(mapping_start(&statuses, start::last_processed_ms(&status.leases), began_ms));
    }
    note_cutover(&statuses);
    let is_whole = statuses.iter().all(|status| !status.state.is_problem());
    Ok(if is_whole { Completion::Done } else { Completion::SomeFailed })
}

async fn open_journal(table: &str, stream_arn: &str) -> Result<JournalTable, Error> {
    let stream = stream_arn.parse().map_err(|error| Error::Usage(format!("{stream_arn}: {error}")))?;
    JournalTable::open(table, &ShardFilter { stream: Some(stream), ..ShardFilter::default() }).await
}

/// Says where a new mapping must start.
fn note_start(start: MappingStart) {
    match start {
        MappingStart::TrimHorizon => {
            note("a new mapping must start at TRIM_HORIZON: the position of a shard is not known");
        }
        start @ MappingStart::AtTimestamp(_) => {
            note(format_args!("a new mapping loses nothing if it starts {start}"));
        }
    }
}

/// Returns the start of a new mapping. `began_ms` is a time before the first shard was read, in milliseconds since 1970.
fn mapping_start(statuses: &[ShardStatus], last_processed_ms: Option<u64>, began_ms: u64) -> MappingStart {
    let is_unknown = |status: &ShardStatus| matches!(status.state, State::Unreadable(_) | State::NotBegun);
    if statuses.iter().any(is_unknown) {
        return MappingStart::TrimHorizon;
    }
    let first_ms = statuses.iter().filter_map(|status| status.unread?.first_arrival_ms).min();
    MappingStart::of(first_ms, last_processed_ms, began_ms)
}

/// Says how many shards have not come past the frozen position of a cut-over.
fn note_cutover(statuses: &[ShardStatus]) {
    let pending = statuses.iter().filter_map(ShardStatus::pending_cutover);
    if let Some(last_ms) = pending.clone().map(|frozen| frozen.expires_ms).max() {
        note(format_args!(
            "a cut-over is pending in {}: it ends when a record after the frozen position is processed, or at {} UTC",
            count(pending.count() as u64, "shard"),
            cell::time(last_ms)
        ));
    }
}

/// All that is needed to tell about a shard.
struct Status {
    positions: Positions,
    leases: Leases,
    /// Shards that have descendants with a position.
    passed: HashSet<String>,
    journal: Option<JournalTable>,
    counts: bool,
}

impl Status {
    async fn of(&self, shard: &Shard) -> Result<ShardStatus, Error> {
        let lease = self.leases.by_shard.get(&shard.id);
        let mut status = ShardStatus::new(&shard.id, lease);
        if let Some(error) = self.leases.unreadable.get(&shard.id) {
            status.state = State::Unreadable(chain(error));
            return Ok(status);
        }
        let processed = Processed::of_shard(lease, self.passed.contains(&shard.id));
        status.state = match (lease, processed) {
            (None, Some(Processed::Everything)) => State::Passed,
            (None, _) => State::Missing,
            (Some(_), Some(Processed::Everything)) => State::Drained,
            (Some(_), Some(_)) => State::Known,
            (Some(_), None) => State::NotBegun,
        };
        if let Some(processed) = processed {
            let pace = Rc::new(ReadPace::default());
            match unread(&self.positions.api, &pace, &shard.id, processed, self.counts).await {
                Ok(found) => status.unread = Some(found),
                // It may be about this shard only, such as a position of another stream.
                Err(error) => status.state = State::Unreadable(chain(&error)),
            }
        }
        status.failing = self.failing(&shard.id, lease).await?;
        Ok(status)
    }

    /// Returns the first Kinesis record of the shard that has failed and is retried.
    async fn failing(&self, shard_id: &str, lease: Option<&Lease>) -> Result<Option<RecordState>, Error> {
        let (Some(journal), Some(lease)) = (&self.journal, lease) else { return Ok(None) };
        let Some(application) = &lease.row.application else { return Ok(None) };
        let shard = JournalShard { application, stream_arn: &self.positions.stream.arn, shard_id };
        let entries = journal.states(shard, StateKind::Retry).await?;
        Ok(entries.states.into_iter().find(|state| !state.progress.attempts.is_empty()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lease_table::Unread;

    #[track_caller]
    fn check_start(first_arrivals_ms: &[Option<u64>], expected_s: u64) {
        let status = |&first_arrival_ms: &Option<u64>| {
            let mut status = ShardStatus::new("shardId-000000000000", None);
            status.unread = Some(Unread { first_arrival_ms, counted: None });
            status
        };
        let statuses: Vec<_> = first_arrivals_ms.iter().map(status).collect();
        let start = mapping_start(&statuses, Some(1_000_000), 1_000_000);
        assert_eq!(start, MappingStart::AtTimestamp(expected_s));
    }

    #[test]
    fn a_new_mapping_starts_before_the_first_record_that_may_not_be_processed() {
        check_start(&[], 940);
        check_start(&[None, None], 940);
        check_start(&[None, Some(900_000), Some(950_999)], 840);
        // It arrived while shards were read, and so may one in the other shard, a moment after that was read.
        check_start(&[None, Some(1_100_000)], 940);
        let mut unknown = ShardStatus::new("shardId-000000000000", None);
        unknown.state = State::NotBegun;
        assert_eq!(mapping_start(&[unknown], None, 1_000_000), MappingStart::TrimHorizon);
    }
}
