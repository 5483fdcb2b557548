use std::fmt;

use super::FilterError;

/// A place in `FilterCriteria`. It prints as `Filters[0]: data.order.cents`.
#[derive(Debug, Clone, Copy)]
pub(super) enum Place<'a> {
    /// A filter's zero-based position.
    Filter(usize),
    /// A member of an object.
    Field(&'a Place<'a>, &'a str),
    /// A zero-based position in a list.
    Element(&'a Place<'a>, usize),
}

impl<'a> Place<'a> {
    pub(super) fn field(&'a self, name: &'a str) -> Place<'a> {
        Place::Field(self, name)
    }

    pub(super) fn element(&'a self, index: usize) -> Place<'a> {
        Place::Element(self, index)
    }

    pub(super) fn is_not(&self, expected: &'static str) -> FilterError {
        FilterError::Shape { place: self.to_string(), expected }
    }
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Filter(index) => write!(f, "Filters[{index}]"),
            Place::Field(filter @ Place::Filter(_), name) => write!(f, "{filter}: {name}"),
            Place::Field(object, name) => write!(f, "{object}.{name}"),
            Place::Element(list, index) => write!(f, "{list}[{index}]"),
        }
    }
}
