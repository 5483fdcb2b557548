use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde::{Deserialize, de::DeserializeOwned};
use serde_dynamo::{AttributeValue, Item};

use crate::{PayloadError, Record};

/// A change of an item of a DynamoDB table, as the table's Kinesis streaming destination puts it into a stream.
///
/// A change may come twice, and changes of one item in another order than they were made: compare
/// [`creation_time`](Self::creation_time).
///
/// <https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/kds.html>
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct DynamoDbChange {
    /// ID of the change, which stays the same if it comes twice.
    #[serde(rename = "eventID")]
    pub event_id: String,
    /// `INSERT`, `MODIFY` or `REMOVE`.
    pub event_name: String,
    /// Name of the table.
    #[serde(default)]
    pub table_name: Option<String>,
    /// Region of the table, such as `us-east-1`.
    #[serde(default)]
    pub aws_region: Option<String>,
    /// The service that made the change; `None` for a change by a request.
    #[serde(default)]
    pub user_identity: Option<UserIdentity>,
    dynamodb: Images,
}

/// The service that made a change: `dynamodb.amazonaws.com` deletes items whose time to live is over.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[non_exhaustive]
pub struct UserIdentity {
    /// Kind of the principal: `Service`.
    #[serde(default)]
    pub r#type: Option<String>,
    /// Name of the principal.
    #[serde(default)]
    pub principal_id: Option<String>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Images {
    approximate_creation_date_time: f64,
    #[serde(default)]
    approximate_creation_date_time_precision: Option<String>,
    keys: DynamoDbItem,
    #[serde(default)]
    new_image: Option<DynamoDbItem>,
    #[serde(default)]
    old_image: Option<DynamoDbItem>,
}

/// The attributes of an item, or of its key. Its `Debug` does not show them.
#[derive(Clone, PartialEq, Deserialize)]
#[serde(transparent)]
pub struct DynamoDbItem(Item);

impl DynamoDbChange {
    /// Returns the time at which DynamoDB made the change, in milliseconds or microseconds as the table's destination is set; in
    /// seconds in records of DynamoDB Streams.
    pub fn creation_time(&self) -> SystemTime {
        let Images { approximate_creation_date_time: time, approximate_creation_date_time_precision, .. } =
            &self.dynamodb;
        let seconds = time / units_per_second(*time, approximate_creation_date_time_precision.as_deref());
        // Exact: microseconds since 1970 take 51 bits. What is no time, such as a negative number, becomes 1970.
        let microseconds = (seconds * 1e6).round().clamp(0.0, MAX_MICROSECONDS);
        UNIX_EPOCH + Duration::from_micros(microseconds as u64)
    }

    /// Returns the attributes of the item's key.
    pub fn keys(&self) -> &DynamoDbItem {
        &self.dynamodb.keys
    }

    /// Returns the item after the change; `None` for one that was removed.
    pub fn new_image(&self) -> Option<&DynamoDbItem> {
        self.dynamodb.new_image.as_ref()
    }

    /// Returns the item before the change; `None` for one that was inserted.
    pub fn old_image(&self) -> Option<&DynamoDbItem> {
        self.dynamodb.old_image.as_ref()
    }
}

/// The end of the year 9999, in microseconds since 1970.
const MAX_MICROSECONDS: f64 = 253_402_300_799_999_999.0;

/// Returns the unit of a time. Without a precision, its magnitude tells: seconds are below 1e11 up to the year 5138, and
/// milliseconds between 1e11 and 1e14 from 1973 to 5138.
fn units_per_second(time: f64, precision: Option<&str>) -> f64 {
    match precision {
        Some("MICROSECOND") => 1e6,
        Some("MILLISECOND") => 1e3,
        _ if time < 1e11 => 1.0,
        _ if time < 1e14 => 1e3,
        _ => 1e6,
    }
}

impl DynamoDbItem {
    /// Reads the item into a type, as [serde_dynamo](https://docs.rs/serde_dynamo) does.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Item`]. It names a field that is missing, and no value.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, PayloadError> {
        serde_dynamo::from_item(self.0.clone()).map_err(|error| {
            // Other texts quote values.
            let text = error.to_string();
            let detail = if text.starts_with("missing field ") { format!(": {text}") } else { String::new() };
            PayloadError::Item { expected: std::any::type_name::<T>(), detail }
        })
    }

    /// Returns the attributes by name.
    pub fn attributes(&self) -> &HashMap<String, AttributeValue> {
        self.0.inner()
    }
}

impl std::fmt::Debug for DynamoDbItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DynamoDbItem({} attributes)", self.0.inner().len())
    }
}

impl Record<'_> {
    /// Reads the data as a change of a DynamoDB table.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json).
    pub fn dynamodb_change(&self) -> Result<DynamoDbChange, PayloadError> {
        self.json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OwnedRecord;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Order {
        id: String,
        cents: u64,
        #[serde(default)]
        tags: Vec<String>,
    }

    fn change(dynamodb: &str) -> Result<DynamoDbChange, PayloadError> {
        let record = OwnedRecord::new(format!(
            r#"{{"awsRegion":"us-east-1","eventID":"7a9a8e3c","eventName":"MODIFY","userIdentity":null,
                "recordFormat":"application/json","tableName":"orders","eventSource":"aws:dynamodb","dynamodb":{dynamodb}}}"#
        ));
        record.as_record().dynamodb_change()
    }

    #[test]
    fn images_are_read_into_types() {
        let change = change(
            r#"{"ApproximateCreationDateTime":1700000000123,"SizeBytes":67,"Keys":{"id":{"S":"A-1"}},
                "NewImage":{"id":{"S":"A-1"},"cents":{"N":"850"},"tags":{"SS":["a","b"]}},
                "OldImage":{"id":{"S":"A-1"},"cents":{"N":"7.5"}}}"#,
        )
        .expect("a change");
        assert_eq!(
            (&*change.event_id, &*change.event_name, change.table_name.as_deref()),
            ("7a9a8e3c", "MODIFY", Some("orders"))
        );
        let new = change.new_image().expect("an image");
        let tags = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(new.read(), Ok(Order { id: "A-1".to_owned(), cents: 850, tags }));
        assert_eq!(change.keys().attributes()["id"], AttributeValue::S("A-1".to_owned()));
        assert_eq!(format!("{:?}", change.keys()), "DynamoDbItem(1 attributes)");

        let error = change.old_image().expect("an image").read::<Order>().expect_err("not an integer");
        assert!(error.to_string().ends_with("Order") && !error.to_string().contains("7.5"), "{error}");
        let error = change.keys().read::<Order>().expect_err("no cents");
        assert!(error.to_string().ends_with("Order: missing field `cents`"), "{error}");
        assert!(crate::ProcessError::from(error).is_permanent());
    }

    #[track_caller]
    fn check_time(time: &str, expected: Duration) {
        let change =
            change(&format!(r#"{{"Keys":{{}},"ApproximateCreationDateTime":{time}}}"#)).expect("a change");
        assert_eq!(change.creation_time(), UNIX_EPOCH + expected);
        assert!(change.new_image().is_none() && change.old_image().is_none());
    }

    #[test]
    fn the_creation_time_is_in_seconds_milliseconds_or_microseconds() {
        check_time("1700000000", Duration::from_secs(1_700_000_000));
        check_time("1.7E9", Duration::from_secs(1_700_000_000));
        check_time("1700000000123", Duration::from_millis(1_700_000_000_123));
        check_time("1700000000123456", Duration::from_micros(1_700_000_000_123_456));
        check_time(
            r#"1700000000123,"ApproximateCreationDateTimePrecision":"MILLISECOND""#,
            Duration::from_millis(1_700_000_000_123),
        );
        check_time(
            r#"1700000000123457,"ApproximateCreationDateTimePrecision":"MICROSECOND""#,
            Duration::from_micros(1_700_000_000_123_457),
        );
        check_time(r#"12,"ApproximateCreationDateTimePrecision":"MICROSECOND""#, Duration::from_micros(12));
    }

    #[test]
    fn a_time_that_is_none_does_no_harm() {
        check_time("-1", Duration::ZERO);
        check_time("1e300", Duration::from_micros(253_402_300_800_000_000));
    }
}
