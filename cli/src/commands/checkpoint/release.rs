use std::time::Duration;

use tokio::time::sleep;

use super::{Positions, is_selected};
use crate::{
    args::CheckpointReleaseArgs,
    error::{Completion, Error},
    output::{
        meter,
        note::{count, error, note},
    },
};

/// Takes leases from an owner that no longer renews them.
pub(super) async fn run(args: &CheckpointReleaseArgs) -> Result<Completion, Error> {
    let positions = Positions::open(&args.of).await?;
    positions.check_shards(&args.shards)?;
    let is_of_owner = |owner: Option<&str>| owner == Some(args.owner.as_str());
    let mut leases = positions.leases().await?;
    leases.retain(|id, lease| is_selected(&args.shards, id) && is_of_owner(lease.row.lease_owner.as_deref()));
    if leases.is_empty() {
        let of = positions.table.name();
        return Err(Error::Usage(format!("table {of}: no selected lease has the owner {:?}", args.owner)));
    }
    {
        let _waiting = meter::wait(format!("{} to renew its leases", args.owner));
        note(format_args!(
            "{} of {}: looking for {} seconds whether it renews them",
            count(leases.len() as u64, "lease"),
            args.owner,
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
