use std::{future::poll_fn, mem, ops::Range, task::Poll};

use kpl_deaggregation::{Checksum, ChecksumVerifier};

use super::workspace::{Workspace, recycled};
use crate::event::{KinesisRecord, UnreadableRecord};

/// About the most bytes of data that are decoded at once. The checksums of as many records are computed at once, so there should
/// be more records than a processor has lanes, and their data should still be in a near cache when their user records are
/// processed.
pub(crate) const GROUP_BYTES: usize = 1536 * 1024;

/// The memory that a decoder uses: the buffer, which grows if it must, and the lists of its results.
pub(crate) struct DecoderMemory<'e> {
    pub(crate) buffer: &'e mut Vec<u8>,
    pub(crate) verifier: &'e mut ChecksumVerifier,
    pub(crate) lists: DecoderLists<'e>,
}

/// The payloads of a decoder, and their checksums.
pub(crate) type DecoderLists<'e> = (Vec<&'e [u8]>, Vec<Checksum>);

/// The decoded data of Kinesis records, in one buffer: a group of records at once, and each only once.
pub(crate) struct PayloadDecoder<'e> {
    records: &'e [KinesisRecord<'e>],
    /// The positions of the records that it decodes.
    range: Range<usize>,
    payloads: Vec<&'e [u8]>,
    checksums: Vec<Checksum>,
    verifier: &'e mut ChecksumVerifier,
    /// Positions of the records without a payload, in ascending order.
    unreadable: Vec<(usize, UnreadableRecord)>,
    /// Rest of the buffer. Parts that were handed out stay where they are.
    rest: &'e mut [u8],
}

impl<'e> PayloadDecoder<'e> {
    /// Returns a decoder of all records of an event.
    pub(crate) fn new(records: &'e [KinesisRecord<'e>], memory: DecoderMemory<'e>) -> Self {
        Self::of_range(records, 0..records.len(), memory)
    }

    /// Returns a decoder of one group of an event's records, from the one at `first` on.
    pub(crate) fn of_group(
        records: &'e [KinesisRecord<'e>],
        first: usize,
        memory: DecoderMemory<'e>,
    ) -> Self {
        let group = first..first + group_length(&records[first..], memory.verifier.lanes());
        Self::of_range(records, group, memory)
    }

    fn of_range(records: &'e [KinesisRecord<'e>], range: Range<usize>, memory: DecoderMemory<'e>) -> Self {
        let DecoderMemory { buffer, verifier, lists: (mut payloads, mut checksums) } = memory;
        payloads.clear();
        payloads.reserve(range.len());
        checksums.clear();
        let bytes = records[range.clone()].iter().map(|record| record.data.decoded_bytes_bound()).sum();
        let rest = Workspace::sized(buffer, bytes);
        PayloadDecoder { records, range, payloads, checksums, verifier, unreadable: Vec::new(), rest }
    }

    /// Returns the lists without their content, so that their memory is used again.
    pub(crate) fn into_lists<'n>(self) -> DecoderLists<'n> {
        (recycled(self.payloads), self.checksums)
    }

    /// Returns the position after the last record that it decodes.
    pub(crate) fn end(&self) -> usize {
        self.range.end
    }

    /// Returns the data of the Kinesis record at this position in the event, and its checksum.
    ///
    /// # Panics
    ///
    /// If it does not decode the record at this position.
    pub(crate) fn get(&mut self, position: usize) -> Result<(&'e [u8], Checksum), UnreadableRecord> {
        assert!(self.range.contains(&position), "record {position} is not in {:?}", self.range);
        let index = position - self.range.start;
        while self.payloads.len() <= index {
            self.decode_group();
        }
        let payload = self.payloads[index];
        // Nearly every event has none.
        if payload.is_empty()
            && let Ok(found) = self.unreadable.binary_search_by_key(&position, |(position, _)| *position)
        {
            return Err(self.unreadable[found].1);
        }
        Ok((payload, self.checksums[index]))
    }

    /// Decodes all, and lets others continue after each group.
    pub(crate) async fn decode_all(&mut self) {
        while self.payloads.len() < self.range.len() {
            self.decode_group();
            give_way().await;
        }
    }

    fn decode_group(&mut self) {
        let decoded = self.payloads.len();
        let first = self.range.start + decoded;
        let left = &self.records[first..self.range.end];
        for (position, record) in (first..).zip(&left[..group_length(left, self.verifier.lanes())]) {
            let length = match record.data.decode_into(self.rest) {
                Ok(length) => length,
                Err(reason) => {
                    self.unreadable.push((position, reason));
                    0
                }
            };
            let (payload, rest) = mem::take(&mut self.rest).split_at_mut(length);
            self.rest = rest;
            self.payloads.push(payload);
        }
        self.checksums.extend_from_slice(self.verifier.verify(&self.payloads[decoded..]));
    }
}

/// Returns the number of records in the group at the start of a list: at least one, unless the list is empty.
///
/// The groups of a list have about the same size, because few records at its end would leave most lanes without work. They may
/// be smaller than they could, if that fills the lanes better: 28 records of the same size take 24 lanes as long as 48 do.
fn group_length(records: &[KinesisRecord<'_>], lanes: usize) -> usize {
    // Records without data have a size, too, or each would be a group.
    let sizes = records.iter().map(|record| record.data.decoded_bytes_bound() + 1);
    let all_bytes: usize = sizes.clone().sum();
    let fewest = all_bytes.div_ceil(GROUP_BYTES).max(1);
    let rounds = |groups: &usize| groups * records.len().div_ceil(*groups).div_ceil(lanes);
    let groups = [fewest, fewest + 1].into_iter().min_by_key(rounds).unwrap_or(fewest);
    let mut bytes = 0;
    let is_before_end = |size: &usize| {
        let is_before_end = bytes * groups < all_bytes;
        bytes += size;
        is_before_end
    };
    sizes.take_while(is_before_end).count().max(1).min(records.len())
}

async fn give_way() {
    let mut has_given_way = false;
    poll_fn(|context| {
        if has_given_way {
            return Poll::Ready(());
        }
        has_given_way = true;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the numbers of records in the groups of a list with 24 lanes, given the number and the size of its records.
    #[track_caller]
    fn check(records: usize, bytes: usize, expected: &[usize]) {
        let record = KinesisRecord::new("1".parse().expect("a digit"), "key", &vec![0; bytes]);
        let mut rest = &vec![record; records][..];
        let mut groups = Vec::new();
        while !rest.is_empty() {
            let (group, after) = rest.split_at(group_length(rest, 24));
            groups.push(group.len());
            rest = after;
        }
        assert_eq!(groups, expected);
    }

    #[test]
    fn groups_have_about_the_same_size() {
        check(0, 0, &[]);
        check(1, 0, &[1]);
        check(10, 1_000, &[10]);
        check(117, 37_500, &[39, 39, 39]);
        check(4, GROUP_BYTES / 3, &[2, 2]);
        check(2, GROUP_BYTES * 3 / 4, &[1, 1]);
        check(2, GROUP_BYTES * 3, &[1, 1]);
        check(5, 0, &[5]);
    }

    #[test]
    fn groups_fill_the_lanes() {
        // Three groups would have a few records more than lanes.
        check(85, 50_000, &[22, 21, 21, 21]);
        check(25, 1_000, &[25]);
    }
}
