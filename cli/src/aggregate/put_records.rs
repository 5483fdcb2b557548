use base64::prelude::*;
use kpl_deaggregation::KinesisRecordInput;
use serde::{Serialize, Serializer};

use crate::{
    kinesis::{MAX_PUT_BYTES, MAX_PUT_RECORDS},
    stream_arn::StreamArn,
};

/// A request of `PutRecords` as the AWS CLI reads it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Request<'a> {
    #[serde(rename = "StreamARN", skip_serializing_if = "Option::is_none")]
    stream_arn: Option<&'a str>,
    records: Vec<Entry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Entry<'a> {
    #[serde(serialize_with = "base64")]
    data: &'a [u8],
    partition_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    explicit_hash_key: Option<&'a str>,
}

impl<'a> From<&'a KinesisRecordInput> for Entry<'a> {
    fn from(input: &'a KinesisRecordInput) -> Self {
        Entry {
            data: &input.data,
            partition_key: &input.partition_key,
            explicit_hash_key: input.explicit_hash_key.as_deref(),
        }
    }
}

/// Requests that put these records in their order, one a line.
pub(super) fn to_json_lines(inputs: &[KinesisRecordInput], stream_arn: Option<&StreamArn>) -> Vec<u8> {
    let mut json = Vec::new();
    for inputs in requests(inputs) {
        let request = Request {
            stream_arn: stream_arn.map(StreamArn::as_str),
            records: inputs.iter().map(Entry::from).collect(),
        };
        serde_json::to_writer(&mut json, &request).expect("text is always JSON, and memory takes it");
        json.push(b'\n');
    }
    json
}

/// Divides the records into as few requests as their limits allow.
fn requests(mut rest: &[KinesisRecordInput]) -> Vec<&[KinesisRecordInput]> {
    let mut requests = Vec::new();
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take(MAX_PUT_RECORDS).take_while(|input| {
            bytes += input.data.len() + input.partition_key.len();
            bytes <= MAX_PUT_BYTES
        });
        let (request, later) = rest.split_at(fitting.count().max(1));
        requests.push(request);
        rest = later;
    }
    requests
}

fn base64<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data_lengths: impl IntoIterator<Item = usize>, expected_records: &[usize]) {
        let input = |length| KinesisRecordInput {
            partition_key: "k".to_owned(),
            explicit_hash_key: None,
            data: vec![0; length],
            user_records: 1,
        };
        let inputs: Vec<_> = data_lengths.into_iter().map(input).collect();
        let records: Vec<_> = requests(&inputs).into_iter().map(<[_]>::len).collect();
        assert_eq!(records, expected_records);
    }

    #[test]
    fn requests_keep_the_limits() {
        check([], &[]);
        check([1; 500], &[500]);
        check([1; 501], &[500, 1]);
        // With the partition key, five of these are 5 MiB.
        check([1024 * 1024 - 1; 5], &[5]);
        check([1024 * 1024 - 1, 1024 * 1024 - 1, 1024 * 1024 - 1, 1024 * 1024 - 1, 1024 * 1024], &[4, 1]);
        check([1, 10 * 1024 * 1024 - 1, 1], &[1, 1, 1]);
    }
}
