//! A lease table: the positions of a stream's shards, as the checkpoint mirror or a KCL application has written them.

mod coverage;
mod change;
mod go_kcl;
mod unread;
mod backlog;

use std::collections::BTreeMap;

use aws_sdk_dynamodb::Client;
use kinesis_handler::checkpoint::{
    CheckpointError, DynamoDbCheckpoints, LeaseRows, Row, RowCheckpoint, StoreFault, UnreadableLease,
};

use crate::{
    aws,
    error::{Error, chain},
    output::note::{count, warning},
    stream::{Description, Shard},
};
pub(crate) use backlog::{Backlog, READERS, WaitLimit};
pub(crate) use change::{Mirror, NewLease};
pub(crate) use coverage::{passed, unknown};
pub(crate) use go_kcl::GoKclLease;
pub(crate) use unread::{Counted, Processed, Unread, unread, user_records};

/// Text for a table without a row.
const EMPTY: &str = "it is empty";

/// The lease table of an application.
#[derive(Debug)]
pub(crate) struct LeaseTable {
    name: String,
    client: Client,
}

/// The lease of a shard.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    /// Its `leaseKey`, which of a KCL application for several streams is longer than the shard's ID.
    pub(crate) key: String,
    pub(crate) row: Row,
}

/// The leases of a stream's shards.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    /// By shard ID.
    pub(crate) by_shard: BTreeMap<String, Lease>,
    /// Shards whose leases cannot be read.
    pub(crate) unreadable: BTreeMap<String, CheckpointError>,
    /// The key of a lease of a KCL application for several streams, whichever stream it is of.
    pub(crate) of_several_streams: Option<String>,
    /// Why there are none, for people.
    found_instead: String,
}

impl Leases {
    /// Returns what the table has instead of leases of the stream's shards, if it has something else only.
    pub(crate) fn found_instead(&self) -> Option<&str> {
        let has_none = self.by_shard.is_empty() && self.unreadable.is_empty();
        Some(self.found_instead.as_str()).filter(|found| has_none && *found != EMPTY)
    }
}

impl LeaseTable {
    /// The table of this name, in the stream's region.
    pub(crate) async fn open(name: &str, stream_arn: &str) -> Result<Self, Error> {
        let client = aws::dynamodb(stream_arn.split(':').nth(3)).await?;
        Ok(LeaseTable { name: name.to_owned(), client })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Reads the leases of a stream's shards. Others are left out; of these, those that cannot be read are named on standard error.
    ///
    /// # Errors
    ///
    /// Among others, the table is the mirror of another stream.
    pub(crate) async fn read(&self, stream: &Description, shards: &[Shard]) -> Result<Leases, Error> {
        let rows = DynamoDbCheckpoints::with_client(&self.name, self.client.clone()).rows().await;
        let rows = rows.map_err(|source| self.error(source))?;
        self.of_shards(stream, rows, |id| shards.iter().any(|shard| shard.id == id))
    }

    fn error(&self, source: CheckpointError) -> Error {
        let table = self.name.clone();
        let code = match &source {
            CheckpointError::Store { source } => source.downcast_ref().and_then(StoreFault::code),
            _ => None,
        };
        match code {
            Some("ResourceNotFoundException") => Error::NoLeaseTable { table },
            _ => Error::Checkpoints { table, source },
        }
    }

    /// Reads the leases of a stream's shards, of which there is at least one.
    ///
    /// # Errors
    ///
    /// Among others, the table holds no lease of these shards, or one that cannot be read: without it everything would
    /// count as not processed.
    pub(crate) async fn read_all(
        &self,
        stream: &Description,
        shards: &[Shard],
    ) -> Result<BTreeMap<String, Lease>, Error> {
        let Leases { by_shard, unreadable, found_instead, .. } = self.read(stream, shards).await?;
        if let Some((lease_key, source)) = unreadable.into_iter().next() {
            return Err(Error::Lease { table: self.name.clone(), lease_key, source });
        }
        if by_shard.is_empty() {
            let (table, stream_arn) = (self.name.clone(), stream.arn.clone());
            return Err(Error::NoLease { table, stream_arn, found: found_instead });
        }
        Ok(by_shard)
    }

    fn of_shards(
        &self,
        stream: &Description,
        LeaseRows { leases, unreadable, .. }: LeaseRows,
        is_of_stream: impl Fn(&str) -> bool,
    ) -> Result<Leases, Error> {
        let table = &self.name;
        let rows = leases.len() + unreadable.len();
        let mut example = leases.keys().next().cloned();
        let mut found = Leases::default();
        let mut without_key = None;
        for UnreadableLease { lease_key, error: source, .. } in unreadable {
            let Some(lease_key) = lease_key else {
                without_key.get_or_insert((0, source)).0 += 1;
                continue;
            };
            let shard_id = shard_in_key(&lease_key, stream);
            if is_of_stream(shard_id) {
                found.unreadable.insert(shard_id.to_owned(), source);
                continue;
            }
            warning(format_args!(
                "warning: table {table}: row {lease_key} cannot be read: {}",
                chain(&source)
            ));
            example.get_or_insert(lease_key);
        }
        if let Some((rows, source)) = without_key {
            let rows = count(rows, "row");
            warning(format_args!("warning: table {table}: {rows} cannot be read: {}", chain(&source)));
        }
        // Shard IDs are the same in every stream.
        let other =
            leases.values().filter_map(|row| row.stream_arn.as_deref()).find(|arn| *arn != stream.arn);
        if let Some(other) = other {
            return Err(Error::OtherStream { table: table.clone(), stream_arn: other.to_owned() });
        }
        let is_of_several = |(_, row): &(&String, &Row)| row.stream_identifier.is_some();
        found.of_several_streams = leases.iter().find(is_of_several).map(|(key, _)| key.clone());
        for (key, row) in leases {
            if let Some(shard_id) = shard_id(&key, &row, stream)
                && is_of_stream(&shard_id)
            {
                found.by_shard.insert(shard_id, Lease { key, row });
            }
        }
        let number = count(rows as u64, "row");
        found.found_instead = match example {
            None if rows == 0 => EMPTY.to_owned(),
            None => format!("it has {number} without a key leaseKey"),
            // ACCOUNT:STREAM:EPOCH:SHARD
            Some(key) if key.matches(':').count() == 3 => {
                format!("it has {number}, such as {key}, of a KCL for several streams")
            }
            Some(key) => format!("it has {number}, such as {key}"),
        };
        Ok(found)
    }
}

/// Returns the shard of a lease, unless it is one of another stream: in the table of a KCL application for several streams.
fn shard_id(key: &str, row: &Row, stream: &Description) -> Option<String> {
    match (&row.stream_identifier, &row.shard_id) {
        (Some(identifier), Some(shard_id)) => identifies(identifier, stream).then(|| shard_id.clone()),
        _ => Some(key.to_owned()),
    }
}

/// Returns the shard of a lease by its key: all of the key, unless a KCL application for several streams has written it.
fn shard_in_key<'k>(key: &'k str, stream: &Description) -> &'k str {
    match key.rsplit_once(':') {
        Some((identifier, shard_id)) if identifies(identifier, stream) => shard_id,
        _ => key,
    }
}

/// Whether an identifier such as `123456789012:orders:1767225600` is that of the stream.
fn identifies(identifier: &str, stream: &Description) -> bool {
    let Some((account, (name, epoch))) =
        identifier.split_once(':').and_then(|(account, rest)| Some((account, rest.split_once(':')?)))
    else {
        return false;
    };
    stream.arn.split(':').nth(4) == Some(account)
        && stream.arn.ends_with(&format!(":stream/{name}"))
        // A stream of the same name that was there before.
        && stream.created_s.is_none_or(|created| epoch == created.to_string())
}

impl Lease {
    /// Returns the position for people: `TRIM_HORIZON`, or the sequence number and the sub-sequence number.
    pub(crate) fn position(&self) -> String {
        position(self.row.checkpoint, self.row.sub_sequence_number)
    }
}

fn position(checkpoint: RowCheckpoint, sub_sequence_number: Option<u64>) -> String {
    match checkpoint {
        // A KCL takes none as 0.
        RowCheckpoint::At(number) => format!("{number}:{}", sub_sequence_number.unwrap_or(0)),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> Description {
        Description {
            arn: "arn:aws:kinesis:eu-west-1:123456789012:stream/orders".to_owned(),
            retention_ms: 1,
            distribution: None,
            created_s: Some(1_767_225_600),
        }
    }

    #[track_caller]
    fn check_shard(identifier: &str, expected: Option<&str>) {
        let mut row = Row::new(RowCheckpoint::TrimHorizon);
        row.stream_identifier = Some(identifier.to_owned());
        row.shard_id = Some("shardId-000000000001".to_owned());
        let key = format!("{identifier}:shardId-000000000001");
        assert_eq!(shard_id(&key, &row, &stream()).as_deref(), expected);
    }

    #[test]
    fn a_lease_of_several_streams_is_of_one_of_them() {
        check_shard("123456789012:orders:1767225600", Some("shardId-000000000001"));
        check_shard("123456789012:orders:1767225601", None);
        check_shard("123456789012:rders:1767225600", None);
        check_shard("123456789013:orders:1767225600", None);
        check_shard("orders", None);
        let row = Row::new(RowCheckpoint::TrimHorizon);
        assert_eq!(
            shard_id("shardId-000000000001", &row, &stream()).as_deref(),
            Some("shardId-000000000001")
        );
    }

    #[test]
    fn the_key_of_an_unreadable_lease_has_its_shard() {
        for (key, expected) in [
            ("shardId-000000000001", "shardId-000000000001"),
            ("123456789012:orders:1767225600:shardId-000000000001", "shardId-000000000001"),
            ("123456789012:orders:1:shardId-000000000001", "123456789012:orders:1:shardId-000000000001"),
        ] {
            assert_eq!(shard_in_key(key, &stream()), expected);
        }
    }
}
