use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{
    FilterError,
    numeric::{self, Numeric},
    place::FilterPath,
};

/// Legal operands of `anything-but`, for errors.
const ANYTHING_BUT: &str = "a string, a number, a list of strings, a list of numbers, or prefix, suffix or \
     equals-ignore-case";

/// One of the values that a pattern lists for a field, or an operator in its place.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Rule {
    /// `"Alice"`, `""`, `100`, `true` or `null`: the same string, boolean or null, or an equal number.
    Equals(Value),
    /// `{"equals-ignore-case": "alice"}`. The string is in lower case.
    EqualsIgnoreCase(String),
    /// A prefix, as in `{"prefix": "us-"}`.
    Prefix(String),
    /// A suffix, as in `{"suffix": ".png"}`.
    Suffix(String),
    /// `{"numeric": [">", 10, "<=", 20]}`
    Numeric(Numeric),
    /// `{"anything-but": ["Raining"]}`: a value, of whatever type, that meets none of these.
    AnythingBut(Vec<Rule>),
    /// Existence of the field: `{"exists": true}`.
    Exists,
    /// `{"exists": false}`. No value meets it.
    Absent,
}

impl Rule {
    pub(super) fn parse(value: &Value, place: &FilterPath<'_>) -> Result<Self, FilterError> {
        match value {
            Value::Object(members) => Self::parse_operator(members, place),
            Value::Array(_) => Err(place.is_not("a string, number, boolean, null or operator")),
            _ => Ok(Rule::Equals(value.clone())),
        }
    }

    fn parse_operator(members: &Map<String, Value>, place: &FilterPath<'_>) -> Result<Self, FilterError> {
        let (operator, operand) = only_member(members, place)?;
        let place_of_operand = place.field(operator);
        let text = || operand.as_str().map(str::to_owned).ok_or_else(|| place_of_operand.is_not("a string"));
        match operator {
            "equals-ignore-case" => Ok(Rule::EqualsIgnoreCase(text()?.to_lowercase())),
            "prefix" => Ok(Rule::Prefix(text()?)),
            "suffix" => Ok(Rule::Suffix(text()?)),
            "numeric" => Ok(Rule::Numeric(Numeric::parse(operand, &place_of_operand)?)),
            "anything-but" => Ok(Rule::AnythingBut(parse_exceptions(operand, &place_of_operand)?)),
            "exists" => match operand.as_bool() {
                Some(true) => Ok(Rule::Exists),
                Some(false) => Ok(Rule::Absent),
                None => Err(place_of_operand.is_not("true or false")),
            },
            _ => Err(unusable(operator, place)),
        }
    }

    /// Whether a value that is neither an object nor an array meets this rule.
    pub(super) fn is_met_by(&self, value: &Value) -> bool {
        let text = value.as_str();
        match self {
            Rule::Equals(expected) => match (expected, value) {
                (Value::Number(expected), Value::Number(number)) => {
                    numeric::compare(expected, number) == Some(Ordering::Equal)
                }
                _ => expected == value,
            },
            Rule::EqualsIgnoreCase(expected) => text.is_some_and(|text| text.to_lowercase() == *expected),
            Rule::Prefix(prefix) => text.is_some_and(|text| text.starts_with(prefix)),
            Rule::Suffix(suffix) => text.is_some_and(|text| text.ends_with(suffix)),
            Rule::Numeric(numeric) => value.as_number().is_some_and(|number| numeric.contains(number)),
            Rule::AnythingBut(exceptions) => !exceptions.iter().any(|exception| exception.is_met_by(value)),
            Rule::Exists => true,
            Rule::Absent => false,
        }
    }
}

/// Parses the rules that a value admitted by `anything-but` must not meet.
fn parse_exceptions(operand: &Value, place: &FilterPath<'_>) -> Result<Vec<Rule>, FilterError> {
    match operand {
        Value::String(_) | Value::Number(_) => Ok(vec![Rule::Equals(operand.clone())]),
        Value::Array(values)
            if !values.is_empty()
                && (values.iter().all(Value::is_string) || values.iter().all(Value::is_number)) =>
        {
            Ok(values.iter().cloned().map(Rule::Equals).collect())
        }
        Value::Object(members) => {
            let (operator, operand) = only_member(members, place)?;
            let place_of_operand = place.field(operator);
            let text = || match operand.as_str() {
                // It would admit no string at all; EventBridge's engine refuses it.
                None | Some("") => Err(place_of_operand.is_not("a string with at least one character")),
                Some(text) => Ok(text.to_owned()),
            };
            match operator {
                "prefix" => Ok(vec![Rule::Prefix(text()?)]),
                "suffix" => Ok(vec![Rule::Suffix(text()?)]),
                "equals-ignore-case" => Ok(vec![Rule::EqualsIgnoreCase(text()?.to_lowercase())]),
                _ => Err(unusable(operator, place)),
            }
        }
        _ => Err(place.is_not(ANYTHING_BUT)),
    }
}

fn only_member<'a>(
    members: &'a Map<String, Value>,
    place: &FilterPath<'_>,
) -> Result<(&'a str, &'a Value), FilterError> {
    let mut iterator = members.iter();
    match (iterator.next(), iterator.next()) {
        (Some((name, value)), None) => Ok((name, value)),
        _ => Err(place.is_not("an operator, an object with exactly one member")),
    }
}

fn unusable(operator: &str, place: &FilterPath<'_>) -> FilterError {
    let place = place.to_string();
    match operator {
        "wildcard" | "cidr" => FilterError::UnsupportedOperator { place, operator: operator.to_owned() },
        _ => FilterError::UnknownOperator { place, operator: operator.to_owned() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The place as it is for the first value of a field.
    #[track_caller]
    fn parse(rule: &str) -> Result<Rule, FilterError> {
        let filter = FilterPath::Filter(0);
        let (data, rule) = (filter.field("data"), serde_json::from_str(rule).expect("JSON"));
        Rule::parse(&rule, &data.field("a").element(0))
    }

    #[track_caller]
    fn check(rule: &str, met_by: &[&str], not_met_by: &[&str]) {
        let parsed = parse(rule).expect("a rule");
        let met = |value: &str| parsed.is_met_by(&serde_json::from_str(value).expect("JSON"));
        for value in met_by {
            assert!(met(value), "{value} should meet {rule}");
        }
        for value in not_met_by {
            assert!(!met(value), "{value} should not meet {rule}");
        }
    }

    #[track_caller]
    fn check_refused(rule: &str, expected: &str) {
        assert_eq!(parse(rule).map_err(|error| error.to_string()), Err(expected.to_owned()));
    }

    #[test]
    fn values_are_equal_in_type_and_value() {
        check("null", &["null"], &[r#""null""#, "0", "false", r#""""#]);
        check(r#""""#, &[r#""""#], &["null", r#"" ""#]);
        check(r#""Alice""#, &[r#""Alice""#], &[r#""alice""#, r#""Alice ""#, r#""Alicé""#]);
        check("true", &["true"], &["false", r#""true""#, "1"]);
        check("300", &["300", "300.0", "3.0e2"], &["301", r#""300""#, "true"]);
        check("-0.5", &["-0.5", "-5e-1"], &["0.5"]);
    }

    #[test]
    fn equals_ignore_case() {
        check(
            r#"{"equals-ignore-case": "ALiCE"}"#,
            &[r#""alice""#, r#""ALICE""#],
            &[r#""alice ""#, r#""bob""#, "5", "null"],
        );
        check(r#"{"equals-ignore-case": "Été"}"#, &[r#""éTÉ""#], &[r#""ete""#]);
    }

    #[test]
    fn begins_with_and_ends_with() {
        check(r#"{"prefix": "us-"}"#, &[r#""us-east-1""#, r#""us-""#], &[r#""eu-us-""#, r#""US-""#, "5"]);
        check(r#"{"suffix": ".png"}"#, &[r#""a.png""#, r#"".png""#], &[r#""a.png ""#, r#""a.PNG""#, "null"]);
        check(r#"{"prefix": ""}"#, &[r#""""#, r#""a""#], &["1"]);
    }

    #[test]
    fn numeric_takes_numbers_only() {
        check(r#"{"numeric": ["=", 100]}"#, &["100", "1e2"], &["101", r#""100""#, "null"]);
        check(r#"{"numeric": [">", 10, "<=", 20]}"#, &["10.5", "20"], &["10", "21"]);
    }

    #[test]
    fn anything_but_admits_values_of_every_other_kind() {
        check(r#"{"anything-but": "x"}"#, &[r#""y""#, "1", "null", "false"], &[r#""x""#]);
        check(r#"{"anything-but": 1}"#, &["2", r#""1""#, "null"], &["1", "1.0"]);
        check(r#"{"anything-but": ["x", "y"]}"#, &[r#""z""#, "1"], &[r#""x""#, r#""y""#]);
        check(r#"{"anything-but": [1, 2]}"#, &["3", r#""x""#], &["1", "2.0"]);
        check(r#"{"anything-but": {"prefix": "x"}}"#, &[r#""ax""#, "1"], &[r#""xa""#, r#""x""#]);
        check(r#"{"anything-but": {"suffix": "x"}}"#, &[r#""xa""#, "1"], &[r#""ax""#, r#""x""#]);
        check(r#"{"anything-but": {"equals-ignore-case": "X"}}"#, &[r#""y""#, "1"], &[r#""x""#, r#""X""#]);
    }

    #[test]
    fn exists_is_met_by_every_value_or_by_none() {
        let values = ["null", "false", "0", r#""""#];
        check(r#"{"exists": true}"#, &values, &[]);
        check(r#"{"exists": false}"#, &[], &values);
    }

    #[test]
    fn operators_that_lambda_does_not_have_are_named() {
        for (rule, operator) in
            [(r#"{"wildcard": "a*"}"#, "wildcard"), (r#"{"cidr": "10.0.0.0/24"}"#, "cidr")]
        {
            check_refused(
                rule,
                &format!(
                    "Filters[0]: data.a[0]: operator \"{operator}\" is not supported by Lambda, only by EventBridge"
                ),
            );
        }
        check_refused(
            r#"{"anything-but": {"wildcard": "a*"}}"#,
            "Filters[0]: data.a[0].anything-but: operator \"wildcard\" is not supported by Lambda, only by \
             EventBridge",
        );
        check_refused(r#"{"regex": "a"}"#, "Filters[0]: data.a[0]: operator \"regex\" is not known");
        check_refused(
            r#"{"anything-but": {"exists": true}}"#,
            "Filters[0]: data.a[0].anything-but: operator \"exists\" is not known",
        );
    }

    #[test]
    fn operands_of_another_shape_are_refused() {
        for operator in ["equals-ignore-case", "prefix", "suffix"] {
            let expected = format!("Filters[0]: data.a[0].{operator} is not a string");
            check_refused(&format!(r#"{{"{operator}": ["x"]}}"#), &expected);
            check_refused(&format!(r#"{{"{operator}": 5}}"#), &expected);
        }
        check_refused(r#"{"exists": "true"}"#, "Filters[0]: data.a[0].exists is not true or false");
        for operand in ["null", "true", "[]", r#"["x", 1]"#, r#"[["x"]]"#, "[null]"] {
            check_refused(
                &format!(r#"{{"anything-but": {operand}}}"#),
                &format!("Filters[0]: data.a[0].anything-but is not {ANYTHING_BUT}"),
            );
        }
        for operand in [r#""""#, r#"["x"]"#] {
            check_refused(
                &format!(r#"{{"anything-but": {{"prefix": {operand}}}}}"#),
                "Filters[0]: data.a[0].anything-but.prefix is not a string with at least one character",
            );
        }
    }

    #[test]
    fn an_operator_stands_alone() {
        for rule in ["{}", r#"{"prefix": "a", "suffix": "b"}"#, r#"{"numeric": ["=", 5], "exists": true}"#] {
            check_refused(
                rule,
                "Filters[0]: data.a[0] is not an operator, an object with exactly one member",
            );
        }
        check_refused(r#"["x"]"#, "Filters[0]: data.a[0] is not a string, number, boolean, null or operator");
    }
}
