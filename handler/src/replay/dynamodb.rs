use std::sync::Arc;

use aws_sdk_dynamodb::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    operation::put_item::PutItemError,
    types::ReturnValuesOnConditionCheckFailure,
};

use crate::{
    SequenceNumber,
    aws::{Connection, Item, StoreFault, Unreadable, number, number_value, text, text_value, unreadable},
    checkpoint::{
        Checkpoint, CheckpointError, CheckpointFuture, CheckpointOutcome, CheckpointPosition, CheckpointStore,
    },
    journal::{JournalShard, REPLAY_POSITION_KEY},
};

/// Time for which a position is kept after it was written, in milliseconds: longer than any replay takes.
const KEPT_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// The positions of replays on Lambda, in a retry journal's table: an item for each application and shard.
///
/// The sort key of an item is `P#`. Each write is one conditional `PutItem`, so the store needs no other permission than the journal has.
/// [`position`](Self::position) needs `Query`, [`delete`](Self::delete) needs `DeleteItem`.
#[derive(Debug)]
pub struct DynamoDbReplayPositions {
    table: String,
    connection: Arc<Connection>,
}

/// The position of a replay in a shard: everything up to it that belongs to the range is processed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReplayPosition {
    /// The last user record of the contiguous processed prefix.
    pub position: CheckpointPosition,
    /// When the stream received the Kinesis record at the position, in milliseconds since 1970.
    pub arrival_ms: Option<u64>,
    /// When it was written, in milliseconds since 1970.
    pub updated_ms: u64,
}

impl DynamoDbReplayPositions {
    /// Returns the positions in the table of this name, behind a client with time limits and attempts of its own: for tools, which
    /// may wait longer than an invocation.
    pub fn with_client(table: impl Into<String>, client: Client) -> Self {
        Self::with_connection(table.into(), Arc::new(Connection::with_client(client)))
    }

    pub(crate) fn with_connection(table: String, connection: Arc<Connection>) -> Self {
        DynamoDbReplayPositions { table, connection }
    }

    /// Reads the position of a replay in a shard, whose application is [that of the replay](super::ReplayRange::application). `None`
    /// if nothing of the range is processed there. The read is strongly consistent.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Store`] if DynamoDB does not answer, and [`CheckpointError::UnreadableRow`] for an item that no function has
    /// written.
    pub async fn position(&self, shard: JournalShard<'_>) -> Result<Option<ReplayPosition>, CheckpointError> {
        let query = self.connection.client().await.query().table_name(&self.table).consistent_read(true);
        let query = query
            .key_condition_expression("pk = :pk AND sk = :sk")
            .expression_attribute_values(":pk", text_value(shard.to_string()))
            .expression_attribute_values(":sk", text_value(REPLAY_POSITION_KEY));
        let answer = query.send().await.map_err(failure)?;
        Ok(answer.items().first().map(read).transpose()?)
    }

    /// Deletes the position of a replay in a shard. That there is none is no error.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Store`]; then it may be deleted or not.
    pub async fn delete(&self, shard: JournalShard<'_>) -> Result<(), CheckpointError> {
        let delete = self.connection.client().await.delete_item().table_name(&self.table);
        let delete =
            delete.key("pk", text_value(shard.to_string())).key("sk", text_value(REPLAY_POSITION_KEY));
        delete.send().await.map_err(failure)?;
        Ok(())
    }

    async fn put(&self, checkpoint: &Checkpoint<'_>) -> Result<CheckpointOutcome, CheckpointError> {
        let Checkpoint { application, stream_arn, shard_id, position, arrival_ms, now_ms } = *checkpoint;
        let shard = JournalShard::new(application, Some(stream_arn), Some(shard_id));
        let shard = shard.map_err(|error| CheckpointError::Store { source: Box::new(error) })?;
        let ordered_position = text_value(ordered(position));
        let put = self.connection.client().await.put_item().table_name(&self.table);
        let put = put
            .item("pk", text_value(shard.to_string()))
            .item("sk", text_value(REPLAY_POSITION_KEY))
            .item("position", ordered_position.clone())
            // With the leading zeros of an emulator, which the position leaves out.
            .item("sequenceNumber", text_value(position.sequence_number.to_string()))
            .item("subSequenceNumber", number_value(position.sub_sequence_number))
            .item("updatedAt", number_value(now_ms))
            // DynamoDB's time to live counts seconds.
            .item("expiresAt", number_value(now_ms.saturating_add(KEPT_MS).div_ceil(1000)))
            // A late invocation must not move the position back.
            .condition_expression("attribute_not_exists(pk) OR #position < :position")
            .expression_attribute_names("#position", "position")
            .expression_attribute_values(":position", ordered_position)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        let put = match arrival_ms {
            Some(arrival_ms) => put.item("arrivalAt", number_value(arrival_ms)),
            None => put,
        };
        let error = match put.send().await {
            Ok(_) => return Ok(CheckpointOutcome::Written),
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                // Some emulators do not return the item. The position is at least there.
                let stored = failed.item().map(read).transpose()?;
                let at = stored.map_or(position, |stored| stored.position);
                Ok(CheckpointOutcome::AlreadyAhead { at: Some(at) })
            }
            _ => Err(failure(error)),
        }
    }
}

impl CheckpointStore for DynamoDbReplayPositions {
    fn write<'a>(&'a self, checkpoint: Checkpoint<'a>) -> CheckpointFuture<'a> {
        Box::pin(async move { self.put(&checkpoint).await })
    }
}

/// Returns a text whose order is that of positions: each number has its length in front.
fn ordered(position: CheckpointPosition) -> String {
    let with_length = |digits: String| format!("{:02}{digits}", digits.len());
    let sequence_number = with_length(position.sequence_number.without_padding().to_string());
    format!("{sequence_number}#{}", with_length(position.sub_sequence_number.to_string()))
}

fn read(item: &Item) -> Result<ReplayPosition, Unreadable> {
    let some = |name| number(item, name)?.ok_or_else(|| unreadable(item, name));
    let digits = text(item, "sequenceNumber")?.unwrap_or_default();
    let sequence_number: SequenceNumber = digits.parse().map_err(|_| unreadable(item, "sequenceNumber"))?;
    Ok(ReplayPosition {
        position: CheckpointPosition { sequence_number, sub_sequence_number: some("subSequenceNumber")? },
        arrival_ms: number(item, "arrivalAt")?,
        updated_ms: some("updatedAt")?,
    })
}

fn failure<E>(error: SdkError<E>) -> CheckpointError
where
    E: ProvideErrorMetadata + std::error::Error + std::fmt::Debug + Send + Sync + 'static,
{
    CheckpointError::Store { source: Box::new(StoreFault::from(error)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_texts_is_that_of_positions() {
        let position = |sequence_number: &str, sub_sequence_number| {
            let sequence_number = sequence_number.parse().expect("digits");
            ordered(CheckpointPosition { sequence_number, sub_sequence_number })
        };
        assert_eq!(position("0049", 7), "0249#017");
        let rising = [
            position("0", 0),
            position("9", 0),
            position("9", 9),
            position("9", 10),
            position("9", u64::MAX),
            position("10", 0),
            position("49590338271490256608559692538361571095921575989136588898", 0),
        ];
        assert!(rising.is_sorted_by(|one, other| one < other), "{rising:?}");
    }
}
