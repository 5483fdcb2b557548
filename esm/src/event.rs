//! The event that a function gets, and its limit.

use kinesis_handler::{Event, event::TumblingWindow};

use crate::{Origin, SharedRecord};

/// Lambda's limit for the JSON of an event, in bytes (rules 4 and 5).
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/gettingstarted-limits.html>
pub const MAX_EVENT_BYTES: usize = 6 * 1024 * 1024;

/// Length of an event without its records, in bytes.
pub const ENVELOPE_BYTES: usize = r#"{"Records":[]}"#.len();

/// Returns the event with these records of a shard, in JSON.
pub fn event_json(
    records: &[SharedRecord],
    origin: &Origin,
    window: Option<&TumblingWindow<'static>>,
) -> Vec<u8> {
    let mut event = Event::new(records.iter().map(|record| record.in_event(origin)).collect());
    event.window = window.cloned();
    event.to_json()
}
