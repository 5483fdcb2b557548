use std::{future::poll_fn, mem, task::Poll};

use kpl_deaggregation::{Checksum, ChecksumVerifier};

use super::workspace::Workspace;
use crate::event::{KinesisRecord, UnreadableRecord};

/// The most Kinesis records, and the number of bytes after which no further one, whose data is decoded at once. The checksums
/// of as many are computed at once, so there should be more than a processor has lanes, and their data should still be in
/// its second-level cache when their user records are processed.
const GROUP_RECORDS: usize = 48;
const GROUP_BYTES: usize = 1024 * 1024;

/// The decoded data of an event's Kinesis records, in one buffer: a group of records at once, and each only once.
pub(crate) struct PayloadDecoder<'e> {
    records: &'e [KinesisRecord<'e>],
    payloads: Vec<&'e [u8]>,
    checksums: Vec<Checksum>,
    verifier: &'e mut ChecksumVerifier,
    /// Positions of the records without a payload, in ascending order.
    unreadable: Vec<(usize, UnreadableRecord)>,
    /// Rest of the buffer. Parts that were handed out stay where they are.
    rest: &'e mut [u8],
}

impl<'e> PayloadDecoder<'e> {
    /// Returns a decoder that writes into `buffer`, which grows if it must, and keeps its results in the memory of `lists`.
    pub(crate) fn new(
        records: &'e [KinesisRecord<'e>],
        buffer: &'e mut Vec<u8>,
        verifier: &'e mut ChecksumVerifier,
        lists: (Vec<&'e [u8]>, Vec<Checksum>),
    ) -> Self {
        let bytes = records.iter().map(|record| record.data.decoded_bytes_bound()).sum();
        let (mut payloads, mut checksums) = lists;
        payloads.clear();
        payloads.reserve(records.len());
        checksums.clear();
        PayloadDecoder {
            records,
            payloads,
            checksums,
            verifier,
            unreadable: Vec::new(),
            rest: Workspace::sized(buffer, bytes),
        }
    }

    /// Returns the lists, so that their memory is used again.
    pub(crate) fn into_lists(self) -> (Vec<&'e [u8]>, Vec<Checksum>) {
        (self.payloads, self.checksums)
    }

    /// Returns the data of the Kinesis record at this position in the event, and its checksum.
    pub(crate) fn get(&mut self, position: usize) -> Result<(&'e [u8], Checksum), UnreadableRecord> {
        while self.payloads.len() <= position {
            self.decode_group();
        }
        let payload = self.payloads[position];
        // Nearly every event has none.
        if payload.is_empty()
            && let Ok(found) = self.unreadable.binary_search_by_key(&position, |(position, _)| *position)
        {
            return Err(self.unreadable[found].1);
        }
        Ok((payload, self.checksums[position]))
    }

    /// Decodes all, and lets others continue after each group.
    pub(crate) async fn decode_all(&mut self) {
        while self.payloads.len() < self.records.len() {
            self.decode_group();
            give_way().await;
        }
    }

    fn decode_group(&mut self) {
        let first = self.payloads.len();
        let mut bytes = 0;
        for record in self.records[first..].iter().take(GROUP_RECORDS) {
            let length = match record.data.decode_into(self.rest) {
                Ok(length) => length,
                Err(reason) => {
                    self.unreadable.push((self.payloads.len(), reason));
                    0
                }
            };
            let (payload, rest) = mem::take(&mut self.rest).split_at_mut(length);
            self.rest = rest;
            self.payloads.push(payload);
            bytes += length;
            if bytes >= GROUP_BYTES {
                break;
            }
        }
        self.checksums.extend_from_slice(self.verifier.verify(&self.payloads[first..]));
    }
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
