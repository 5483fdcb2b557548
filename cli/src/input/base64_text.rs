use std::borrow::Cow;

use base64::{DecodeError, prelude::*};

use crate::error::Mismatch;

/// Decodes base64 that may have white space around it and line breaks inside, as tools print it and people paste it.
pub(super) fn decode(text: &[u8]) -> Result<Vec<u8>, Mismatch> {
    let trimmed = text.trim_ascii();
    let joined = if trimmed.iter().copied().any(is_line_break) {
        Cow::Owned(trimmed.iter().copied().filter(|&byte| !is_line_break(byte)).collect())
    } else {
        Cow::Borrowed(trimmed)
    };
    BASE64_STANDARD.decode(&joined).map_err(|error| {
        // The decoder looks at the end first: what it names need not be where the text ceases to be base64.
        let foreign =
            joined.iter().position(|&byte| !(byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)));
        match (foreign, error) {
            (Some(offset), _) | (None, DecodeError::InvalidLastSymbol { offset, .. }) => {
                let (line, column) = position(text, offset);
                Mismatch::Base64Byte { line, column }
            }
            (None, _) => Mismatch::Base64Length,
        }
    })
}

fn is_line_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Line and column, from one, of the byte that has this offset in the joined text.
fn position(text: &[u8], joined_offset: usize) -> (usize, usize) {
    let leading = text.len() - text.trim_ascii_start().len();
    let mut rest = (leading..text.len()).filter(|&index| !is_line_break(text[index]));
    let before = &text[..rest.nth(joined_offset).unwrap_or(text.len())];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |index| index + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    (line, before.len() - line_start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[u8], &str>) {
        let decoded = decode(text.as_bytes());
        assert_eq!(decoded.as_deref().map_err(ToString::to_string), expected.map_err(ToOwned::to_owned));
    }

    #[test]
    fn white_space_around_and_line_breaks_inside_are_allowed() {
        check("", Ok(b""));
        check(" \n", Ok(b""));
        check("aGVsbG8=", Ok(b"hello"));
        check("\t aGVs\r\nbG8=\n\n", Ok(b"hello"));
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        check("aGVs bG8=", Err("byte at line 1, column 5 is not part of base64"));
        check("  aG-s", Err("byte at line 1, column 5 is not part of base64"));
        check("\r\naGVs\r\nb*8=", Err("byte at line 3, column 2 is not part of base64"));
        check("aGVsbG8", Err("length or padding is not that of base64"));
        check("a-b-", Err("byte at line 1, column 2 is not part of base64"));
        check("aG=sbG8=", Err("length or padding is not that of base64"));
        check("aGVsb", Err("length or padding is not that of base64"));
        // The last digit has bits that no byte takes.
        check("aGVsbG9=", Err("byte at line 1, column 7 is not part of base64"));
    }
}
