use chrono::DateTime;
use kinesis_handler::{
    compression::{Compression, DecompressionLimits},
    large_payload::PayloadPointer,
};
use unicode_width::UnicodeWidthChar;

/// A payload for people: text as it is, anything else as `0x` and its first bytes.
pub(crate) fn data(data: &[u8], max_width: usize) -> String {
    match str::from_utf8(data) {
        // The part that is not shown may be megabytes: that it is UTF-8 must do.
        Ok(payload) if payload.chars().take(max_width).all(is_of_text) => text(payload, max_width),
        _ => hex(data, max_width),
    }
}

/// A payload for people, as [`data`], of gzip, zlib or zstd decompressed and after the format's name, and a pointer to a large
/// payload as the place of that.
pub(crate) fn payload(payload: &[u8], max_width: usize) -> String {
    pointer(payload, max_width)
        .or_else(|| decompressed(payload, max_width, data))
        .unwrap_or_else(|| data(payload, max_width))
}

/// Shows a pointer to a large payload; `None` for anything else.
fn pointer(payload: &[u8], max_width: usize) -> Option<String> {
    let pointer = PayloadPointer::read(payload)?.ok()?;
    let (bucket, key, length) = (pointer.bucket(), pointer.key(), pointer.length());
    Some(text(&format!("pointer to {length} bytes in s3://{bucket}/{key}"), max_width))
}

/// A payload as text in any case, otherwise as [`payload`].
pub(crate) fn payload_text(payload: &[u8], max_width: usize) -> String {
    let lossy = |data: &[u8], max_width| text(&String::from_utf8_lossy(data), max_width);
    decompressed(payload, max_width, lossy).unwrap_or_else(|| lossy(payload, max_width))
}

/// Shows a compressed payload; `None` for one that is not, or cannot be decompressed.
fn decompressed(payload: &[u8], max_width: usize, show: impl Fn(&[u8], usize) -> String) -> Option<String> {
    let compression = Compression::detect(payload)?;
    let data = compression.decompress(payload, DecompressionLimits::default()).ok()?;
    let mark = format!("{compression}: ");
    let width = max_width.saturating_sub(mark.len()).max(1);
    Some(mark + &show(&data, width))
}

/// Text on one line, which does nothing to a terminal. What is wider than `max_width` is cut and ends with `…`.
pub(crate) fn text(text: &str, max_width: usize) -> String {
    if text.is_empty() {
        return r#""""#.to_owned();
    }
    if text.len() <= max_width && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
        return text.to_owned();
    }
    let mut shown = String::new();
    let mut shown_width = 0;
    // Where `…` still fits.
    let mut cut = 0;
    for char in text.chars() {
        let start = shown.len();
        push_visible(&mut shown, char);
        shown_width += width(&shown[start..]);
        if shown_width > max_width {
            shown.truncate(cut);
            shown.push('…');
            break;
        }
        if shown_width < max_width {
            cut = shown.len();
        }
    }
    shown
}

/// A time for people: UTC, to the second. Milliseconds since 1970.
pub(crate) fn time(epoch_ms: u64) -> String {
    match i64::try_from(epoch_ms).ok().and_then(DateTime::from_timestamp_millis) {
        Some(time) => time.format("%Y-%m-%d %H:%M:%S").to_string(),
        None => epoch_ms.to_string(),
    }
}

/// Returns the end of a shard's ID that tells it from others: `12` for `shardId-000000000012`.
pub(crate) fn short_shard(shard_id: &str) -> &str {
    let Some(number) = shard_id.strip_prefix("shardId-") else { return shard_id };
    let short = number.trim_start_matches('0');
    if short.is_empty() { "0" } else { short }
}

/// A length of time for people: two or three digits and a unit.
pub(crate) fn duration(milliseconds: u64) -> String {
    match milliseconds {
        0..1_000 => format!("{milliseconds} ms"),
        1_000..10_000 => format!("{:.1} s", milliseconds as f64 / 1e3),
        10_000..120_000 => format!("{} s", milliseconds / 1_000),
        120_000..7_200_000 => format!("{} min", milliseconds / 60_000),
        _ => format!("{} h", milliseconds / 3_600_000),
    }
}

/// Returns the number of terminal columns that such text takes.
pub(crate) fn width(text: &str) -> usize {
    if text.is_ascii() {
        return text.len();
    }
    text.chars().map(|char| char.width().unwrap_or(0)).sum()
}

/// `0x` and the first bytes.
pub(crate) fn hex(data: &[u8], max_width: usize) -> String {
    let mut shown = "0x".to_owned();
    // Enough to be cut, if there is more.
    for byte in data.iter().take(max_width / 2) {
        for digit in [byte >> 4, byte & 15] {
            shown.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text(&shown, max_width)
}

/// Returns whether text has this control character: for white space and for colours.
fn is_of_text(char: char) -> bool {
    !char.is_control() || matches!(char, '\t' | '\n' | '\r' | '\u{1b}')
}

/// Returns the text on one line that does nothing to a terminal, with everything shown that is in it.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    text.chars().for_each(|char| push_visible(&mut escaped, char));
    escaped
}

/// Escapes what cannot be seen, or would act on the terminal.
fn push_visible(shown: &mut String, char: char) {
    if char.is_control() || is_invisible(char) {
        shown.extend(char.escape_default());
    } else {
        shown.push(char);
    }
}

/// Whether a character shows nothing, reorders text, or looks like the space that it is not.
///
/// These are Unicode's Default_Ignorable_Code_Point, the separators, and the marks of annotations. The ideographic space
/// is as wide as its neighbours, so it shows.
///
/// <https://www.unicode.org/Public/17.0.0/ucd/DerivedCoreProperties.txt>
fn is_invisible(char: char) -> bool {
    matches!(
        char,
        '\u{a0}'
            | '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{1680}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{2000}'..='\u{200f}'
            | '\u{2028}'..='\u{202f}'
            | '\u{205f}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIDTH: usize = 21;

    #[track_caller]
    fn check(payload: impl AsRef<[u8]>, expected: &str) {
        let shown = data(payload.as_ref(), WIDTH);
        assert_eq!(shown, expected);
        assert!(width(&shown) <= WIDTH, "{} columns", width(&shown));
    }

    #[test]
    fn zeros_of_a_shard_id_are_left_out() {
        assert_eq!(short_shard("shardId-000000000120"), "120");
        assert_eq!(short_shard("shardId-000000000000"), "0");
        assert_eq!(short_shard("left"), "left");
    }

    #[test]
    fn text_is_readable() {
        check("", r#""""#);
        check(r#"{"path":"C:\\"}"#, r#"{"path":"C:\\"}"#);
        check("héllo, 注文 🙂", "héllo, 注文 🙂");
        check("a\r\n\tb\u{1b}[31m", r"a\r\n\tb\u{1b}[31m");
        check("\u{200f}\u{202e}\u{2069}", r"\u{200f}\u{202e}…");
        check("\u{200e}\u{2028}", r"\u{200e}\u{2028}");
    }

    #[test]
    fn what_cannot_be_seen_is_escaped() {
        check("\u{feff}{}", r"\u{feff}{}");
        check("a\u{200b}b\u{ad}", r"a\u{200b}b\u{ad}");
        check("{\u{a0}}\u{2060}", r"{\u{a0}}\u{2060}");
        check("\u{61c}\u{e0041}", r"\u{61c}\u{e0041}");
        check("\u{2066}\u{2800}", r"\u{2066}\u{2800}");
        // Marks that belong to the character before them, and spaces that show, stay.
        check("e\u{301} नि　ок", "e\u{301} नि　ок");
        assert_eq!(escape("a\u{1b}[2J\r\n\u{202e}b"), r"a\u{1b}[2J\r\n\u{202e}b");
    }

    #[test]
    fn anything_else_is_hex() {
        check([0], "0x00");
        check(b"\x0a\x03abc", "0x0a03616263");
        check(b"caf\xe9", "0x636166e9");
        check("a\u{85}", "0x61c285");
        check([0xab; 9], "0xababababababababab");
        check([0xab; 10], "0xababababababababab…");
        check([0xab; 1000], "0xababababababababab…");
    }

    #[test]
    fn what_is_too_wide_is_cut() {
        check("x".repeat(21), "xxxxxxxxxxxxxxxxxxxxx");
        check("x".repeat(22), "xxxxxxxxxxxxxxxxxxxx…");
        check("注".repeat(10), "注注注注注注注注注注");
        check("注".repeat(11), "注注注注注注注注注注…");
        check(format!("x{}", "注".repeat(11)), "x注注注注注注注注注…");
        check(format!("{}\n", "x".repeat(20)), "xxxxxxxxxxxxxxxxxxxx…");
        // No more than the shown part decides.
        check(format!("{}\0", "x".repeat(100_000)), "xxxxxxxxxxxxxxxxxxxx…");
    }

    #[test]
    fn compressed_payloads_are_decompressed_and_marked() {
        let gzip = b"\x1f\x8b\x08\0\0\0\0\0\0\x03\xcb\x48\xcd\xc9\xc9\x07\0\x86\xa6\x10\x36\x05\0\0\0";
        assert_eq!(payload(gzip, WIDTH), "gzip: hello");
        assert_eq!(payload_text(gzip, WIDTH), "gzip: hello");
        assert_eq!(payload(gzip, 9), "gzip: he…");
        // What cannot be decompressed is shown as it is.
        assert_eq!(payload(&gzip[..12], 30), "0x1f8b0800000000000003cb48");
        assert_eq!(payload(b"hello", WIDTH), "hello");
    }

    #[test]
    fn a_pointer_is_shown_as_the_place_of_its_payload() {
        let pointer = PayloadPointer::new("orders", "large/1", b"hello").expect("a pointer").to_json();
        assert_eq!(payload(&pointer, 41), "pointer to 5 bytes in s3://orders/large/1");
        assert_eq!(payload(&pointer, 15), "pointer to 5 b…");
        assert!(payload_text(&pointer, 41).starts_with("{\"kinesisKitPayload\":1,"));
        assert_eq!(payload(br#"{"kinesisKitPayload":1}"#, 41), r#"{"kinesisKitPayload":1}"#);
    }

    #[test]
    fn times_are_short() {
        let shown = [999, 1_000, 9_999, 119_999, 120_000, 7_199_999, 90_000_000].map(duration);
        assert_eq!(shown, ["999 ms", "1.0 s", "10.0 s", "119 s", "2 min", "119 min", "25 h"]);
    }
}
