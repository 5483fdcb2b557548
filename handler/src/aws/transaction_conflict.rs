use aws_sdk_dynamodb::{
    config::{
        interceptors::InterceptorContext,
        retry::{ClassifyRetry, RetryAction},
    },
    operation::{
        delete_item::DeleteItemError, put_item::PutItemError, transact_write_items::TransactWriteItemsError,
    },
};

/// Has requests tried again, like all that passes, that another transaction was in the way of: the SDK does not do that
/// by itself. Nor does it know throttling that a transaction hits.
#[derive(Debug)]
pub(super) struct TransactionConflicts;

/// Why a transaction was cancelled, if that passes.
const PASSING_REASONS: [&str; 3] =
    ["TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"];

impl ClassifyRetry for TransactionConflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let error =
            context.output_or_error().and_then(Result::err).and_then(|error| error.as_operation_error());
        let Some(error) = error else { return RetryAction::NoActionIndicated };
        let passes = if let Some(error) = error.downcast_ref::<TransactWriteItemsError>() {
            is_cancelled_for_now(error)
        } else if let Some(error) = error.downcast_ref::<PutItemError>() {
            error.is_transaction_conflict_exception()
        } else {
            error
                .downcast_ref::<DeleteItemError>()
                .is_some_and(DeleteItemError::is_transaction_conflict_exception)
        };
        if passes { RetryAction::transient_error() } else { RetryAction::NoActionIndicated }
    }

    fn name(&self) -> &'static str {
        "transaction conflicts"
    }
}

/// Whether the reason for a transaction's cancellation passes. A condition that is not met stays so.
pub(crate) fn is_cancelled_for_now(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else { return false };
    let has = |code| cancelled.cancellation_reasons().iter().any(|reason| reason.code() == Some(code));
    !has("ConditionalCheckFailed") && PASSING_REASONS.into_iter().any(has)
}
