use std::collections::BTreeMap;

use kinesis_handler::checkpoint::{DynamoDbCheckpoints, LeaseRows, Row, UnreadableLease};

use crate::{
    aws,
    error::{Error, chain},
    output::note::{count, warning},
    stream::Shard,
};

/// Reads the leases of a stream's shards from a checkpoint table.
///
/// # Errors
///
/// Among others, the table belongs to another stream, holds no lease of these shards, or one that cannot be read:
/// without it everything would count as not processed.
pub(crate) async fn leases(
    table: &str,
    stream_arn: &str,
    shards: &[Shard],
) -> Result<BTreeMap<String, Row>, Error> {
    let client = aws::dynamodb(stream_arn.split(':').nth(3)).await?;
    let rows = DynamoDbCheckpoints::with_client(table, client).rows().await;
    let rows = rows.map_err(|source| Error::Checkpoints { table: table.to_owned(), source })?;
    of_shards(table, stream_arn, rows, |id| shards.iter().any(|shard| shard.id == id))
}

fn of_shards(
    table: &str,
    stream_arn: &str,
    LeaseRows { mut leases, unreadable, .. }: LeaseRows,
    is_of_stream: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Row>, Error> {
    let rows = leases.len() + unreadable.len();
    let mut example = leases.keys().next().cloned();
    for UnreadableLease { lease_key, error: source, .. } in unreadable {
        let Some(lease_key) = lease_key else {
            warning(format_args!("warning: table {table}: a row cannot be read: {}", chain(&source)));
            continue;
        };
        if is_of_stream(&lease_key) {
            return Err(Error::Lease { table: table.to_owned(), lease_key, source });
        }
        warning(format_args!("warning: table {table}: row {lease_key} cannot be read: {}", chain(&source)));
        example.get_or_insert(lease_key);
    }
    // Shard IDs are the same in every stream.
    let other = leases.values().filter_map(|row| row.stream_arn.as_deref()).find(|arn| *arn != stream_arn);
    if let Some(other) = other {
        return Err(Error::OtherStream { table: table.to_owned(), stream_arn: other.to_owned() });
    }
    leases.retain(|key, _| is_of_stream(key));
    if !leases.is_empty() {
        return Ok(leases);
    }
    let found = match example {
        None if rows == 0 => "it is empty".to_owned(),
        None => format!("it has {} without a key leaseKey", count(rows as u64, "row")),
        // ACCOUNT:STREAM:EPOCH:SHARD
        Some(key) if key.matches(':').count() == 3 => {
            format!("it has {}, such as {key}, of a KCL for several streams", count(rows as u64, "row"))
        }
        Some(key) => format!("it has {}, such as {key}", count(rows as u64, "row")),
    };
    Err(Error::NoLease { table: table.to_owned(), stream_arn: stream_arn.to_owned(), found })
}
