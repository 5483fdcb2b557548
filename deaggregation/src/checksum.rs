use crate::{frame::Frame, md5::Md5Lanes};

/// The result of comparing the MD5 digest at the end of a Kinesis record's data with its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// The data has no digest: there is no magic number, or the data has at most 20 bytes.
    NotAggregated,
    /// The digest is right, so this is an aggregated record.
    Matches,
    /// The data has the magic number and a wrong digest.
    Mismatch,
}

impl Checksum {
    /// Computes the checksum of one Kinesis record's data.
    pub(crate) fn of(data: &[u8]) -> Self {
        match Frame::detect(data) {
            None => Checksum::NotAggregated,
            Some(frame) if frame.digest_matches() => Checksum::Matches,
            Some(_) => Checksum::Mismatch,
        }
    }
}

/// The vector instructions that may be used. Results are the same with all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum VectorInstructions {
    /// All that the processor has.
    #[default]
    All,
    /// On x86-64 at most AVX2: no AVX-512.
    Avx2,
    /// No vector instructions: one record is verified after the other.
    None,
}

/// Verifies the checksums of many Kinesis records at once.
///
/// This is several times as fast as one after the other, because vector instructions compute the MD5 digests of up to 32
/// records together. Start a [`DeaggregationCursor`](crate::DeaggregationCursor) with the results:
///
/// ```
/// use kpl_deaggregation::{Checksum, ChecksumVerifier, DeaggregationCursor, Deaggregator, UserRecord, encode};
///
/// let aggregated = encode([UserRecord::new(b"key", b"data")]).expect("there is a user record");
/// let records = [&aggregated[..], b"plain"];
/// let mut verifier = ChecksumVerifier::default();
/// let checksums = verifier.verify(&records);
/// assert_eq!(checksums, [Checksum::Matches, Checksum::NotAggregated]);
///
/// let mut cursor = DeaggregationCursor::new(Deaggregator::default());
/// for (data, &checksum) in records.into_iter().zip(checksums) {
///     cursor.start_verified(b"key", data, checksum)?;
///     assert_eq!(cursor.next().map(|user_record| user_record.partition_key), Some(&b"key"[..]));
/// }
/// # Ok::<(), kpl_deaggregation::InvalidAggregate>(())
/// ```
///
/// Make a verifier and keep it: it reuses its memory.
#[derive(Debug, Default)]
pub struct ChecksumVerifier {
    digester: Md5Lanes,
    checksums: Vec<Checksum>,
}

impl ChecksumVerifier {
    /// Returns a verifier that uses these instructions at most.
    pub fn with_vector_instructions(instructions: VectorInstructions) -> Self {
        ChecksumVerifier { digester: Md5Lanes::with_instructions(instructions), checksums: Vec::new() }
    }

    /// Returns the number of records whose checksums are computed at once, if so many are given.
    pub fn lanes(&self) -> usize {
        self.digester.lanes()
    }

    /// Verifies the data of each Kinesis record, and returns the results in the order of the records.
    pub fn verify(&mut self, records: &[&[u8]]) -> &[Checksum] {
        self.checksums.clear();
        self.checksums.resize(records.len(), Checksum::NotAggregated);
        let message = |index: usize| Frame::detect(records[index]).map(|frame| frame.message);
        self.digester.digest_all(records.len(), message, |index, digest| {
            // A frame ends with its digest.
            let matches = records[index].ends_with(&digest);
            self.checksums[index] = if matches { Checksum::Matches } else { Checksum::Mismatch };
        });
        &self.checksums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame;

    fn enclosed(message: &[u8]) -> Vec<u8> {
        frame::enclose(|data| data.extend_from_slice(message), message.len())
    }

    #[test]
    fn checksums_have_the_order_of_the_records() {
        let valid = enclosed(b"message");
        let damaged = [&valid[..10], b"?", &valid[11..]].concat();
        let longer = enclosed(&[7; 1000]);
        let empty = enclosed(b"");
        let kinds = [
            (&valid[..], Checksum::Matches),
            (&damaged, Checksum::Mismatch),
            (b"plain", Checksum::NotAggregated),
            (&longer, Checksum::Matches),
            (&empty, Checksum::NotAggregated),
            (b"", Checksum::NotAggregated),
        ];
        let mut verifier = ChecksumVerifier::default();
        // Fewer records than before: no result of an earlier call is left.
        for count in [200, 3, 0, 1, 50] {
            let records: Vec<_> = kinds.into_iter().cycle().take(count).collect();
            let (records, expected): (Vec<_>, Vec<_>) = records.into_iter().unzip();
            assert_eq!(verifier.verify(&records), expected);
            assert!(records.iter().copied().map(Checksum::of).eq(expected.iter().copied()));
            for instructions in [VectorInstructions::Avx2, VectorInstructions::None] {
                let mut verifier = ChecksumVerifier::with_vector_instructions(instructions);
                assert_eq!(verifier.verify(&records), expected, "{instructions:?}");
            }
        }
    }
}
