use std::fmt;

use super::FilterError;

/// A place in `FilterCriteria`. It prints as `Filters[0]: data.order.cents`.
#[derive(Debug, Clone, Copy)]
pub(super) enum FilterPath<'a> {
    /// A filter's zero-based position.
    Filter(usize),
    /// A member of an object.
    Field(&'a FilterPath<'a>, &'a str),
    /// A zero-based position in a list.
    Element(&'a FilterPath<'a>, usize),
}

impl<'a> FilterPath<'a> {
    pub(super) fn field(&'a self, name: &'a str) -> FilterPath<'a> {
        FilterPath::Field(self, name)
    }

    pub(super) fn element(&'a self, index: usize) -> FilterPath<'a> {
        FilterPath::Element(self, index)
    }

    pub(super) fn is_not(&self, expected: &'static str) -> FilterError {
        FilterError::Shape { place: self.to_string(), expected }
    }
}

impl fmt::Display for FilterPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FilterPath::Filter(index) => write!(f, "Filters[{index}]"),
            FilterPath::Field(filter @ FilterPath::Filter(_), name) => write!(f, "{filter}: {name}"),
            FilterPath::Field(object, name) => write!(f, "{object}.{name}"),
            FilterPath::Element(list, index) => write!(f, "{list}[{index}]"),
        }
    }
}
