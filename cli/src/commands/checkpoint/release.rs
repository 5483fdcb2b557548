use std::time::Duration;

use tokio::time::sleep;

use super::{Positions, is_selected};
use crate::{
    args::CheckpointReleaseArgs,
    error::{Completion, Error},
    lease_table::Lease,
    output::{
        meter,
        note::{count, error, note, warning},
    },
};

/// Takes leases from owners that no longer renew them.
pub(super) async fn run(args: &CheckpointReleaseArgs) -> Result<Completion, Error> {
    let positions = Positions::open(&args.of).await?;
    positions.check_shards(&args.shards)?;
    let mut leases = positions.leases().await?;
    let is_of_one =
        |lease: &Lease| lease.row.lease_owner.as_ref().is_some_and(|name| args.owners.contains(name));
    leases.retain(|id, lease| is_selected(&args.shards, id) && is_of_one(lease));
    let has_lease =
        |owner: &&String| leases.values().any(|lease| lease.row.lease_owner.as_ref() == Some(*owner));
    let of = positions.table.name();
    let (owners, others): (Vec<&String>, Vec<&String>) = args.owners.iter().partition(has_lease);
    for owner in &others {
        let what = format!("table {of}: no selected lease has the owner {owner:?}");
        match owners.is_empty() {
            true => return Err(Error::Usage(what)),
            // An earlier run may have released its leases.
            false => warning(format_args!("warning: {what}")),
        }
    }
    {
        let owners = owners.iter().map(|owner| owner.as_str()).collect::<Vec<_>>().join(", ");
        let _waiting = meter::wait(format!("{owners} to renew leases"));
        note(format_args!(
            "{} of {owners}: looking for {} seconds whether they are renewed",
            count(leases.len() as u64, "lease"),
            args.wait
        ));
        sleep(Duration::from_secs(args.wait)).await;
    }
    let now = positions.leases().await?;
    let (mut released, mut kept) = (0, 0);
    for (shard_id, lease) in &leases {
        let is_renewed = now.get(shard_id).is_none_or(|now| now.row.lease_counter != lease.row.lease_counter);
        if is_renewed {
            error(format_args!("{shard_id}: kept, because it was written meanwhile: the owner is alive"));
            kept += 1;
        } else if !args.yes {
            note(format_args!("{shard_id}: would be released"));
        } else if positions.table.release(lease).await? {
            note(format_args!("{shard_id}: released"));
            released += 1;
        } else {
            error(format_args!("{shard_id}: kept, because it was written meanwhile: the owner is alive"));
            kept += 1;
        }
    }
    if !args.yes {
        note("nothing was changed: add --yes");
        return Ok(Completion::SomeFailed);
    }
    note(format_args!("{} released, {kept} kept", count(released, "lease")));
    Ok(if kept == 0 { Completion::Done } else { Completion::SomeFailed })
}
