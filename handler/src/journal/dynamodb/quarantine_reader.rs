use std::{collections::HashMap, fmt, sync::Arc};

use aws_sdk_dynamodb::types::AttributeValue;

use super::{key, quarantine_item::Assembly, read};
use crate::{
    Clock, SystemClock,
    aws::{Connection, text_value},
    journal::{JournalError, JournalShard, QuarantinedRecord, UnreadableItem},
};

/// Records of the quarantine that were read together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct QuarantinePage {
    /// Records in stream order, with their whole payloads.
    pub records: Vec<QuarantinedRecord>,
    /// Items that cannot be read: damaged ones, records whose parts are missing, and parts that a write has left
    /// behind without its record more than a day ago.
    pub unreadable: Vec<UnreadableItem>,
}

/// Reads the quarantine of a shard in stream order, with all payloads. A page is about 1 MB, or one record with a larger
/// payload.
pub struct QuarantineReader {
    connection: Arc<Connection>,
    table: String,
    partition_key: String,
    assembly: Assembly,
    next: Next,
}

enum Next {
    First,
    From(HashMap<String, AttributeValue>),
    End,
}

impl QuarantineReader {
    pub(super) fn new(connection: Arc<Connection>, table: String, shard: JournalShard<'_>) -> Self {
        let partition_key = shard.to_string();
        QuarantineReader {
            connection,
            table,
            partition_key,
            assembly: Assembly::new(SystemClock.epoch_ms()),
            next: Next::First,
        }
    }

    /// Reads the next records, possibly none; `None` at the end.
    ///
    /// # Errors
    ///
    /// Any [`JournalError`]. Reading may go on after one. An item that cannot be read is not an error but a part of the
    /// page.
    pub async fn next_page(&mut self) -> Result<Option<QuarantinePage>, JournalError> {
        let start = match &self.next {
            Next::First => None,
            Next::From(key) => Some(key.clone()),
            Next::End => return Ok(None),
        };
        let query = read::query(self.connection.client().await, &self.table, &self.partition_key)
            .key_condition_expression("pk = :pk AND begins_with(sk, :prefix)")
            .expression_attribute_values(":prefix", text_value(key::QUARANTINE))
            .set_exclusive_start_key(start);
        let (items, next) = read::page(&self.connection, query).await?;
        self.next = next.map_or(Next::End, Next::From);
        items.iter().for_each(|item| self.assembly.add(item));
        if matches!(self.next, Next::End) {
            self.assembly.close();
        }
        Ok(Some(self.assembly.take()))
    }

    /// Reads all of it into memory at once.
    ///
    /// # Errors
    ///
    /// As [`next_page`](Self::next_page).
    pub async fn all(mut self) -> Result<QuarantinePage, JournalError> {
        let mut all = QuarantinePage::default();
        while let Some(QuarantinePage { records, unreadable }) = self.next_page().await? {
            all.records.extend(records);
            all.unreadable.extend(unreadable);
        }
        Ok(all)
    }
}

impl fmt::Debug for QuarantineReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let QuarantineReader { table, partition_key, .. } = self;
        f.debug_struct("QuarantineReader")
            .field("table", table)
            .field("partition_key", partition_key)
            .finish_non_exhaustive()
    }
}
