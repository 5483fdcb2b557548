use serde_json::{Map, Value};

use super::{FilterError, place::FilterPath, rule::Rule, verdict::FilterVerdict};

/// A name that stands for alternatives instead of a field.
const OR: &str = "$or";

/// A condition of a filter on the data, or on a field in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Pattern {
    /// An object in the pattern.
    Fields(Fields),
    /// A list in the pattern: one of these is enough.
    Values(Vec<Rule>),
}

/// An object's fields, each of which has to match.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Fields {
    fields: Vec<(String, Pattern)>,
    /// Alternatives of `$or`, one of which has to match as well. Empty without `$or`.
    alternatives: Vec<Fields>,
}

impl Pattern {
    /// The pattern for the data as a whole.
    pub(super) fn of_data(value: &Value, place: &FilterPath<'_>) -> Result<Self, FilterError> {
        match value {
            Value::Object(_) => Self::parse(value, place),
            Value::Array(_) => Err(FilterError::PlainText { place: place.to_string() }),
            _ => Err(place.is_not("an object of the data's fields")),
        }
    }

    fn parse(value: &Value, place: &FilterPath<'_>) -> Result<Self, FilterError> {
        match value {
            Value::Object(members) => Ok(Pattern::Fields(Fields::parse(members, place)?)),
            Value::Array(values) if values.is_empty() => Err(place.is_not("a list with at least one value")),
            Value::Array(values) => {
                let parse = |(index, value)| Rule::parse(value, &place.element(index));
                Ok(Pattern::Values(values.iter().enumerate().map(parse).collect::<Result<_, _>>()?))
            }
            _ => Err(FilterError::BareValue { place: place.to_string() }),
        }
    }

    pub(super) fn matches(&self, data: &Value) -> bool {
        self.verdict(Some(data)) != FilterVerdict::No
    }

    /// Evaluates the condition on a field, which may be absent.
    fn verdict(&self, value: Option<&Value>) -> FilterVerdict {
        match (self, value) {
            (_, Some(Value::Array(elements))) if !elements.is_empty() => {
                FilterVerdict::of_elements(elements.iter().map(|element| self.verdict(Some(element))))
            }
            // What is no object has no fields.
            (Pattern::Fields(fields), _) => fields.verdict(value.and_then(Value::as_object)),
            // An object is no value, it only holds some: `exists` works on leaves only, as Lambda documents.
            (Pattern::Values(rules), None | Some(Value::Object(_) | Value::Array(_))) => {
                if rules.contains(&Rule::Absent) { FilterVerdict::ByAbsence } else { FilterVerdict::No }
            }
            (Pattern::Values(rules), Some(leaf)) => {
                if rules.iter().any(|rule| rule.is_met_by(leaf)) {
                    FilterVerdict::ByPresence
                } else {
                    FilterVerdict::No
                }
            }
        }
    }
}

impl Fields {
    fn parse(members: &Map<String, Value>, place: &FilterPath<'_>) -> Result<Self, FilterError> {
        if members.is_empty() {
            return Err(place.is_not("an object with at least one field"));
        }
        let mut parsed = Fields { fields: Vec::with_capacity(members.len()), alternatives: Vec::new() };
        for (name, value) in members {
            let place = place.field(name);
            if name == OR {
                parsed.alternatives = parse_alternatives(value, &place)?;
            } else {
                parsed.fields.push((name.clone(), Pattern::parse(value, &place)?));
            }
        }
        Ok(parsed)
    }

    fn verdict(&self, object: Option<&Map<String, Value>>) -> FilterVerdict {
        let field =
            |(name, pattern): &(String, Pattern)| pattern.verdict(object.and_then(|object| object.get(name)));
        let fields = FilterVerdict::all(self.fields.iter().map(field));
        if self.alternatives.is_empty() {
            return fields;
        }
        let alternatives = self.alternatives.iter().map(|alternative| alternative.verdict(object));
        FilterVerdict::all([fields, FilterVerdict::any(alternatives)])
    }
}

/// Parses the operand of `$or`.
fn parse_alternatives(value: &Value, place: &FilterPath<'_>) -> Result<Vec<Fields>, FilterError> {
    let wrong = || place.is_not("a list of at least two objects");
    let alternatives = value.as_array().filter(|alternatives| alternatives.len() >= 2).ok_or_else(wrong)?;
    let parse = |(index, alternative): (usize, &Value)| {
        Fields::parse(alternative.as_object().ok_or_else(wrong)?, &place.element(index))
    };
    alternatives.iter().enumerate().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pattern: &str) -> Result<Pattern, FilterError> {
        Pattern::of_data(&serde_json::from_str(pattern).expect("JSON"), &FilterPath::Filter(0).field("data"))
    }

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let parsed = parse(pattern).expect("a pattern");
        let matches = |data: &str| parsed.matches(&serde_json::from_str(data).expect("JSON"));
        for data in matching {
            assert!(matches(data), "{data} should match {pattern}");
        }
        for data in others {
            assert!(!matches(data), "{data} should not match {pattern}");
        }
    }

    #[track_caller]
    fn check_refused(pattern: &str, expected: &str) {
        assert_eq!(parse(pattern).map_err(|error| error.to_string()), Err(expected.to_owned()));
    }

    #[test]
    fn or_is_several_values_in_a_list() {
        check(
            r#"{"type": ["Credit", "Debit", null, {"prefix": "P"}]}"#,
            &[r#"{"type": "Credit"}"#, r#"{"type": "Debit"}"#, r#"{"type": null}"#, r#"{"type": "PayPal"}"#],
            &[r#"{"type": "Cash"}"#, r#"{"type": {"Credit": "Credit"}}"#, "{}", r#""Credit""#, "null"],
        );
    }

    #[test]
    fn and_is_several_fields() {
        check(
            r#"{"Location": ["New York"], "Day": ["Monday"]}"#,
            &[r#"{"Location": "New York", "Day": "Monday", "Hour": 7}"#],
            &[r#"{"Location": "New York"}"#, r#"{"Location": "New York", "Day": "Sunday"}"#],
        );
    }

    #[test]
    fn or_over_several_fields() {
        check(
            r#"{"a": [1], "$or": [{"b": [2]}, {"c": [3], "d": [4]}]}"#,
            &[r#"{"a": 1, "b": 2}"#, r#"{"a": 1, "c": 3, "d": 4}"#, r#"{"a": 1, "b": 2, "c": 3}"#],
            &[r#"{"a": 1}"#, r#"{"b": 2}"#, r#"{"a": 1, "c": 3}"#, r#"{"a": 1, "$or": 2}"#],
        );
        check(
            r#"{"o": {"$or": [{"a": [1]}, {"$or": [{"b": [2]}, {"a": [{"exists": false}]}]}]}}"#,
            &[r#"{"o": {"a": 1}}"#, r#"{"o": {"a": 0, "b": 2}}"#, "{}"],
            &[r#"{"o": {"a": 0}}"#],
        );
    }

    #[test]
    fn objects_nest() {
        check(
            r#"{"order": {"type": ["buy"], "price": {"cents": [{"numeric": [">", 10]}]}}}"#,
            &[r#"{"order": {"type": "buy", "price": {"cents": 11}}}"#],
            &[
                r#"{"order": {"type": "buy", "price": 11}}"#,
                r#"{"order": {"type": "buy", "price.cents": 11}}"#,
                r#"{"order": "buy"}"#,
            ],
        );
    }

    #[test]
    fn exists_works_on_leaves_only() {
        check(
            r#"{"person": {"address": [{"exists": true}]}}"#,
            &[r#"{"person": {"address": "x"}}"#, r#"{"person": {"address": null}}"#],
            &[
                r#"{"person": {"address": {"city": "x"}}}"#,
                r#"{"person": {}}"#,
                r#"{"person": {"address": []}}"#,
            ],
        );
        check(
            r#"{"person": {"address": [{"exists": false}]}}"#,
            &[r#"{"person": {"address": {"city": "x"}}}"#, r#"{"person": {}}"#, "{}", "5", "[]"],
            &[r#"{"person": {"address": "x"}}"#, r#"{"person": {"address": null}}"#],
        );
        check(
            r#"{"a": ["x", {"exists": false}]}"#,
            &[r#"{"a": "x"}"#, r#"{"b": "y"}"#],
            &[r#"{"a": "y"}"#, r#"{"a": null}"#],
        );
    }

    #[test]
    fn what_is_absent_is_not_anything_but() {
        check(
            r#"{"a": [{"anything-but": ["x"]}]}"#,
            &[r#"{"a": "y"}"#, r#"{"a": null}"#, r#"{"a": ["x", "y"]}"#],
            &[r#"{"a": "x"}"#, r#"{"b": "y"}"#, r#"{"a": {"b": "y"}}"#, r#"{"a": []}"#, r#"{"a": ["x"]}"#],
        );
    }

    #[test]
    fn one_element_of_an_array_is_enough() {
        check(
            r#"{"tags": ["a", "b"]}"#,
            &[r#"{"tags": ["b", "c"]}"#, r#"{"tags": [["c"], [["a"]]]}"#],
            &[r#"{"tags": ["c"]}"#, r#"{"tags": []}"#, r#"{"tags": [{"a": "a"}]}"#],
        );
    }

    #[test]
    fn one_object_of_an_array_matches_all_of_a_nested_pattern() {
        check(
            r#"{"lines": {"item": ["book"], "count": [2]}}"#,
            &[r#"{"lines": [1, {"item": "pen"}, {"item": "book", "count": 2}]}"#],
            &[r#"{"lines": [{"item": "book", "count": 1}, {"item": "pen", "count": 2}]}"#],
        );
        check(r#"{"a": [1]}"#, &[r#"[{"a": 0}, {"a": 1}]"#], &[r#"[{"a": 0}, {"b": 1}]"#]);
    }

    #[test]
    fn a_field_is_absent_from_an_array_if_no_element_has_it() {
        check(
            r#"{"lines": {"item": [{"exists": false}]}}"#,
            &[r#"{"lines": [{"count": 1}, 5]}"#, r#"{"lines": []}"#],
            &[r#"{"lines": [{"count": 1}, {"item": "pen"}]}"#],
        );
        check(
            r#"{"lines": {"count": [1], "item": [{"exists": false}]}}"#,
            &[r#"{"lines": [{"count": 1}, {"item": "pen"}]}"#],
            &[r#"{"lines": [{"count": 1, "item": "pen"}, {"count": 2}]}"#],
        );
    }

    #[test]
    fn a_list_for_the_whole_data_is_for_other_sources() {
        check_refused(
            r#"["text"]"#,
            "Filters[0]: data is a list of values, but Kinesis data is filtered as a JSON object only",
        );
        check_refused(r#""text""#, "Filters[0]: data is not an object of the data's fields");
    }

    #[test]
    fn values_stand_in_lists() {
        for value in [r#""x""#, "5", "true", "null"] {
            check_refused(
                &format!(r#"{{"order": {{"cents": {value}}}}}"#),
                "Filters[0]: data.order.cents is a value outside of a list, write [value]",
            );
        }
        check_refused(r#"{"a": []}"#, "Filters[0]: data.a is not a list with at least one value");
        check_refused(r#"{"a": {}}"#, "Filters[0]: data.a is not an object with at least one field");
        check_refused(
            r#"{"a": ["x", ["y"]]}"#,
            "Filters[0]: data.a[1] is not a string, number, boolean, null or operator",
        );
    }

    #[test]
    fn an_operator_outside_of_a_list_is_a_field_without_one() {
        check_refused(
            r#"{"a": {"prefix": "x"}}"#,
            "Filters[0]: data.a.prefix is a value outside of a list, write [value]",
        );
    }

    #[test]
    fn or_takes_two_objects_at_least() {
        for alternatives in [r#"{"a": [1]}"#, r#"[{"a": [1]}]"#, r#"[{"a": [1]}, "b"]"#, r#"["a", "b"]"#] {
            check_refused(
                &format!(r#"{{"o": {{"$or": {alternatives}}}}}"#),
                "Filters[0]: data.o.$or is not a list of at least two objects",
            );
        }
        check_refused(
            r#"{"$or": [{"a": [1]}, {"b": 2}]}"#,
            "Filters[0]: data.$or[1].b is a value outside of a list, write [value]",
        );
        check_refused(
            r#"{"$or": [{"a": [1]}, {}]}"#,
            "Filters[0]: data.$or[1] is not an object with at least one field",
        );
    }
}
