use std::io::{self, Read};

use super::{Compression, DecompressionError, DecompressionLimits};

/// Length up to which the ratio is not looked at.
const FREE_BYTES: u64 = 1024 * 1024;

/// Number of bytes that are decompressed before the bounds are checked again.
const STEP_BYTES: usize = 32 * 1024;

/// Most members of gzip or frames of zstd. An empty one adds nothing to the output, but takes some
/// microseconds.
const MAX_PARTS: usize = 10_000;

/// The decompressed bytes of a payload, as far as the limits let it grow.
pub(super) struct Output<'a> {
    compression: Compression,
    limits: DecompressionLimits,
    payload: &'a [u8],
    /// Bytes that may follow before a limit is reached, and no more are read to find out.
    max_len: usize,
    /// Decompressed bytes, and zeros after them for the next ones: a decoder may return a byte at a time, for each of which zeros
    /// must not be written again.
    buffer: Vec<u8>,
    /// Number of decompressed bytes.
    len: usize,
    /// Number of members or frames that have begun.
    parts: usize,
}

impl<'a> Output<'a> {
    pub(super) fn new(compression: Compression, payload: &'a [u8], limits: DecompressionLimits) -> Self {
        let by_ratio = (payload.len() as u64).saturating_mul(u64::from(limits.max_ratio)).max(FREE_BYTES);
        let max_len = usize::try_from(limits.max_bytes.min(by_ratio)).unwrap_or(usize::MAX);
        Output { compression, limits, payload, max_len, buffer: Vec::new(), len: 0, parts: 0 }
    }

    /// Counts a member or frame that begins.
    pub(super) fn begin_part(&mut self) -> Result<(), DecompressionError> {
        if self.parts == MAX_PARTS {
            let (compression, bytes) = (self.compression, self.payload.len());
            return Err(DecompressionError::TooManyParts { compression, bytes, limit: MAX_PARTS });
        }
        self.parts += 1;
        Ok(())
    }

    /// Returns the position of the rest of the payload.
    pub(super) fn offset(&self, rest: &[u8]) -> usize {
        self.payload.len() - rest.len()
    }

    /// Reads from a decoder to its end. The outer error is a limit that was reached.
    pub(super) fn read(&mut self, mut decoder: impl Read) -> Result<io::Result<()>, DecompressionError> {
        loop {
            // One byte more than allowed, which tells that there is more.
            let end = self.max_len.saturating_add(1).min(self.len.saturating_add(STEP_BYTES));
            if self.len == self.buffer.len() {
                self.reserve(end);
                self.buffer.resize(end, 0);
            }
            let end = end.min(self.buffer.len());
            let read = decoder.read(&mut self.buffer[self.len..end]);
            self.len += *read.as_ref().unwrap_or(&0);
            if self.len > self.max_len {
                return Err(self.over_limit());
            }
            match read {
                Ok(0) => return Ok(Ok(())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(error)),
            }
        }
    }

    /// Makes room by doubling up to an eighth of the limit, and then for all that the limit allows: the last copy is small, and what
    /// is not written takes no memory.
    fn reserve(&mut self, needed: usize) {
        if needed > self.buffer.capacity() {
            let most = self.max_len.saturating_add(1);
            let capacity = if needed > most / 8 { most } else { 2 * needed };
            self.buffer.reserve_exact(capacity - self.buffer.len());
        }
    }

    fn over_limit(&self) -> DecompressionError {
        let (compression, bytes) = (self.compression, self.payload.len());
        if self.len as u64 > self.limits.max_bytes {
            DecompressionError::TooLarge { compression, bytes, limit: self.limits.max_bytes }
        } else {
            DecompressionError::RatioTooHigh { compression, bytes, limit: self.limits.max_ratio }
        }
    }

    pub(super) fn truncated(&self) -> DecompressionError {
        DecompressionError::Truncated { compression: self.compression, bytes: self.payload.len() }
    }

    /// Returns the error about the part that begins at this rest of the payload.
    pub(super) fn corrupt(&self, rest: &[u8], fault: &'static str) -> DecompressionError {
        let (compression, offset) = (self.compression, self.offset(rest));
        DecompressionError::Corrupt { compression, fault, offset }
    }

    pub(super) fn into_decompressed(mut self) -> Vec<u8> {
        self.buffer.truncate(self.len);
        self.buffer
    }
}

/// Returns whether what follows compressed data is padding: zeros, or a line break of a producer that writes lines.
pub(super) fn is_padding(rest: &[u8]) -> bool {
    rest.iter().all(|byte| matches!(byte, 0 | b'\n' | b'\r' | b' '))
}
