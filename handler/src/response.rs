use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use crate::{Counts, SequenceNumber, event::EventMode};

/// What Lambda is told about a batch: `{"batchItemFailures":[{"itemIdentifier":"…"}]}`.
///
/// It names no Kinesis record, if all is done, or one: the first that is not. Lambda then takes all before it as done
/// and delivers it and all behind it again.
///
/// `kinesis-kit` may delete what it has delivered, so for its events (see [`EventMode`]) the response has another member:
/// `"kinesisKit":{"quarantinedRecords":n}`, the number of user records that this invocation put into the quarantine.
/// Responses to the event source mapping never have it.
#[derive(Debug, Clone)]
pub struct BatchResponse {
    mode: EventMode,
    failed: Option<SequenceNumber>,
    state: Option<Box<RawValue>>,
    counts: Counts,
}

impl BatchResponse {
    /// `failed` must be the sequence number of a record of the batch: Lambda takes any other as a failure of all.
    pub(crate) fn new(
        mode: EventMode,
        failed: Option<SequenceNumber>,
        state: Option<Box<RawValue>>,
        counts: Counts,
    ) -> Self {
        BatchResponse { mode, failed, state, counts }
    }

    /// The Kinesis record from which on Lambda shall deliver again.
    pub fn batch_item_failure(&self) -> Option<SequenceNumber> {
        self.failed
    }

    /// State of a tumbling window, as JSON. `None` if the event belongs to none.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref().map(RawValue::get)
    }

    /// What was done, for logs and metrics.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }
}

impl Serialize for BatchResponse {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct BatchItemFailure {
            item_identifier: SequenceNumber,
        }

        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct KinesisKit {
            quarantined_records: u64,
        }

        let mut map = serializer.serialize_map(None)?;
        let failures: &[BatchItemFailure] = match self.failed {
            Some(item_identifier) => &[BatchItemFailure { item_identifier }],
            None => &[],
        };
        map.serialize_entry("batchItemFailures", failures)?;
        if let Some(state) = &self.state {
            map.serialize_entry("state", state)?;
        }
        match self.mode {
            EventMode::Mapping => {}
            EventMode::Replay | EventMode::Redrive => {
                let quarantined_records = self.counts.quarantined;
                map.serialize_entry("kinesisKit", &KinesisKit { quarantined_records })?;
            }
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(mode: EventMode, failed: Option<&str>, state: Option<&str>, expected: &str) {
        let failed = failed.map(|text| text.parse().expect("digits"));
        let raw_state = state.map(|state| RawValue::from_string(state.to_owned()).expect("JSON"));
        let counts = Counts { quarantined: 3, ..Counts::default() };
        let response = BatchResponse::new(mode, failed, raw_state, counts);
        assert_eq!((response.batch_item_failure(), response.state()), (failed, state));
        assert_eq!(serde_json::to_string(&response).expect("JSON"), expected);
    }

    #[test]
    fn the_layout_is_lambdas() {
        let mode = EventMode::Mapping;
        check(mode, None, None, r#"{"batchItemFailures":[]}"#);
        check(mode, Some("7"), None, r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#);
        check(mode, None, Some(r#"{"n": 1.0}"#), r#"{"batchItemFailures":[],"state":{"n": 1.0}}"#);
    }

    #[test]
    fn kinesis_kit_is_told_the_number_of_quarantined_records() {
        for mode in [EventMode::Replay, EventMode::Redrive] {
            check(mode, None, None, r#"{"batchItemFailures":[],"kinesisKit":{"quarantinedRecords":3}}"#);
        }
    }
}
