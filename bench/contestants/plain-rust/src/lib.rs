//! Finds the user records of an event, with the crates that one finds in an hour.

use aws_lambda_events::{
    event::kinesis::KinesisEvent,
    streams::{KinesisBatchItemFailure, KinesisEventResponse},
};
use lambda_runtime::Error;
use md5::{Digest, Md5};
use prost::Message;

const MAGIC: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];
const DIGEST_BYTES: usize = 16;

#[derive(Clone, PartialEq, Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<UserRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct UserRecord {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    data: Vec<u8>,
}

/// Returns the message of an aggregated record, or `None` for a plain record.
fn aggregated_message(data: &[u8]) -> Option<&[u8]> {
    let (message, digest) = data.strip_prefix(&MAGIC)?.split_last_chunk::<DIGEST_BYTES>()?;
    (Md5::digest(message).as_slice() == digest).then_some(message)
}

/// Calls a function for each user record, until it fails for one.
pub fn handle(
    event: KinesisEvent,
    mut process: impl FnMut(&[u8]) -> Result<(), Error>,
) -> KinesisEventResponse {
    let mut response = KinesisEventResponse::default();
    let (mut user_records, mut bytes) = (0, 0);
    let mut count = |data: &[u8]| {
        user_records += 1;
        bytes += data.len() as u64;
        process(data)
    };
    for record in event.records {
        if process_kinesis_record(&record.kinesis.data, &mut count).is_err() {
            let mut failure = KinesisBatchItemFailure::default();
            failure.item_identifier = Some(record.kinesis.sequence_number);
            response.batch_item_failures.push(failure);
            break;
        }
    }
    println!(r#"{{"UserRecords":{user_records},"UserBytes":{bytes}}}"#);
    response
}

fn process_kinesis_record(
    data: &[u8],
    process: &mut impl FnMut(&[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    let Some(message) = aggregated_message(data) else { return process(data) };
    for record in AggregatedRecord::decode(message)?.records {
        process(&record.data)?;
    }
    Ok(())
}
