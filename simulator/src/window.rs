//! Tumbling windows (rules 27 and 28).

use std::{borrow::Cow, time::Duration};

use kinesis_handler::event::TumblingWindow;
use serde_json::value::RawValue;

use crate::{failure_record::iso_8601, record::Origin};

/// Rule 28: the largest state, in bytes.
const MAX_STATE_BYTES: usize = 1024 * 1024;

/// The window that a lane is in.
#[derive(Debug)]
pub(crate) struct OpenWindow {
    start_ms: u64,
    end_ms: u64,
    state: Box<RawValue>,
}

impl OpenWindow {
    /// The window that this time of arrival (milliseconds since 1970) belongs to, with an empty state.
    pub(crate) fn of(arrival_ms: u64, length: Duration) -> Self {
        let start_ms = start_of(arrival_ms, length);
        let state = RawValue::from_string("{}".to_owned()).expect("an empty object is JSON");
        OpenWindow { start_ms, end_ms: start_ms + length.as_millis() as u64, state }
    }

    pub(crate) fn holds(&self, arrival_ms: u64) -> bool {
        (self.start_ms..self.end_ms).contains(&arrival_ms)
    }

    pub(crate) fn end_ms(&self) -> u64 {
        self.end_ms
    }

    /// Takes the state of a response. `None` if it has none, as it must (rule 27).
    pub(crate) fn state_of(response: &[u8]) -> Option<Box<RawValue>> {
        #[derive(serde::Deserialize)]
        struct Response {
            state: Box<RawValue>,
        }
        let Response { state } = serde_json::from_slice(response).ok()?;
        state.get().starts_with('{').then_some(state)
    }

    pub(crate) fn set_state(&mut self, state: Box<RawValue>) {
        self.state = state;
    }

    /// Rule 28: a window whose state is too large ends early.
    pub(crate) fn is_too_large(&self) -> bool {
        self.state.get().len() > MAX_STATE_BYTES
    }

    /// Returns the members of the event about the window.
    pub(crate) fn in_event(&self, origin: &Origin, is_final: bool) -> TumblingWindow<'static> {
        let time = |epoch_ms| iso_8601(epoch_ms, "%Y-%m-%dT%H:%M:%SZ");
        let state = Cow::Owned(self.state.clone());
        let mut window = TumblingWindow::new(time(self.start_ms), time(self.end_ms), state);
        window.shard_id = Some(origin.shard_id.clone().into());
        window.event_source_arn = Some(origin.event_source_arn.clone().into());
        window.is_final_invoke = is_final;
        window.is_terminated_early = is_final && self.is_too_large();
        window
    }
}

/// Whether two times of arrival belong to the same window.
pub(crate) fn are_together(arrival_ms: u64, other_ms: u64, length: Duration) -> bool {
    start_of(arrival_ms, length) == start_of(other_ms, length)
}

fn start_of(arrival_ms: u64, length: Duration) -> u64 {
    let length_ms = length.as_millis() as u64;
    arrival_ms - arrival_ms % length_ms.max(1)
}
