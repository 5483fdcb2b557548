use std::ops::Range;

use base64::{DecodeError, prelude::*};

use crate::error::Mismatch;

/// Decodes the base64 of one record or more, as tools print it and people paste it.
///
/// There may be white space around it. Line breaks inside the base64 of a record are ignored. Records are separated by
/// tabs (then line breaks separate them, too) or by a line break after padding.
pub(super) fn decode(text: &[u8]) -> Result<Vec<Vec<u8>>, Mismatch> {
    fields(text).into_iter().map(|field| decode_field(text, field)).collect()
}

fn fields(text: &[u8]) -> Vec<Range<usize>> {
    let start = text.len() - text.trim_ascii_start().len();
    let end = start + text.trim_ascii().len();
    let has_tabs = text[start..end].contains(&b'\t');
    let mut fields = Vec::new();
    let mut field = start;
    for (index, &byte) in text.iter().enumerate().take(end).skip(start) {
        let is_padded = text[field..index].trim_ascii_end().last() == Some(&b'=');
        if byte == b'\t' || byte == b'\n' && (has_tabs || is_padded) {
            fields.push(field..index);
            field = index + 1;
        }
    }
    fields.push(field..end);
    fields
}

fn decode_field(text: &[u8], field: Range<usize>) -> Result<Vec<u8>, Mismatch> {
    let joined: Vec<u8> = text[field.clone()].iter().copied().filter(|&byte| !is_line_break(byte)).collect();
    BASE64_STANDARD.decode(&joined).map_err(|error| {
        // The decoder looks at the end first: what it names need not be where the text ceases to be base64.
        let foreign =
            joined.iter().position(|&byte| !(byte.is_ascii_alphanumeric() || b"+/=".contains(&byte)));
        match (foreign, error) {
            (Some(offset), _) | (None, DecodeError::InvalidLastSymbol { offset, .. }) => {
                let (line, column) = position(text, field, offset);
                Mismatch::Base64Byte { line, column }
            }
            (None, _) => Mismatch::Base64Length,
        }
    })
}

fn is_line_break(byte: u8) -> bool {
    matches!(byte, b'\r' | b'\n')
}

/// Returns line and column, from one, of the byte that has this offset in the joined text of the field.
fn position(text: &[u8], field: Range<usize>, joined_offset: usize) -> (usize, usize) {
    let mut kept = field.filter(|&index| !is_line_break(text[index]));
    let before = &text[..kept.nth(joined_offset).unwrap_or(text.len())];
    let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |index| index + 1);
    let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
    (line, before.len() - line_start + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], &str>) {
        let decoded = decode(text.as_bytes()).map_err(|error| error.to_string());
        let expected = expected.map(|records| records.iter().map(|data| data.as_bytes().to_vec()).collect());
        assert_eq!(decoded, expected.map_err(str::to_owned));
    }

    #[test]
    fn white_space_around_and_line_breaks_inside_are_allowed() {
        check("", Ok(&[""]));
        check(" \n", Ok(&[""]));
        check("aGVsbG8=", Ok(&["hello"]));
        check("\t aGVs\r\nbG8=\n\n", Ok(&["hello"]));
        check("aGVs\naGVs", Ok(&["helhel"]));
    }

    #[test]
    fn tabs_and_padding_separate_records() {
        check("aGVsbG8=\taGVs\t\tYQ==\n", Ok(&["hello", "hel", "", "a"]));
        check("aGVs\tYQ==\r\naGVs\taGVs\r\n", Ok(&["hel", "a", "hel", "hel"]));
        check("aGVs\nbG8=\r\nYQ==\n", Ok(&["hello", "a"]));
    }

    #[test]
    fn anything_else_is_refused_with_its_place() {
        check("aGVs bG8=", Err("byte at line 1, column 5 is not part of base64"));
        check("  aG-s", Err("byte at line 1, column 5 is not part of base64"));
        check("\r\naGVs\r\nb*8=", Err("byte at line 3, column 2 is not part of base64"));
        check("aGVs\naGVs\tb*8=", Err("byte at line 2, column 7 is not part of base64"));
        check("aGVsbG8", Err("length or padding is not that of base64"));
        check("a-b-", Err("byte at line 1, column 2 is not part of base64"));
        check("aG=sbG8=", Err("length or padding is not that of base64"));
        check("aGVsb", Err("length or padding is not that of base64"));
        // The last digit has bits that no byte takes.
        check("aGVsbG9=", Err("byte at line 1, column 7 is not part of base64"));
    }
}
