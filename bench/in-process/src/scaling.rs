//! The time for an event as it grows.

use std::fmt;

use anyhow::Result;
use bench_events::{of_kinesis_records, of_user_records};
use serde::Serialize;

use crate::{timing::Effort, whole::Whole};

const USER_RECORDS: [usize; 7] = [1, 10, 100, 1_000, 10_000, 100_000, 750_000];
const KINESIS_RECORDS: [usize; 5] = [1, 10, 100, 1_000, 10_000];

/// Length of the data of a plain record. An event of 10,000 such records is as large as Lambda delivers.
const PLAIN_BYTES: usize = 100;

/// The times for events of one kind with different numbers of records.
#[derive(Serialize)]
pub(crate) struct Curve {
    title: String,
    points: Vec<Point>,
    /// The cost of a record beyond the first in the largest event, divided by the smallest cost from 100 records on: 1 is flat.
    growth: f64,
}

#[derive(Serialize)]
struct Point {
    records: usize,
    event_ms: f64,
    /// Nanoseconds for each record beyond the first, because also an event of one record has a cost of its own.
    record_ns: Option<f64>,
}

/// Measures events with 1 to 750,000 user records.
pub(crate) fn user_records(whole: &Whole, effort: Effort) -> Result<Curve> {
    let time = |records| {
        let event = of_user_records(records)?;
        effort.shortest_ms(|| whole.handle(&event))
    };
    Curve::measure("user records without data, in aggregates of 50 KB".to_owned(), &USER_RECORDS, time)
}

/// Measures events with 1 to 10,000 Kinesis records.
pub(crate) fn kinesis_records(whole: &Whole, effort: Effort) -> Result<Curve> {
    let time = |records| {
        let event = of_kinesis_records(records, PLAIN_BYTES);
        effort.shortest_ms(|| whole.handle(&event))
    };
    Curve::measure(format!("plain Kinesis records of {PLAIN_BYTES} bytes"), &KINESIS_RECORDS, time)
}

impl Curve {
    fn measure(title: String, numbers: &[usize], time: impl Fn(usize) -> Result<f64>) -> Result<Self> {
        let mut points: Vec<Point> = Vec::new();
        for &records in numbers {
            let event_ms = time(records)?;
            let first = points.first();
            let record_ns = first.map(|one| (event_ms - one.event_ms) * 1e6 / (records - one.records) as f64);
            points.push(Point { records, event_ms, record_ns });
        }
        // With fewer, the differences are as small as what the clock cannot tell.
        let costs = points.iter().filter(|point| point.records >= 100).filter_map(|point| point.record_ns);
        let largest = points.last().and_then(|point| point.record_ns);
        let growth = largest.unwrap_or(f64::NAN) / costs.fold(f64::INFINITY, f64::min);
        Ok(Curve { title, points, growth })
    }
}

impl fmt::Display for Curve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}\n\n{:>10}  event in µs  ns for each beyond the first", self.title, "number")?;
        for Point { records, event_ms, record_ns } in &self.points {
            write!(f, "{records:10}  {:11.1}", event_ms * 1e3)?;
            match record_ns {
                Some(record_ns) => writeln!(f, "  {record_ns:28.2}")?,
                None => writeln!(f)?,
            }
        }
        writeln!(f, "in the largest event ÷ smallest from 100 records on: {:.2}", self.growth)
    }
}
