use serde::Deserialize;
use serde_json::value::RawValue;

use super::optional;
use crate::{PayloadError, Record};

/// A record of AWS DMS with Kinesis as its target: a row, or a control record about a table.
///
/// <https://docs.aws.amazon.com/dms/latest/userguide/CHAP_Target.Kinesis.html>
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct DmsRecord<'a> {
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
    #[serde(borrow, default)]
    before_image: Option<&'a RawValue>,
    #[serde(borrow, default)]
    control: Option<&'a RawValue>,
    /// Description of the row or of the table's change.
    pub metadata: DmsMetadata,
}

/// The description of an AWS DMS record.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct DmsMetadata {
    /// Time at which DMS made the record, as ISO 8601 with microseconds.
    pub timestamp: String,
    /// `data` for a row, `control` for a change of a table.
    pub record_type: String,
    /// `load`, `insert`, `update` or `delete` of a row; `create-table`, `drop-table`, `add-column` and others for a control record.
    pub operation: String,
    /// Name of the schema; empty in some control records.
    #[serde(default, deserialize_with = "optional::null_as_default")]
    pub schema_name: String,
    /// Name of the table; empty in some control records.
    #[serde(default, deserialize_with = "optional::null_as_default")]
    pub table_name: String,
    /// Kind of the partition key: `primary-key`, `schema-table` or `task-id`.
    #[serde(default)]
    pub partition_key_type: Option<String>,
    /// Time at which the source committed the change; `None` for a full load.
    #[serde(default)]
    pub commit_timestamp: Option<String>,
    /// ID of the source's transaction; `None` for a full load, if the task does not include it, and if it is no such number.
    #[serde(default, deserialize_with = "optional::number")]
    pub transaction_id: Option<u64>,
}

impl<'a> DmsRecord<'a> {
    /// Returns whether the record is about a table and has no row.
    pub fn is_control(&self) -> bool {
        self.metadata.record_type == "control"
    }

    /// Reads the row: after the change, or before it for a `delete`. `None` if there is none, as in a control record.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Json`]. Line and column are those in the row.
    pub fn data<T: Deserialize<'a>>(&self) -> Result<Option<T>, PayloadError> {
        read(self.data)
    }

    /// Reads the row before the change; `None` unless the task writes it.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Json`]. Line and column are those in the row.
    pub fn before_image<T: Deserialize<'a>>(&self) -> Result<Option<T>, PayloadError> {
        read(self.before_image)
    }

    /// Reads the details of a control record, such as `table-def`; `None` unless the task writes them.
    ///
    /// # Errors
    ///
    /// [`PayloadError::Json`]. Line and column are those in the details.
    pub fn control<T: Deserialize<'a>>(&self) -> Result<Option<T>, PayloadError> {
        read(self.control)
    }
}

fn read<'a, T: Deserialize<'a>>(json: Option<&'a RawValue>) -> Result<Option<T>, PayloadError> {
    let Some(json) = json.map(RawValue::get) else { return Ok(None) };
    serde_json::from_str(json).map_err(|error| PayloadError::of_json_in::<T>(json.as_bytes(), &error))
}

impl<'a> Record<'a> {
    /// Reads the data as a record of AWS DMS. It may borrow from the record.
    ///
    /// # Errors
    ///
    /// As [`json`](Self::json).
    pub fn dms(&self) -> Result<DmsRecord<'a>, PayloadError> {
        self.json()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OwnedRecord;

    #[derive(Debug, PartialEq, Deserialize)]
    struct Row<'a> {
        id: u64,
        name: &'a str,
    }

    const UPDATE: &str = r#"{
        "data": {"id": 7, "name": "new"},
        "before-image": {"id": 7, "name": "old"},
        "metadata": {
            "timestamp": "2021-02-18T23:57:11.970360Z", "commit-timestamp": "2021-02-18T23:57:11.000000Z",
            "record-type": "data", "operation": "update", "partition-key-type": "schema-table",
            "schema-name": "shop", "table-name": "orders", "transaction-id": 87978110091475
        }
    }"#;

    #[test]
    fn a_row_has_its_table_and_operation() {
        let record = OwnedRecord::new(UPDATE);
        let dms = record.as_record().dms().expect("a DMS record");
        let DmsMetadata { operation, schema_name, table_name, timestamp, transaction_id, .. } = &dms.metadata;
        assert_eq!((&**operation, &**schema_name, &**table_name), ("update", "shop", "orders"));
        assert_eq!(
            (&**timestamp, *transaction_id),
            ("2021-02-18T23:57:11.970360Z", Some(87_978_110_091_475))
        );
        assert!(!dms.is_control());
        assert_eq!(dms.data(), Ok(Some(Row { id: 7, name: "new" })));
        assert_eq!(dms.before_image(), Ok(Some(Row { id: 7, name: "old" })));
        assert_eq!(dms.control::<u8>(), Ok(None));
    }

    #[test]
    fn control_records_are_recognized() {
        let record = OwnedRecord::new(
            r#"{"metadata":{"timestamp":"2021-02-18T23:09:09.509179Z","record-type":"control",
                "operation":"create-table","partition-key-type":"task-id","schema-name":"",
                "table-name":"awsdms_apply_exceptions"}}"#,
        );
        let dms = record.as_record().dms().expect("a DMS record");
        assert!(dms.is_control());
        assert_eq!((&*dms.metadata.operation, dms.data::<Row<'_>>()), ("create-table", Ok(None)));
    }

    #[test]
    fn metadata_that_is_of_another_shape_does_not_fail_the_row() {
        for transaction_id in ["null", "-1", "1.5", "\"0000002D:00000101:0003\"", "[{}]"] {
            let payload = UPDATE
                .replace("87978110091475", transaction_id)
                .replace("\"shop\"", "null")
                .replace("\"2021-02-18T23:57:11.000000Z\"", "null");
            let record = OwnedRecord::new(payload);
            let dms = record.as_record().dms().expect("a DMS record");
            let DmsMetadata { schema_name, table_name, transaction_id, .. } = &dms.metadata;
            assert_eq!((&**schema_name, &**table_name, *transaction_id), ("", "orders", None));
            assert_eq!(dms.data(), Ok(Some(Row { id: 7, name: "new" })));
        }
    }

    #[test]
    fn a_row_of_another_shape_is_an_error_without_its_values() {
        let record = OwnedRecord::new(UPDATE.replacen("7", "\"secret\"", 1));
        let error =
            record.as_record().dms().expect("a DMS record").data::<Row<'_>>().expect_err("another shape");
        assert_eq!(
            error.to_string(),
            "payload does not match the expected type: id: expected u64, found string (line 1, column 15)"
        );
        let record = OwnedRecord::new("{\"data\":{}}");
        let error = record.as_record().dms().expect_err("no metadata");
        assert!(error.to_string().starts_with("payload does not match the expected type"), "{error}");
    }
}
