/// Whether a part of a pattern is met, and by what.
///
/// The difference matters inside arrays: an element that has what is asked for is enough, but a field is absent only if
/// no element has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum FilterVerdict {
    /// The condition is not met.
    No,
    /// Met because what must be absent is.
    ByAbsence,
    /// Met, and at least one value had a part in it.
    ByPresence,
}

impl FilterVerdict {
    /// Combines the verdicts on parts that all have to be met.
    pub(super) fn all(verdicts: impl IntoIterator<Item = FilterVerdict>) -> FilterVerdict {
        let mut whole = FilterVerdict::ByAbsence;
        for verdict in verdicts {
            if verdict == FilterVerdict::No {
                return FilterVerdict::No;
            }
            whole = whole.max(verdict);
        }
        whole
    }

    /// Combines the verdicts on parts one of which has to be met.
    pub(super) fn any(verdicts: impl IntoIterator<Item = FilterVerdict>) -> FilterVerdict {
        verdicts.into_iter().max().unwrap_or(FilterVerdict::No)
    }

    /// Combines the verdicts on the elements of an array.
    pub(super) fn of_elements(verdicts: impl IntoIterator<Item = FilterVerdict>) -> FilterVerdict {
        let mut every = FilterVerdict::ByAbsence;
        for verdict in verdicts {
            if verdict == FilterVerdict::ByPresence {
                return FilterVerdict::ByPresence;
            }
            every = every.min(verdict);
        }
        every
    }
}

#[cfg(test)]
mod tests {
    use super::{FilterVerdict::*, *};

    #[test]
    fn one_part_that_is_not_met_spoils_all() {
        assert_eq!(FilterVerdict::all([]), ByAbsence);
        assert_eq!(FilterVerdict::all([ByAbsence, ByPresence, ByAbsence]), ByPresence);
        assert_eq!(FilterVerdict::all([ByPresence, No]), No);
    }

    #[test]
    fn one_part_that_is_met_is_enough_for_any() {
        assert_eq!(FilterVerdict::any([]), No);
        assert_eq!(FilterVerdict::any([No, ByAbsence]), ByAbsence);
        assert_eq!(FilterVerdict::any([ByPresence, No]), ByPresence);
    }

    #[test]
    fn one_element_is_enough_for_presence_and_all_are_needed_for_absence() {
        assert_eq!(FilterVerdict::of_elements([No, ByPresence]), ByPresence);
        assert_eq!(FilterVerdict::of_elements([ByAbsence, ByAbsence]), ByAbsence);
        assert_eq!(FilterVerdict::of_elements([ByAbsence, No]), No);
    }
}
