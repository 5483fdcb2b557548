use std::collections::BTreeMap;

use kinesis_handler::checkpoint::{DynamoDbCheckpoints, Row, UnreadableLease};

use crate::{aws, error::Error};

/// The rows of the checkpoint mirror's table, by shard.
pub(crate) async fn rows(table: &str, stream_arn: &str) -> Result<BTreeMap<String, Row>, Error> {
    let client = aws::dynamodb(stream_arn.split(':').nth(3)).await?;
    let rows = DynamoDbCheckpoints::with_client(table, client).rows().await;
    let mut rows = rows.map_err(|source| Error::Checkpoints { table: table.to_owned(), source })?;
    if let Some(UnreadableLease { error: source, .. }) = rows.unreadable.pop() {
        return Err(Error::Checkpoints { table: table.to_owned(), source });
    }
    let rows = rows.leases;
    // Shard IDs are the same in every stream.
    let other = rows.values().filter_map(|row| row.stream_arn.as_deref()).find(|arn| *arn != stream_arn);
    match other {
        Some(other) => Err(Error::OtherStream { table: table.to_owned(), stream_arn: other.to_owned() }),
        None => Ok(rows),
    }
}
