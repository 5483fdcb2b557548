use std::{path::Path, rc::Rc};

use kinesis_handler::checkpoint::RowCheckpoint;
use kpl_deaggregation::Deaggregator;

use super::{Positions, export::PositionLine};
use crate::{
    args::CheckpointImportArgs,
    aws::AwsError,
    error::{Completion, Error, chain},
    input::Input,
    lease_table::{GoKclLease, LeaseTable, Leases, Mirror, NewLease, user_records},
    output::note::{count, error, note, warning},
    stream::{Position, ReadPace, ShardReader, now_ms},
};

/// Most bytes of a file of positions: a stream has at most some ten thousand shards.
const MAX_FILE_BYTES: u64 = 64 * 1024 * 1024;

/// A position to be imported.
#[derive(Debug)]
struct Imported {
    shard_id: String,
    checkpoint: RowCheckpoint,
    /// `None` if all user records of the Kinesis record are processed, however many it has.
    sub_sequence_number: Option<u64>,
    owner: Option<String>,
}

/// Adds rows with the positions of a file or of another application's table.
pub(super) async fn run(args: &CheckpointImportArgs) -> Result<Completion, Error> {
    let positions = Positions::open(&args.of).await?;
    let stream_arn = positions.stream.arn.clone();
    let mut failed = 0;
    let imported = match (&args.file, &args.from_table) {
        (Some(file), _) => of_file(file, &stream_arn)?,
        (None, Some(table)) => of_table(table, &positions, &mut failed).await?,
        (None, None) => unreachable!("the command line asks for one of them"),
    };
    // What is left out of another stream's positions is all of them.
    if failed == 0 && !imported.iter().any(|position| positions.shard(&position.shard_id).is_some()) {
        return Err(Error::Usage(format!("no position is one of a shard of {stream_arn}")));
    }
    let mirror = Mirror { application: args.application.clone(), stream_arn };
    // Before anything is written: the table may be that of another stream.
    let Leases { by_shard: present, unreadable, of_several_streams, .. } =
        positions.table.read(&positions.stream, &positions.shards).await?;
    positions.check_may_add(of_several_streams.as_deref())?;
    let other = present
        .values()
        .find_map(|lease| lease.row.application.as_ref().filter(|&name| *name != args.application));
    if let Some(other) = other {
        return Err(Error::Usage(format!(
            "table {} is the mirror of the application {other}: a table is that of one application",
            positions.table.name()
        )));
    }
    let (now_ms, mut added, mut same, mut kept) = (now_ms(), 0, 0, 0);
    for position in &imported {
        let Some(shard) = positions.shard(&position.shard_id) else {
            note(format_args!(
                "{}: left out, because the stream no longer has this shard",
                position.shard_id
            ));
            continue;
        };
        if let Some(owner) = &position.owner {
            warning(format_args!(
                "warning: {}: {owner} owns the lease: if it still runs, what it processes from now on will be processed again",
                shard.id
            ));
        }
        // It may be about this shard only, such as a position of another stream.
        let lease = match new_lease(&positions, position).await {
            Ok(lease) => lease,
            Err(failure) => {
                error(format_args!("{}: {}", shard.id, chain(&failure)));
                failed += 1;
                continue;
            }
        };
        if let Some(failure) = unreadable.get(&shard.id) {
            error(format_args!("{}: kept, because its row cannot be read: {}", shard.id, chain(failure)));
            kept += 1;
        } else if let Some(there) = present.get(&shard.id) {
            let is_same = there.row.checkpoint == lease.checkpoint
                && there.row.sub_sequence_number.unwrap_or(0) == lease.sub_sequence_number;
            if is_same {
                same += 1;
                continue;
            }
            error(format_args!("{}: kept at {}: see `checkpoint reset`", shard.id, there.position()));
            kept += 1;
        } else if args.dry_run || positions.table.add(shard, &lease, Some(&mirror), now_ms).await? {
            let does = if args.dry_run { "would be added" } else { "added" };
            note(format_args!("{does}: {}/{}", shard.id, lease.position()));
            added += 1;
        } else {
            error(format_args!("{}: kept, because it was added meanwhile", shard.id));
            kept += 1;
        }
    }
    let does = if args.dry_run { "would be added" } else { "added" };
    let added = count(added, "position");
    note(format_args!("{added} {does}, {same} there already, {kept} kept as they are, {failed} failed"));
    Ok(if kept == 0 && failed == 0 { Completion::Done } else { Completion::SomeFailed })
}

fn of_file(file: &Path, stream_arn: &str) -> Result<Vec<Imported>, Error> {
    let Input { name: input, bytes } = Input::read_at_most(file, MAX_FILE_BYTES)?;
    let text = String::from_utf8(bytes).map_err(|_| Error::Usage(format!("{input} is not UTF-8")))?;
    let mut imported = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let wrong = |what: String| Error::Usage(format!("{input}, line {}: {what}", index + 1));
        let line: PositionLine =
            serde_json::from_str(line).map_err(|error| wrong(crate::error::json_fault(&error)))?;
        if line.stream_arn != stream_arn {
            return Err(wrong(format!("a position of another stream, {}", line.stream_arn)));
        }
        let checkpoint = RowCheckpoint::from_attribute(&line.checkpoint)
            .ok_or_else(|| wrong(format!("checkpoint {:?} is no sequence number", line.checkpoint)))?;
        imported.push(Imported {
            shard_id: line.shard_id,
            checkpoint,
            sub_sequence_number: Some(line.sub_sequence_number),
            owner: line.lease_owner,
        });
    }
    Ok(imported)
}

/// Reads the positions of another application's table. What cannot be read is named and counted.
async fn of_table(table: &str, positions: &Positions, failed: &mut u64) -> Result<Vec<Imported>, Error> {
    let source = LeaseTable::open(table, &positions.stream.arn).await?;
    if !source.is_of_go_kcl().await? {
        let leases = source.read_all(&positions.stream, &positions.shards).await?;
        let imported = leases.into_iter().map(|(shard_id, lease)| Imported {
            shard_id,
            checkpoint: lease.row.checkpoint,
            // A KCL takes none as 0.
            sub_sequence_number: Some(lease.row.sub_sequence_number.unwrap_or(0)),
            owner: lease.row.lease_owner,
        });
        return Ok(imported.collect());
    }
    let mut imported = Vec::new();
    for GoKclLease { shard_id, checkpoint, owner } in source.go_kcl_leases().await? {
        match checkpoint {
            Ok(Some(checkpoint)) => {
                imported.push(Imported { shard_id, checkpoint, sub_sequence_number: None, owner });
            }
            Ok(None) => note(format_args!("{shard_id}: left out, because it has no checkpoint yet")),
            Err(what) => {
                error(format_args!("{shard_id}: {what}"));
                *failed += 1;
            }
        }
    }
    Ok(imported)
}

/// Returns the row for a position, with the arrival of its record if the stream still has it.
async fn new_lease(positions: &Positions, imported: &Imported) -> Result<NewLease, AwsError> {
    let RowCheckpoint::At(number) = imported.checkpoint else {
        return Ok(NewLease::without_record(imported.checkpoint));
    };
    let pace = Rc::new(ReadPace::default());
    let api = Rc::clone(&positions.api);
    let mut reader = ShardReader::begin(api, pace, &imported.shard_id, Position::At(number)).await?;
    let record = loop {
        match reader.page().await? {
            None => break None,
            Some(page) => match page.records.into_iter().next() {
                Some(record) => break Some(record).filter(|record| record.sequence_number == number),
                None if page.is_behind => {}
                None => break None,
            },
        }
    };
    let whole = |record: &_| user_records(record, &mut Deaggregator::default()).saturating_sub(1);
    let sub_sequence_number = match (imported.sub_sequence_number, &record) {
        (Some(number), _) => number,
        (None, Some(record)) => whole(record),
        // The stream has dropped the record, so nothing of it can come again.
        (None, None) => 0,
    };
    let arrival_ms = record.map(|record| record.arrival_ms);
    Ok(NewLease { arrival_ms, ..NewLease::at(number, sub_sequence_number) })
}
