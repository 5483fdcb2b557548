use kinesis_handler::checkpoint::RowCheckpoint;

use super::{Positions, is_selected};
use crate::{
    args::CheckpointResetArgs,
    error::{Completion, Error},
    lease_table::NewLease,
    output::note::{count, error, note},
    stream::{
        now_ms,
        point::{self, StreamPoint},
    },
};

/// Moves leases to a position.
pub(super) async fn run(args: &CheckpointResetArgs) -> Result<Completion, Error> {
    let shard_ids = point::shards(&args.shards, &[&args.to])?;
    let to = match &args.to {
        StreamPoint::TrimHorizon => NewLease::without_record(RowCheckpoint::TrimHorizon),
        StreamPoint::Latest => NewLease::without_record(RowCheckpoint::Latest),
        StreamPoint::At { sequence_number, sub_sequence_number, .. } => {
            NewLease::at(*sequence_number, sub_sequence_number.unwrap_or(0))
        }
        StreamPoint::Checkpoint | StreamPoint::Time(_) | StreamPoint::Ago(_) => {
            let expected = "--to: expected trim-horizon, latest, or SHARD/SEQUENCE-NUMBER:SUB";
            return Err(Error::Usage(expected.to_owned()));
        }
    };
    let positions = Positions::open(&args.of).await?;
    positions.check_shards(&shard_ids)?;
    let leases = positions.leases().await?;
    let now_ms = now_ms();
    let (mut moved, mut kept) = (0, 0);
    for (shard_id, lease) in leases.iter().filter(|(id, _)| is_selected(&shard_ids, id)) {
        let change = format!("{shard_id}: from {} to {}", lease.position(), args.to);
        let why_not = match &lease.row.lease_owner {
            Some(owner) => Some(format!("{owner} owns the lease")),
            None if !args.yes => None,
            None if positions.table.reset(lease, &to, now_ms).await? => None,
            None => Some("it was written meanwhile".to_owned()),
        };
        match why_not {
            None => {
                moved += 1;
                note(change);
            }
            Some(why_not) => {
                kept += 1;
                error(format_args!("{shard_id}: kept at {}, because {why_not}", lease.position()));
            }
        }
    }
    if moved + kept == 0 {
        return Err(Error::Usage("no selected shard has a lease".to_owned()));
    }
    if !args.yes {
        note(format_args!("{} would be moved: add --yes", count(moved, "lease")));
        return Ok(Completion::SomeFailed);
    }
    note(format_args!("{} moved, {kept} kept", count(moved, "lease")));
    Ok(if kept == 0 { Completion::Done } else { Completion::SomeFailed })
}
