use futures_util::{StreamExt, TryStreamExt, stream};
use kinesis_handler::checkpoint::{CheckpointPosition, FrozenPosition, Row, RowCheckpoint};

use super::{Cutover, function::TargetFunction, report, saved::Plan};
use crate::{
    commands::checkpoint::start::{MappingStart, Start, has_records_from},
    error::Error,
    lease_table::{Lease, Leases, Mirror, NewLease, Processed, READERS},
    output::{
        cell,
        note::{count, error, note},
    },
    stream::now_ms,
};

/// The longest time for which positions are frozen, in milliseconds: what is in the stream for longer is of no mapping that was made
/// just now, and a mapping that an operator makes later, to process records again, must not skip them.
const MAX_FROZEN_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// The positions that were frozen.
#[derive(Debug)]
pub(super) struct Frozen {
    /// Start of the new mapping.
    pub(super) start: MappingStart,
    /// Time from which they do not count any more, in milliseconds since 1970.
    pub(super) expires_ms: u64,
    /// Shards whose positions are not known, so that they were not frozen.
    pub(super) unknown: Vec<String>,
}

impl Cutover<'_> {
    /// Finds the start of the new mapping, and freezes the positions that it follows from. `None` if one of them has moved meanwhile,
    /// which is reported.
    pub(super) async fn freeze(&mut self, function: &TargetFunction) -> Result<Option<Frozen>, Error> {
        let began_ms = now_ms();
        // While the mapping was being disabled, children of a shard that was split may have been processed.
        self.positions.list_new_shards().await?;
        let leases = self.leases(function).await?;
        let start = Start::find(&self.positions, &leases, began_ms).await?;
        report(&start, "the new mapping starts");
        let expires_ms = began_ms + self.positions.stream.retention_ms.min(MAX_FROZEN_MS);
        let added = self.add_drained(&leases, &start, function).await?;
        let is_known = |shard_id: &String| start.unknown.iter().all(|(unknown, _)| unknown != shard_id);
        let known = leases
            .by_shard
            .iter()
            .filter(|(id, _)| is_known(id))
            .chain(added.iter().map(|(id, lease)| (id, lease)));
        let frozen: Vec<(&String, &Lease, FrozenPosition)> =
            known.filter_map(|(id, lease)| Some((id, lease, frozen_position(lease, expires_ms)?))).collect();
        let table = &self.positions.table;
        let written =
            stream::iter(&frozen)
                .map(|(id, lease, frozen)| async move {
                    Ok::<_, Error>((*id, table.freeze(lease, frozen).await?))
                })
                .buffered(READERS);
        let written: Vec<(&String, bool)> = written.try_collect().await?;
        let moved: Vec<&String> =
            written.iter().filter(|(_, is_written)| !is_written).map(|(id, _)| *id).collect();
        for shard_id in &moved {
            error(format_args!(
                "{shard_id}: its position was written meanwhile, so an invocation is running: try again"
            ));
        }
        if !moved.is_empty() {
            note(
                "the mapping is still disabled, and nothing is deleted: give the command again, or undo it with `kinesis-kit resume`",
            );
            return Ok(None);
        }
        note(format_args!(
            "{} frozen until {} UTC at the latest",
            count(frozen.len() as u64, "position"),
            cell::time(expires_ms)
        ));
        let unknown = start.unknown.into_iter().map(|(shard_id, _)| shard_id).collect();
        Ok(Some(Frozen { start: start.at, expires_ms, unknown }))
    }

    /// Returns an error if the positions that an earlier run has frozen do not count any more: the new mapping of its plan would
    /// process records again.
    pub(super) async fn check_frozen(&self, plan: &Plan) -> Result<(), Error> {
        let refused = |why: String| {
            Err(Error::Usage(format!(
                "the plan of an earlier cut-over is out of date, because {why}: delete its progress file, and take --no-mapping to \
                 freeze the positions again and find the start of the new mapping"
            )))
        };
        if now_ms() >= plan.expires_ms {
            return refused("the frozen positions have expired".to_owned());
        }
        let leases = self.positions.table.read(&self.positions.stream, &self.positions.shards).await?;
        let is_moved = |(shard_id, lease): &(&String, &Lease)| {
            let has_position = frozen_position(lease, 0).is_some() && !plan.unknown.contains(shard_id);
            has_position && lease.row.frozen.map(|frozen| frozen.expires_ms) != Some(plan.expires_ms)
        };
        match leases.by_shard.iter().find(is_moved) {
            Some((shard_id, _)) => refused(format!("{shard_id} was processed since")),
            None => Ok(()),
        }
    }

    /// Adds rows for shards that are drained and have none, as far as the new mapping would deliver records of them again.
    async fn add_drained(
        &self,
        leases: &Leases,
        start: &Start,
        function: &TargetFunction,
    ) -> Result<Vec<(String, Lease)>, Error> {
        let mirror = Mirror {
            application: function.application.clone(),
            stream_arn: self.positions.stream.arn.clone(),
        };
        let mut added = Vec::new();
        for shard in self.positions.shards.iter().filter(|shard| start.passed.contains(&shard.id)) {
            debug_assert!(!leases.by_shard.contains_key(&shard.id), "it has no row");
            if !has_records_from(&self.positions, &shard.id, start.at).await? {
                continue;
            }
            let drained = NewLease::without_record(RowCheckpoint::ShardEnd);
            if self.positions.table.add(shard, &drained, Some(&mirror), now_ms()).await? {
                note(format_args!(
                    "{}: added a row, because its descendants have positions: it is drained",
                    shard.id
                ));
                let mut row = Row::new(RowCheckpoint::ShardEnd);
                row.lease_counter = 0;
                added.push((shard.id.clone(), Lease { key: shard.id.clone(), row }));
            }
        }
        Ok(added)
    }
}

/// Returns the number of positions that would be frozen now, without those of drained shards, whose rows are still to be added.
pub(super) fn positions(leases: &Leases, start: &Start) -> usize {
    let is_unknown = |id: &String| start.unknown.iter().any(|(unknown, _)| unknown == id);
    let known = leases.by_shard.iter().filter(|(id, _)| !is_unknown(id));
    known.filter(|(_, lease)| frozen_position(lease, 0).is_some()).count()
}

/// Returns what is frozen for a lease. `None` if nothing of its shard is processed.
fn frozen_position(lease: &Lease, expires_ms: u64) -> Option<FrozenPosition> {
    let through = match Processed::of(lease)? {
        // No lease is at a time.
        Processed::Nothing | Processed::Before(_) => return None,
        Processed::Through(sequence_number, sub_sequence_number) => {
            Some(CheckpointPosition { sequence_number, sub_sequence_number })
        }
        Processed::Everything => None,
    };
    Some(FrozenPosition { through, expires_ms })
}
