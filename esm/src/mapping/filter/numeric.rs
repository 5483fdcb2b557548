use std::cmp::Ordering;

use serde_json::{Number, Value};

use super::{FilterError, place::FilterPath};

/// Legal operands of `numeric`, for errors.
const OPERAND: &str =
    "[comparison, number] with =, <, <=, > or >=, or a range [>, low, <, high] with > or >=, < or <=";

/// The operand of `numeric`: numbers in a range, `[">", 10, "<=", 20]`, or on one side of a bound, `["=", 5]`.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Numeric {
    /// Each of them has to hold.
    bounds: Vec<(Comparison, Number)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Numeric {
    pub(super) fn parse(value: &Value, place: &FilterPath<'_>) -> Result<Self, FilterError> {
        use Comparison::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual};

        let wrong = || place.is_not(OPERAND);
        let operand = value.as_array().ok_or_else(wrong)?;
        let (pairs, []) = operand.as_chunks::<2>() else {
            return Err(wrong());
        };
        let mut bounds = Vec::with_capacity(pairs.len());
        for [comparison, number] in pairs {
            let comparison = match comparison.as_str() {
                Some("=") => Equal,
                Some("<") => Less,
                Some("<=") => LessOrEqual,
                Some(">") => Greater,
                Some(">=") => GreaterOrEqual,
                _ => return Err(wrong()),
            };
            bounds.push((comparison, number.as_number().ok_or_else(wrong)?.clone()));
        }
        match &bounds[..] {
            [_] => {}
            [(Greater | GreaterOrEqual, low), (Less | LessOrEqual, high)] => {
                if compare(low, high) != Some(Ordering::Less) {
                    return Err(place.is_not("a range, its low end must be below its high end"));
                }
            }
            _ => return Err(wrong()),
        }
        Ok(Numeric { bounds })
    }

    pub(super) fn contains(&self, number: &Number) -> bool {
        self.bounds.iter().all(|(comparison, bound)| {
            compare(number, bound).is_some_and(|ordering| match comparison {
                Comparison::Equal => ordering.is_eq(),
                Comparison::Less => ordering.is_lt(),
                Comparison::LessOrEqual => ordering.is_le(),
                Comparison::Greater => ordering.is_gt(),
                Comparison::GreaterOrEqual => ordering.is_ge(),
            })
        })
    }
}

/// The order of two numbers, however they are written. `None` if one of them is beyond what a double can hold.
///
/// Lambda's documentation says that 300, 300.0 and 3.0e2 are not equal. EventBridge's engine, which this follows,
/// compares doubles, and digits only where a double cannot hold the number.
pub(super) fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => Some(a.cmp(&b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(operand: &str, number: &str, expected: bool) {
        let operand = serde_json::from_str(operand).expect("JSON");
        let numeric = Numeric::parse(&operand, &FilterPath::Filter(0)).expect("an operand");
        assert_eq!(numeric.contains(&number.parse().expect("a number")), expected);
    }

    #[track_caller]
    fn check_refused(operand: &str, expected: &str) {
        let operand = serde_json::from_str(operand).expect("JSON");
        let error = Numeric::parse(&operand, &FilterPath::Filter(0)).expect_err("not an operand");
        assert_eq!(error.to_string(), format!("Filters[0] is not {expected}"));
    }

    #[test]
    fn every_comparison_with_its_bound_and_its_neighbours() {
        for (comparison, below, at, above) in [
            ("=", false, true, false),
            ("<", true, false, false),
            ("<=", true, true, false),
            (">", false, false, true),
            (">=", false, true, true),
        ] {
            let operand = format!(r#"["{comparison}", 5]"#);
            check(&operand, "4.999", below);
            check(&operand, "5", at);
            check(&operand, "5.0", at);
            check(&operand, "5.001", above);
        }
    }

    #[test]
    fn ranges_with_and_without_their_ends() {
        for (number, outer, inner) in
            [("9", false, false), ("10", true, false), ("15.5", true, true), ("20", true, false)]
        {
            check(r#"[">=", 10, "<=", 20]"#, number, outer);
            check(r#"[">", 10, "<", 20]"#, number, inner);
        }
        check(r#"[">", -1e3, "<", 0.5]"#, "-999", true);
    }

    #[test]
    fn numbers_are_equal_however_they_are_written() {
        for number in ["300", "300.0", "3.0e2", "3E+2"] {
            check(r#"["=", 3e2]"#, number, true);
        }
        check(r#"["=", 9007199254740992]"#, "9007199254740993", false);
        check(r#"["=", 18446744073709551615]"#, "18446744073709551615", true);
        check(r#"["=", 0]"#, "-0.0", true);
    }

    #[test]
    fn other_operands_are_refused() {
        for operand in [
            "5",
            "[]",
            r#"["="]"#,
            "[5]",
            r#"["=", "5"]"#,
            r#"["==", 5]"#,
            r#"["=", 5, "=", 6]"#,
            r#"["<", 20, ">", 10]"#,
            r#"[">", 10, "<", 20, "=", 15]"#,
            r#"[">", 10, "<"]"#,
        ] {
            check_refused(operand, OPERAND);
        }
        check_refused(r#"[">", 20, "<", 20]"#, "a range, its low end must be below its high end");
    }
}
