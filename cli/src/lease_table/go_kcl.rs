use aws_sdk_dynamodb::types::AttributeValue;
use kinesis_handler::checkpoint::RowCheckpoint;

use super::LeaseTable;
use crate::{aws::ApiFailure, error::Error, output::cell};

/// Most columns of a checkpoint that is none, in an error.
const SHOWN_WIDTH: usize = 80;

/// A row of vmware-go-kcl, whose tables have the key `ShardID`.
///
/// Its checkpoint is a Kinesis record of which all is processed: it knows no sub-sequence numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoKclLease {
    pub(crate) shard_id: String,
    /// The attribute `Checkpoint`; `None` if nothing is processed. `Err` with what it is instead.
    pub(crate) checkpoint: Result<Option<RowCheckpoint>, String>,
    /// The attribute `AssignedTo`: the worker.
    pub(crate) owner: Option<String>,
}

impl LeaseTable {
    /// Returns whether the table is one of vmware-go-kcl, by its key.
    pub(crate) async fn is_of_go_kcl(&self) -> Result<bool, Error> {
        let found = self.client.describe_table().table_name(&self.name).send().await;
        let found = found.map_err(|error| self.failure("DescribeTable", ApiFailure::from(error)))?;
        let keys = found.table.and_then(|table| table.key_schema).unwrap_or_default();
        Ok(keys.first().is_some_and(|key| key.attribute_name == "ShardID"))
    }

    /// Reads all rows of a table of vmware-go-kcl.
    pub(crate) async fn go_kcl_leases(&self) -> Result<Vec<GoKclLease>, Error> {
        let scan = self.client.scan().table_name(&self.name).consistent_read(true);
        let mut leases = Vec::new();
        let mut start = None;
        loop {
            let page = scan.clone().set_exclusive_start_key(start).send().await;
            let page = page.map_err(|error| self.failure("Scan", ApiFailure::from(error)))?;
            for item in page.items() {
                let text = |name: &str| item.get(name).and_then(|value| value.as_s().ok()).cloned();
                let Some(shard_id) = text("ShardID") else { continue };
                leases.push(GoKclLease {
                    shard_id,
                    checkpoint: checkpoint(item.get("Checkpoint")),
                    owner: text("AssignedTo").filter(|owner| !owner.is_empty()),
                });
            }
            match page.last_evaluated_key.filter(|key| !key.is_empty()) {
                Some(key) => start = Some(key),
                None => return Ok(leases),
            }
        }
    }
}

fn checkpoint(value: Option<&AttributeValue>) -> Result<Option<RowCheckpoint>, String> {
    let Some(value) = value else { return Ok(None) };
    let text = value.as_s().map_err(|_| "Checkpoint is no text".to_owned())?;
    if text.is_empty() {
        return Ok(None);
    }
    match RowCheckpoint::from_attribute(text) {
        Some(checkpoint) => Ok(Some(checkpoint)),
        None => Err(format!("Checkpoint is \"{}\"", cell::text(text, SHOWN_WIDTH))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_is_a_number_or_one_of_few_words() {
        let of = |text: &str| checkpoint(Some(&AttributeValue::S(text.to_owned())));
        assert_eq!(checkpoint(None), Ok(None));
        assert_eq!(of(""), Ok(None));
        assert_eq!(of("49"), Ok(Some(RowCheckpoint::At("49".parse().expect("digits")))));
        assert_eq!(of("SHARD_END"), Ok(Some(RowCheckpoint::ShardEnd)));
        assert_eq!(of("4x"), Err("Checkpoint is \"4x\"".to_owned()));
        let long = of(&"x".repeat(400_000)).expect_err("no checkpoint");
        assert!(long.len() < 120, "{} bytes", long.len());
        assert_eq!(
            checkpoint(Some(&AttributeValue::N("49".to_owned()))),
            Err("Checkpoint is no text".to_owned())
        );
    }
}
