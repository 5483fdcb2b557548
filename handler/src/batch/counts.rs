use kpl_deaggregation::Content;

/// The counts of a batch: what was processed, and what it held.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Kinesis records that were begun: those up to the one at which the batch has stopped, and those beyond it of which a user record
    /// was processed, or has failed. One that cannot be read does not count.
    pub kinesis_records: u64,
    /// User records that are done.
    pub user_records: u64,
    /// Decoded data of these Kinesis records, in bytes.
    pub bytes: u64,
    /// Those among them that were aggregated.
    pub aggregated: u64,
    /// Those among the aggregated ones without a single user record.
    pub empty_aggregates: u64,
    /// Kinesis records that look aggregated but for their digest; they are plain user records.
    pub checksum_mismatches: u64,
    /// Kinesis records with an invalid aggregate, whatever became of them.
    pub invalid_aggregates: u64,
    /// Whether the batch stopped at a record that failed: 1 or 0.
    pub failed: u64,
    /// Whether the batch stopped because the processor has answered [`not_now`](crate::not_now): 1 or 0.
    pub paused: u64,
    /// Whether the batch stopped because its time was nearly over: 1 or 0.
    pub deadline_stops: u64,
    /// User records that had failed before, as the journal knows, and are done now.
    pub retried: u64,
    /// User records that were not processed again, because the journal has them as done, or a cut-over in the midst of their
    /// aggregate.
    pub resumed: u64,
    /// User records that were passed over, because they belong to another shard.
    pub out_of_range: u64,
    /// Whether user records should have been filtered, but the shard's range is not known: 1 or 0. The batch was processed
    /// without the filter.
    pub hash_range_errors: u64,
    /// User records that this invocation put into the quarantine. If another invocation puts the same record there at the
    /// same time, as a late one may, each of them counts and logs it, although the quarantine has it once.
    pub quarantined: u64,
    /// User records that failed and were skipped for their age, as the options want it: their data is lost.
    pub skipped: u64,
    /// Kinesis records before the batch that the mapping has discarded, in part or as a whole. Their entries in the journal are
    /// of the kind discarded from now on.
    pub discarded: u64,
    /// Whether the journal could not be read: 1 or 0. The batch was processed without it.
    pub journal_read_errors: u64,
    /// Items of the journal that cannot be read and were skipped.
    pub unreadable_journal_items: u64,
    /// Writes to the journal that failed, or of which nobody knows.
    pub journal_write_errors: u64,
    /// Whether the checkpoint mirror stood at the end of the whole batch, or beyond it, already: 1 or 0. Lambda has
    /// delivered the batch again, or the event source mapping was made anew and began earlier in the stream.
    pub checkpoint_already_ahead: u64,
    /// Whether a KCL worker owns the shard's row, which suspends the mirror: 1 or 0.
    pub checkpoint_lease_owned: u64,
    /// Kinesis records that were not begun, because the frozen position of a cut-over has them as processed.
    pub cutover_skipped: u64,
    /// Whether the frozen position of a cut-over could not be read: 1 or 0. The batch was processed without it.
    pub checkpoint_read_errors: u64,
    /// Whether the mirror should have been written, and was not, or nobody knows: 1 or 0.
    pub checkpoint_write_errors: u64,
}

impl Counts {
    /// Counts a user record that is done in this attempt.
    #[inline]
    pub(crate) fn include_done(&mut self, attempt: Option<u32>) {
        self.user_records += 1;
        self.retried += u64::from(attempt.is_some_and(|attempt| attempt > 1));
    }

    pub(crate) fn include(&mut self, content: Content, user_records: u64) {
        match content {
            Content::Plain => {}
            Content::ChecksumMismatch => self.checksum_mismatches += 1,
            Content::Aggregated => {
                self.aggregated += 1;
                self.empty_aggregates += u64::from(user_records == 0);
            }
            Content::InvalidRaw(_) | Content::InvalidSkipped(_) => self.invalid_aggregates += 1,
        }
    }
}
