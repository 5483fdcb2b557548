//! The forms in which AWS services and serializers put several items, or more than data, into one payload.
//!
//! | payload | read with | items |
//! |---|---|---|
//! | subscription of CloudWatch Logs | `Record::cloudwatch_logs`, feature `gzip` | [`CloudWatchLogs::events`] |
//! | change of a DynamoDB table | `Record::dynamodb_change`, feature `dynamodb-changes` | one |
//! | AWS DMS | [`Record::dms`](crate::Record::dms) | one |
//! | several JSON documents | [`Record::json_documents`](crate::Record::json_documents) | each document |
//! | AWS Glue Schema Registry | [`Record::glue_schema`](crate::Record::glue_schema) | one |
//! | Confluent Schema Registry | [`Record::confluent_schema`](crate::Record::confluent_schema) | one |
//!
//! The items of a user record are processed or fail together, because a position in a stream is that of a user record. So after
//! a failure all its items are processed again. [`each`] processes one item after the other, and adds the number of the
//! failed one to its error, which is in the log and in the quarantine:
//!
//! ```
//! # use kinesis_handler::{ProcessError, Record, envelope};
//! # use serde::Deserialize;
//! # #[derive(Deserialize)]
//! # struct Order;
//! # async fn store(_: Order) -> Result<(), std::io::Error> { Ok(()) }
//! async fn process(record: Record<'_>) -> Result<(), ProcessError> {
//!     envelope::each(record.json_documents::<Order>()?, async |order| {
//!         store(order?).await?;
//!         Ok(())
//!     })
//!     .await
//! }
//! ```

pub(crate) mod cloudwatch_logs;
mod dms;
#[cfg(feature = "dynamodb-changes")]
mod dynamodb;
mod items;
mod json_documents;
mod optional;
mod schema;

pub use cloudwatch_logs::{CloudWatchLogs, LogEvent};
pub use dms::{DmsMetadata, DmsRecord};
#[cfg(feature = "dynamodb-changes")]
pub use dynamodb::{DynamoDbChange, DynamoDbItem, UserIdentity};
pub use items::{ItemError, each};
pub use json_documents::JsonDocuments;
pub use schema::{ConfluentSchema, GlueSchema, SchemaError, SchemaVersionId};
#[cfg(feature = "dynamodb-changes")]
pub use serde_dynamo::AttributeValue;
