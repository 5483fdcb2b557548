use std::fmt;

use kpl_deaggregation::Content;

use crate::output::note::count;

/// The counts of an input's records.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(super) kinesis_records: u64,
    pub(super) user_records: u64,
    pub(super) invalid: u64,
    /// Lines on which a key is not shown whole.
    pub(super) shortened_keys: u64,
    aggregated: u64,
    /// Plain records with the magic number of aggregated ones: most likely damaged on their way.
    checksum_mismatches: u64,
}

impl Summary {
    /// Counts a Kinesis record that could be read.
    pub(super) fn count(&mut self, content: Content) {
        match content {
            Content::Aggregated => self.aggregated += 1,
            Content::ChecksumMismatch => self.checksum_mismatches += 1,
            Content::Plain | Content::InvalidRaw(_) | Content::InvalidSkipped(_) => {}
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}, {}, {} aggregated, {} invalid",
            count(self.kinesis_records, "Kinesis record"),
            count(self.user_records, "user record"),
            self.aggregated,
            self.invalid
        )?;
        match self.checksum_mismatches {
            0 => Ok(()),
            records => write!(f, ", {records} with a checksum mismatch"),
        }
    }
}
