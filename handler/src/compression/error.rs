use thiserror::Error;

use super::Compression;

/// A payload that looks compressed and cannot be decompressed. No retry changes that.
///
/// The texts hold nothing of the payload, because they end up in logs.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DecompressionError {
    /// The payload ends before the compressed data does.
    #[error("{compression} payload is truncated (it ends after {bytes} bytes)")]
    Truncated {
        /// Format of the payload.
        compression: Compression,
        /// Length of the payload.
        bytes: usize,
    },
    /// The payload has the format's magic number, and other content or a wrong checksum.
    #[error("{compression} payload is corrupt: {fault} (in what begins at byte {offset})")]
    Corrupt {
        /// Format of the payload.
        compression: Compression,
        /// Description of the fault.
        fault: &'static str,
        /// Zero-based position at which the faulty member of gzip, or frame of zstd, begins.
        offset: usize,
    },
    /// The payload decompresses to more bytes than the limit.
    #[error(
        "{compression} payload of {bytes} bytes decompresses to more than {limit} bytes, the limit max_decompressed_bytes"
    )]
    TooLarge {
        /// Format of the payload.
        compression: Compression,
        /// Length of the payload.
        bytes: usize,
        /// Largest size that is allowed, in bytes.
        limit: u64,
    },
    /// The payload decompresses to more than 1 MiB, and to more bytes for each of its bytes than the limit: as a bomb does.
    #[error(
        "{compression} payload of {bytes} bytes decompresses to more than {limit} times its size, the limit \
         max_decompression_ratio"
    )]
    RatioTooHigh {
        /// Format of the payload.
        compression: Compression,
        /// Length of the payload.
        bytes: usize,
        /// Largest ratio that is allowed.
        limit: u32,
    },
    /// The payload has more members of gzip, or frames of zstd, than any producer writes. Each takes time, even if it is empty.
    #[error("{compression} payload of {bytes} bytes has more than {limit} parts")]
    TooManyParts {
        /// Format of the payload.
        compression: Compression,
        /// Length of the payload.
        bytes: usize,
        /// Largest number of members or frames that is allowed.
        limit: usize,
    },
    /// The format needs a feature of the crate that was not compiled in.
    #[error(
        "{compression} payload needs the feature `{feature}` of kinesis-handler, which is not compiled in"
    )]
    MissingFeature {
        /// Format of the payload.
        compression: Compression,
        /// Name of the Cargo feature.
        feature: &'static str,
    },
}
