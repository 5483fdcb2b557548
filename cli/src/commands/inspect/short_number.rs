/// Fewer digits than these save little and are hard to recognise.
const MIN_SHOWN_DIGITS: usize = 8;

/// The short form of sequence numbers in a table: the last digits, as many as tell all of the input's apart.
///
/// The last ones, because the numbers of one shard begin alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ShortNumbers {
    shown_digits: usize,
}

impl ShortNumbers {
    pub(super) fn telling_apart<'a>(numbers: impl Iterator<Item = &'a str>) -> Self {
        let mut reversed: Vec<Vec<u8>> = numbers.map(|number| number.bytes().rev().collect()).collect();
        reversed.sort_unstable();
        reversed.dedup();
        let alike =
            |pair: &[Vec<u8>]| pair[0].iter().zip(&pair[1]).take_while(|(one, other)| one == other).count();
        // Sorted: what a number has most in common with stands beside it.
        let most_alike = reversed.windows(2).map(alike).max().unwrap_or(0);
        ShortNumbers { shown_digits: MIN_SHOWN_DIGITS.max(most_alike + 1) }
    }

    pub(super) fn shorten(&self, number: &str) -> String {
        let chars = number.chars().count();
        if chars <= self.shown_digits + 1 {
            return number.to_owned();
        }
        let shown = number.chars().skip(chars - self.shown_digits);
        std::iter::once('…').chain(shown).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(numbers: &[&str], expected: &[&str]) {
        let short = ShortNumbers::telling_apart(numbers.iter().copied());
        let shortened: Vec<_> = numbers.iter().map(|number| short.shorten(number)).collect();
        assert_eq!(shortened, expected);
    }

    #[test]
    fn the_last_digits_tell_sequence_numbers_apart() {
        check(&[], &[]);
        check(&["49590338271490256608559692538361571095921575989136588898"], &["…36588898"]);
        check(
            &[
                "49590338271490256608559692538361571095921575989136588898",
                "49590338271490256608559692538361571095921575989136588898",
                "49590338271490256608559692540925702759324208523136588898",
            ],
            &["…9136588898", "…9136588898", "…3136588898"],
        );
        check(&["1", "21", "321", "123456789"], &["1", "21", "321", "123456789"]);
        check(&["", "né", "0123456789ñ"], &["", "né", "…3456789ñ"]);
    }
}
