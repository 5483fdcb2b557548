/// Fewer digits than these save little and are hard to recognise.
const MIN_SHOWN_DIGITS: usize = 8;

/// Returns as many of the last digits as tell all of these sequence numbers apart.
///
/// The last ones, because the numbers of one shard begin alike.
pub(super) fn digits_telling_apart<'a>(numbers: impl Iterator<Item = &'a str>) -> usize {
    let mut reversed: Vec<Vec<u8>> = numbers.map(|number| number.bytes().rev().collect()).collect();
    reversed.sort_unstable();
    reversed.dedup();
    let alike =
        |pair: &[Vec<u8>]| pair[0].iter().zip(&pair[1]).take_while(|(one, other)| one == other).count();
    // Sorted: what a number has most in common with stands beside it.
    let most_alike = reversed.windows(2).map(alike).max().unwrap_or(0);
    MIN_SHOWN_DIGITS.max(most_alike + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digits_tell_sequence_numbers_apart() {
        let digits = |numbers: &[&str]| digits_telling_apart(numbers.iter().copied());
        assert_eq!(digits(&[]), 8);
        let first = "49590338271490256608559692538361571095921575989136588898";
        assert_eq!(digits(&[first]), 8);
        assert_eq!(digits(&[first, first, "49590338271490256608559692540925702759324208523136588898"]), 10);
        assert_eq!(digits(&["1", "21", "321", "123456789"]), 8);
    }
}
