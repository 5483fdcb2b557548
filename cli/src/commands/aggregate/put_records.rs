use std::io::{self, Write};

use base64::prelude::*;
use kinesis_esm::StreamArn;
use kpl_deaggregation::PutEntry;
use serde::{Serialize, Serializer};

use crate::stream::{MAX_PUT_BYTES, MAX_PUT_RECORDS};

/// A request of `PutRecords` as the AWS CLI reads it.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsRequest<'a> {
    #[serde(rename = "StreamARN", skip_serializing_if = "Option::is_none")]
    stream_arn: Option<&'a str>,
    records: Vec<PutRecordsEntry<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct PutRecordsEntry<'a> {
    #[serde(serialize_with = "base64")]
    data: &'a [u8],
    partition_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    explicit_hash_key: Option<&'a str>,
}

impl<'a> From<&'a PutEntry> for PutRecordsEntry<'a> {
    fn from(input: &'a PutEntry) -> Self {
        PutRecordsEntry {
            data: &input.data,
            partition_key: &input.partition_key,
            explicit_hash_key: input.explicit_hash_key.as_deref(),
        }
    }
}

/// Writes requests that put records in their order, one a line, as few as their limits allow.
#[derive(Debug)]
pub(super) struct RequestWriter<'a> {
    stream_arn: Option<&'a StreamArn>,
    /// The records of the next request, and their size in bytes.
    inputs: Vec<PutEntry>,
    bytes: usize,
}

impl<'a> RequestWriter<'a> {
    pub(super) fn new(stream_arn: Option<&'a StreamArn>) -> Self {
        RequestWriter { stream_arn, inputs: Vec::new(), bytes: 0 }
    }

    pub(super) fn write(&mut self, input: PutEntry, output: &mut impl Write) -> io::Result<()> {
        let bytes = input.data.len() + input.partition_key.len();
        if self.inputs.len() == MAX_PUT_RECORDS || self.bytes + bytes > MAX_PUT_BYTES {
            self.finish(output)?;
        }
        self.bytes += bytes;
        self.inputs.push(input);
        Ok(())
    }

    /// Writes what is left.
    pub(super) fn finish(&mut self, output: &mut impl Write) -> io::Result<()> {
        self.bytes = 0;
        let inputs = std::mem::take(&mut self.inputs);
        if inputs.is_empty() {
            return Ok(());
        }
        let stream_arn = self.stream_arn.map(StreamArn::as_str);
        let request =
            PutRecordsRequest { stream_arn, records: inputs.iter().map(PutRecordsEntry::from).collect() };
        serde_json::to_writer(&mut *output, &request)?;
        output.write_all(b"\n")
    }
}

fn base64<S: Serializer>(data: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&BASE64_STANDARD.encode(data))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(data_lengths: impl IntoIterator<Item = usize>, expected_records: &[usize]) {
        let input = |length| PutEntry {
            partition_key: "k".to_owned(),
            explicit_hash_key: None,
            data: vec![0; length],
            user_records: 1,
        };
        let (mut writer, mut output) = (RequestWriter::new(None), Vec::new());
        for length in data_lengths {
            writer.write(input(length), &mut output).expect("memory takes it");
        }
        writer.finish(&mut output).expect("memory takes it");
        let requests = String::from_utf8(output).expect("text");
        let records: Vec<_> =
            requests.lines().map(|request| request.matches("PartitionKey").count()).collect();
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
