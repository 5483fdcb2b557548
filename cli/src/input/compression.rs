use std::{borrow::Cow, io::Write};

use flate2::write::GzEncoder;
use ruzstd::encoding::{CompressionLevel, compress_to_vec};

use crate::args::PayloadCompression;

/// Returns a payload in the format in which producers put it.
pub(crate) fn compressed(data: Cow<'_, [u8]>, compression: Option<PayloadCompression>) -> Cow<'_, [u8]> {
    match compression {
        None => data,
        Some(PayloadCompression::Gzip) => {
            let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::default());
            encoder.write_all(&data).expect("memory takes it");
            Cow::Owned(encoder.finish().expect("memory takes it"))
        }
        Some(PayloadCompression::Zstd) => Cow::Owned(compress_to_vec(&data[..], CompressionLevel::Fastest)),
    }
}

#[cfg(test)]
mod tests {
    use kinesis_handler::compression::{Compression, DecompressionLimits};

    use super::*;

    #[test]
    fn payloads_are_compressed_in_the_format_that_was_asked_for() {
        assert_eq!(compressed(b"hello"[..].into(), None), &b"hello"[..]);
        for (format, expected) in
            [(PayloadCompression::Gzip, Compression::Gzip), (PayloadCompression::Zstd, Compression::Zstd)]
        {
            let data = compressed(b"hello"[..].into(), Some(format));
            assert_eq!(Compression::detect(&data), Some(expected));
            let decompressed = expected.decompress(&data, DecompressionLimits::default());
            assert_eq!(decompressed.as_deref(), Ok(&b"hello"[..]));
        }
    }
}
