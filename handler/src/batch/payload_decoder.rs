use std::{future::poll_fn, task::Poll};

use crate::event::{KinesisRecord, UnreadableRecord};

/// Data that is decoded before others get a turn, in bytes: about a tenth of a millisecond.
const TURN_BYTES: usize = 256 * 1024;

/// The decoded data of an event's Kinesis records, in one buffer: each in its turn, and only once.
pub(crate) struct PayloadDecoder<'e> {
    records: &'e [KinesisRecord<'e>],
    decoded: Vec<Result<&'e [u8], UnreadableRecord>>,
    /// Rest of the buffer. Parts that were handed out stay where they are.
    rest: &'e mut [u8],
}

impl<'e> PayloadDecoder<'e> {
    /// `buffer` must be large enough for the decoded data of all records: [`bytes_bound`].
    pub(crate) fn new(records: &'e [KinesisRecord<'e>], buffer: &'e mut [u8]) -> Self {
        PayloadDecoder { records, decoded: Vec::with_capacity(records.len()), rest: buffer }
    }

    /// The data of the Kinesis record at this position in the event.
    pub(crate) fn get(&mut self, position: usize) -> Result<&'e [u8], UnreadableRecord> {
        while self.decoded.len() <= position {
            self.decode_next();
        }
        self.decoded[position]
    }

    /// Decodes all, and lets others go on in between.
    pub(crate) async fn decode_all(&mut self) {
        let mut turn_ends = self.rest.len().saturating_sub(TURN_BYTES);
        while self.decoded.len() < self.records.len() {
            self.decode_next();
            if self.rest.len() < turn_ends {
                turn_ends = self.rest.len().saturating_sub(TURN_BYTES);
                give_way().await;
            }
        }
    }

    fn decode_next(&mut self) {
        let data = &self.records[self.decoded.len()].data;
        self.decoded.push(data.decode_into(self.rest).map(|length| {
            let (payload, rest) = std::mem::take(&mut self.rest).split_at_mut(length);
            self.rest = rest;
            &*payload
        }));
    }
}

/// The size of a buffer for these records, in bytes.
pub(crate) fn bytes_bound(records: &[KinesisRecord<'_>]) -> usize {
    records.iter().map(|record| record.data.decoded_bytes_bound()).sum()
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
