use std::borrow::Cow;

/// Length in bytes of the longest key that is shown whole. Kinesis itself takes up to 256 characters.
pub(crate) const MAX_KEY_BYTES: usize = 1024;

/// Number of characters that are shown of a longer key.
const SHOWN_CHARS: usize = 64;

/// Number of bytes that hold so many characters.
const SHOWN_BYTES: usize = 4 * SHOWN_CHARS;

/// Whether long keys are shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Keys {
    #[default]
    Shortened,
    Whole,
}

impl Keys {
    /// Reads the option `--full-keys`.
    pub(crate) fn of_option(full_keys: bool) -> Self {
        if full_keys { Keys::Whole } else { Keys::Shortened }
    }
}

/// A key as it is shown, shortened if it is long.
///
/// The key table of an aggregate has no limit, and each of its user records may refer to the same key, so a record of
/// less than 1 MB would else become gigabytes of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ShownKey<'a> {
    /// U+FFFD stands for what is not UTF-8. A shortened key ends with `…`.
    pub(super) text: Cow<'a, str>,
    /// Length of a key that is shortened, in bytes.
    pub(super) shortened_bytes: Option<usize>,
}

impl<'a> ShownKey<'a> {
    pub(super) fn of(key: &'a [u8], keys: Keys) -> Self {
        if keys == Keys::Whole || key.len() <= MAX_KEY_BYTES {
            return ShownKey { text: String::from_utf8_lossy(key), shortened_bytes: None };
        }
        // What is cut through at the end is behind the last character that is shown.
        let start = String::from_utf8_lossy(&key[..SHOWN_BYTES]);
        let text = start.chars().take(SHOWN_CHARS).chain(['…']).collect();
        ShownKey { text: Cow::Owned(text), shortened_bytes: Some(key.len()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(key: &str, keys: Keys, expected: &str, shortened_bytes: Option<usize>) {
        let shown = ShownKey::of(key.as_bytes(), keys);
        assert_eq!((&*shown.text, shown.shortened_bytes), (expected, shortened_bytes));
    }

    #[test]
    fn a_key_above_the_limit_is_shortened_between_characters() {
        let longest = "k".repeat(MAX_KEY_BYTES);
        check(&longest, Keys::Shortened, &longest, None);
        check("", Keys::Shortened, "", None);
        let longer = format!("{longest}k");
        check(&longer, Keys::Whole, &longer, None);
        check(&longer, Keys::Shortened, &format!("{}…", "k".repeat(64)), Some(1025));
        for char in ["é", "注", "🫖"] {
            let key = char.repeat(2000);
            check(&key, Keys::Shortened, &format!("{}…", char.repeat(64)), Some(key.len()));
            let shifted = format!("x{key}");
            check(&shifted, Keys::Shortened, &format!("x{}…", char.repeat(63)), Some(shifted.len()));
        }
    }
}
