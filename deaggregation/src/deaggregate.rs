use crate::{
    Checksum, InvalidAggregate, UserRecord,
    frame::Frame,
    walk::{self, IndexedRecords, KeyTables},
};

/// The treatment of a Kinesis record with the right magic number and MD5 digest but malformed content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidAggregatePolicy {
    /// It is an error: the caller fails the Kinesis record. Nothing is lost, nothing is guessed.
    #[default]
    Fail,
    /// It is one plain user record: its data, magic number and digest included, is delivered as it came.
    Raw,
    /// It holds no user records. Only for a caller that counts it: the data is gone.
    Skip,
}

/// The content of a Kinesis record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// One plain user record: no magic number, or at most 20 bytes.
    Plain,
    /// One plain user record that has the magic number, but the digest at its end is not the MD5 of what lies between.
    ChecksumMismatch,
    /// The user records of a valid frame; there may be none.
    Aggregated,
    /// An invalid aggregate that [`InvalidAggregatePolicy::Raw`] made one plain user record.
    InvalidRaw(InvalidAggregate),
    /// An invalid aggregate that [`InvalidAggregatePolicy::Skip`] left out.
    InvalidSkipped(InvalidAggregate),
}

/// Takes Kinesis records apart into user records.
///
/// Make one and keep it: it reuses the memory in which it notes where a frame's keys lie.
///
/// A frame is read in full before its first user record is handed out, so an invalid one is never delivered in part.
/// Beyond what [`InvalidAggregate`] lists, everything is tolerated: tags, unknown fields and groups are skipped; a known
/// field with a foreign wire type counts as unknown; of a repeated scalar the last one wins; key tables may follow the
/// records that use them; keys need not be UTF-8, nor explicit hash keys numbers; varints may be longer than they must.
/// An aggregate inside an aggregate is data.
///
/// ```
/// use kpl_deaggregation::{Content, Deaggregator};
///
/// let mut deaggregator = Deaggregator::default();
/// let user_records = deaggregator.deaggregate(b"key", b"not aggregated")?;
/// assert_eq!(user_records.content(), Content::Plain);
/// assert_eq!(user_records.map(|user_record| user_record.data).collect::<Vec<_>>(), [b"not aggregated"]);
/// # Ok::<(), kpl_deaggregation::InvalidAggregate>(())
/// ```
#[derive(Debug, Clone)]
pub struct Deaggregator {
    policy: InvalidAggregatePolicy,
    max_key_bytes: u64,
    tables: KeyTables,
}

/// The default of [`Deaggregator::with_max_key_bytes`]: 1 GiB.
///
/// Kinesis limits a key to 256 characters, and an event of 6 MB holds at most 790,000 user records, so legal keys stay below
/// 810 MB.
pub const DEFAULT_MAX_KEY_BYTES: u64 = 1 << 30;

impl Default for Deaggregator {
    fn default() -> Self {
        Deaggregator::new(InvalidAggregatePolicy::default())
    }
}

impl Deaggregator {
    /// A deaggregator that treats invalid aggregates as `policy` says.
    pub fn new(policy: InvalidAggregatePolicy) -> Self {
        Deaggregator { policy, max_key_bytes: DEFAULT_MAX_KEY_BYTES, tables: KeyTables::default() }
    }

    /// Sets how many bytes the partition keys and explicit hash keys of all user records of a frame may have together. A frame
    /// with more is invalid.
    ///
    /// A frame holds each key once, but every user record may refer to a long one, so a small frame can make a consumer that
    /// copies or logs keys write gigabytes.
    pub fn with_max_key_bytes(mut self, max_key_bytes: u64) -> Self {
        self.max_key_bytes = max_key_bytes;
        self
    }

    /// Returns the user records of one Kinesis record, given its partition key (which a plain user record keeps) and its data.
    ///
    /// The user records borrow from `partition_key` and `data`; they stay valid when the next Kinesis record is
    /// deaggregated. The iterator borrows from the deaggregator: use a [`DeaggregationCursor`] to keep both in one place.
    ///
    /// # Errors
    ///
    /// Any [`InvalidAggregate`], if the policy is [`InvalidAggregatePolicy::Fail`].
    pub fn deaggregate<'a>(
        &mut self,
        partition_key: &'a [u8],
        data: &'a [u8],
    ) -> Result<UserRecords<'a, '_>, InvalidAggregate> {
        let rest = self.start(partition_key, data)?;
        Ok(UserRecords { rest, tables: &self.tables })
    }

    /// Checks a Kinesis record, and notes the positions of its keys in the tables.
    fn start<'a>(&mut self, partition_key: &'a [u8], data: &'a [u8]) -> Result<Rest<'a>, InvalidAggregate> {
        self.start_verified(partition_key, data, Checksum::of(data))
    }

    fn start_verified<'a>(
        &mut self,
        partition_key: &'a [u8],
        data: &'a [u8],
        checksum: Checksum,
    ) -> Result<Rest<'a>, InvalidAggregate> {
        let plain = |content, remaining| {
            let user_record =
                UserRecord { data, partition_key, explicit_hash_key: None, sub_sequence_number: 0 };
            Ok(Rest { content, remaining, source: UserRecordSource::Plain(user_record) })
        };
        let frame = match (checksum, Frame::detect(data)) {
            (Checksum::NotAggregated, _) | (_, None) => return plain(Content::Plain, 1),
            (Checksum::Mismatch, Some(_)) => return plain(Content::ChecksumMismatch, 1),
            (Checksum::Matches, Some(frame)) => frame,
        };
        match (walk::check(frame.message, &mut self.tables, self.max_key_bytes), self.policy) {
            (Ok(count), _) => Ok(Rest {
                content: Content::Aggregated,
                remaining: count,
                source: UserRecordSource::Frame {
                    records: IndexedRecords::new(frame.message),
                    next_sub_sequence_number: 0,
                },
            }),
            (Err(invalid), InvalidAggregatePolicy::Fail) => Err(invalid),
            (Err(invalid), InvalidAggregatePolicy::Raw) => plain(Content::InvalidRaw(invalid), 1),
            (Err(invalid), InvalidAggregatePolicy::Skip) => plain(Content::InvalidSkipped(invalid), 0),
        }
    }
}

/// The user records of one Kinesis record, in the order in which the producer packed them.
#[derive(Debug, Clone)]
pub struct UserRecords<'a, 't> {
    rest: Rest<'a>,
    tables: &'t KeyTables,
}

impl UserRecords<'_, '_> {
    /// Returns the kind of the Kinesis record's content.
    pub fn content(&self) -> Content {
        self.rest.content
    }
}

impl<'a> Iterator for UserRecords<'a, '_> {
    type Item = UserRecord<'a>;

    #[inline]
    fn next(&mut self) -> Option<UserRecord<'a>> {
        self.rest.next(self.tables)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl ExactSizeIterator for UserRecords<'_, '_> {}

/// A deaggregator together with the user records that are left of its current Kinesis record.
///
/// In general, prefer [`Deaggregator::deaggregate`]. The cursor is for a caller that leaves the iteration and returns to it
/// later, because the cursor borrows from the Kinesis records only.
///
/// ```
/// use kpl_deaggregation::{Content, DeaggregationCursor, Deaggregator};
///
/// let mut cursor = DeaggregationCursor::new(Deaggregator::default());
/// assert_eq!(cursor.next(), None, "there is no Kinesis record yet");
/// for data in [&b"one"[..], b"two"] {
///     assert_eq!(cursor.start(b"key", data)?, Content::Plain);
///     assert_eq!(cursor.next().map(|user_record| user_record.data), Some(data));
/// }
/// assert_eq!(cursor.next(), None);
/// # Ok::<(), kpl_deaggregation::InvalidAggregate>(())
/// ```
#[derive(Debug, Clone)]
pub struct DeaggregationCursor<'a> {
    deaggregator: Deaggregator,
    rest: Rest<'a>,
}

impl<'a> DeaggregationCursor<'a> {
    /// Returns a cursor without a Kinesis record.
    pub fn new(deaggregator: Deaggregator) -> Self {
        DeaggregationCursor { deaggregator, rest: Rest::default() }
    }

    /// Returns the deaggregator, so that the next cursor uses its memory.
    pub fn into_deaggregator(self) -> Deaggregator {
        self.deaggregator
    }

    /// Replaces the Kinesis record, given its partition key and its data, and returns the kind of its content.
    ///
    /// The user records that were left of the one before are dropped.
    ///
    /// # Errors
    ///
    /// Any [`InvalidAggregate`], if the policy is [`InvalidAggregatePolicy::Fail`]. The cursor then has no user record.
    pub fn start(&mut self, partition_key: &'a [u8], data: &'a [u8]) -> Result<Content, InvalidAggregate> {
        self.rest = Rest::default();
        self.rest = self.deaggregator.start(partition_key, data)?;
        Ok(self.rest.content)
    }

    /// Replaces the Kinesis record like [`start`](Self::start), with a checksum that was computed before.
    ///
    /// In general, prefer `start`. Use this with a [`ChecksumVerifier`](crate::ChecksumVerifier) if there are several Kinesis
    /// records.
    ///
    /// The checksum is trusted. A wrong one only changes the interpretation of the Kinesis record: `Matches` validates data
    /// as an aggregated record if it has the magic number and more than 20 bytes, and any other checksum makes it one plain
    /// user record.
    ///
    /// # Errors
    ///
    /// Any [`InvalidAggregate`], if the policy is [`InvalidAggregatePolicy::Fail`]. The cursor then has no user record.
    pub fn start_verified(
        &mut self,
        partition_key: &'a [u8],
        data: &'a [u8],
        checksum: Checksum,
    ) -> Result<Content, InvalidAggregate> {
        self.rest = Rest::default();
        self.rest = self.deaggregator.start_verified(partition_key, data, checksum)?;
        Ok(self.rest.content)
    }
}

impl<'a> Iterator for DeaggregationCursor<'a> {
    type Item = UserRecord<'a>;

    #[inline]
    fn next(&mut self) -> Option<UserRecord<'a>> {
        self.rest.next(&self.deaggregator.tables)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.rest.size_hint()
    }
}

impl ExactSizeIterator for DeaggregationCursor<'_> {}

/// The user records of a Kinesis record that were not yielded yet, apart from the tables of its keys.
#[derive(Debug, Clone)]
struct Rest<'a> {
    content: Content,
    remaining: u64,
    source: UserRecordSource<'a>,
}

#[derive(Debug, Clone)]
enum UserRecordSource<'a> {
    Plain(UserRecord<'a>),
    Frame { records: IndexedRecords<'a>, next_sub_sequence_number: u64 },
}

impl Default for Rest<'_> {
    fn default() -> Self {
        Rest {
            content: Content::Plain,
            remaining: 0,
            source: UserRecordSource::Plain(UserRecord::new(b"", b"")),
        }
    }
}

impl<'a> Rest<'a> {
    /// Returns the next user record. `tables` must be those that were filled when the Kinesis record was checked.
    #[inline]
    fn next(&mut self, tables: &KeyTables) -> Option<UserRecord<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        match &mut self.source {
            UserRecordSource::Plain(user_record) => Some(*user_record),
            UserRecordSource::Frame { records, next_sub_sequence_number } => {
                let record = records.next_resolved(tables);
                debug_assert!(record.is_some(), "a checked frame has as many user records as were counted");
                let record = record?;
                let sub_sequence_number = *next_sub_sequence_number;
                *next_sub_sequence_number += 1;
                Some(UserRecord {
                    data: record.data,
                    partition_key: record.partition_key,
                    explicit_hash_key: record.explicit_hash_key,
                    sub_sequence_number,
                })
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        // Lossless: each user record takes at least six bytes of memory.
        let remaining = self.remaining as usize;
        (remaining, Some(remaining))
    }
}
