use std::{
    io::{self, Write},
    rc::Rc,
};

use futures_util::{StreamExt, TryStreamExt, stream};
use kinesis_esm::MAX_EVENT_BYTES;
use kinesis_handler::replay::ReplayRange;
use serde::Serialize;

use super::lambda::LiveFunction;
use crate::{
    args::Format,
    aws::AwsError,
    output::cell,
    stream::{Api, Position, ReadPace, Shard, ShardReader},
};

/// Most shards that are read for an estimate. They stand for the others.
const SAMPLED_SHARDS: usize = 64;

/// Number of places in a shard that are read.
const SAMPLES: u64 = 4;

/// Most reads of one place: a read may return nothing, although there is more.
const READS: usize = 5;

/// Bytes that all readers of a shard may read in a second:
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_GetRecords.html>
const SHARD_BYTES_PER_SECOND: f64 = 2e6;

/// Bytes of JSON that a record takes besides its data.
const RECORD_JSON_BYTES: f64 = 600.0;

// List prices in USD, in us-east-1: <https://aws.amazon.com/lambda/pricing/> and <https://aws.amazon.com/dynamodb/pricing/>.
const USD_PER_INVOCATION: f64 = 0.20e-6;
const USD_PER_GB_SECOND_X86: f64 = 16.6667e-6;
const USD_PER_GB_SECOND_ARM: f64 = 13.3334e-6;
const USD_PER_WRITE: f64 = 0.625e-6;
const USD_PER_READ: f64 = 0.125e-6;

/// The records of a range, by the samples that were read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Load {
    shards: f64,
    /// Milliseconds of the range; from the oldest record on, those that the stream may have.
    length_ms: f64,
    /// Kinesis records in a millisecond of a shard, on average.
    records_per_ms: f64,
    /// Bytes of their data.
    bytes_per_ms: f64,
    /// The same in the busiest shard that was read.
    most_records_per_ms: f64,
    most_bytes_per_ms: f64,
}

/// Settings of the function and its mapping on which an estimate depends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Settings {
    batch_size: f64,
    memory_gb: f64,
    is_arm: bool,
    invocation_ms: f64,
}

/// The estimate of a replay. All but the number of shards is about.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Estimate {
    shards: u64,
    kinesis_records: u64,
    bytes: u64,
    invocations: u64,
    seconds: u64,
    usd: f64,
}

/// Records that were found in a shard in a span of time.
#[derive(Debug, Clone, Copy, Default)]
struct Sample {
    records: f64,
    bytes: f64,
    span_ms: f64,
}

impl Settings {
    pub(super) fn of(function: &LiveFunction, invocation_ms: u64) -> Self {
        Settings {
            batch_size: function.mapping.batch_size.map_or(100.0, f64::from).max(1.0),
            memory_gb: function.memory_mb as f64 / 1024.0,
            is_arm: function.is_arm,
            invocation_ms: invocation_ms as f64,
        }
    }
}

impl Load {
    /// Reads samples of the range. `oldest_ms` is when the oldest record can have arrived that the stream still has.
    pub(super) async fn sample(
        api: &Rc<Api>,
        shards: &[Shard],
        range: ReplayRange,
        oldest_ms: u64,
    ) -> Result<Self, AwsError> {
        let from_ms = if range.from_ms() == 0 { oldest_ms.min(range.until_ms()) } else { range.from_ms() };
        let length_ms = range.until_ms() - from_ms;
        let step = shards.len().div_ceil(SAMPLED_SHARDS).max(1);
        let reads = shards.iter().step_by(step).map(|shard| async move {
            let mut total = Sample::default();
            for index in 0..SAMPLES {
                let at_ms = from_ms + length_ms * index / SAMPLES;
                let sample = sample(api, &shard.id, at_ms, range.until_ms()).await?;
                // Each place stands for an equal part of the range.
                total.records += sample.records / sample.span_ms / SAMPLES as f64;
                total.bytes += sample.bytes / sample.span_ms / SAMPLES as f64;
            }
            Ok::<_, AwsError>(total)
        });
        let rates: Vec<Sample> = stream::iter(reads).buffered(8).try_collect().await?;
        let number = rates.len().max(1) as f64;
        let most = |of: fn(&Sample) -> f64| rates.iter().map(of).fold(0.0, f64::max);
        Ok(Load {
            shards: shards.len() as f64,
            length_ms: length_ms as f64,
            records_per_ms: rates.iter().map(|rate| rate.records).sum::<f64>() / number,
            bytes_per_ms: rates.iter().map(|rate| rate.bytes).sum::<f64>() / number,
            most_records_per_ms: most(|rate| rate.records),
            most_bytes_per_ms: most(|rate| rate.bytes),
        })
    }

    /// Estimates the replay. Each shard has one invocation at a time, and is read at most as fast as Kinesis allows.
    pub(super) fn estimate(&self, settings: &Settings) -> Estimate {
        let invocations = |records: f64, bytes: f64| {
            let json_bytes = bytes * 4.0 / 3.0 + records * RECORD_JSON_BYTES;
            let by_size = json_bytes / MAX_EVENT_BYTES as f64;
            if records > 0.0 { (records / settings.batch_size).max(by_size).max(1.0).ceil() } else { 0.0 }
        };
        let records = self.records_per_ms * self.length_ms;
        let bytes = self.bytes_per_ms * self.length_ms;
        let all = invocations(records, bytes) * self.shards;
        let most = (self.most_records_per_ms * self.length_ms, self.most_bytes_per_ms * self.length_ms);
        let reading_s = most.1 / SHARD_BYTES_PER_SECOND;
        let processing_s = invocations(most.0, most.1) * settings.invocation_ms / 1e3;
        let gb_seconds = all * settings.invocation_ms / 1e3 * settings.memory_gb;
        let per_gb_second = if settings.is_arm { USD_PER_GB_SECOND_ARM } else { USD_PER_GB_SECOND_X86 };
        // The journal is read before a batch, and the position is written after it.
        let per_invocation = USD_PER_INVOCATION + USD_PER_WRITE + USD_PER_READ;
        Estimate {
            shards: self.shards as u64,
            kinesis_records: (records * self.shards).round() as u64,
            bytes: (bytes * self.shards).round() as u64,
            invocations: all.round() as u64,
            seconds: reading_s.max(processing_s).ceil() as u64,
            usd: ((all * per_invocation + gb_seconds * per_gb_second) * 100.0).ceil() / 100.0,
        }
    }
}

/// Reads the records of a shard from a time on.
async fn sample(api: &Rc<Api>, shard_id: &str, at_ms: u64, until_ms: u64) -> Result<Sample, AwsError> {
    let pace = Rc::new(ReadPace::default());
    let mut reader = ShardReader::begin(Rc::clone(api), pace, shard_id, Position::AtTimestamp(at_ms)).await?;
    let rest_ms = (until_ms - at_ms).max(1) as f64;
    for _ in 0..READS {
        let Some(page) = reader.page().await? else { break };
        let Some(last) = page.records.last() else {
            if page.is_behind {
                continue;
            }
            break;
        };
        let in_range = page.records.iter().filter(|record| (at_ms..until_ms).contains(&record.arrival_ms));
        let (records, bytes) = in_range
            .fold((0.0, 0.0), |(records, bytes), record| (records + 1.0, bytes + record.data.len() as f64));
        let is_whole = !page.is_behind || reader.is_at_end() || last.arrival_ms >= until_ms;
        let span_ms = if is_whole { rest_ms } else { last.arrival_ms.saturating_sub(at_ms).max(1) as f64 };
        return Ok(Sample { records, bytes, span_ms });
    }
    Ok(Sample { span_ms: rest_ms, ..Sample::default() })
}

impl Estimate {
    pub(super) fn write(&self, format: Format) -> io::Result<()> {
        let Estimate { shards, kinesis_records, bytes, invocations, seconds, usd } = self;
        let mut output = io::stdout().lock();
        match format {
            Format::Json => {
                serde_json::to_writer(&mut output, self)?;
                writeln!(output)
            }
            Format::Table => writeln!(
                output,
                "shards           {shards}\n\
                 Kinesis records  about {kinesis_records}\n\
                 data             about {}\n\
                 invocations      about {invocations}\n\
                 time             at least {}\n\
                 cost             about {usd:.2} USD, at list prices of us-east-1",
                size(*bytes),
                cell::duration(seconds * 1_000)
            ),
        }
    }
}

/// Returns a number of bytes for people.
fn size(bytes: u64) -> String {
    let number = bytes as f64;
    match bytes {
        0..1_000_000 => format!("{:.1} KB", number / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", number / 1e6),
        _ => format!("{:.1} GB", number / 1e9),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_of_ten_terabytes_over_ten_thousand_shards_takes_minutes() {
        let day_ms = 24.0 * 3600.0 * 1000.0;
        // Records of 10 KB.
        let (records, bytes) = (1e9 / 1e4 / day_ms, 1e9 / day_ms);
        let load = Load {
            shards: 10_000.0,
            length_ms: day_ms,
            records_per_ms: records,
            bytes_per_ms: bytes,
            most_records_per_ms: records,
            most_bytes_per_ms: bytes,
        };
        let settings = Settings { batch_size: 1_000.0, memory_gb: 0.5, is_arm: true, invocation_ms: 1_000.0 };
        assert_eq!(
            load.estimate(&settings),
            Estimate {
                shards: 10_000,
                kinesis_records: 1_000_000_000,
                bytes: 10_000_000_000_000,
                invocations: 2_220_000,
                seconds: 500,
                usd: 16.91,
            }
        );
    }

    #[test]
    fn nothing_costs_nothing() {
        let load = Load {
            shards: 3.0,
            length_ms: 1_000.0,
            records_per_ms: 0.0,
            bytes_per_ms: 0.0,
            most_records_per_ms: 0.0,
            most_bytes_per_ms: 0.0,
        };
        let settings = Settings { batch_size: 100.0, memory_gb: 1.0, is_arm: false, invocation_ms: 1_000.0 };
        let estimate = load.estimate(&settings);
        assert_eq!((estimate.invocations, estimate.seconds, estimate.usd), (0, 0, 0.0));
    }
}
