//! Sort keys. A number has no leading zeros, and its length in two digits before it, so that the order of the text is that
//! of the numbers.

use std::fmt::Display;

use crate::{
    SequenceNumber,
    journal::{StateKind, UserRecordId},
};

/// All keys of the quarantine start with this.
pub(super) const QUARANTINE: &str = "Q#";

/// The key of the position of a replay on Lambda: the only item of its kind that a shard has.
pub(crate) const REPLAY_POSITION: &str = "P#";

/// All keys of a kind start with this.
pub(super) fn states(kind: StateKind) -> &'static str {
    match kind {
        StateKind::Retry => "S#",
        StateKind::Discarded => "H#",
    }
}

/// Whether a key has one of the journal's forms, as far as its beginning tells.
pub(super) fn is_of_journal(key: &str) -> bool {
    [QUARANTINE, states(StateKind::Retry), states(StateKind::Discarded), REPLAY_POSITION]
        .iter()
        .any(|prefix| key.starts_with(prefix))
}

pub(super) fn state(kind: StateKind, sequence_number: SequenceNumber) -> String {
    format!("{}{}", states(kind), ordered(sequence_number.without_padding()))
}

pub(super) fn parse_state(key: &str) -> Option<(StateKind, SequenceNumber)> {
    [StateKind::Retry, StateKind::Discarded]
        .into_iter()
        .find_map(|kind| Some((kind, parse_ordered(key.strip_prefix(states(kind))?)?)))
}

/// The key of a user record's head item. A content hash starts with a letter, behind all digits.
pub(super) fn head(sequence_number: SequenceNumber, id: &UserRecordId) -> String {
    let id = match id {
        UserRecordId::Sub(number) => ordered(number),
        UserRecordId::Content(hash) => format!("h{hash}"),
    };
    format!("{QUARANTINE}{}#{id}", ordered(sequence_number.without_padding()))
}

/// The key of a part of a payload: right behind its head's, and before all other heads.
pub(super) fn part(head: &str, index: usize) -> String {
    format!("{head}#P{index:04}")
}

/// A key of the quarantine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct QuarantineKey<'a> {
    pub(super) sequence_number: SequenceNumber,
    pub(super) id: UserRecordId,
    /// The head's own key.
    pub(super) head: &'a str,
    /// Number of the part of the head's payload; absent for the head.
    pub(super) part: Option<usize>,
}

pub(super) fn parse_quarantine(key: &str) -> Option<QuarantineKey<'_>> {
    let (head, part) = match key.split_once("#P") {
        Some((head, digits)) => {
            let index = digits.parse().ok().filter(|index| format!("{index:04}") == digits)?;
            (head, Some(index))
        }
        None => (key, None),
    };
    let (sequence_number, id) = head.strip_prefix(QUARANTINE)?.split_once('#')?;
    let id = match id.strip_prefix('h') {
        Some(hash) => UserRecordId::Content(hash.parse().ok()?),
        None => match parse_ordered(id)? {
            id @ UserRecordId::Sub(_) => id,
            UserRecordId::Content(_) => return None,
        },
    };
    Some(QuarantineKey { sequence_number: parse_ordered(sequence_number)?, id, head, part })
}

fn ordered(number: impl Display) -> String {
    let digits = number.to_string();
    format!("{:02}{digits}", digits.len())
}

/// Parses a number that [`ordered`] has written.
fn parse_ordered<N: std::str::FromStr>(text: &str) -> Option<N> {
    let (length, digits) = text.split_at_checked(2)?;
    let is_padded = digits.len() > 1 && digits.starts_with('0');
    if is_padded || format!("{:02}", digits.len()) != length { None } else { digits.parse().ok() }
}

/// Returns the number of a key with the leading zeros that its item's attribute has.
pub(super) fn padded(sequence_number: SequenceNumber, attribute: Option<&str>) -> SequenceNumber {
    let padded = attribute.and_then(|text| text.parse().ok());
    padded.filter(|padded| *padded == sequence_number).unwrap_or(sequence_number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::journal::ContentHash;

    fn sequence_number() -> impl Strategy<Value = SequenceNumber> {
        prop_oneof!["[1-9]?[0-9]", "[1-9][0-9]{0,56}"].prop_map(|text| text.parse().expect("digits"))
    }

    fn id() -> impl Strategy<Value = UserRecordId> {
        prop_oneof![
            (0..20u64).prop_map(UserRecordId::Sub),
            any::<u64>().prop_map(UserRecordId::Sub),
            any::<u8>().prop_map(|byte| UserRecordId::Content(ContentHash::new(&[], &[byte]))),
        ]
    }

    proptest! {
        #[test]
        fn the_order_of_keys_is_stream_order(one in (sequence_number(), id()), other in (sequence_number(), id())) {
            let key = |(sequence_number, id)| head(sequence_number, &id);
            prop_assert_eq!(key(one).cmp(&key(other)), one.cmp(&other));
            let state = |(sequence_number, _)| state(StateKind::Retry, sequence_number);
            prop_assert_eq!(state(one).cmp(&state(other)), one.0.cmp(&other.0));
            if one < other {
                prop_assert!(key(one) < part(&key(one), 0) && part(&key(one), 9999) < key(other));
            }
        }

        #[test]
        fn a_key_reads_back(sequence_number in sequence_number(), id in id(), index in 0..10_000usize) {
            for kind in [StateKind::Retry, StateKind::Discarded] {
                prop_assert_eq!(parse_state(&state(kind, sequence_number)), Some((kind, sequence_number)));
            }
            let head = head(sequence_number, &id);
            let mut expected = QuarantineKey { sequence_number, id, head: &head, part: None };
            prop_assert_eq!(parse_quarantine(&head), Some(QuarantineKey { ..expected }));
            expected.part = Some(index);
            let part = part(&head, index);
            prop_assert_eq!(parse_quarantine(&part), Some(expected));
        }
    }

    #[test]
    fn keys_are_for_good() {
        let number = "49".parse().expect("digits");
        let hash = UserRecordId::Content(ContentHash::new(b"k", b"d"));
        assert_eq!(state(StateKind::Retry, number), "S#0249");
        assert_eq!(state(StateKind::Discarded, number), "H#0249");
        assert_eq!(head(number, &UserRecordId::Sub(7)), "Q#0249#017");
        assert_eq!(head(number, &hash), "Q#0249#h3ba264ad38c342ed8566c017bbd35998");
        assert_eq!(part("Q#0249#017", 3), "Q#0249#017#P0003");
    }

    #[test]
    fn other_keys_are_not_read() {
        for key in ["", "S#", "S#49", "S#0149", "S#0201", "S#02é9", "X#0249", "S#0249#"] {
            assert_eq!(parse_state(key), None, "{key}");
        }
        for key in [
            "Q#0249",
            "Q#0249#",
            "Q#0249#7",
            "Q#0249#0201",
            "Q#0249#h3ba2",
            "Q#0249#323ba264ad38c342ed8566c017bbd35998",
            "Q#0249#017#P3",
            "Q#0249#017#P00003",
            "Q#0249#017#P+003",
            "Q#0249#017#P0003#P0003",
        ] {
            assert_eq!(parse_quarantine(key), None, "{key}");
        }
    }
}
