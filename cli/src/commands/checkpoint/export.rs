use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::{Positions, is_selected};
use crate::{
    args::CheckpointExportArgs,
    error::{Completion, Error},
    lease_table::Lease,
    output::{
        json,
        note::{count, note},
    },
};

/// The position of a shard, as a line of JSON.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct PositionLine {
    pub(super) shard_id: String,
    pub(super) checkpoint: String,
    #[serde(default)]
    pub(super) sub_sequence_number: u64,
    #[serde(default)]
    pub(super) lease_owner: Option<String>,
    #[serde(default)]
    pub(super) application: Option<String>,
    pub(super) stream_arn: String,
}

pub(super) async fn run(args: &CheckpointExportArgs) -> Result<Completion, Error> {
    let positions = Positions::open(&args.of).await?;
    positions.check_shards(&args.shards)?;
    let leases = positions.leases().await?;
    let mut output = io::stdout().lock();
    let mut written = 0;
    for (shard_id, Lease { row, .. }) in leases.iter().filter(|(id, _)| is_selected(&args.shards, id)) {
        let line = PositionLine {
            shard_id: shard_id.clone(),
            checkpoint: row.checkpoint.to_string(),
            sub_sequence_number: row.sub_sequence_number.unwrap_or(0),
            lease_owner: row.lease_owner.clone(),
            application: row.application.clone(),
            stream_arn: positions.stream.arn.clone(),
        };
        json::write(&mut output, &line)?;
        output.write_all(b"\n")?;
        written += 1;
    }
    output.flush()?;
    note(format_args!("{} of {}", count(written, "position"), positions.stream.arn));
    Ok(Completion::Done)
}
