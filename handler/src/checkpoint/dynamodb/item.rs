use std::{collections::HashMap, sync::LazyLock};

use crate::{
    aws::{Item, Unreadable, number, text, unreadable},
    checkpoint::{CheckpointError, CheckpointPosition, FrozenPosition, Row, RowCheckpoint},
};

/// The item that is assumed when an answer has none.
pub(super) static EMPTY: LazyLock<Item> = LazyLock::new(HashMap::new);

/// Reads the attributes that the mirror knows.
pub(super) fn row(item: &Item) -> Result<Row, CheckpointError> {
    let checkpoint = text(item, "checkpoint")?
        .and_then(RowCheckpoint::from_attribute)
        .ok_or_else(|| unreadable(item, "checkpoint"))?;
    let owned = |name| Ok::<_, Unreadable>(text(item, name)?.map(str::to_owned));
    Ok(Row {
        sub_sequence_number: number(item, "checkpointSubSequenceNumber")?,
        lease_counter: number(item, "leaseCounter")?.unwrap_or(0),
        lease_owner: owned("leaseOwner")?,
        stream_arn: owned("kitStream")?,
        application: owned("kitApp")?,
        arrival_ms: number(item, "kitArrivalAt")?,
        updated_ms: number(item, "kitUpdatedAt")?,
        stream_identifier: owned("streamName")?,
        shard_id: owned("shardId")?,
        frozen: frozen(item)?,
        ..Row::new(checkpoint)
    })
}

/// Reads what a cut-over has frozen.
fn frozen(item: &Item) -> Result<Option<FrozenPosition>, Unreadable> {
    let Some(sequence) = text(item, "cutoverSequence")? else { return Ok(None) };
    let through = match RowCheckpoint::from_attribute(sequence) {
        Some(RowCheckpoint::ShardEnd) => None,
        Some(RowCheckpoint::At(sequence_number)) => {
            let sub_sequence_number =
                number(item, "cutoverSub")?.ok_or_else(|| unreadable(item, "cutoverSub"))?;
            Some(CheckpointPosition { sequence_number, sub_sequence_number })
        }
        _ => return Err(unreadable(item, "cutoverSequence")),
    };
    let expires_ms = number(item, "cutoverExpiresAt")?.ok_or_else(|| unreadable(item, "cutoverExpiresAt"))?;
    Ok(Some(FrozenPosition { through, expires_ms }))
}

impl From<Unreadable> for CheckpointError {
    fn from(Unreadable { attribute, found }: Unreadable) -> Self {
        CheckpointError::UnreadableRow { attribute, found }
    }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    #[track_caller]
    fn check_unreadable(attributes: &[(&str, AttributeValue)], expected: &str) {
        let item = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(row(&item).map(drop).expect_err("a wrong row").to_string(), expected);
    }

    #[test]
    fn what_no_lease_table_has_is_named() {
        check_unreadable(&[], "cannot read the lease: checkpoint is absent");
        check_unreadable(
            &[("checkpoint", AttributeValue::S("7a".to_owned()))],
            "cannot read the lease: checkpoint is S(\"7a\")",
        );
        check_unreadable(
            &[
                ("checkpoint", AttributeValue::S("7".to_owned())),
                ("checkpointSubSequenceNumber", AttributeValue::N("-1".to_owned())),
            ],
            "cannot read the lease: checkpointSubSequenceNumber is N(\"-1\")",
        );
        let at = ("checkpoint", AttributeValue::S("7".to_owned()));
        let frozen = |sequence: &str| ("cutoverSequence", AttributeValue::S(sequence.to_owned()));
        check_unreadable(
            &[at.clone(), frozen("LATEST")],
            "cannot read the lease: cutoverSequence is S(\"LATEST\")",
        );
        check_unreadable(&[at.clone(), frozen("7")], "cannot read the lease: cutoverSub is absent");
        check_unreadable(&[at, frozen("SHARD_END")], "cannot read the lease: cutoverExpiresAt is absent");
    }
}
