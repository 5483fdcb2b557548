use serde::{Deserialize, Deserializer, de};
use serde_json::Value;

use super::{FilterError, pattern::Pattern, place::FilterPath};

/// The quota of filters, unless AWS has raised it.
const MAX_FILTERS: usize = 5;

/// Longest pattern that the API takes, in Unicode code points.
const MAX_PATTERN_CHARS: usize = 4096;

/// Deepest nesting of the objects and lists of a pattern, and of data that can match one.
const MAX_LEVELS: usize = 100;

/// `FilterCriteria` of an event source mapping of a Kinesis stream: which records it delivers at all.
///
/// A record is delivered if one of the filters matches, or if there are none. A filter is a pattern, JSON in a string,
/// and asks for nothing but `data`:
///
/// | pattern | delivers |
/// |---|---|
/// | `{}`, `{"data": {}}` | every record |
/// | `{"data": {"order": {"type": ["buy"]}}}` | data that is JSON and has that field with that value |
/// | `{"data": ["text"]}` | is refused, as the documentation has it for Kinesis |
///
/// **Data that is not JSON is dropped as soon as a filter asks for data**, and so is every aggregate of the KPL on a
/// standard iterator (rule 6). An enhanced fan-out consumer filters what Lambda has deaggregated. Data nested deeper
/// than 100 levels counts as not JSON.
///
/// A field matches if one of the values in its list does:
///
/// | value in the list | matches |
/// |---|---|
/// | `"Alice"`, `""`, `true`, `null` | the same string, boolean or null |
/// | `300` | an equal number, however it is written |
/// | `{"equals-ignore-case": "alice"}`, `{"prefix": "us-"}`, `{"suffix": ".png"}` | such a string |
/// | `{"numeric": ["=", 5]}`, `{"numeric": [">", 10, "<=", 20]}` | such a number |
/// | `{"anything-but": "x"}`, `{"anything-but": [1, 2]}` | any other value, of whatever type |
/// | `{"anything-but": {"prefix": "x"}}` (or `suffix`, `equals-ignore-case`) | any value but such a string |
/// | `{"exists": true}` | any value, null included, but no object |
/// | `{"exists": false}` | that the field has no value |
///
/// All fields of an object have to match; of the objects in the list of a `"$or"`, one. In the data, one element of an
/// array is enough, for objects one that matches the whole nested pattern; a field is absent if no element has it.
///
/// ```
/// use kinesis_esm::FilterCriteria;
/// use serde_json::json;
///
/// let criteria = FilterCriteria::parse(&json!({
///     "Filters": [{ "Pattern": r#"{ "data": { "order": { "type": ["buy"] } } }"# }]
/// }))?;
/// assert!(criteria.admits(br#"{"order": {"type": "buy", "quantity": 1000}}"#));
/// assert!(!criteria.admits(b"order: buy"));
/// # Ok::<(), kinesis_esm::FilterError>(())
/// ```
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/with-kinesis-filtering.html>
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FilterCriteria {
    /// At most [`MAX_FILTERS`]; `None` asks for nothing.
    filters: Vec<Option<Pattern>>,
}

impl FilterCriteria {
    /// The criteria from JSON, as `CreateEventSourceMapping` and CloudFormation have it:
    /// `{"Filters": [{"Pattern": "{\"data\": …}"}]}`.
    ///
    /// `{}` and an empty list are no filters.
    ///
    /// # Errors
    ///
    /// Any [`FilterError`]. AWS says no more than "Invalid filter pattern definition".
    pub fn parse(value: &Value) -> Result<Self, FilterError> {
        let wrong = |place: &str, expected| FilterError::Shape { place: place.to_owned(), expected };
        let members =
            value.as_object().ok_or_else(|| wrong("FilterCriteria", "an object with a list Filters"))?;
        if members.keys().any(|name| name != "Filters") {
            return Err(wrong("FilterCriteria", "an object with a list Filters and nothing else"));
        }
        let Some(filters) = members.get("Filters") else {
            return Ok(FilterCriteria::default());
        };
        let filters = filters.as_array().ok_or_else(|| wrong("Filters", "a list"))?;
        if filters.len() > MAX_FILTERS {
            return Err(FilterError::TooManyFilters { count: filters.len(), limit: MAX_FILTERS });
        }
        let filters = filters.iter().enumerate().map(|(position, filter)| parse_filter(filter, position));
        Ok(FilterCriteria { filters: filters.collect::<Result<_, _>>()? })
    }

    /// Whether there are no filters at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.filters.is_empty()
    }

    /// Whether the mapping delivers a record with this data, not encoded in Base64.
    pub fn admits(&self, data: &[u8]) -> bool {
        if self.filters.is_empty() || self.filters.contains(&None) {
            return true;
        }
        // This includes data that is not UTF-8.
        let Ok(data) = serde_json::from_slice(data) else {
            return false;
        };
        has_at_most(MAX_LEVELS, &data) && self.filters.iter().flatten().any(|pattern| pattern.matches(&data))
    }
}

impl<'de> Deserialize<'de> for FilterCriteria {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&Value::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

fn parse_filter(value: &Value, filter: usize) -> Result<Option<Pattern>, FilterError> {
    let place = FilterPath::Filter(filter);
    let text = value
        .as_object()
        .filter(|members| members.len() == 1)
        .and_then(|members| members.get("Pattern"))
        .and_then(Value::as_str)
        .ok_or_else(|| place.is_not("an object with a string Pattern and nothing else"))?;
    let chars = text.chars().count();
    if chars > MAX_PATTERN_CHARS {
        return Err(FilterError::PatternTooLong { filter, chars, limit: MAX_PATTERN_CHARS });
    }
    let pattern: Value = serde_json::from_str(text).map_err(|error| FilterError::PatternNotJson {
        filter,
        line: error.line(),
        column: error.column(),
    })?;
    if !has_at_most(MAX_LEVELS, &pattern) {
        return Err(FilterError::PatternTooDeep { filter, limit: MAX_LEVELS });
    }
    let members = pattern.as_object().ok_or_else(|| place.field("Pattern").is_not("a JSON object"))?;
    if let Some(key) = members.keys().find(|key| *key != "data") {
        return Err(FilterError::UnsupportedKey { filter, key: key.clone() });
    }
    match members.get("data") {
        None => Ok(None),
        Some(Value::Object(fields)) if fields.is_empty() => Ok(None),
        Some(pattern) => Pattern::of_data(pattern, &place.field("data")).map(Some),
    }
}

/// Whether objects and lists are nested in no more than so many levels.
fn has_at_most(levels: usize, value: &Value) -> bool {
    match value {
        Value::Object(members) => {
            levels > 0 && members.values().all(|member| has_at_most(levels - 1, member))
        }
        Value::Array(elements) => {
            levels > 0 && elements.iter().all(|element| has_at_most(levels - 1, element))
        }
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use kpl_deaggregation::{Aggregator, AggregatorOptions, Grouping, HashKeyRange, UserRecordInput};
    use serde_json::json;

    use super::*;

    fn criteria(patterns: &[&str]) -> Result<FilterCriteria, FilterError> {
        let filters: Vec<_> = patterns.iter().map(|pattern| json!({ "Pattern": pattern })).collect();
        FilterCriteria::parse(&json!({ "Filters": filters }))
    }

    #[track_caller]
    fn check(patterns: &[&str], data: impl AsRef<[u8]>, expected: bool) {
        assert_eq!(criteria(patterns).map(|criteria| criteria.admits(data.as_ref())), Ok(expected));
    }

    #[track_caller]
    fn check_refused(value: Value, expected: &str) {
        assert_eq!(
            FilterCriteria::parse(&value).map_err(|error| error.to_string()),
            Err(expected.to_owned())
        );
    }

    #[track_caller]
    fn check_pattern_refused(pattern: &str, expected: &str) {
        check_refused(json!({ "Filters": [{ "Pattern": "{}" }, { "Pattern": pattern }] }), expected);
    }

    /// An object in an object and so on: `{"a":{"a":["x"]}}` for 3.
    fn nested(levels: usize) -> String {
        format!("{}[\"x\"]{}", r#"{"a":"#.repeat(levels - 1), "}".repeat(levels - 1))
    }

    const BUY: &str = r#"{"data": {"order": {"type": ["buy"]}}}"#;

    #[test]
    fn json_data_is_filtered_by_the_pattern() {
        check(&[BUY], r#"{"record": 1, "order": {"type": "buy"}}"#, true);
        check(&[BUY], "\n{\"order\": {\"type\": \"buy\"}} ", true);
        check(&[BUY], r#"{"record": 1, "order": {"type": "sell"}}"#, false);
        for data in [r#""buy""#, "5", "null", "[]", "{}"] {
            check(&[BUY], data, false);
        }
    }

    #[test]
    fn data_that_is_not_json_is_dropped_by_a_data_pattern() {
        let not_json: [&[u8]; 5] =
            [b"", b"buy", b"{\"order\"", b"{} {}", b"{\"order\": {\"type\": \"b\xffy\"}}"];
        for data in not_json {
            check(&[BUY], data, false);
            check(&[r#"{"data": {"order": [{"exists": false}]}}"#], data, false);
        }
    }

    #[test]
    fn without_a_data_pattern_every_record_is_admitted() {
        for patterns in [&[][..], &["{}"], &[r#"{"data": {}}"#], &[BUY, "{}"]] {
            for data in [&b"buy"[..], b"{}", b"", b"\xff"] {
                check(patterns, data, true);
            }
        }
        for value in [json!({}), json!({ "Filters": [] })] {
            assert_eq!(FilterCriteria::parse(&value), Ok(FilterCriteria::default()));
        }
    }

    #[test]
    fn one_filter_that_matches_is_enough() {
        let patterns = [BUY, r#"{"data": {"cents": [{"numeric": [">", 100]}]}}"#];
        check(&patterns, r#"{"order": {"type": "buy"}, "cents": 1}"#, true);
        check(&patterns, r#"{"order": {"type": "sell"}, "cents": 101}"#, true);
        check(&patterns, r#"{"order": {"type": "sell"}, "cents": 1}"#, false);
    }

    #[test]
    fn rule_6_any_data_pattern_drops_a_kpl_aggregate() {
        let grouping = Grouping::ShardRanges(vec![HashKeyRange::FULL]);
        let mut aggregator = Aggregator::new(AggregatorOptions { grouping, ..Default::default() })
            .expect("the default size limit");
        let data = br#"{"order": {"type": "buy"}}"#;
        for partition_key in ["a", "b"] {
            let closed =
                aggregator.add(UserRecordInput::new(partition_key, data)).expect("small user records");
            assert_eq!(closed, None);
        }
        let frame = aggregator.finish().remove(0).data;
        assert!(frame.starts_with(b"\xf3\x89\x9a\xc2"));

        check(&[BUY], data, true);
        check(&[BUY], &frame, false);
        check(&[r#"{"data": {"order": {"type": [{"exists": false}]}}}"#], &frame, false);
        check(&[r#"{"data": {"a": [{"anything-but": "x"}]}}"#], &frame, false);
        check(&["{}"], &frame, true);
    }

    #[test]
    fn criteria_of_another_shape_are_refused() {
        check_refused(json!(null), "FilterCriteria is not an object with a list Filters");
        check_refused(
            json!({ "filters": [] }),
            "FilterCriteria is not an object with a list Filters and nothing else",
        );
        check_refused(json!({ "Filters": {} }), "Filters is not a list");
        for filter in
            [json!("{}"), json!({}), json!({ "Pattern": {} }), json!({ "Pattern": "{}", "Name": "" })]
        {
            check_refused(
                json!({ "Filters": [filter] }),
                "Filters[0] is not an object with a string Pattern and nothing else",
            );
        }
    }

    #[test]
    fn the_quota_is_five_filters() {
        assert!(criteria(&[BUY; 5]).is_ok());
        check_refused(
            json!({ "Filters": vec![json!({ "Pattern": BUY }); 6] }),
            "Filters has 6 filters, more than the default quota of 5",
        );
    }

    #[test]
    fn a_pattern_has_4096_characters_at_most() {
        let pattern = |chars: usize| format!(r#"{{"data": {{"a": ["{}"]}}}}"#, "é".repeat(chars - 21));
        assert!(criteria(&[&pattern(4096)]).is_ok());
        check_pattern_refused(&pattern(4097), "Filters[1]: Pattern has 4097 characters, more than 4096");
    }

    #[test]
    fn a_pattern_is_a_json_object() {
        check_pattern_refused("", "Filters[1]: Pattern is not JSON (line 1, column 0)");
        check_pattern_refused(r#"{"data": buy}"#, "Filters[1]: Pattern is not JSON (line 1, column 10)");
        check_pattern_refused(r#"["data"]"#, "Filters[1]: Pattern is not a JSON object");
    }

    #[test]
    fn the_only_key_is_data() {
        for key in ["partitionKey", "Data", "$or"] {
            check_pattern_refused(
                &format!(r#"{{"data": {{"a": [1]}}, "{key}": ["1"]}}"#),
                &format!(
                    "Filters[1]: key {key:?} is not supported, Kinesis records are filtered by data alone"
                ),
            );
        }
    }

    #[test]
    fn what_is_wrong_in_a_pattern_is_named_with_its_filter() {
        check_pattern_refused(
            r#"{"data": {"order": {"cents": [5, {"over": 100}]}}}"#,
            "Filters[1]: data.order.cents[1]: operator \"over\" is not known",
        );
    }

    #[test]
    fn patterns_and_data_have_a_hundred_levels_at_most() {
        // The pattern's own object is a level, too.
        let pattern = |levels: usize| format!(r#"{{"data": {}}}"#, nested(levels - 1));
        check(&[&pattern(100)], nested(99), true);
        check_pattern_refused(&pattern(101), "Filters[1]: Pattern is nested deeper than 100 levels");

        let pattern = r#"{"data": {"a": [{"exists": false}]}}"#;
        check(&[pattern], nested(100), true);
        check(&[pattern], nested(101), false);
        check(&[pattern], nested(100_000), false);
    }

    #[test]
    fn criteria_deserialize_through_the_same_checks() {
        let text = json!({ "Filters": [{ "Pattern": BUY }] }).to_string();
        assert_eq!(serde_json::from_str(&text).ok(), criteria(&[BUY]).ok());
        let error = serde_json::from_value::<FilterCriteria>(json!({ "Filters": 5 })).expect_err("no list");
        assert_eq!(error.to_string(), "Filters is not a list");
    }
}
