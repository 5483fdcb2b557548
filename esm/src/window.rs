//! Tumbling windows (rules 27 and 28).

use std::{borrow::Cow, time::Duration};

use kinesis_handler::event::TumblingWindow;
use serde_json::value::RawValue;

use crate::{Origin, failure_record::iso_8601};

/// A tumbling window that is not closed yet, with its state.
#[derive(Debug)]
pub struct OpenWindow {
    start_ms: u64,
    end_ms: u64,
    state: Box<RawValue>,
}

impl OpenWindow {
    /// Returns the window that this time of arrival (milliseconds since 1970) belongs to, with an empty state.
    pub fn of(arrival_ms: u64, length: Duration) -> Self {
        let start_ms = start_of(arrival_ms, length);
        let state = RawValue::from_string("{}".to_owned()).expect("an empty object is JSON");
        OpenWindow { start_ms, end_ms: start_ms + length.as_millis() as u64, state }
    }

    /// Returns whether this time of arrival (milliseconds since 1970) belongs to the window.
    pub fn holds(&self, arrival_ms: u64) -> bool {
        (self.start_ms..self.end_ms).contains(&arrival_ms)
    }

    /// Returns the end of the window, exclusive, in milliseconds since 1970.
    pub fn end_ms(&self) -> u64 {
        self.end_ms
    }

    /// Returns the state in a response. `None` if it has none, although it must (rule 27).
    pub fn state_of(response: &[u8]) -> Option<Box<RawValue>> {
        #[derive(serde::Deserialize)]
        struct Response {
            state: Box<RawValue>,
        }
        let Response { state } = serde_json::from_slice(response).ok()?;
        state.get().starts_with('{').then_some(state)
    }

    /// Replaces the state, which the next event of the window has.
    pub fn set_state(&mut self, state: Box<RawValue>) {
        self.state = state;
    }

    /// Returns whether the state is too large: then the window ends early (rule 28).
    pub fn is_too_large(&self) -> bool {
        self.state.get().len() > TumblingWindow::MAX_STATE_BYTES
    }

    /// Returns the window's members of an event with records.
    pub fn in_event(&self, origin: &Origin) -> TumblingWindow<'static> {
        self.members(origin, false)
    }

    /// Returns the window's members of the event that closes it.
    pub fn in_last_event(&self, origin: &Origin) -> TumblingWindow<'static> {
        self.members(origin, true)
    }

    fn members(&self, origin: &Origin, is_final: bool) -> TumblingWindow<'static> {
        let time = |epoch_ms| iso_8601(epoch_ms, "%Y-%m-%dT%H:%M:%SZ");
        let state = Cow::Owned(self.state.clone());
        let mut window = TumblingWindow::new(time(self.start_ms), time(self.end_ms), state);
        window.shard_id = Some(origin.shard_id().to_owned().into());
        window.event_source_arn = Some(origin.event_source_arn().to_owned().into());
        window.is_final_invoke = is_final;
        window.is_terminated_early = is_final && self.is_too_large();
        window
    }
}

/// Returns whether two times of arrival (milliseconds since 1970) belong to the same window of this length.
pub fn are_together(arrival_ms: u64, other_ms: u64, length: Duration) -> bool {
    start_of(arrival_ms, length) == start_of(other_ms, length)
}

fn start_of(arrival_ms: u64, length: Duration) -> u64 {
    let length_ms = length.as_millis() as u64;
    arrival_ms - arrival_ms % length_ms.max(1)
}
