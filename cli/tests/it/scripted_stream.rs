use base64::prelude::*;
use serde_json::{Value, json};

use crate::scripted_kinesis::{Answer, description};

/// The ARN of the stream.
pub(crate) const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders";

/// The only shard, where there is one.
pub(crate) const SHARD: &str = "shardId-000000000000";

/// A stream whose reads return two records at a time, after one that returns none.
#[derive(Debug, Clone, Default)]
pub(crate) struct ScriptedStream {
    shards: Vec<ScriptedShard>,
}

#[derive(Debug, Clone)]
struct ScriptedShard {
    id: String,
    parent: Option<String>,
    is_closed: bool,
    /// Sequence numbers and data. Each arrives a second after the one before, from one second on.
    records: Vec<(u64, Vec<u8>)>,
    /// Number of those that are gone.
    trimmed: usize,
    /// Index of a record that arrived after the one that follows it, and when, in seconds.
    late: Option<(usize, f64)>,
}

impl ScriptedStream {
    /// One open shard with these records.
    pub(crate) fn of(records: &[(u64, &[u8])]) -> Self {
        ScriptedStream::default().with_shard(SHARD, None, false, records)
    }

    pub(crate) fn with_shard(
        mut self,
        id: &str,
        parent: Option<&str>,
        is_closed: bool,
        records: &[(u64, &[u8])],
    ) -> Self {
        let records = records.iter().map(|(number, data)| (*number, data.to_vec())).collect();
        let (id, parent) = (id.to_owned(), parent.map(str::to_owned));
        self.shards.push(ScriptedShard { id, parent, is_closed, records, trimmed: 0, late: None });
        self
    }

    /// The first records of the first shard are gone.
    pub(crate) fn trimmed(mut self, records: usize) -> Self {
        self.shards[0].trimmed = records;
        self
    }

    /// A record of the first shard, by its index, arrived at this time, in seconds.
    pub(crate) fn with_late(mut self, index: usize, arrival_s: f64) -> Self {
        self.shards[0].late = Some((index, arrival_s));
        self
    }

    /// Returns the answer of the API. Panics for what is no request about reading.
    pub(crate) fn answer(&self, operation: &str, request: &Value) -> Answer {
        match operation {
            "DescribeStreamSummary" => description("orders"),
            "ListShards" => {
                let shards: Vec<Value> = self.shards.iter().map(ScriptedShard::listed).collect();
                (200, json!({ "Shards": shards }))
            }
            "GetShardIterator" => self.iterator(request),
            "GetRecords" => {
                let iterator = request["ShardIterator"].as_str().expect("text");
                let (shard, index) = iterator.split_once(' ').expect("an iterator of this stream");
                (200, self.shard(shard).page(index))
            }
            other => panic!("{other} is not scripted"),
        }
    }

    fn shard(&self, id: &str) -> &ScriptedShard {
        self.shards.iter().find(|shard| shard.id == id).expect("a shard of the stream")
    }

    fn iterator(&self, request: &Value) -> Answer {
        let shard = self.shard(request["ShardId"].as_str().expect("text"));
        let number = || {
            let number = request["StartingSequenceNumber"].as_str().expect("digits");
            number.parse::<u64>().expect("digits")
        };
        let index = match request["ShardIteratorType"].as_str().expect("text") {
            "TRIM_HORIZON" => 0,
            "LATEST" => shard.records.len(),
            "AT_SEQUENCE_NUMBER" => shard.records.partition_point(|(of, _)| *of < number()),
            "AFTER_SEQUENCE_NUMBER" => shard.records.partition_point(|(of, _)| *of <= number()),
            "AT_TIMESTAMP" => {
                let time = request["Timestamp"].as_f64().expect("a number");
                (0..shard.records.len()).take_while(|index| ((index + 1) as f64) < time).count()
            }
            other => panic!("{other} is no type of iterator"),
        };
        (200, json!({ "ShardIterator": format!("{} e{}", shard.id, index.max(shard.trimmed)) }))
    }
}

impl ScriptedShard {
    fn listed(&self) -> Value {
        json!({
            "ShardId": self.id,
            "ParentShardId": self.parent,
            "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "340282366920938463463374607431768211455" },
            "SequenceNumberRange": {
                "StartingSequenceNumber": "1",
                "EndingSequenceNumber": self.is_closed.then_some("9999"),
            },
        })
    }

    /// `e7`: nothing, although there is more; `7`: from there on.
    fn page(&self, index: &str) -> Value {
        if let Some(index) = index.strip_prefix('e') {
            let behind = self.records.len() - index.parse::<usize>().expect("digits");
            return json!({
                "Records": [],
                "NextShardIterator": format!("{} {index}", self.id),
                "MillisBehindLatest": behind,
            });
        }
        let index: usize = index.parse().expect("digits");
        let end = (index + 2).min(self.records.len());
        let records: Vec<Value> = (index..end).map(|index| self.record(index)).collect();
        let is_over = self.is_closed && end == self.records.len();
        json!({
            "Records": records,
            "NextShardIterator": (!is_over).then(|| format!("{} {end}", self.id)),
            "MillisBehindLatest": self.records.len() - end,
        })
    }

    fn record(&self, index: usize) -> Value {
        let (number, data) = &self.records[index];
        let arrival_s = match self.late {
            Some((late, arrival_s)) if late == index => arrival_s,
            _ => (index + 1) as f64,
        };
        json!({
            "SequenceNumber": number.to_string(),
            "ApproximateArrivalTimestamp": arrival_s,
            "Data": BASE64_STANDARD.encode(data),
            "PartitionKey": "k",
        })
    }
}

/// The records of an event as text: sequence number and data.
pub(crate) fn delivered(event: &Value) -> Vec<String> {
    let records = event["Records"].as_array().expect("an event");
    let text = |record: &Value| {
        let data =
            BASE64_STANDARD.decode(record["kinesis"]["data"].as_str().expect("base64")).expect("base64");
        let number = record["kinesis"]["sequenceNumber"].as_str().expect("digits").to_owned();
        assert_eq!(record["eventSource"], "aws:kinesis");
        format!("{number} {}", String::from_utf8_lossy(&data))
    };
    records.iter().map(text).collect()
}

/// The response of a function that fails with user records of this data.
pub(crate) fn failing(event: &Value, data: &[&str]) -> Answer {
    let fails =
        |record: &&Value| data.iter().any(|data| record["kinesis"]["data"] == BASE64_STANDARD.encode(data));
    let failed = event["Records"].as_array().expect("an event").iter().find(fails);
    let failures: Vec<Value> = failed
        .iter()
        .map(|record| json!({ "itemIdentifier": record["kinesis"]["sequenceNumber"] }))
        .collect();
    (200, json!({ "batchItemFailures": failures }))
}
