use std::io::{self, Read};

/// Number of bytes that are read and decoded at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// Number of bytes that tell an encoding.
const START_BYTES: usize = 4;

/// The byte order mark in UTF-8.
pub(super) const UTF_8_MARK: &[u8] = "\u{feff}".as_bytes();

/// An encoding of text, as its first bytes tell it.
#[derive(Debug, Clone, Copy)]
enum Encoding {
    /// UTF-8, or bytes that are no text.
    Utf8,
    Utf16 {
        code_unit: fn([u8; 2]) -> u16,
    },
    Utf32,
}

impl Encoding {
    /// Returns the encoding and the length of its byte order mark.
    ///
    /// Every text that the command reads starts with ASCII characters, so a zero byte beside each of the first two
    /// printable ones is UTF-16 even without a mark.
    fn detect(start: &[u8]) -> (Self, usize) {
        const LITTLE: Encoding = Encoding::Utf16 { code_unit: u16::from_le_bytes };
        const BIG: Encoding = Encoding::Utf16 { code_unit: u16::from_be_bytes };
        let is_text = |byte: u8| matches!(byte, b'\t' | b'\n' | b'\r' | b' '..=b'~');
        match *start {
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, UTF_8_MARK.len()),
            [0xff, 0xfe, 0, 0, ..] | [0, 0, 0xfe, 0xff, ..] => (Encoding::Utf32, 4),
            [0xff, 0xfe, ..] => (LITTLE, 2),
            [0xfe, 0xff, ..] => (BIG, 2),
            [first, 0, second, 0, ..] if is_text(first) && is_text(second) => (LITTLE, 0),
            [0, first, 0, second, ..] if is_text(first) && is_text(second) => (BIG, 0),
            _ => (Encoding::Utf8, 0),
        }
    }
}

/// A reader that yields UTF-8 without a byte order mark, whether its input is UTF-8 or UTF-16.
///
/// Bytes of any other kind are passed on unchanged: whoever parses them knows where they are wrong. UTF-16 that is
/// malformed, and UTF-32, are errors of the kind [`io::ErrorKind::InvalidData`].
#[derive(Debug)]
pub(crate) struct Utf8Reader<R> {
    input: R,
    /// Encoding of the text; absent before the first read.
    encoding: Option<Encoding>,
    /// Bytes of the input that are not decoded yet, and the offset of the first one.
    encoded: Vec<u8>,
    offset: usize,
    decoded: Vec<u8>,
    /// Number of decoded bytes that the caller has.
    taken: usize,
}

impl<R: Read> Utf8Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Utf8Reader { input, encoding: None, encoded: Vec::new(), offset: 0, decoded: Vec::new(), taken: 0 }
    }

    fn detect(&mut self) -> io::Result<Encoding> {
        self.input.by_ref().take(START_BYTES as u64).read_to_end(&mut self.encoded)?;
        let (encoding, mark) = Encoding::detect(&self.encoded);
        self.encoded.drain(..mark);
        self.offset = mark;
        match encoding {
            Encoding::Utf8 => self.decoded = std::mem::take(&mut self.encoded),
            Encoding::Utf16 { .. } => {}
            Encoding::Utf32 => return Err(invalid("it is UTF-32: save it as UTF-8".to_owned())),
        }
        self.encoding = Some(encoding);
        Ok(encoding)
    }

    /// Decodes the next chunk of UTF-16. Returns whether there was one.
    fn decode(&mut self, code_unit: fn([u8; 2]) -> u16) -> io::Result<bool> {
        self.decoded.clear();
        self.taken = 0;
        let is_end = self.input.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut self.encoded)? == 0;
        let (pairs, _) = self.encoded.as_chunks::<2>();
        let mut units: Vec<u16> = pairs.iter().map(|&pair| code_unit(pair)).collect();
        if !is_end {
            // The other half of the character is in the next chunk.
            units.pop_if(|unit| matches!(unit, 0xd800..=0xdbff));
        }
        let mut text = String::new();
        let mut offset = self.offset;
        for char in char::decode_utf16(units.iter().copied()) {
            let char = char.map_err(|_| {
                invalid(format!("malformed UTF-16: unpaired surrogate at byte {offset}; save it as UTF-8"))
            })?;
            offset += 2 * char.len_utf16();
            text.push(char);
        }
        self.encoded.drain(..2 * units.len());
        self.offset = offset;
        if is_end && !self.encoded.is_empty() {
            return Err(invalid(format!("malformed UTF-16: a single byte at {offset}; save it as UTF-8")));
        }
        self.decoded = text.into_bytes();
        Ok(!is_end || !self.decoded.is_empty())
    }
}

impl<R: Read> Read for Utf8Reader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let encoding = match self.encoding {
            Some(encoding) => encoding,
            None => self.detect()?,
        };
        while self.taken == self.decoded.len() {
            match encoding {
                Encoding::Utf16 { code_unit } if self.decode(code_unit)? => {}
                Encoding::Utf16 { .. } => return Ok(0),
                Encoding::Utf8 | Encoding::Utf32 => return self.input.read(buffer),
            }
        }
        let read = (&self.decoded[self.taken..]).read(buffer)?;
        self.taken += read;
        Ok(read)
    }
}

fn invalid(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An input that yields one byte at a time.
    struct Trickle<'a>(&'a [u8]);

    impl Read for Trickle<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = buffer.len().min(1);
            self.0.read(&mut buffer[..length])
        }
    }

    #[track_caller]
    fn check(bytes: &[u8], expected: Result<&[u8], &str>) {
        let read = |mut reader: Box<dyn Read + '_>| {
            let mut text = Vec::new();
            reader.read_to_end(&mut text).map(|_| text).map_err(|error| error.to_string())
        };
        let expected = expected.map(<[u8]>::to_vec).map_err(str::to_owned);
        assert_eq!(read(Box::new(Utf8Reader::new(bytes))), expected);
        assert_eq!(read(Box::new(Utf8Reader::new(Trickle(bytes)))), expected);
    }

    fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn utf_8_loses_its_mark_and_nothing_else() {
        check(b"", Ok(b""));
        check(b"\xef\xbb\xbf", Ok(b""));
        check(b"\xef\xbb\xbf{}", Ok(b"{}"));
        check(b"\xef\xbb\xbf\xef\xbb\xbf", Ok(b"\xef\xbb\xbf"));
        check(b"{}", Ok(b"{}"));
        check(b"\xef\xbb", Ok(b"\xef\xbb"));
        check(b"\x08\0\x12\0", Ok(b"\x08\0\x12\0"));
        check(b"a\0b", Ok(b"a\0b"));
    }

    #[test]
    fn utf_16_is_decoded_with_and_without_a_mark() {
        // Three code units at a time, so that a chunk ends between the two of a character.
        let text = format!("{{}}{}", "🫖é".repeat(CHUNK_BYTES));
        for text in ["{}", "{\"né\":\"🫖\"}", &text] {
            for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
                check(&utf_16(&format!("\u{feff}{text}"), bytes), Ok(text.as_bytes()));
                check(&utf_16(text, bytes), Ok(text.as_bytes()));
            }
        }
        check(b"\xff\xfe", Ok(b""));
        check(b"\xff\xfe{\0", Ok(b"{"));
    }

    #[test]
    fn what_cannot_be_decoded_is_named() {
        check(
            b"\xff\xfe{\0\x3d\xd8",
            Err("malformed UTF-16: unpaired surrogate at byte 4; save it as UTF-8"),
        );
        check(
            b"\xfe\xff\0{\xdf\0\0}",
            Err("malformed UTF-16: unpaired surrogate at byte 4; save it as UTF-8"),
        );
        check(b"{\0}\0\n", Err("malformed UTF-16: a single byte at 4; save it as UTF-8"));
        check(b"\xff\xfe\0\0{\0\0\0", Err("it is UTF-32: save it as UTF-8"));
        check(b"\0\0\xfe\xff\0\0\0{", Err("it is UTF-32: save it as UTF-8"));
    }
}
