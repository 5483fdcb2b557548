use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};

/// Writes a value as JSON on one line, without its end, which does nothing to a terminal.
pub(crate) fn write(output: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    value
        .serialize(&mut Serializer::with_formatter(output, Escaped(CompactFormatter)))
        .map_err(io::Error::from)
}

/// Returns a value as such JSON.
pub(crate) fn to_vec(value: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut json = Vec::new();
    write(&mut json, value)?;
    Ok(json)
}

/// JSON in which all control characters are escaped. JSON itself lets DEL and those from U+0080 on stand, of which one begins
/// escape sequences of terminals.
struct Escaped(CompactFormatter);

impl Formatter for Escaped {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, output: &mut W, fragment: &str) -> io::Result<()> {
        let mut rest = fragment;
        while let Some((start, char)) = rest.char_indices().find(|(_, char)| char.is_control()) {
            self.0.write_string_fragment(output, &rest[..start])?;
            write!(output, "\\u{:04x}", u32::from(char))?;
            rest = &rest[start + char.len_utf8()..];
        }
        self.0.write_string_fragment(output, rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_acts_on_the_terminal() {
        let text = "a\u{9b}2J\u{7f}\u{1b}[2J\n\u{85}é\u{200d}🙂";
        let json = String::from_utf8(to_vec(&[text]).expect("memory takes it")).expect("text");
        assert_eq!(json, r#"["a\u009b2J\u007f\u001b[2J\n\u0085é‍🙂"]"#);
        assert_eq!(serde_json::from_str::<[String; 1]>(&json).expect("JSON"), [text]);
    }
}
