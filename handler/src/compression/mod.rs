//! Payloads that are compressed with gzip, zlib or zstd, read in bounded memory.
//!
//! [`Record::decompressed`](crate::Record::decompressed) is the usual way; this module is for bytes from elsewhere.
//!
//! ```
//! use kinesis_handler::compression::{Compression, DecompressionLimits};
//!
//! let payload = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
//! let compression = Compression::detect(payload).expect("a magic number");
//! assert_eq!(compression, Compression::Gzip);
//! let decompressed = compression.decompress(payload, DecompressionLimits::default());
//! # #[cfg(feature = "gzip")]
//! assert_eq!(decompressed.as_deref(), Ok(&b"hello"[..]));
//! ```

mod error;
#[cfg(feature = "gzip")]
mod gzip;
#[cfg(any(feature = "gzip", feature = "zstd"))]
mod output;
#[cfg(feature = "zstd")]
mod zstd;

use std::fmt;

pub use error::DecompressionError;

/// A format of compressed payloads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Compression {
    /// gzip, one or several members: [RFC 1952](https://www.rfc-editor.org/rfc/rfc1952).
    Gzip,
    /// zlib with the usual window of 32 KiB, without a dictionary: [RFC 1950](https://www.rfc-editor.org/rfc/rfc1950).
    Zlib,
    /// zstd, one or several frames: [RFC 8878](https://www.rfc-editor.org/rfc/rfc8878).
    Zstd,
}

impl Compression {
    /// Recognizes a format by its magic number; `None` if there is none.
    ///
    /// zlib has a magic number of two bytes only, which text may begin with (`x^`). So bytes that are UTF-8 are not taken for
    /// zlib: its data is not.
    pub fn detect(data: &[u8]) -> Option<Self> {
        match *data {
            [0x1f, 0x8b, 8, ..] => Some(Compression::Gzip),
            // A skippable frame may come first.
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
            [0x78, 0x9c | 0xda, ..] => Some(Compression::Zlib),
            [0x78, 0x01 | 0x5e, ..] if std::str::from_utf8(data).is_err() => Some(Compression::Zlib),
            _ => None,
        }
    }

    /// Decompresses a payload: all members of gzip and all frames of zstd.
    ///
    /// # Errors
    ///
    /// Any [`DecompressionError`]. The memory that is used until then is bounded by the limits, by 8 MiB for the window of
    /// zstd, and by a constant.
    pub fn decompress(self, data: &[u8], limits: DecompressionLimits) -> Result<Vec<u8>, DecompressionError> {
        match self {
            #[cfg(feature = "gzip")]
            Compression::Gzip => gzip::members(data, limits),
            #[cfg(feature = "gzip")]
            Compression::Zlib => gzip::zlib(data, limits),
            #[cfg(feature = "zstd")]
            Compression::Zstd => zstd::frames(data, limits),
            #[cfg(not(all(feature = "gzip", feature = "zstd")))]
            _ => {
                let _ = (data, limits);
                let feature = if self == Compression::Zstd { "zstd" } else { "gzip" };
                Err(DecompressionError::MissingFeature { compression: self, feature })
            }
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Compression::Gzip => "gzip",
            Compression::Zlib => "zlib",
            Compression::Zstd => "zstd",
        })
    }
}

/// The bounds of what a payload may decompress to, against decompression bombs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecompressionLimits {
    /// Largest size of what a payload decompresses to, in bytes.
    pub max_bytes: u64,
    /// Most bytes for each byte of the compressed payload. Up to 1 MiB, the ratio is not looked at: small payloads of one
    /// repeated line compress better than that.
    pub max_ratio: u32,
}

impl DecompressionLimits {
    /// Default of [`max_bytes`](Self::max_bytes): 16 MiB, which a function with 128 MB can hold next to an event of 6 MB.
    pub const DEFAULT_MAX_BYTES: u64 = 16 * 1024 * 1024;

    /// Default of [`max_ratio`](Self::max_ratio).
    pub const DEFAULT_MAX_RATIO: u32 = 250;

    /// Sets the most bytes.
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Sets the most bytes for each byte of the compressed payload.
    #[must_use]
    pub fn max_ratio(mut self, ratio: u32) -> Self {
        self.max_ratio = ratio;
        self
    }
}

impl Default for DecompressionLimits {
    fn default() -> Self {
        DecompressionLimits { max_bytes: Self::DEFAULT_MAX_BYTES, max_ratio: Self::DEFAULT_MAX_RATIO }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data: &[u8], expected: Option<Compression>) {
        assert_eq!(Compression::detect(data), expected, "{data:x?}");
    }

    #[test]
    fn formats_are_recognized_by_their_magic_numbers() {
        check(b"\x1f\x8b\x08\0", Some(Compression::Gzip));
        check(b"\x28\xb5\x2f\xfd", Some(Compression::Zstd));
        check(b"\x5a\x2a\x4d\x18", Some(Compression::Zstd));
        check(b"\x78\x9c", Some(Compression::Zlib));
        check(b"\x78\xda\xff", Some(Compression::Zlib));
        check(b"\x78\x01\xff", Some(Compression::Zlib));
        check(b"\x78\x5e\xff", Some(Compression::Zlib));
    }

    #[test]
    fn everything_else_is_not_compressed() {
        for data in [&b""[..], b"\x1f", b"\x1f\x8b", b"\x1f\x8b\x07", b"\x28\xb5\x2f", b"x", b"{}", b"[1]"] {
            check(data, None);
        }
        // Text, and a protobuf message with the value 1 in field 15.
        check(b"x^2 + 1", None);
        check(b"\x78\x01", None);
    }

    #[cfg(not(feature = "zstd"))]
    #[test]
    fn a_format_that_is_not_compiled_in_is_named() {
        let error = Compression::Zstd.decompress(b"", DecompressionLimits::default()).expect_err("no zstd");
        assert_eq!(
            error.to_string(),
            "zstd payload needs the feature `zstd` of kinesis-handler, which is not compiled in"
        );
    }
}
