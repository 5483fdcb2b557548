//! The table of a retry journal, and entries that no mapping will process.

pub(crate) mod stranded;

use std::{
    cell::Cell,
    fmt,
    io::{self, Write},
};

use kinesis_handler::journal::{
    DynamoDbJournal, ItemKey, JournalEntries, JournalError, JournalShard, JournalStore, QuarantineReader,
    QuarantinedRecord, RecordState, StateKind, StateRange, UnreadableItem,
};

use serde::Serialize;

use crate::{
    args::Format,
    aws,
    error::{Error, chain},
    output::{
        cell, json,
        note::{count, note},
        table::{LastCell, Row, Table},
        tone::Tone,
    },
    stream::name::StreamName,
};

/// Failures in a row after which the table counts as unusable: each one has taken all of the client's retries.
const MAX_FAILURES_IN_A_ROW: u32 = 3;

/// Widest partition key in a message.
const KEY_WIDTH: usize = 200;

/// The table of a retry journal.
#[derive(Debug)]
pub(crate) struct JournalTable {
    name: String,
    store: DynamoDbJournal,
    failures_in_a_row: Cell<u32>,
}

/// Shards that were visited.
#[derive(Debug, Default)]
pub(crate) struct Visited {
    /// Number of shards that could not be read to their end.
    pub(crate) unread: u64,
    /// Items whose keys are not the journal's. A filter leaves them out.
    pub(crate) foreign: Vec<UnreadableItem>,
}

/// The result of a deletion.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Deletion {
    Deleted,
    /// The item was written again after it was read, so it was left alone.
    Changed,
    /// The table has refused it, for this reason.
    Failed(String),
}

/// A filter of a table's shards: all that fit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ShardFilter {
    pub(crate) application: Option<String>,
    pub(crate) stream: Option<StreamName>,
    pub(crate) shard_id: Option<String>,
}

impl JournalTable {
    /// The table of this name. The region is that of the stream, if an ARN names it.
    pub(crate) async fn open(name: &str, filter: &ShardFilter) -> Result<Self, Error> {
        let stream_arn = filter.stream.as_ref().and_then(StreamName::arn);
        let client = aws::dynamodb(stream_arn.map(|arn| arn.region())).await?;
        let store = DynamoDbJournal::with_client(name, client);
        Ok(JournalTable { name: name.to_owned(), store, failures_in_a_row: Cell::new(0) })
    }

    pub(crate) fn store(&self) -> &DynamoDbJournal {
        &self.store
    }

    pub(crate) fn error(&self, source: JournalError) -> Error {
        Error::Journal { table: self.name.clone(), source }
    }

    /// The partition keys of these shards. One that is named whole is not looked for in the table.
    async fn partition_keys(
        &self,
        filter: &ShardFilter,
    ) -> Result<(Vec<String>, Vec<UnreadableItem>), Error> {
        let ShardFilter { application, stream, shard_id } = filter;
        let stream_arn = stream.as_ref().and_then(StreamName::arn);
        if let (Some(application), Some(stream_arn), Some(shard_id)) = (application, stream_arn, shard_id) {
            let shard = JournalShard { application, stream_arn: stream_arn.as_str(), shard_id };
            return Ok((vec![shard.to_string()], Vec::new()));
        }
        let mut keys = self.store.scan_keys().await.map_err(|source| self.error(source))?;
        if keys.partition_keys.is_empty()
            && !keys.foreign.is_empty()
            && keys.foreign.iter().all(|item| item.key.partition_key.is_empty())
        {
            let (table, items) = (self.name.clone(), count(keys.foreign.len() as u64, "item"));
            return Err(Error::NotJournal { table, items });
        }
        keys.partition_keys.retain(|key| JournalShard::parse(key).is_some_and(|shard| filter.takes(shard)));
        if *filter != ShardFilter::default() {
            keys.foreign.clear();
        }
        Ok((keys.partition_keys, keys.foreign))
    }

    /// Visits these shards. One that cannot be read is reported and counted, and the others are visited all the same.
    ///
    /// If none of them can be read, that is an error.
    pub(crate) async fn for_each_shard(
        &self,
        filter: &ShardFilter,
        mut visit: impl AsyncFnMut(JournalShard<'_>) -> Result<(), Error>,
    ) -> Result<Visited, Error> {
        let (mut visited, mut unread) = (0, 0);
        let mut last_error = None;
        let (keys, foreign) = self.partition_keys(filter).await?;
        for key in keys {
            let Some(shard) = JournalShard::parse(&key) else { continue };
            visited += 1;
            match visit(shard).await {
                Ok(()) => self.failures_in_a_row.set(0),
                Err(error) => {
                    let error = self.tolerate(error)?;
                    note(format_args!("{}: {}", cell::text(&key, KEY_WIDTH), chain(&error)));
                    unread += 1;
                    last_error = Some(error);
                }
            }
        }
        match last_error {
            Some(error) if unread == visited => Err(error),
            _ => Ok(Visited { unread, foreign }),
        }
    }

    /// Deletes a record of the quarantine, unless it was put there again since it was read.
    pub(crate) async fn delete_quarantined(
        &self,
        shard: JournalShard<'_>,
        record: &QuarantinedRecord,
    ) -> Result<Deletion, Error> {
        self.deletion(self.store.delete_quarantined(shard, record).await)
    }

    /// Deletes a state, unless it was written again since it was read.
    pub(crate) async fn delete_state(
        &self,
        shard: JournalShard<'_>,
        state: &RecordState,
    ) -> Result<Deletion, Error> {
        self.deletion(self.store.delete_unchanged(shard, state).await)
    }

    /// Returns whether a state is as it was read.
    pub(crate) async fn is_unchanged(
        &self,
        shard: JournalShard<'_>,
        state: &RecordState,
    ) -> Result<bool, Error> {
        let number = state.sequence_number;
        let range = StateRange { kind: state.kind, from: number, through: number, earlier: 0 };
        let now = self.store.read(shard, range).await.map_err(|source| self.error(source))?;
        Ok(now.states.iter().any(|now| now.version == state.version && now.written_by == state.written_by))
    }

    /// Scans the table for items whose keys are not the journal's.
    pub(crate) async fn foreign_items(&self) -> Result<Vec<UnreadableItem>, Error> {
        Ok(self.store.scan_keys().await.map_err(|source| self.error(source))?.foreign)
    }

    /// Deletes an item that cannot be read.
    pub(crate) async fn delete_item(&self, key: &ItemKey) -> Result<(), Error> {
        self.store.delete_item(key).await.map_err(|source| self.error(source))
    }

    fn deletion(&self, result: Result<bool, JournalError>) -> Result<Deletion, Error> {
        match result {
            Ok(is_deleted) => {
                self.failures_in_a_row.set(0);
                Ok(if is_deleted { Deletion::Deleted } else { Deletion::Changed })
            }
            Err(source) => Ok(Deletion::Failed(chain(&self.tolerate(self.error(source))?))),
        }
    }

    /// Gives back an error of the table that need not end the run, because the next item may fare better.
    fn tolerate(&self, error: Error) -> Result<Error, Error> {
        let failures = self.failures_in_a_row.get() + 1;
        self.failures_in_a_row.set(failures);
        let is_last = failures >= MAX_FAILURES_IN_A_ROW;
        if is_last || !matches!(error, Error::Journal { .. }) { Err(error) } else { Ok(error) }
    }

    pub(crate) async fn states(
        &self,
        shard: JournalShard<'_>,
        kind: StateKind,
    ) -> Result<JournalEntries, Error> {
        self.store.states(shard, kind).await.map_err(|source| self.error(source))
    }

    pub(crate) fn quarantine(&self, shard: JournalShard<'_>) -> QuarantineReader {
        self.store.quarantine(shard)
    }
}

/// An item that cannot be read, as JSON has it.
#[derive(Serialize)]
struct UnreadableLine<'a> {
    pk: &'a str,
    sk: &'a str,
    unreadable: &'a str,
}

/// Adds an item that cannot be read to a list, with the keys that name it.
pub(crate) fn add_unreadable<W: Write>(
    table: &mut Table<W>,
    format: Format,
    item: &UnreadableItem,
) -> io::Result<()> {
    let ItemKey { partition_key: pk, sort_key: sk, .. } = &item.key;
    if format == Format::Json {
        let output = table.output();
        json::write(output, &UnreadableLine { pk, sk, unreadable: &item.reason })?;
        output.write_all(b"\n")?;
        return output.flush();
    }
    let [pk, sk] = [pk, sk].map(|key| cell::text(key, KEY_WIDTH));
    let last = format!("unreadable item {pk} {sk}: {}", item.reason);
    table.push(Row::new(Vec::new(), LastCell::Whole(last)).with_tone(Tone::Error))
}

impl ShardFilter {
    fn takes(&self, shard: JournalShard<'_>) -> bool {
        let stream = match &self.stream {
            None => true,
            Some(StreamName::Arn(arn)) => arn.as_str() == shard.stream_arn,
            Some(StreamName::Name(name)) => {
                shard.stream_arn.rsplit_once('/').is_some_and(|(_, of)| of == name)
            }
        };
        stream
            && self.application.as_deref().is_none_or(|application| application == shard.application)
            && self.shard_id.as_deref().is_none_or(|shard_id| shard_id == shard.shard_id)
    }
}

/// Describes the filter for people.
impl fmt::Display for ShardFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ShardFilter { application, stream, shard_id } = self;
        let any = || "any".to_owned();
        write!(
            f,
            "application {}, stream {}, shard {}",
            application.clone().unwrap_or_else(any),
            stream.as_ref().map_or_else(any, StreamName::to_string),
            shard_id.clone().unwrap_or_else(any)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_takes_what_it_does_not_name() {
        let stream_arn = "arn:aws:kinesis:us-east-1:123456789012:stream/orders";
        let shard = JournalShard { application: "a", stream_arn, shard_id: "shardId-000000000001" };
        let filter = |application: Option<&str>, stream: Option<&str>, shard_id: Option<&str>| ShardFilter {
            application: application.map(str::to_owned),
            stream: stream.map(|stream| stream.parse().expect("a name or an ARN")),
            shard_id: shard_id.map(str::to_owned),
        };
        for takes in [
            filter(None, None, None),
            filter(Some("a"), Some("orders"), Some("shardId-000000000001")),
            filter(None, Some(stream_arn), None),
        ] {
            assert!(takes.takes(shard), "{takes:?}");
        }
        for refuses in [
            filter(Some("b"), None, None),
            filter(None, Some("order"), None),
            filter(None, Some("arn:aws:kinesis:us-east-2:123456789012:stream/orders"), None),
            filter(None, None, Some("shardId-000000000000")),
        ] {
            assert!(!refuses.takes(shard), "{refuses:?}");
        }
    }
}
