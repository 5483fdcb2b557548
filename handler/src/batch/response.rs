use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::value::RawValue;

use crate::{Counts, SequenceNumber};

/// The partial batch response: `{"batchItemFailures":[{"itemIdentifier":"…"}]}`.
///
/// It names no Kinesis record, if all is done, or one: the first that is not. Lambda then takes all before it as done
/// and delivers it and all behind it again.
///
/// `kinesis-kit` may delete what it has delivered, and shows errors of records, so the response to its events (see
/// [`EventMode`](crate::EventMode)) has another member. It has the number of user records that this invocation put into the
/// quarantine, and if the batch has stopped the user record at which it did, with the reason:
/// `"kinesisKit":{"quarantinedRecords":2,"quarantined":[{"sequenceNumber":"…","records":2}],"failed":{"sequenceNumber":"…",
/// "subSequenceNumber":3,"error":"…"}}`. Responses to the event source mapping never have it.
#[derive(Debug, Clone)]
pub struct BatchResponse {
    failed: Option<SequenceNumber>,
    state: Option<Box<RawValue>>,
    counts: Counts,
    /// Absent in a response to the event source mapping.
    details: Option<ResponseDetails>,
}

/// The part of a response that only `kinesis-kit` gets.
#[derive(Debug, Clone)]
pub(crate) struct ResponseDetails {
    /// Quarantined user records by Kinesis record.
    pub(crate) quarantined: Vec<(SequenceNumber, u64)>,
    /// The user record at which the batch has stopped.
    pub(crate) failed: Option<StoppedRecord>,
}

/// A user record at which a batch has stopped, with the reason.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct StoppedRecord {
    pub(crate) sequence_number: SequenceNumber,
    /// Absent if the Kinesis record as a whole cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) sub_sequence_number: Option<u64>,
    /// Text that is logged, too, shortened.
    pub(crate) error: String,
}

impl BatchResponse {
    /// `failed` must be the sequence number of a record of the batch: Lambda takes any other as a failure of all.
    pub(crate) fn new(failed: Option<SequenceNumber>, state: Option<Box<RawValue>>, counts: Counts) -> Self {
        BatchResponse { failed, state, counts, details: None }
    }

    /// Adds the part for `kinesis-kit`.
    pub(crate) fn with_details(self, details: ResponseDetails) -> Self {
        BatchResponse { details: Some(details), ..self }
    }

    /// The Kinesis record from which on Lambda shall deliver again.
    pub fn batch_item_failure(&self) -> Option<SequenceNumber> {
        self.failed
    }

    /// State of a tumbling window, as JSON. `None` if the event belongs to none.
    pub fn state(&self) -> Option<&str> {
        self.state.as_deref().map(RawValue::get)
    }

    /// Returns the counts of the batch, for logs and metrics.
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
        struct KinesisKit<'a> {
            quarantined_records: u64,
            quarantined: Vec<Quarantined>,
            #[serde(skip_serializing_if = "Option::is_none")]
            failed: Option<&'a StoppedRecord>,
        }

        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Quarantined {
            sequence_number: SequenceNumber,
            records: u64,
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
        if let Some(ResponseDetails { quarantined, failed }) = &self.details {
            let quarantined_records = quarantined.iter().map(|(_, records)| records).sum();
            let of_record = |&(sequence_number, records)| Quarantined { sequence_number, records };
            let quarantined = quarantined.iter().map(of_record).collect();
            let failed = failed.as_ref();
            map.serialize_entry("kinesisKit", &KinesisKit { quarantined_records, quarantined, failed })?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(failed: Option<&str>, state: Option<&str>, expected: &str) {
        let failed = failed.map(|text| text.parse().expect("digits"));
        let raw_state = state.map(|state| RawValue::from_string(state.to_owned()).expect("JSON"));
        let response = BatchResponse::new(failed, raw_state, Counts { quarantined: 3, ..Counts::default() });
        assert_eq!((response.batch_item_failure(), response.state()), (failed, state));
        assert_eq!(serde_json::to_string(&response).expect("JSON"), expected);
    }

    #[test]
    fn the_layout_is_lambdas() {
        check(None, None, r#"{"batchItemFailures":[]}"#);
        check(Some("7"), None, r#"{"batchItemFailures":[{"itemIdentifier":"7"}]}"#);
        check(None, Some(r#"{"n": 1.0}"#), r#"{"batchItemFailures":[],"state":{"n": 1.0}}"#);
    }
}
