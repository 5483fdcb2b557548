use std::collections::HashMap;

use aws_sdk_dynamodb::{error::SdkError, operation::update_item::UpdateItemError, types::AttributeValue};
use kinesis_handler::{
    SequenceNumber,
    checkpoint::{FrozenPosition, Row, RowCheckpoint},
};

use super::{Lease, LeaseTable};
use crate::{
    aws::{ApiFailure, AwsError},
    error::Error,
    stream::Shard,
};

/// Version of the mirror's own attributes.
const KIT_VERSION: u64 = 1;

/// The application whose mirror a row belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mirror {
    pub(crate) application: String,
    pub(crate) stream_arn: String,
}

/// A row to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NewLease {
    pub(crate) checkpoint: RowCheckpoint,
    pub(crate) sub_sequence_number: u64,
    /// When the stream received the Kinesis record at the checkpoint, in milliseconds since 1970.
    pub(crate) arrival_ms: Option<u64>,
}

impl LeaseTable {
    /// Adds the row of a shard. Returns `false` if it has one.
    pub(crate) async fn add(
        &self,
        shard: &Shard,
        lease: &NewLease,
        mirror: Option<&Mirror>,
        now_ms: u64,
    ) -> Result<bool, Error> {
        let mut item = HashMap::from([
            ("leaseKey".to_owned(), text(&shard.id)),
            ("leaseCounter".to_owned(), number(0)),
            ("checkpoint".to_owned(), text(lease.checkpoint)),
            ("checkpointSubSequenceNumber".to_owned(), number(lease.sub_sequence_number)),
            ("ownerSwitchesSinceCheckpoint".to_owned(), number(0)),
            ("kitVersion".to_owned(), number(KIT_VERSION)),
            ("kitUpdatedAt".to_owned(), number(now_ms)),
            ("startingHashKey".to_owned(), text(shard.hash_key_range.start())),
            ("endingHashKey".to_owned(), text(shard.hash_key_range.end())),
        ]);
        if !shard.parents.is_empty() {
            item.insert("parentShardId".to_owned(), AttributeValue::Ss(shard.parents.clone()));
        }
        if let Some(arrival_ms) = lease.arrival_ms {
            item.insert("kitArrivalAt".to_owned(), number(arrival_ms));
        }
        if let Some(mirror) = mirror {
            item.insert("kitApp".to_owned(), text(&mirror.application));
            item.insert("kitStream".to_owned(), text(&mirror.stream_arn));
        }
        let request = self.client.put_item().table_name(&self.name).set_item(Some(item));
        match request.condition_expression("attribute_not_exists(leaseKey)").send().await {
            Ok(_) => Ok(true),
            Err(error) => match ApiFailure::from(error) {
                failure if failure.is("ConditionalCheckFailedException") => Ok(false),
                failure => Err(self.failure("PutItem", failure)),
            },
        }
    }

    /// Adds what a KCL application wants to know of the shard to a row that lacks it. Returns `false` if it has that, or has an owner.
    pub(crate) async fn describe_shard(&self, lease: &Lease, shard: &Shard) -> Result<bool, Error> {
        let mut set = "SET startingHashKey = :start, endingHashKey = :end".to_owned();
        let mut update =
            self.update(lease).expression_attribute_values(":start", text(shard.hash_key_range.start()));
        update = update.expression_attribute_values(":end", text(shard.hash_key_range.end()));
        if !shard.parents.is_empty() {
            set.push_str(", parentShardId = :parents");
            update =
                update.expression_attribute_values(":parents", AttributeValue::Ss(shard.parents.clone()));
        }
        let condition = "attribute_exists(leaseKey) AND attribute_not_exists(leaseOwner) \
                         AND attribute_not_exists(startingHashKey)";
        applied(update.update_expression(set).condition_expression(condition).send().await)
            .map_err(|failure| self.failure("UpdateItem", failure))
    }

    /// Takes a lease from its owner, unless the row was written since it was read. Returns whether that was done.
    pub(crate) async fn release(&self, lease: &Lease) -> Result<bool, Error> {
        let owner = lease.row.lease_owner.as_deref().unwrap_or_default();
        let update = self
            .update(lease)
            .update_expression("REMOVE leaseOwner, checkpointOwner ADD leaseCounter :one")
            .condition_expression("leaseOwner = :owner AND leaseCounter = :counter")
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":owner", text(owner))
            .expression_attribute_values(":counter", number(lease.row.lease_counter));
        applied(update.send().await).map_err(|failure| self.failure("UpdateItem", failure))
    }

    /// Moves a lease, unless it has an owner or was written since it was read. Returns whether that was done.
    pub(crate) async fn reset(&self, lease: &Lease, to: &NewLease, now_ms: u64) -> Result<bool, Error> {
        let (set, remove, arrival) = match to.arrival_ms {
            Some(arrival_ms) => (", kitArrivalAt = :arrival", "", Some(arrival_ms)),
            None => ("", ", kitArrivalAt", None),
        };
        // What a cut-over has frozen is of the position that the row had.
        let expression = format!(
            "SET checkpoint = :checkpoint, checkpointSubSequenceNumber = :sub, ownerSwitchesSinceCheckpoint = :zero, \
             kitUpdatedAt = :now{set} REMOVE cutoverSequence, cutoverSub, cutoverExpiresAt{remove} ADD leaseCounter :one"
        );
        let mut update = self
            .update(lease)
            .update_expression(expression)
            .condition_expression("attribute_not_exists(leaseOwner) AND leaseCounter = :counter")
            .expression_attribute_values(":checkpoint", text(to.checkpoint))
            .expression_attribute_values(":sub", number(to.sub_sequence_number))
            .expression_attribute_values(":zero", number(0))
            .expression_attribute_values(":one", number(1))
            .expression_attribute_values(":now", number(now_ms))
            .expression_attribute_values(":counter", number(lease.row.lease_counter));
        if let Some(arrival_ms) = arrival {
            update = update.expression_attribute_values(":arrival", number(arrival_ms));
        }
        applied(update.send().await).map_err(|failure| self.failure("UpdateItem", failure))
    }

    /// Freezes the position of a lease for a cut-over, unless the row has an owner or was written since it was read. Returns whether
    /// that was done.
    pub(crate) async fn freeze(&self, lease: &Lease, frozen: &FrozenPosition) -> Result<bool, Error> {
        let (sequence, sub) = match frozen.through {
            Some(through) => (text(through.sequence_number), through.sub_sequence_number),
            None => (text(RowCheckpoint::ShardEnd), 0),
        };
        let set = "SET cutoverSequence = :sequence, cutoverSub = :sub, cutoverExpiresAt = :expires";
        let condition =
            "attribute_not_exists(leaseOwner) AND leaseCounter = :counter AND checkpoint = :checkpoint";
        let update = self
            .update(lease)
            .update_expression(set)
            .condition_expression(condition)
            .expression_attribute_values(":sequence", sequence)
            .expression_attribute_values(":sub", number(sub))
            .expression_attribute_values(":expires", number(frozen.expires_ms))
            .expression_attribute_values(":counter", number(lease.row.lease_counter))
            .expression_attribute_values(":checkpoint", text(lease.row.checkpoint));
        applied(update.send().await).map_err(|failure| self.failure("UpdateItem", failure))
    }

    fn update(
        &self,
        lease: &Lease,
    ) -> aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.name).key("leaseKey", text(&lease.key))
    }

    pub(super) fn failure(&self, operation: &'static str, source: ApiFailure) -> Error {
        Error::Aws(AwsError::Request { resource: format!("table {}", self.name), operation, source })
    }
}

impl NewLease {
    /// Everything up to this user record is processed.
    pub(crate) fn at(sequence_number: SequenceNumber, sub_sequence_number: u64) -> Self {
        NewLease { checkpoint: RowCheckpoint::At(sequence_number), sub_sequence_number, arrival_ms: None }
    }

    /// Returns the position for people: `TRIM_HORIZON`, or the sequence number and the sub-sequence number.
    pub(crate) fn position(&self) -> String {
        super::position(self.checkpoint, Some(self.sub_sequence_number))
    }

    /// A row without a record: nothing of the shard is processed, or all of it.
    pub(crate) fn without_record(checkpoint: RowCheckpoint) -> Self {
        NewLease { checkpoint, sub_sequence_number: 0, arrival_ms: None }
    }
}

impl Mirror {
    /// Returns the application whose mirror the rows are, if they say so.
    pub(crate) fn of<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Option<Self> {
        rows.into_iter().find_map(|row| {
            let (application, stream_arn) = (row.application.clone()?, row.stream_arn.clone()?);
            Some(Mirror { application, stream_arn })
        })
    }
}

fn applied<T>(result: Result<T, SdkError<UpdateItemError>>) -> Result<bool, ApiFailure> {
    match result {
        Ok(_) => Ok(true),
        Err(error) => match ApiFailure::from(error) {
            failure if failure.is("ConditionalCheckFailedException") => Ok(false),
            failure => Err(failure),
        },
    }
}

fn text(value: impl ToString) -> AttributeValue {
    AttributeValue::S(value.to_string())
}

fn number(value: u64) -> AttributeValue {
    AttributeValue::N(value.to_string())
}
