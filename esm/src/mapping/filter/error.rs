use thiserror::Error;

/// Why a mapping cannot have these `FilterCriteria`.
///
/// `filter` is a filter's zero-based position; `place` is such a position with a path into the pattern, such as
/// `Filters[0]: data.order.cents`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FilterError {
    /// Some JSON is not what it has to be.
    #[error("{place} is not {expected}")]
    Shape {
        /// Place of the JSON.
        place: String,
        /// Description of the legal values.
        expected: &'static str,
    },
    /// There are more filters than an account may have by default.
    #[error("Filters has {count} filters, more than the default quota of {limit}")]
    TooManyFilters {
        /// Number of filters.
        count: usize,
        /// Number of filters that are allowed.
        limit: usize,
    },
    /// A pattern is longer than the API takes.
    #[error("Filters[{filter}]: Pattern has {chars} characters, more than {limit}")]
    PatternTooLong {
        /// Position of the filter.
        filter: usize,
        /// Number of Unicode code points.
        chars: usize,
        /// Length that is allowed.
        limit: usize,
    },
    /// A pattern is not JSON, or nested deeper than a parser goes (127 levels).
    #[error("Filters[{filter}]: Pattern is not JSON (line {line}, column {column})")]
    PatternNotJson {
        /// Position of the filter.
        filter: usize,
        /// Line, from one.
        line: usize,
        /// Column, from one.
        column: usize,
    },
    /// A pattern's objects and lists are nested too deep for this model; AWS documents no limit.
    #[error("Filters[{filter}]: Pattern is nested deeper than {limit} levels")]
    PatternTooDeep {
        /// Position of the filter.
        filter: usize,
        /// Depth that is allowed.
        limit: usize,
    },
    /// A pattern asks for something else than the data, which Kinesis mappings refuse.
    #[error("Filters[{filter}]: key {key:?} is not supported, Kinesis records are filtered by data alone")]
    UnsupportedKey {
        /// Position of the filter.
        filter: usize,
        /// Name of the key.
        key: String,
    },
    /// A pattern has a list of values for the whole data. That is for plain text (SQS, Kafka), not for Kinesis.
    #[error("{place} is a list of values, but Kinesis data is filtered as a JSON object only")]
    PlainText {
        /// Place of the list.
        place: String,
    },
    /// A value stands where a list of values has to.
    #[error("{place} is a value outside of a list, write [value]")]
    BareValue {
        /// Place of the value.
        place: String,
    },
    /// An operator is one of EventBridge's that Lambda does not have.
    #[error("{place}: operator {operator:?} is not supported by Lambda, only by EventBridge")]
    UnsupportedOperator {
        /// Place of the operator.
        place: String,
        /// Name of the operator.
        operator: String,
    },
    /// An operator is unknown to EventBridge, too.
    #[error("{place}: operator {operator:?} is not known")]
    UnknownOperator {
        /// Place of the operator.
        place: String,
        /// Name of the operator.
        operator: String,
    },
}
