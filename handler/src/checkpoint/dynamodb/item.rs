use std::{collections::HashMap, sync::LazyLock};

use aws_sdk_dynamodb::types::AttributeValue;

use crate::checkpoint::{CheckpointError, Row, RowCheckpoint};

/// How much of an attribute an error shows, in characters.
const SHOWN_CHARS: usize = 80;

pub(super) type Item = HashMap<String, AttributeValue>;

/// What an answer without an item is taken for.
pub(super) static EMPTY: LazyLock<Item> = LazyLock::new(HashMap::new);

/// Reads the attributes that the mirror knows.
pub(super) fn row(item: &Item) -> Result<Row, CheckpointError> {
    let checkpoint = text(item, "checkpoint")?
        .and_then(RowCheckpoint::from_attribute)
        .ok_or_else(|| unreadable(item, "checkpoint"))?;
    let owned = |name| Ok::<_, CheckpointError>(text(item, name)?.map(str::to_owned));
    Ok(Row {
        sub_sequence_number: number(item, "checkpointSubSequenceNumber")?,
        lease_counter: number(item, "leaseCounter")?.unwrap_or(0),
        lease_owner: owned("leaseOwner")?,
        stream_arn: owned("kitStream")?,
        application: owned("kitApp")?,
        arrival_ms: number(item, "kitArrivalAt")?,
        updated_ms: number(item, "kitUpdatedAt")?,
        ..Row::new(checkpoint)
    })
}

fn text<'a>(item: &'a Item, name: &'static str) -> Result<Option<&'a str>, CheckpointError> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::S(text)) => Ok(Some(text)),
        Some(_) => Err(unreadable(item, name)),
    }
}

fn number(item: &Item, name: &'static str) -> Result<Option<u64>, CheckpointError> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::N(text)) => text.parse().map(Some).map_err(|_| unreadable(item, name)),
        Some(_) => Err(unreadable(item, name)),
    }
}

pub(super) fn unreadable(item: &Item, attribute: &'static str) -> CheckpointError {
    let found = match item.get(attribute) {
        None => "absent".to_owned(),
        Some(value) => format!("{value:?}").chars().take(SHOWN_CHARS).collect(),
    };
    CheckpointError::UnreadableRow { attribute, found }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_unreadable(attributes: &[(&str, AttributeValue)], expected: &str) {
        let item = attributes.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        assert_eq!(row(&item).map(drop).expect_err("a wrong row").to_string(), expected);
    }

    #[test]
    fn what_no_lease_table_has_is_named() {
        check_unreadable(&[], "the row of the shard cannot be read: checkpoint is absent");
        check_unreadable(
            &[("checkpoint", AttributeValue::S("007".to_owned()))],
            "the row of the shard cannot be read: checkpoint is S(\"007\")",
        );
        check_unreadable(
            &[
                ("checkpoint", AttributeValue::S("7".to_owned())),
                ("checkpointSubSequenceNumber", AttributeValue::N("-1".to_owned())),
            ],
            "the row of the shard cannot be read: checkpointSubSequenceNumber is N(\"-1\")",
        );
    }
}
