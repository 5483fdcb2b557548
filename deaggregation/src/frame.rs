//! The marks that distinguish an aggregated record from a plain one.

use md5::{Digest, Md5};

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_BYTES: usize = 16;

/// Length of the framing around the protobuf message, in bytes.
pub(crate) const FRAMING_BYTES: usize = MAGIC.len() + DIGEST_BYTES;

/// Offset of the protobuf message in the data.
pub(crate) const MESSAGE_OFFSET: usize = MAGIC.len();

/// Data that looks like an aggregated record: the magic number, something behind it, and room for a digest.
///
/// The digest is a step of its own, by far the most expensive one, so that it can be computed for many frames at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) message: &'a [u8],
    digest: &'a [u8; DIGEST_BYTES],
}

impl<'a> Frame<'a> {
    /// Returns the message of an aggregated record; `None` for a plain record.
    #[inline]
    pub(crate) fn detect(data: &'a [u8]) -> Option<Self> {
        let (message, digest) = data.strip_prefix(&MAGIC)?.split_last_chunk()?;
        (!message.is_empty()).then_some(Frame { message, digest })
    }

    pub(crate) fn digest_matches(&self) -> bool {
        Md5::digest(self.message).as_slice() == self.digest
    }
}

/// Puts magic number and digest around an encoded message.
pub(crate) fn enclose(encode: impl FnOnce(&mut Vec<u8>), message_bytes: usize) -> Vec<u8> {
    let mut data = Vec::with_capacity(message_bytes + FRAMING_BYTES);
    data.extend_from_slice(&MAGIC);
    encode(&mut data);
    let digest = Md5::digest(&data[MESSAGE_OFFSET..]);
    data.extend_from_slice(&digest);
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_has_the_magic_number_a_message_and_a_digest() {
        let data = enclose(|data| data.extend_from_slice(b"x"), 1);
        assert_eq!(data.len(), 21);
        assert!(Frame::detect(&data).is_some_and(|frame| frame.message == b"x" && frame.digest_matches()));

        assert!(Frame::detect(&enclose(|_| (), 0)).is_none(), "20 bytes hold no message");
        assert!(Frame::detect(&data[1..]).is_none(), "the magic number is incomplete");
        assert!(Frame::detect(b"").is_none());

        let mut damaged = data;
        damaged[20] ^= 1;
        assert!(Frame::detect(&damaged).is_some_and(|frame| !frame.digest_matches()));
    }
}
