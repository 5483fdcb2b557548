use std::borrow::Cow;

use kinesis_handler::{ProcessError, Record, permanent, tracing};
use serde::Deserialize;
use thiserror::Error;

use crate::outage;

/// The payload of a user record: `{"id":"A-1001","item":"teapot","quantity":2,"cents":2550}`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Order<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    quantity: u32,
    /// Price of one item.
    cents: u64,
    /// Set it to see what a call that fails for a while does to a batch: so many times the warehouse is not available.
    #[serde(default)]
    simulate_outages: u32,
}

/// The warehouse could not be reached. Another try may succeed, so `?` makes it a retryable error, as any error.
#[derive(Debug, Error)]
#[error("warehouse is not available")]
struct WarehouseUnavailable;

/// Decode, act, log: replace it by what your records need.
pub(crate) async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    // A payload that is no order never will be one: `?` makes it a permanent error.
    let order: Order = record.json()?;
    let total_cents = u64::from(order.quantity)
        .checked_mul(order.cents)
        .ok_or_else(|| permanent("the total of the order overflows"))?;

    reserve(&order).await?;

    tracing::info!(order = &*order.id, total_cents, "order reserved");
    Ok(())
}

/// Asks the warehouse. An order may come more than once: the call must be idempotent, by the order's ID for instance.
async fn reserve(order: &Order<'_>) -> Result<(), WarehouseUnavailable> {
    if outage::is_met_by(&order.id, order.simulate_outages) { Err(WarehouseUnavailable) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use kinesis_handler::{OwnedRecord, RecordProcessor};

    use super::*;

    async fn outcome(data: &str) -> Result<(), String> {
        process.process(OwnedRecord::new(data).as_record()).await.map_err(|error| format!("{error:?}"))
    }

    #[tokio::test]
    async fn orders_are_reserved() {
        assert_eq!(outcome(r#"{"id":"A-1","item":"teapot","quantity":2,"cents":2550}"#).await, Ok(()));
    }

    #[tokio::test]
    async fn a_malformed_order_is_a_permanent_error() {
        assert_eq!(
            outcome(r#"{"id":"A-1","quantity":"two","cents":2550}"#).await,
            Err("permanent(payload does not match the expected type: quantity: expected u32, found string (line 1, column 28))".into())
        );
        assert_eq!(
            outcome(r#"{"id":"A-1","quantity":2,"cents":18446744073709551615}"#).await,
            Err("permanent(the total of the order overflows)".into())
        );
    }

    #[tokio::test]
    async fn an_unavailable_warehouse_is_a_retryable_error() {
        let order = r#"{"id":"A-2","item":"teapot","quantity":2,"cents":2550,"simulateOutages":1}"#;
        assert_eq!(outcome(order).await, Err("retryable(warehouse is not available)".into()));
        assert_eq!(outcome(order).await, Ok(()));
    }
}
