//! User records in the quarantine as items: a head, and parts where the payload is too large for one.

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};

use super::{
    QuarantinePage,
    key::{self, QuarantineKey},
    key_attributes::{self, PARTITION_KEY, SORT_KEY, sort_key, unreadable_item},
};
use crate::{
    aws::{Item, Unreadable, number, number_value, text, text_value, unreadable},
    journal::{
        ContentHash, ItemKey, MAX_ITEM_PAYLOAD_BYTES, QuarantineReason, QuarantinedContent,
        QuarantinedRecord, UnreadableItem, UserRecordId,
    },
};

/// Bytes of keys that a head holds although its payload is in parts. Longer ones are in the parts as well.
const MAX_HEAD_KEY_BYTES: usize = 2 * 1024;

/// Most parts: the key of a part has digits for so many.
const MAX_PARTS: u64 = 10_000;

/// Attribute of a part: time at which its record was quarantined, in milliseconds since 1970, as in the head. With the
/// request ID it tells the parts of two writes from each other.
pub(super) const WRITTEN_AT: &str = "writtenAt";

/// Attribute of a part: hash of the whole user record, so that a part of another one is not taken for it.
pub(super) const CONTENT_HASH: &str = "contentHash";

/// Age up to which a part without its head may belong to a write that has not ended: far more than an invocation takes.
const MAX_PENDING_MS: u64 = 24 * 60 * 60 * 1000;

/// Age up to which a part of an earlier try is used by the next one. By far less than [`MAX_PENDING_MS`], after which
/// tools may delete it.
pub(super) const MAX_RESUMED_MS: u64 = 60 * 60 * 1000;

/// The bytes of a record that are not in its head, in this order. None if all of them are.
struct PartBytes<'r> {
    data: &'r [u8],
    partition_key: &'r [u8],
    explicit_hash_key: &'r [u8],
}

impl<'r> PartBytes<'r> {
    fn new(record: &'r QuarantinedRecord) -> Self {
        let none = PartBytes { data: &[], partition_key: &[], explicit_hash_key: &[] };
        if record.body_bytes() <= MAX_ITEM_PAYLOAD_BYTES {
            return none;
        }
        let in_head = PartBytes { data: &record.data, ..none };
        if record.body_bytes() - record.data.len() <= MAX_HEAD_KEY_BYTES {
            return in_head;
        }
        let explicit_hash_key = record.explicit_hash_key.as_deref().unwrap_or_default();
        PartBytes { partition_key: &record.partition_key, explicit_hash_key, ..in_head }
    }

    fn has_keys(&self) -> bool {
        self.partition_key.len() + self.explicit_hash_key.len() > 0
    }

    fn len(&self) -> usize {
        self.data.len() + self.partition_key.len() + self.explicit_hash_key.len()
    }

    fn parts(&self) -> usize {
        self.len().div_ceil(MAX_ITEM_PAYLOAD_BYTES)
    }

    /// Returns the bytes of one part.
    fn part(&self, index: usize) -> Vec<u8> {
        let all = self.data.iter().chain(self.partition_key).chain(self.explicit_hash_key);
        all.skip(index * MAX_ITEM_PAYLOAD_BYTES).take(MAX_ITEM_PAYLOAD_BYTES).copied().collect()
    }
}

/// The head, which holds what is not in [parts].
///
/// It has no time to live: only people take a record out of the quarantine.
pub(super) fn head(partition_key: &str, record: &QuarantinedRecord) -> Item {
    let in_parts = PartBytes::new(record);
    let mut item = Item::from([
        (PARTITION_KEY.to_owned(), text_value(partition_key)),
        (SORT_KEY.to_owned(), text_value(key::head(record.sequence_number, &record.id))),
        ("sequenceNumber".to_owned(), text_value(record.sequence_number.to_string())),
        ("content".to_owned(), text_value(record.content.to_string())),
        ("reason".to_owned(), text_value(record.reason.to_string())),
        ("error".to_owned(), text_value(&record.error)),
        ("attempts".to_owned(), number_value(record.attempts.into())),
        ("quarantinedAt".to_owned(), number_value(record.quarantined_ms)),
        ("requestId".to_owned(), text_value(&record.request_id)),
        ("bytes".to_owned(), number_value(record.data.len() as u64)),
        ("parts".to_owned(), number_value(in_parts.parts() as u64)),
    ]);
    let mut put = |name: &str, value| drop(item.insert(name.to_owned(), value));
    match &record.id {
        UserRecordId::Sub(number) => put("subSequenceNumber", number_value(*number)),
        UserRecordId::Content(hash) => put("contentHash", text_value(hash.to_string())),
    }
    if let Some(arrival_ms) = record.arrival_ms {
        put("arrivalAt", number_value(arrival_ms));
    }
    if in_parts.has_keys() {
        put("partitionKeyBytes", number_value(record.partition_key.len() as u64));
        if let Some(explicit_hash_key) = &record.explicit_hash_key {
            put("explicitHashKeyBytes", number_value(explicit_hash_key.len() as u64));
        }
    } else {
        put("partitionKey", bytes_value(&record.partition_key));
        if let Some(explicit_hash_key) = &record.explicit_hash_key {
            put("explicitHashKey", bytes_value(explicit_hash_key));
        }
    }
    if in_parts.parts() == 0 {
        put("data", bytes_value(&record.data));
    }
    item
}

/// The items that hold a large payload, and long keys; none for others. They are made one by one, as they are large.
pub(super) fn parts(partition_key: &str, record: &QuarantinedRecord) -> impl Iterator<Item = Item> {
    let in_parts = PartBytes::new(record);
    let head = key::head(record.sequence_number, &record.id);
    let hash = content_hash(record);
    (0..in_parts.parts()).map(move |index| {
        Item::from([
            (PARTITION_KEY.to_owned(), text_value(partition_key)),
            (SORT_KEY.to_owned(), text_value(key::part(&head, index))),
            ("data".to_owned(), bytes_value(&in_parts.part(index))),
            (CONTENT_HASH.to_owned(), text_value(&*hash)),
            (WRITTEN_AT.to_owned(), number_value(record.quarantined_ms)),
            ("requestId".to_owned(), text_value(&record.request_id)),
        ])
    })
}

pub(super) fn content_hash(record: &QuarantinedRecord) -> String {
    ContentHash::new(&record.partition_key, &record.data).to_string()
}

pub(super) fn has_parts(record: &QuarantinedRecord) -> bool {
    PartBytes::new(record).parts() > 0
}

/// The sort keys of a record's items: the head's first.
pub(super) fn sort_keys(record: &QuarantinedRecord) -> impl Iterator<Item = String> {
    let head = key::head(record.sequence_number, &record.id);
    let part_keys: Vec<String> =
        (0..PartBytes::new(record).parts()).map(|index| key::part(&head, index)).collect();
    std::iter::once(head).chain(part_keys)
}

fn bytes_value(bytes: &[u8]) -> AttributeValue {
    AttributeValue::B(Blob::new(bytes))
}

/// Puts records together from their items, in the order of these: each head before its parts.
pub(super) struct Assembly {
    now_ms: u64,
    page: QuarantinePage,
    open: Option<Open>,
}

/// A head whose parts are still to come.
struct Open {
    key: ItemKey,
    /// Record that the parts belong to; absent if its head cannot be read.
    record: Option<OpenRecord>,
}

struct OpenRecord {
    record: QuarantinedRecord,
    bytes: u64,
    /// Lengths of the keys, if they are in the parts, too.
    key_bytes: Option<(u64, Option<u64>)>,
    parts: u64,
    parts_read: u64,
}

impl Assembly {
    pub(super) fn new(now_ms: u64) -> Self {
        Assembly { now_ms, page: QuarantinePage::default(), open: None }
    }

    pub(super) fn add(&mut self, item: &Item) {
        if let Err(wrong) = self.try_add(item) {
            self.page.unreadable.push(unreadable_item(item, wrong));
        }
    }

    fn try_add(&mut self, item: &Item) -> Result<(), Unreadable> {
        let sort_key = sort_key(item)?;
        let key = key::parse_quarantine(sort_key).ok_or_else(|| unreadable(item, SORT_KEY))?;
        let Some(index) = key.part else {
            self.close();
            let record = open(item, &key);
            let (record, wrong) = match record {
                Ok(record) => (Some(record), None),
                Err(wrong) => (None, Some(wrong)),
            };
            self.open = Some(Open { key: key_attributes::key(item), record });
            return wrong.map_or(Ok(()), Err);
        };
        match self.open.as_mut().filter(|open| open.key.sort_key == key.head) {
            Some(Open { record: None, .. }) => Ok(()),
            Some(Open { record: Some(open), .. }) if (index as u64) < open.parts => {
                let data = bytes(item, "data")?.ok_or_else(|| unreadable(item, "data"))?;
                open.record.data.extend_from_slice(data);
                open.parts_read += 1;
                Ok(())
            }
            // The write of a large payload may still be on its way.
            _ if number(item, WRITTEN_AT)?
                .is_some_and(|ms| self.now_ms < ms.saturating_add(MAX_PENDING_MS)) =>
            {
                Ok(())
            }
            _ => Err(Unreadable {
                attribute: SORT_KEY,
                found: "a part of a payload without a record".to_owned(),
            }),
        }
    }

    /// Takes what is complete by now.
    pub(super) fn take(&mut self) -> QuarantinePage {
        std::mem::take(&mut self.page)
    }

    /// Completes the open record: its parts, which follow it, have all been seen.
    pub(super) fn close(&mut self) {
        let Some(Open { key, record: Some(open) }) = self.open.take() else { return };
        let OpenRecord { mut record, bytes, key_bytes, parts, parts_read } = open;
        let (partition_key, explicit_hash_key) = key_bytes.unwrap_or_default();
        let key_length = partition_key.saturating_add(explicit_hash_key.unwrap_or(0));
        let reason = if parts_read != parts {
            format!("parts is {parts}, of which {parts_read} are there")
        } else if record.data.len() as u64 != bytes.saturating_add(key_length) {
            let found = (record.data.len() as u64).saturating_sub(key_length);
            format!("bytes is {bytes}, and the payload has {found}")
        } else {
            if key_bytes.is_some() {
                let mut keys = record.data.split_off(bytes as usize);
                record.explicit_hash_key = explicit_hash_key.map(|_| keys.split_off(partition_key as usize));
                record.partition_key = keys;
            }
            self.page.records.push(record);
            return;
        };
        self.page.unreadable.push(UnreadableItem { key, reason });
    }
}

fn open(item: &Item, key: &QuarantineKey<'_>) -> Result<OpenRecord, Unreadable> {
    let some_text = |name| text(item, name)?.ok_or_else(|| unreadable(item, name));
    let some_number = |name| number(item, name)?.ok_or_else(|| unreadable(item, name));
    let parts = some_number("parts")?;
    if parts > MAX_PARTS {
        return Err(unreadable(item, "parts"));
    }
    let data = match (parts, bytes(item, "data")?) {
        (0, Some(data)) => data.to_vec(),
        (0, None) => return Err(unreadable(item, "data")),
        (_, Some(_)) => return Err(unreadable(item, "parts")),
        (_, None) => Vec::new(),
    };
    let key_bytes = match bytes(item, "partitionKey")? {
        Some(_) => None,
        None => {
            let partition_key =
                number(item, "partitionKeyBytes")?.ok_or_else(|| unreadable(item, "partitionKey"))?;
            Some((partition_key, number(item, "explicitHashKeyBytes")?))
        }
    };
    let record = QuarantinedRecord {
        sequence_number: key::padded(key.sequence_number, text(item, "sequenceNumber").unwrap_or(None)),
        id: key.id,
        content: one_of(item, "content", QuarantinedContent::ALL)?,
        data,
        partition_key: bytes(item, "partitionKey")?.unwrap_or_default().to_vec(),
        explicit_hash_key: bytes(item, "explicitHashKey")?.map(<[u8]>::to_vec),
        arrival_ms: number(item, "arrivalAt")?,
        reason: one_of(item, "reason", QuarantineReason::ALL)?,
        error: some_text("error")?.to_owned(),
        attempts: some_number("attempts")?.try_into().map_err(|_| unreadable(item, "attempts"))?,
        quarantined_ms: some_number("quarantinedAt")?,
        request_id: some_text("requestId")?.to_owned(),
    };
    Ok(OpenRecord { record, bytes: some_number("bytes")?, key_bytes, parts, parts_read: 0 })
}

/// The one whose text stands in the attribute.
fn one_of<T: ToString>(
    item: &Item,
    name: &'static str,
    values: impl IntoIterator<Item = T>,
) -> Result<T, Unreadable> {
    let found = text(item, name)?;
    values
        .into_iter()
        .find(|value| found == Some(value.to_string().as_str()))
        .ok_or_else(|| unreadable(item, name))
}

fn bytes<'a>(item: &'a Item, name: &'static str) -> Result<Option<&'a [u8]>, Unreadable> {
    match item.get(name) {
        None => Ok(None),
        Some(AttributeValue::B(bytes)) => Ok(Some(bytes.as_ref())),
        Some(_) => Err(unreadable(item, name)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, option, prelude::*};

    use super::*;
    use crate::journal::ContentHash;

    fn record(sub_sequence_number: u64, data: Vec<u8>) -> QuarantinedRecord {
        QuarantinedRecord {
            sequence_number: "49".parse().expect("digits"),
            id: UserRecordId::Sub(sub_sequence_number),
            content: QuarantinedContent::Aggregated,
            data,
            partition_key: Vec::new(),
            explicit_hash_key: None,
            arrival_ms: None,
            reason: QuarantineReason::Permanent,
            error: String::new(),
            attempts: 1,
            quarantined_ms: 7,
            request_id: "r".to_owned(),
        }
    }

    fn items(record: &QuarantinedRecord) -> Vec<Item> {
        [head("a#b#c", record)].into_iter().chain(parts("a#b#c", record)).collect()
    }

    const NOW_MS: u64 = 10 * MAX_PENDING_MS;

    /// Puts records together; the second part is what cannot be read.
    fn assemble(items: &[Item]) -> (Vec<QuarantinedRecord>, Vec<String>) {
        let mut assembly = Assembly::new(NOW_MS);
        items.iter().for_each(|item| assembly.add(item));
        assembly.close();
        let QuarantinePage { records, unreadable } = assembly.take();
        (records, unreadable.iter().map(ToString::to_string).collect())
    }

    fn wrong(text: &str) -> (Vec<QuarantinedRecord>, Vec<String>) {
        (Vec::new(), vec![text.to_owned()])
    }

    proptest! {
        #[test]
        fn a_record_reads_back(
            digits in "[1-9][0-9]{0,56}",
            sub_sequence_number in option::of(any::<u64>()),
            content in prop::sample::select(QuarantinedContent::ALL.to_vec()),
            reason in prop::sample::select(QuarantineReason::ALL.to_vec()),
            data in vec(any::<u8>(), 0..9),
            keys in (vec(any::<u8>(), 0..9), option::of(vec(any::<u8>(), 0..9))),
            arrival_ms in option::of(any::<u64>()),
            attempts in any::<u32>(),
        ) {
            let hash = ContentHash::new(b"", &data);
            let record = QuarantinedRecord {
                sequence_number: digits.parse().expect("digits"),
                id: sub_sequence_number.map_or(UserRecordId::Content(hash), UserRecordId::Sub),
                content,
                partition_key: keys.0,
                explicit_hash_key: keys.1,
                arrival_ms,
                reason,
                attempts,
                ..record(0, data)
            };
            let items = items(&record);
            prop_assert_eq!(items.len(), 1);
            prop_assert!(!items[0].contains_key("expiresAt"));
            prop_assert_eq!(assemble(&items), (vec![record], vec![]));
        }
    }

    #[test]
    fn a_large_payload_spans_items() {
        let data = |bytes: usize| (0..bytes).map(|at| (at / 1000) as u8).collect::<Vec<_>>();
        for (bytes, expected_parts) in [
            (0, 0),
            (MAX_ITEM_PAYLOAD_BYTES, 0),
            (MAX_ITEM_PAYLOAD_BYTES + 1, 2),
            (2 * MAX_ITEM_PAYLOAD_BYTES, 2),
            (1024 * 1024, 3),
        ] {
            let record = record(0, data(bytes));
            let items = items(&record);
            assert_eq!(items.len(), 1 + expected_parts, "{bytes}");
            assert_eq!(items[0]["parts"], number_value(expected_parts as u64));
            assert!(assemble(&items) == (vec![record], vec![]), "{bytes}");
        }
    }

    #[test]
    fn long_keys_are_in_the_parts_as_well() {
        const KB: usize = 1024;
        for (key, explicit_hash_key, data, expected_parts) in [
            (300 * KB, None, 50 * KB, 0),
            (300 * KB, None, 50 * KB + 1, 2),
            (130 * KB, None, 300 * KB, 2),
            (130 * KB, Some(130 * KB), 300 * KB, 2),
            (400 * KB, Some(0), 0, 2),
            (2 * KB, None, 350 * KB, 1),
            (1, Some(900 * KB), 0, 3),
        ] {
            let record = QuarantinedRecord {
                partition_key: vec![b'k'; key],
                explicit_hash_key: explicit_hash_key.map(|bytes| vec![b'h'; bytes]),
                ..record(0, vec![b'd'; data])
            };
            let items = items(&record);
            assert_eq!(items.len(), 1 + expected_parts, "{key} {data}");
            for item in &items {
                let bytes: usize = item
                    .iter()
                    .map(|(name, value)| {
                        name.len()
                            + match value {
                                AttributeValue::B(bytes) => bytes.as_ref().len(),
                                AttributeValue::S(text) | AttributeValue::N(text) => text.len(),
                                other => panic!("{other:?}"),
                            }
                    })
                    .sum();
                assert!(bytes < 400 * KB, "{key} {data}: {bytes}");
            }
            assert!(assemble(&items) == (vec![record], vec![]), "{key} {data}");
        }
    }

    #[test]
    fn missing_parts_hide_no_other_record() {
        let large = record(0, vec![1; 2 * MAX_ITEM_PAYLOAD_BYTES + 1]);
        let small = record(1, vec![2]);
        let (of_large, of_small) = (items(&large), items(&small));
        for missing in 1..of_large.len() {
            let mut items = of_large.clone();
            items.remove(missing);
            let expected = "item Q#0249#010 cannot be read: parts is 3, of which 2 are there";
            assert_eq!(assemble(&items), wrong(expected));
            items.extend_from_slice(&of_small);
            assert_eq!(assemble(&items), (vec![small.clone()], vec![expected.to_owned()]));
        }
        let mut items = of_large;
        items[3].insert("data".to_owned(), bytes_value(b""));
        assert_eq!(
            assemble(&items),
            wrong("item Q#0249#010 cannot be read: bytes is 716801, and the payload has 716800")
        );
        // The parts of a head that cannot be read are no further findings: they are deleted with it.
        items[0].remove("reason");
        assert_eq!(assemble(&items), wrong("item Q#0249#010 cannot be read: reason is absent"));
    }

    #[test]
    fn parts_without_a_record_are_found_after_a_day() {
        let large = record(0, vec![1; MAX_ITEM_PAYLOAD_BYTES + 1]);
        let small = record(1, vec![2]);
        let (of_large, of_small) = (items(&large), items(&small));
        let now_small = record(0, vec![3]);
        let orphan = |index| {
            format!("item Q#0249#010#P000{index} cannot be read: sk is a part of a payload without a record")
        };
        let mut parts = of_large[1..].to_vec();
        for (written_ms, expected) in [
            (None, vec![orphan(0), orphan(1)]),
            (Some(NOW_MS - MAX_PENDING_MS), vec![orphan(0), orphan(1)]),
            // Its write may not have ended.
            (Some(NOW_MS - MAX_PENDING_MS + 1), vec![]),
        ] {
            for part in &mut parts {
                part.remove(WRITTEN_AT);
                part.extend(written_ms.map(|ms| (WRITTEN_AT.to_owned(), number_value(ms))));
            }
            let without_head = [&parts, &of_small[..]].concat();
            assert_eq!(assemble(&without_head), (vec![small.clone()], expected.clone()));
            // A payload that has become smaller: its former parts are still there.
            let items = [&items(&now_small), &parts, &of_small[..]].concat();
            assert_eq!(assemble(&items), (vec![now_small.clone(), small.clone()], expected));
        }
    }

    #[test]
    fn what_the_journal_does_not_write_is_named() {
        for (attribute, value, found) in [
            ("content", text_value("other"), "S(\"other\")"),
            ("reason", number_value(1), "N(\"1\")"),
            ("attempts", number_value(1 << 32), "N(\"4294967296\")"),
            ("parts", number_value(10_001), "N(\"10001\")"),
            ("parts", number_value(1), "N(\"1\")"),
            // A payload is nothing for a log.
            ("quarantinedAt", bytes_value(b"secret"), "B(6 bytes)"),
            ("data", text_value("d"), "S(\"d\")"),
            ("partitionKey", text_value("k"), "S(\"k\")"),
            ("explicitHashKey", text_value("k"), "S(\"k\")"),
            ("sk", text_value("Q#49"), "S(\"Q#49\")"),
        ] {
            let mut item = head("a#b#c", &record(0, vec![1]));
            item.insert(attribute.to_owned(), value);
            let key = if attribute == "sk" { "Q#49" } else { "Q#0249#010" };
            assert_eq!(
                assemble(&[item]),
                wrong(&format!("item {key} cannot be read: {attribute} is {found}"))
            );
        }
        for attribute in [
            "content",
            "reason",
            "error",
            "attempts",
            "quarantinedAt",
            "requestId",
            "partitionKey",
            "bytes",
            "parts",
            "data",
        ] {
            let mut item = head("a#b#c", &record(0, vec![1]));
            item.remove(attribute);
            let expected = format!("item Q#0249#010 cannot be read: {attribute} is absent");
            assert_eq!(assemble(&[item]), wrong(&expected));
        }
    }
}
