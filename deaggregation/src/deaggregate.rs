use crate::{
    InvalidFrame, UserRecord,
    frame::Frame,
    walk::{self, KeyTables, ResolvedRecords},
};

/// The treatment of a Kinesis record with the right magic number and MD5 digest but malformed content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidFramePolicy {
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
    BadDigest,
    /// The user records of a valid frame; there may be none.
    Aggregated,
    /// An invalid frame that [`InvalidFramePolicy::Raw`] made one plain user record.
    InvalidRaw(InvalidFrame),
    /// An invalid frame that [`InvalidFramePolicy::Skip`] left out.
    InvalidSkipped(InvalidFrame),
}

/// Takes Kinesis records apart into user records.
///
/// Make one and keep it: it reuses the memory in which it notes where a frame's keys lie.
///
/// A frame is read in full before its first user record is handed out, so an invalid one is never delivered in part.
/// Beyond what [`InvalidFrame`] lists, everything is tolerated: tags, unknown fields and groups are skipped; a known
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
/// # Ok::<(), kpl_deaggregation::InvalidFrame>(())
/// ```
#[derive(Debug)]
pub struct Deaggregator {
    policy: InvalidFramePolicy,
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
        Deaggregator::new(InvalidFramePolicy::default())
    }
}

impl Deaggregator {
    /// A deaggregator that treats invalid frames as `policy` says.
    pub fn new(policy: InvalidFramePolicy) -> Self {
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

    /// The user records of one Kinesis record, given its partition key (which a plain user record keeps) and its data.
    ///
    /// The user records borrow from `partition_key` and `data`; they stay valid when the next Kinesis record is
    /// taken apart.
    ///
    /// # Errors
    ///
    /// Any [`InvalidFrame`], if the policy is [`InvalidFramePolicy::Fail`].
    pub fn deaggregate<'a>(
        &mut self,
        partition_key: &'a [u8],
        data: &'a [u8],
    ) -> Result<UserRecords<'a, '_>, InvalidFrame> {
        let plain = |content| {
            let user_record =
                UserRecord { data, partition_key, explicit_hash_key: None, sub_sequence_number: 0 };
            Ok(UserRecords { content, remaining: 1, source: Source::Plain(user_record) })
        };
        let Some(frame) = Frame::detect(data) else {
            return plain(Content::Plain);
        };
        if !frame.digest_matches() {
            return plain(Content::BadDigest);
        }
        match (walk::check(frame.message, &mut self.tables, self.max_key_bytes), self.policy) {
            (Ok(count), _) => Ok(UserRecords {
                content: Content::Aggregated,
                remaining: count,
                source: Source::Frame {
                    records: ResolvedRecords::new(frame.message, &self.tables),
                    next_sub_sequence_number: 0,
                },
            }),
            (Err(invalid), InvalidFramePolicy::Fail) => Err(invalid),
            (Err(invalid), InvalidFramePolicy::Raw) => plain(Content::InvalidRaw(invalid)),
            (Err(invalid), InvalidFramePolicy::Skip) => {
                let mut skipped = plain(Content::InvalidSkipped(invalid))?;
                skipped.remaining = 0;
                Ok(skipped)
            }
        }
    }
}

/// The user records of one Kinesis record, in the order in which the producer packed them.
#[derive(Debug, Clone)]
pub struct UserRecords<'a, 't> {
    content: Content,
    remaining: u64,
    source: Source<'a, 't>,
}

#[derive(Debug, Clone)]
enum Source<'a, 't> {
    Plain(UserRecord<'a>),
    Frame { records: ResolvedRecords<'a, 't>, next_sub_sequence_number: u64 },
}

impl UserRecords<'_, '_> {
    /// Returns the content that the Kinesis record turned out to have.
    pub fn content(&self) -> Content {
        self.content
    }
}

impl<'a> Iterator for UserRecords<'a, '_> {
    type Item = UserRecord<'a>;

    #[inline]
    fn next(&mut self) -> Option<UserRecord<'a>> {
        self.remaining = self.remaining.checked_sub(1)?;
        match &mut self.source {
            Source::Plain(user_record) => Some(*user_record),
            Source::Frame { records, next_sub_sequence_number } => {
                let record = records.next();
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

impl ExactSizeIterator for UserRecords<'_, '_> {}
