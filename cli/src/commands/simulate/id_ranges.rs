use kinesis_esm::SharedRecord;
use kinesis_esm_simulator::Ids;

use crate::output::cell;

/// Records by their IDs, those that the scenario lists one after the other as a range: `1-4`, `2, 5-7`, `a to c`.
///
/// The order is kept. Members of one aggregate are one. What is far beyond the width is left out. None are `-`.
pub(super) fn of_records(ids: &Ids, records: &[SharedRecord], width: usize) -> String {
    of_positions(ids, records.iter().filter_map(|record| ids.position(record.sequence_number)), width)
}

/// The same of positions in the scenario.
pub(super) fn of_positions(ids: &Ids, positions: impl Iterator<Item = usize>, width: usize) -> String {
    let mut shown = String::new();
    let mut shown_width = 0;
    let mut push = |first: usize, last: usize| {
        let from = shown.len();
        if from > 0 {
            shown.push_str(", ");
        }
        shown.push_str(&ids.all()[first]);
        if first < last {
            let (first, last) = (&ids.all()[first], &ids.all()[last]);
            let is_number = |id: &str| id.bytes().all(|byte| byte.is_ascii_digit());
            // `order-1-order-3`, or `a..b`, could be one ID.
            shown.push_str(if is_number(first) && is_number(last) { "-" } else { " to " });
            shown.push_str(last);
        }
        shown_width += cell::width(&shown[from..]);
        shown_width <= width
    };
    let mut range: Option<(usize, usize)> = None;
    for position in positions {
        range = match range {
            Some((first, last)) if position == last || position == last + 1 => Some((first, position)),
            Some((first, last)) => {
                if !push(first, last) {
                    return shown;
                }
                Some((position, position))
            }
            None => Some((position, position)),
        };
    }
    match range {
        Some((first, last)) => {
            push(first, last);
            shown
        }
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use kinesis_esm_simulator::Scenario;

    use super::*;

    #[track_caller]
    fn check(records: &str, positions: &[usize], expected: &str) {
        let scenario = format!(r#"{{"records":[{records}]}}"#);
        let scenario = Scenario::parse(scenario.as_bytes()).expect("a scenario");
        assert_eq!(of_positions(&scenario.ids, positions.iter().copied(), 10), expected);
    }

    #[test]
    fn neighbours_are_a_range() {
        let ten: Vec<_> = (1..=10).map(|id| format!(r#"{{"id":{id},"text":""}}"#)).collect();
        let ten = ten.join(",");
        check(&ten, &[], "-");
        check(&ten, &[4], "5");
        check(&ten, &[0, 1, 2, 3], "1-4");
        check(&ten, &[1, 4, 5, 6], "2, 5-7");
        check(&ten, &[1, 1, 2], "2-3");
        check(&ten, &[9, 8, 0, 1], "10, 9, 1-2");
        check(r#"{"id":"a-1","text":""},{"id":"a-2","text":""}"#, &[0, 1], "a-1 to a-2");
    }

    #[test]
    fn what_is_too_wide_ends_soon() {
        let many: Vec<_> = (1..=100).map(|id| format!(r#"{{"id":{id},"text":""}}"#)).collect();
        let odd: Vec<usize> = (0..100).step_by(2).collect();
        check(&many.join(","), &odd, "1, 3, 5, 7, 9");
    }
}
