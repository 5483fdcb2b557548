use aws_sdk_dynamodb::Client;

use super::item;
use crate::{
    aws::{Item, StoreFault, text, unreadable},
    checkpoint::{CheckpointError, LeaseRows, UnreadableLease},
};

/// Reads all leases of a table.
pub(super) async fn rows(client: &Client, table: &str) -> Result<LeaseRows, CheckpointError> {
    // Whatever invocations have written up to now must be there.
    let scan = client.scan().table_name(table).consistent_read(true);
    let mut rows = LeaseRows::default();
    let mut start = None;
    loop {
        let answer = scan.clone().set_exclusive_start_key(start).send().await;
        let answer =
            answer.map_err(|error| CheckpointError::Store { source: Box::new(StoreFault::from(error)) })?;
        for item in answer.items() {
            add(&mut rows, item);
        }
        match answer.last_evaluated_key.filter(|key| !key.is_empty()) {
            Some(key) => start = Some(key),
            None => return Ok(rows),
        }
    }
}

/// Adds an item of the table to its rows, unless it is not a lease: since version 3.5 a KCL keeps its leader, its workers
/// and its migration in the same table.
fn add(rows: &mut LeaseRows, item: &Item) {
    match text(item, "entityType") {
        Ok(None | Some("LEASE")) => {}
        Ok(Some(_)) => return,
        Err(error) => return rows.unreadable.push(unreadable_lease(item, error.into())),
    }
    let lease = match text(item, "leaseKey") {
        Ok(Some(key)) => item::row(item).map(|row| (key.to_owned(), row)),
        Ok(None) => Err(unreadable(item, "leaseKey").into()),
        Err(error) => Err(error.into()),
    };
    match lease {
        Ok((key, row)) => drop(rows.leases.insert(key, row)),
        Err(error) => rows.unreadable.push(unreadable_lease(item, error)),
    }
}

fn unreadable_lease(item: &Item, error: CheckpointError) -> UnreadableLease {
    let lease_key = text(item, "leaseKey").ok().flatten().map(str::to_owned);
    UnreadableLease { lease_key, error }
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::types::AttributeValue;

    use super::*;

    fn item(attributes: &[(&str, &str)]) -> Item {
        let value = |text: &str| AttributeValue::S(text.to_owned());
        attributes.iter().map(|(name, text)| ((*name).to_owned(), value(text))).collect()
    }

    /// Leases by key, and unreadable rows with their reasons.
    #[track_caller]
    fn check(items: &[Item], leases: &[&str], unreadable: &[(Option<&str>, &str)]) {
        let mut rows = LeaseRows::default();
        for item in items {
            add(&mut rows, item);
        }
        assert_eq!(rows.leases.keys().collect::<Vec<_>>(), leases);
        let found: Vec<_> =
            rows.unreadable.iter().map(|row| (row.lease_key.as_deref(), row.error.to_string())).collect();
        let expected: Vec<_> = unreadable.iter().map(|(key, error)| (*key, (*error).to_owned())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn rows_of_a_kcl_that_are_not_leases_are_skipped() {
        let lease = item(&[("leaseKey", "shardId-000000000000"), ("checkpoint", "7")]);
        let marked =
            item(&[("leaseKey", "shardId-000000000001"), ("checkpoint", "8"), ("entityType", "LEASE")]);
        let others = ["LEADER", "WORKER_METRIC_STATS", "MIGRATION", "COORDINATOR_STATE"]
            .map(|kind| item(&[("leaseKey", kind), ("entityType", kind)]));
        let items: Vec<_> = others.into_iter().chain([lease, marked]).collect();
        check(&items, &["shardId-000000000000", "shardId-000000000001"], &[]);
    }

    #[test]
    fn an_unreadable_row_is_named_and_hides_no_other() {
        let mut numbered_kind = item(&[("leaseKey", "b"), ("checkpoint", "7")]);
        numbered_kind.insert("entityType".to_owned(), AttributeValue::N("1".to_owned()));
        let items = [
            item(&[("leaseKey", "a")]),
            numbered_kind,
            item(&[("checkpoint", "7")]),
            item(&[("leaseKey", "shardId-000000000000"), ("checkpoint", "7")]),
        ];
        check(
            &items,
            &["shardId-000000000000"],
            &[
                (Some("a"), "cannot read the lease: checkpoint is absent"),
                (Some("b"), "cannot read the lease: entityType is N(\"1\")"),
                (None, "cannot read the lease: leaseKey is absent"),
            ],
        );
    }

    #[test]
    fn a_lease_of_a_multi_stream_application_names_its_stream_and_shard() {
        let mut rows = LeaseRows::default();
        let key = "123456789012:orders:1767225600:shardId-000000000000";
        add(
            &mut rows,
            &item(&[
                ("leaseKey", key),
                ("checkpoint", "7"),
                ("streamName", "123456789012:orders:1767225600"),
                ("shardId", "shardId-000000000000"),
            ]),
        );
        let row = &rows.leases[key];
        assert_eq!(row.stream_identifier.as_deref(), Some("123456789012:orders:1767225600"));
        assert_eq!(row.shard_id.as_deref(), Some("shardId-000000000000"));
    }
}
