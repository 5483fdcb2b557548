use std::collections::BTreeMap;

use serde::Deserialize;

use super::optional;
#[cfg(feature = "gzip")]
use crate::{PayloadError, Record};

/// The message type of records with log events. The other one checks whether the stream can be written to.
const DATA_MESSAGE: &str = "DATA_MESSAGE";

/// The log events of a subscription of CloudWatch Logs, as it puts them into a stream: JSON, compressed with gzip.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/SubscriptionFilters.html>
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct CloudWatchLogs {
    /// `DATA_MESSAGE`, or `CONTROL_MESSAGE` for a check by CloudWatch Logs.
    pub message_type: String,
    /// ID of the account of the log group.
    pub owner: String,
    /// Name of the log group.
    pub log_group: String,
    /// Name of the log stream.
    pub log_stream: String,
    /// Names of the subscription filters that matched.
    #[serde(default, deserialize_with = "optional::null_as_default")]
    pub subscription_filters: Vec<String>,
    /// All events, those of a control message included.
    log_events: Vec<LogEvent>,
}

/// An event of a log stream.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct LogEvent {
    /// ID of the event, which stays the same if it comes twice.
    pub id: String,
    /// Time of the event in milliseconds since 1970.
    pub timestamp: i64,
    /// Text of the event.
    pub message: String,
    /// Fields that the subscription's filter pattern has extracted, by name. A field without a value is `None`.
    #[serde(default, deserialize_with = "optional::null_as_default")]
    pub extracted_fields: BTreeMap<String, Option<String>>,
}

impl CloudWatchLogs {
    /// Returns the log events: none for a control message, whose text is no log line.
    pub fn events(&self) -> &[LogEvent] {
        if self.message_type == DATA_MESSAGE { &self.log_events } else { &[] }
    }
}

#[cfg(feature = "gzip")]
impl Record<'_> {
    /// Reads the data as the log events of a CloudWatch Logs subscription. It is decompressed whether the option
    /// [`decompress`](crate::OptionsBuilder::decompress) is on or off.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Compression`] and [`PayloadError::Json`].
    pub fn cloudwatch_logs(&self) -> Result<CloudWatchLogs, PayloadError> {
        let json = self.decompressed()?;
        serde_json::from_slice(&json)
            .map_err(|error| PayloadError::of_json_in::<CloudWatchLogs>(&json, &error))
    }
}

#[cfg(all(test, feature = "gzip"))]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    use crate::OwnedRecord;

    fn gzip(json: &str) -> OwnedRecord {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(json.as_bytes()).expect("memory takes it");
        OwnedRecord::new(encoder.finish().expect("memory takes it"))
    }

    /// As CloudWatch Logs documents it.
    const DATA: &str = r#"{
        "owner": "111111111111", "logGroup": "CloudTrail/logs", "logStream": "111111111111_CloudTrail_us-east-1",
        "subscriptionFilters": ["Destination"], "messageType": "DATA_MESSAGE", "policyLevel": "ACCOUNT_LEVEL_POLICY",
        "logEvents": [
            {"id": "31953106606966983378809025079804211143289615424298221568", "timestamp": 1432826855000, "message": "{\"a\":1}"},
            {"id": "2", "timestamp": 1432826855001, "message": "GET /", "extractedFields": {"verb": "GET", "status": null}}
        ]
    }"#;

    #[test]
    fn log_events_have_their_group_id_time_text_and_fields() {
        let record = gzip(DATA);
        for record in [record.clone(), record.decompressing()] {
            let logs = record.as_record().cloudwatch_logs().expect("log events");
            assert_eq!(
                (&*logs.owner, &*logs.log_group, &*logs.log_stream, &*logs.subscription_filters),
                (
                    "111111111111",
                    "CloudTrail/logs",
                    "111111111111_CloudTrail_us-east-1",
                    &["Destination".to_owned()][..]
                )
            );
            let [first, second] = logs.events() else { panic!("two events") };
            assert_eq!((first.timestamp, &*first.message), (1_432_826_855_000, "{\"a\":1}"));
            assert!(first.id.starts_with("31953106606966983378") && first.extracted_fields.is_empty());
            assert_eq!(second.extracted_fields["verb"].as_deref(), Some("GET"));
            assert_eq!(second.extracted_fields["status"], None);
        }
    }

    #[test]
    fn members_that_are_null_are_empty() {
        let data = DATA
            .replace("[\"Destination\"]", "null")
            .replace("{\"verb\": \"GET\", \"status\": null}", "null");
        let logs = gzip(&data).as_record().cloudwatch_logs().expect("log events");
        assert!(logs.subscription_filters.is_empty() && logs.events()[1].extracted_fields.is_empty());
    }

    #[test]
    fn a_control_message_has_no_log_events() {
        let record = gzip(
            r#"{"messageType":"CONTROL_MESSAGE","owner":"CloudwatchLogs","logGroup":"","logStream":"",
                "subscriptionFilters":[],"logEvents":[{"id":"","timestamp":1510943004073,
                "message":"CWL CONTROL MESSAGE: Checking health of destination Kinesis stream."}]}"#,
        );
        assert_eq!(record.as_record().cloudwatch_logs().expect("a control message").events(), []);
    }

    #[test]
    fn other_payloads_are_errors_without_values() {
        let error = gzip(r#"{"secret":1}"#).as_record().cloudwatch_logs().expect_err("other JSON");
        assert_eq!(
            error.to_string(),
            "payload does not match the expected type: messageType: missing field (line 1, column 12)"
        );
        let error = OwnedRecord::new("secret").as_record().cloudwatch_logs().expect_err("text");
        assert_eq!(error.to_string(), "payload is not JSON (line 1, column 1)");
    }
}
