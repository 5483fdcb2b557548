use std::collections::BTreeMap;

use kinesis_handler::checkpoint::{Row, RowCheckpoint};

use super::Positions;
use crate::{
    args::{CheckpointCompleteArgs, Start},
    error::{Completion, Error},
    lease_table::{self, Lease, Mirror, NewLease},
    output::note::{count, note, warning},
    stream::now_ms,
};

/// Adds the rows that a KCL application needs: it makes none itself in a table that has any.
pub(super) async fn run(args: &CheckpointCompleteArgs) -> Result<Completion, Error> {
    let mut positions = Positions::open(&args.of).await?;
    let (mut added, mut described) = (0, 0);
    loop {
        let leases = positions.leases().await?;
        // Rows of the children of a shard that was split meanwhile are not among them.
        if positions.list_new_shards().await? {
            continue;
        }
        let (more_added, more_described) = complete(args, &positions, &leases).await?;
        (added, described) = (added + more_added, described + more_described);
        if args.dry_run || !positions.list_new_shards().await? {
            break;
        }
    }
    match args.dry_run {
        true => note(format_args!("{} would be added", count(added, "row"))),
        false => note(format_args!(
            "{} added; parents and hash keys added to {}",
            count(added, "row"),
            count(described, "row")
        )),
    }
    Ok(Completion::Done)
}

/// Adds the rows that these leases lack. Returns the number of new rows, and of those that have got parents and hash keys.
async fn complete(
    args: &CheckpointCompleteArgs,
    positions: &Positions,
    leases: &BTreeMap<String, Lease>,
) -> Result<(u64, u64), Error> {
    let of_several = leases.values().find(|lease| lease.row.stream_identifier.is_some());
    positions.check_may_add(of_several.map(|lease| lease.key.as_str()))?;
    let rows: BTreeMap<String, Row> =
        leases.iter().map(|(id, lease)| (id.clone(), lease.row.clone())).collect();
    let mirror = Mirror::of(rows.values());
    let passed = lease_table::passed(&positions.shards, &rows);
    let unknown = lease_table::unknown(&positions.shards, &rows, &passed);
    let now_ms = now_ms();
    let (mut added, mut described) = (0, 0);
    for shard in &positions.shards {
        if let Some(lease) = leases.get(&shard.id) {
            if lease.row.lease_owner.is_none()
                && !args.dry_run
                && positions.table.describe_shard(lease, shard).await?
            {
                described += 1;
            }
            continue;
        }
        // It is drained: a KCL application needs no row of it.
        if passed.contains(&shard.id) {
            continue;
        }
        let is_unknown = unknown.contains(&shard.id.as_str());
        let start = match args.unknown {
            Start::Latest if is_unknown => RowCheckpoint::Latest,
            Start::Latest | Start::TrimHorizon => RowCheckpoint::TrimHorizon,
        };
        if is_unknown && start == RowCheckpoint::TrimHorizon {
            warning(format_args!(
                "warning: nothing says what of shard {} is processed: all of it will be processed",
                shard.id
            ));
        }
        let does = if args.dry_run { "would be added" } else { "added" };
        let lease = NewLease::without_record(start);
        if args.dry_run || positions.table.add(shard, &lease, mirror.as_ref(), now_ms).await? {
            added += 1;
            note(format_args!("{does}: {}/{start}", shard.id));
        }
    }
    Ok((added, described))
}
