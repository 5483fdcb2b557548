use std::io;

use flate2::bufread::{GzDecoder, ZlibDecoder};

use super::{
    Compression, DecompressionError, DecompressionLimits,
    output::{Output, is_padding},
};

/// Decompresses all members of gzip.
pub(super) fn members(payload: &[u8], limits: DecompressionLimits) -> Result<Vec<u8>, DecompressionError> {
    let mut output = Output::new(Compression::Gzip, payload, limits);
    let mut rest = payload;
    // Its state of some ten kilobytes is made once.
    let mut decoder = GzDecoder::new(rest);
    loop {
        output.begin_part()?;
        if let Err(error) = output.read(&mut decoder)? {
            return Err(failure(&output, rest, &error));
        }
        rest = decoder.get_ref();
        if is_padding(rest) {
            return Ok(output.into_decompressed());
        }
        if Compression::detect(rest) != Some(Compression::Gzip) {
            return Err(output.corrupt(rest, "unexpected data after a member"));
        }
        decoder.reset(rest);
    }
}

/// Decompresses a payload of zlib.
pub(super) fn zlib(payload: &[u8], limits: DecompressionLimits) -> Result<Vec<u8>, DecompressionError> {
    let mut output = Output::new(Compression::Zlib, payload, limits);
    let mut decoder = ZlibDecoder::new(payload);
    if let Err(error) = output.read(&mut decoder)? {
        return Err(failure(&output, payload, &error));
    }
    let rest = decoder.into_inner();
    if !is_padding(rest) {
        return Err(output.corrupt(rest, "unexpected data after the end"));
    }
    Ok(output.into_decompressed())
}

fn failure(output: &Output<'_>, rest: &[u8], error: &io::Error) -> DecompressionError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => output.truncated(),
        _ => output.corrupt(rest, "invalid header, data or checksum"),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression as Level, write};
    use proptest::prelude::*;

    use super::*;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = write::GzEncoder::new(Vec::new(), Level::default());
        encoder.write_all(data).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    fn zlib_of(data: &[u8]) -> Vec<u8> {
        let mut encoder = write::ZlibEncoder::new(Vec::new(), Level::default());
        encoder.write_all(data).expect("memory takes it");
        encoder.finish().expect("memory takes it")
    }

    #[track_caller]
    fn check(payload: &[u8], expected: Result<&[u8], &str>) {
        let compression = Compression::detect(payload).expect("a magic number");
        let result = compression.decompress(payload, DecompressionLimits::default());
        let result = result.map_err(|error| error.to_string());
        assert_eq!(result.as_deref().map_err(|error| &**error), expected);
    }

    #[test]
    fn payloads_are_decompressed() {
        for data in [&b""[..], b"hello", &[7; 100_000]] {
            check(&gzip(data), Ok(data));
            check(&zlib_of(data), Ok(data));
        }
    }

    #[test]
    fn members_are_concatenated_and_padding_is_ignored() {
        check(&[gzip(b"one "), gzip(b""), gzip(b"two")].concat(), Ok(b"one two"));
        check(&[gzip(b"one"), vec![0; 512]].concat(), Ok(b"one"));
        check(&[zlib_of(b"one"), b"\n".to_vec()].concat(), Ok(b"one"));
    }

    #[test]
    fn what_is_corrupt_is_said_with_its_place() {
        let first = gzip(b"one");
        check(
            &[&*first, b"rest"].concat(),
            Err("gzip payload is corrupt: unexpected data after a member (in what begins at byte 23)"),
        );
        let mut second = gzip(b"two");
        *second.last_mut().expect("a trailer") ^= 1;
        check(
            &[&*first, &*second].concat(),
            Err("gzip payload is corrupt: invalid header, data or checksum (in what begins at byte 23)"),
        );
        check(
            &[zlib_of(b"one"), b"rest".to_vec()].concat(),
            Err("zlib payload is corrupt: unexpected data after the end (in what begins at byte 11)"),
        );
        check(
            b"\x78\x9c mislabelled",
            Err("zlib payload is corrupt: invalid header, data or checksum (in what begins at byte 0)"),
        );
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let zeros = vec![0; 64 * 1024 * 1024];
        for (bomb, name) in [(gzip(&zeros), "gzip"), (zlib_of(&zeros), "zlib")] {
            let compression = Compression::detect(&bomb).expect("a magic number");
            let limits = DecompressionLimits::default().max_ratio(10_000);
            let info = allocation_counter::measure(|| {
                let error = compression.decompress(&bomb, limits).expect_err("too much");
                let expected = format!(
                    "{name} payload of {} bytes decompresses to more than 16777216 bytes, the limit max_decompressed_bytes",
                    bomb.len()
                );
                assert_eq!(error.to_string(), expected);
            });
            assert!(info.bytes_max < 22 * 1024 * 1024, "{} bytes", info.bytes_max);
        }
    }

    #[test]
    fn a_ratio_that_is_too_high_is_a_bomb_beyond_a_mebibyte() {
        let limits = DecompressionLimits::default();
        let decompress = |length: usize| members(&gzip(&vec![0; length]), limits).map(|data| data.len());
        assert_eq!(decompress(1024 * 1024), Ok(1024 * 1024));
        let error = decompress(2 * 1024 * 1024).expect_err("a ratio of 1000");
        assert_eq!(
            error.to_string(),
            "gzip payload of 2067 bytes decompresses to more than 250 times its size, the limit max_decompression_ratio"
        );
    }

    #[test]
    fn many_members_are_a_bomb() {
        check(&gzip(b"a").repeat(10_000), Ok(&[b'a'; 10_000]));
        check(&gzip(b"").repeat(10_001), Err("gzip payload of 200020 bytes has more than 10000 parts"));
    }

    #[test]
    fn an_empty_member_takes_little_time() {
        let payload = gzip(b"").repeat(10_000);
        let info = allocation_counter::measure(|| check(&payload, Ok(b"")));
        assert!(info.bytes_total < 256 * 1024, "{} bytes", info.bytes_total);
    }

    proptest! {
        #[test]
        fn truncated_payloads_are_never_whole(data in prop::collection::vec(any::<u8>(), 0..2_000), cut in any::<prop::sample::Index>()) {
            for payload in [gzip(&data), zlib_of(&data)] {
                let compression = Compression::detect(&payload).expect("a magic number");
                prop_assert_eq!(compression.decompress(&payload, DecompressionLimits::default()), Ok(data.clone()));
                let cut = 3 + cut.index(payload.len() - 3);
                let result = compression.decompress(&payload[..cut], DecompressionLimits::default());
                prop_assert_eq!(result, Err(DecompressionError::Truncated { compression, bytes: cut }));
            }
        }

        #[test]
        fn flipped_bits_are_found(data in prop::collection::vec(any::<u8>(), 1..500), at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut payload = gzip(&data);
            // The header has a time and a system that no checksum covers.
            let at = 10 + at.index(payload.len() - 10);
            payload[at] ^= 1_u8 << bit;
            // Some bits pad the data.
            let result = members(&payload, DecompressionLimits::default());
            prop_assert!(result.is_err() || result == Ok(data));
        }

        #[test]
        fn any_bytes_are_an_error_or_bounded(rest in prop::collection::vec(any::<u8>(), 0..3_000), limit in 0..5_000_u64) {
            let limits = DecompressionLimits::default().max_bytes(limit);
            for payload in [[&b"\x1f\x8b\x08\0\0\0\0\0\0\0"[..], &rest].concat(), [&b"\x78\x9c"[..], &rest].concat()] {
                if let Ok(data) = Compression::detect(&payload).expect("a magic number").decompress(&payload, limits) {
                    prop_assert!(data.len() as u64 <= limit);
                }
            }
        }
    }
}
