use std::{error::Error, io};

use ruzstd::decoding::{
    FrameDecoder, StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};

use super::{
    Compression, DecompressionError, DecompressionLimits,
    output::{Output, is_padding},
};

/// Largest window, which RFC 8878 recommends and no encoder exceeds unless it is told to (`zstd --ultra`, `--long`). A decoder
/// keeps as much of its output.
const MAX_WINDOW_BYTES: u64 = 8 * 1024 * 1024;

/// Length of a skippable frame's header.
const SKIPPABLE_HEADER_BYTES: usize = 8;

/// Decompresses all frames of zstd.
pub(super) fn frames(payload: &[u8], limits: DecompressionLimits) -> Result<Vec<u8>, DecompressionError> {
    let mut output = Output::new(Compression::Zstd, payload, limits);
    let mut rest = payload;
    // Its tables and its window are made once.
    let mut decoder = FrameDecoder::new();
    decoder.set_max_window_size(MAX_WINDOW_BYTES);
    loop {
        output.begin_part()?;
        rest = match frame(&mut output, &mut decoder, rest)? {
            Some(rest) => rest,
            None => return Err(output.truncated()),
        };
        if is_padding(rest) {
            return Ok(output.into_decompressed());
        }
        if Compression::detect(rest) != Some(Compression::Zstd) {
            return Err(output.corrupt(rest, "unexpected data after a frame"));
        }
    }
}

/// Decompresses one frame and returns what follows it; `None` if the frame is truncated.
fn frame<'a>(
    output: &mut Output<'_>,
    decoder: &mut FrameDecoder,
    frame: &'a [u8],
) -> Result<Option<&'a [u8]>, DecompressionError> {
    let mut decoder = match StreamingDecoder::new_with_decoder(frame, decoder) {
        Ok(decoder) => decoder,
        Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
            let end =
                usize::try_from(length).ok().and_then(|length| length.checked_add(SKIPPABLE_HEADER_BYTES));
            return Ok(end.and_then(|end| frame.get(end..)));
        }
        Err(error) if is_end(&error) => return Ok(None),
        Err(FrameDecoderError::WindowSizeTooBig { .. }) => {
            return Err(output.corrupt(frame, "the window is larger than 8 MiB"));
        }
        Err(FrameDecoderError::DictNotProvided { .. }) => {
            return Err(output.corrupt(frame, "it needs a dictionary"));
        }
        Err(_) => return Err(output.corrupt(frame, "invalid header")),
    };
    if let Err(error) = output.read(&mut decoder)? {
        return match is_end(&error) {
            true => Ok(None),
            false => Err(output.corrupt(frame, "invalid data")),
        };
    }
    let (rest, decoder) = decoder.into_parts();
    // The decoder computes the checksum, and leaves it to the caller to compare it.
    let checksum = decoder.get_checksum_from_data();
    if checksum.is_some() && checksum != decoder.get_calculated_checksum() {
        return Err(output.corrupt(frame, "checksum mismatch"));
    }
    Ok(Some(rest))
}

/// Returns whether an error is that of a payload that ends too early.
fn is_end(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |&error| error.source()).any(|error| {
        error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::UnexpectedEof)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    /// `hello, hello` with a checksum that is wrong.
    const HELLO: &[u8] = b"\x28\xb5\x2f\xfd\x24\x0c\x61\x00\x00hello, hello\x00\x00\x00\x00";

    fn zstd(data: &[u8]) -> Vec<u8> {
        compress_to_vec(data, CompressionLevel::Fastest)
    }

    #[track_caller]
    fn check(payload: &[u8], expected: Result<&[u8], &str>) {
        let result = frames(payload, DecompressionLimits::default()).map_err(|error| error.to_string());
        assert_eq!(result.as_deref().map_err(|error| &**error), expected);
    }

    #[test]
    fn payloads_are_decompressed() {
        for data in [&b""[..], b"hello", &[7; 100_000]] {
            check(&zstd(data), Ok(data));
        }
    }

    #[test]
    fn frames_are_concatenated_and_skippable_ones_skipped() {
        let skippable = b"\x5a\x2a\x4d\x18\x03\0\0\0abc";
        check(&[zstd(b"one "), zstd(b""), zstd(b"two")].concat(), Ok(b"one two"));
        check(&[&skippable[..], &zstd(b"one"), skippable].concat(), Ok(b"one"));
        check(&[&*zstd(b"one"), b"\n"].concat(), Ok(b"one"));
    }

    #[test]
    fn what_is_corrupt_is_said_with_its_place() {
        let first = zstd(b"one");
        let at = first.len();
        let expected =
            format!("zstd payload is corrupt: unexpected data after a frame (in what begins at byte {at})");
        check(&[&*first, b"rest"].concat(), Err(&expected));
        check(HELLO, Err("zstd payload is corrupt: checksum mismatch (in what begins at byte 0)"));
        check(
            b"\x28\xb5\x2f\xfd mislabelled",
            Err("zstd payload is corrupt: invalid data (in what begins at byte 0)"),
        );
        // A window of 16 MiB.
        check(
            b"\x28\xb5\x2f\xfd\x00\x70\x01\x00\x00",
            Err("zstd payload is corrupt: the window is larger than 8 MiB (in what begins at byte 0)"),
        );
        check(b"\x5a\x2a\x4d\x18\xff\xff\xff\xff", Err("zstd payload is truncated (it ends after 8 bytes)"));
    }

    #[test]
    fn a_bomb_ends_at_the_limit() {
        let bomb = zstd(&vec![0; 17 * 1024 * 1024]);
        let limits = DecompressionLimits::default().max_ratio(1_000_000);
        let info = allocation_counter::measure(|| {
            let error = frames(&bomb, limits).expect_err("too much");
            assert!(
                error.to_string().ends_with("more than 16777216 bytes, the limit max_decompressed_bytes")
            );
        });
        assert!(info.bytes_max < 40 * 1024 * 1024, "{} bytes", info.bytes_max);
        let error = frames(&bomb, DecompressionLimits::default()).expect_err("too high a ratio");
        assert!(
            error.to_string().ends_with("250 times its size, the limit max_decompression_ratio"),
            "{error}"
        );
    }

    /// An empty frame with a window of 8 MiB.
    const EMPTY: &[u8] = b"\x28\xb5\x2f\xfd\x00\x68\x01\x00\x00";

    #[test]
    fn many_frames_are_a_bomb() {
        check(&zstd(b"a").repeat(10_000), Ok(&[b'a'; 10_000]));
        check(&EMPTY.repeat(10_001), Err("zstd payload of 90009 bytes has more than 10000 parts"));
        let skippable = b"\x5a\x2a\x4d\x18\0\0\0\0";
        check(&skippable.repeat(10_001), Err("zstd payload of 80008 bytes has more than 10000 parts"));
    }

    #[test]
    fn frames_share_their_window() {
        let payload = EMPTY.repeat(1_000);
        let info = allocation_counter::measure(|| check(&payload, Ok(b"")));
        assert!(info.bytes_total < 10 * 1024 * 1024, "{} bytes", info.bytes_total);
    }

    #[test]
    fn blocks_of_one_byte_are_read() {
        // Blocks of one byte, in a window of 1 KiB.
        let payload = [&b"\x28\xb5\x2f\xfd\x00\x00"[..], &b"\x08\0\0x".repeat(100_000), b"\x01\0\0"].concat();
        check(&payload, Ok(&[b'x'; 100_000]));
    }

    proptest! {
        #[test]
        fn truncated_payloads_are_never_whole(data in prop::collection::vec(any::<u8>(), 0..2_000), cut in any::<prop::sample::Index>()) {
            let payload = zstd(&data);
            prop_assert_eq!(frames(&payload, DecompressionLimits::default()), Ok(data));
            let cut = 4 + cut.index(payload.len() - 4);
            let compression = Compression::Zstd;
            let result = frames(&payload[..cut], DecompressionLimits::default());
            prop_assert_eq!(result, Err(DecompressionError::Truncated { compression, bytes: cut }));
        }

        #[test]
        fn flipped_bits_are_found_by_the_checksum(data in prop::collection::vec(any::<u8>(), 1..500), at in any::<prop::sample::Index>(), bit in 0..8) {
            let mut payload = zstd(&data);
            let at = 6 + at.index(payload.len() - 6);
            payload[at] ^= 1_u8 << bit;
            let result = frames(&payload, DecompressionLimits::default());
            prop_assert!(result.is_err() || result == Ok(data));
        }

        #[test]
        fn any_bytes_are_an_error_or_bounded(rest in prop::collection::vec(any::<u8>(), 0..3_000), limit in 0..5_000_u64) {
            let payload = [&b"\x28\xb5\x2f\xfd"[..], &rest].concat();
            if let Ok(data) = frames(&payload, DecompressionLimits::default().max_bytes(limit)) {
                prop_assert!(data.len() as u64 <= limit);
            }
        }
    }
}
