use std::time::Duration;

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::transact_write_items::TransactWriteItemsError,
    types::{Put, TransactWriteItem},
};

use crate::{
    Record,
    aws::{number_value, text_value},
};

/// The time for which a claim is kept: the longest retention of a stream, and a day.
const KEPT: Duration = Duration::from_secs(366 * 24 * 60 * 60);

impl Record<'_> {
    /// Returns an item for a DynamoDB transaction of the processor's own, which notes in a table that this user record is processed,
    /// and cancels the transaction if that is noted already. So an effect in DynamoDB happens once, however often the record is
    /// delivered and wherever the function crashes.
    ///
    /// `None` without an [idempotency key](Self::idempotency_key). The table has the HASH key `id` (text), and the time to live
    /// `expiresAt`, which is 366 days later. The names of items begin with the application of the options, so functions may share a
    /// table. The function needs the permission `dynamodb:PutItem` on it.
    ///
    /// ```no_run
    /// use aws_sdk_dynamodb::{Client, types::{AttributeValue, TransactWriteItem, Update}};
    /// use kinesis_handler::{Classify, ProcessError, Record, idempotency::is_claimed};
    ///
    /// async fn process(client: &Client, record: Record<'_>) -> Result<(), ProcessError> {
    ///     let amount = record.parse::<u64>()?;
    ///     let add = Update::builder()
    ///         .table_name("totals")
    ///         .key("customer", AttributeValue::S(record.partition_key_text().into_owned()))
    ///         .update_expression("ADD amount :amount")
    ///         .expression_attribute_values(":amount", AttributeValue::N(amount.to_string()))
    ///         .build()?;
    ///     let claim = record.claim("claims").ok_or("the position of the record is not known").permanent()?;
    ///     let items = vec![claim, TransactWriteItem::builder().update(add).build()];
    ///     match client.transact_write_items().set_transact_items(Some(items)).send().await {
    ///         Err(error) if is_claimed(&error, 0) => Ok(()), // processed in an earlier invocation
    ///         sent => Ok(drop(sent?)),
    ///     }
    /// }
    /// ```
    pub fn claim(&self, table: &str) -> Option<TransactWriteItem> {
        let key = self.idempotency_key()?;
        let invocation = self.parts().invocation;
        let expires_s = invocation.clock.epoch_ms() / 1000 + KEPT.as_secs();
        let put = Put::builder()
            .table_name(table)
            .item("id", text_value(format!("{}#{key}", invocation.application)))
            .item("expiresAt", number_value(expires_s))
            .condition_expression("attribute_not_exists(id)")
            .build();
        // It has a table and an item.
        put.ok().map(|put| TransactWriteItem::builder().put(put).build())
    }
}

/// Returns whether a transaction was cancelled because the record of its [claim](Record::claim) is processed already. `index` is the
/// position of the claim among the items of the transaction, from zero.
pub fn is_claimed<R>(error: &SdkError<TransactWriteItemsError, R>, index: usize) -> bool {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return false;
    };
    let reason = cancelled.cancellation_reasons().get(index);
    reason.is_some_and(|reason| reason.code() == Some("ConditionalCheckFailed"))
}
