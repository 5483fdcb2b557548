use aws_sdk_dynamodb::{
    Client, error::SdkError, operation::update_item::UpdateItemError,
    types::ReturnValuesOnConditionCheckFailure,
};

use super::item;
use crate::{
    aws::{Item, StoreFault, number_value, text_value, unreadable},
    checkpoint::{Checkpoint, CheckpointError, CheckpointOutcome},
};

/// Sequence numbers are text in the table, whose order is that of integers only among texts of the same length. A number
/// that an emulator has padded stays padded, because that is the text which the emulator reads from, and a KCL writes.
/// A shorter text is a smaller number if it is also shorter than the number without its leading zeros.
const CONDITION: &str = "attribute_not_exists(leaseKey) OR (attribute_not_exists(leaseOwner) \
    AND (attribute_not_exists(kitStream) OR (kitStream = :stream AND kitApp = :app)) \
    AND (checkpoint IN (:trim_horizon, :latest, :at_timestamp) \
    OR (checkpoint <> :shard_end AND (size(checkpoint) < :digits \
    OR (size(checkpoint) = :len AND checkpoint < :seq) \
    OR (checkpoint = :seq AND (attribute_not_exists(checkpointSubSequenceNumber) \
    OR checkpointSubSequenceNumber < :sub))))))";

const SET: &str = "SET checkpoint = :seq, checkpointSubSequenceNumber = :sub, ownerSwitchesSinceCheckpoint = :zero, \
    kitVersion = :version, kitUpdatedAt = :now, kitStream = :stream, kitApp = :app";

/// A checkpoint passes what a cut-over has frozen: the row never precedes that.
const REMOVE: &str = " REMOVE cutoverSequence, cutoverSub, cutoverExpiresAt";

/// Version of the mirror's own attributes.
const KIT_VERSION: u64 = 1;

pub(super) async fn write(
    client: &Client,
    table: &str,
    checkpoint: &Checkpoint<'_>,
) -> Result<CheckpointOutcome, CheckpointError> {
    let sequence_number = checkpoint.position.sequence_number.to_string();
    let length = sequence_number.len() as u64;
    let digits = checkpoint.position.sequence_number.without_padding().to_string().len() as u64;
    // The arrival of another record would be wrong, so an unknown one is none.
    let (arrival, remove) = match checkpoint.arrival_ms {
        Some(_) => (", kitArrivalAt = :arrival", ""),
        None => ("", ", kitArrivalAt"),
    };
    let result = client
        .update_item()
        .table_name(table)
        .key("leaseKey", text_value(checkpoint.shard_id))
        .update_expression([SET, arrival, REMOVE, remove, " ADD leaseCounter :one"].concat())
        .condition_expression(CONDITION)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .expression_attribute_values(":trim_horizon", text_value("TRIM_HORIZON"))
        .expression_attribute_values(":latest", text_value("LATEST"))
        .expression_attribute_values(":at_timestamp", text_value("AT_TIMESTAMP"))
        .expression_attribute_values(":shard_end", text_value("SHARD_END"))
        .expression_attribute_values(":seq", text_value(sequence_number))
        .expression_attribute_values(":len", number_value(length))
        .expression_attribute_values(":digits", number_value(digits))
        .expression_attribute_values(":sub", number_value(checkpoint.position.sub_sequence_number))
        .expression_attribute_values(":zero", number_value(0))
        .expression_attribute_values(":one", number_value(1))
        .expression_attribute_values(":version", number_value(KIT_VERSION))
        .expression_attribute_values(":now", number_value(checkpoint.now_ms))
        .expression_attribute_values(":stream", text_value(checkpoint.stream_arn))
        .expression_attribute_values(":app", text_value(checkpoint.application));
    let result = match checkpoint.arrival_ms {
        Some(arrival_ms) => result.expression_attribute_values(":arrival", number_value(arrival_ms)),
        None => result,
    };
    let error = match result.send().await {
        Ok(_) => return Ok(CheckpointOutcome::Written),
        Err(error) => error,
    };
    match error.as_service_error() {
        Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
            refused(failed.item().unwrap_or(&item::EMPTY), checkpoint)
        }
        _ => Err(failure(error)),
    }
}

/// Returns the reason that the row which failed the condition gives.
fn refused(item: &Item, checkpoint: &Checkpoint<'_>) -> Result<CheckpointOutcome, CheckpointError> {
    match item::row(item)?.admits(checkpoint) {
        Err(outcome) => Ok(outcome),
        // The table's idea of the row is another one than ours, which is no way to go on.
        Ok(()) => Err(unreadable(item, "checkpoint").into()),
    }
}

fn failure(error: SdkError<UpdateItemError>) -> CheckpointError {
    CheckpointError::Store { source: Box::new(StoreFault::from(error)) }
}
