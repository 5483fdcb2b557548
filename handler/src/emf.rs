//! CloudWatch's embedded metric format: lines of a log that CloudWatch turns into metrics.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{
    collections::BTreeMap,
    io::{self, Write},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// The most values of a metric, and the most metrics, that a line may hold.
const MAX_IN_LINE: usize = 100;

/// The most dimensions of a metric. Further labels are members of the line without being dimensions.
const MAX_DIMENSIONS: usize = 30;

/// A recorder whose metrics are written as lines. A label is a dimension.
#[derive(Debug, Default)]
pub(crate) struct EmbeddedMetrics {
    namespace: &'static str,
    units: Mutex<BTreeMap<KeyName, Unit>>,
    counters: Series<AtomicU64>,
    gauges: Series<AtomicU64>,
    histograms: Series<Values>,
}

type Series<T> = Mutex<BTreeMap<Key, Arc<T>>>;

/// The values of a histogram since the last line.
#[derive(Debug, Default)]
struct Values(Mutex<Vec<f64>>);

impl HistogramFn for Values {
    fn record(&self, value: f64) {
        // JSON has no other numbers.
        if value.is_finite() {
            lock(&self.0).push(value);
        }
    }
}

/// A metric is as good after a panic as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn get_or_insert<T: Default>(series: &Series<T>, key: &Key) -> Arc<T> {
    Arc::clone(lock(series).entry(key.clone()).or_default())
}

impl Recorder for &'static EmbeddedMetrics {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, _: SharedString) {
        self.describe(name, unit);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(get_or_insert(&self.counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(get_or_insert(&self.gauges, key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(get_or_insert(&self.histograms, key))
    }
}

impl EmbeddedMetrics {
    pub(crate) fn new(namespace: &'static str) -> Self {
        EmbeddedMetrics { namespace, ..EmbeddedMetrics::default() }
    }

    fn describe(&self, name: KeyName, unit: Option<Unit>) {
        let mut units = lock(&self.units);
        match unit {
            Some(unit) => drop(units.insert(name, unit)),
            None => drop(units.remove(&name)),
        }
    }

    /// Writes what has been recorded since the last time, and these properties: one line for each set of labels, and
    /// further ones if a histogram has more values than a line may hold. Counters that have not moved are left out.
    pub(crate) fn write(
        &self,
        timestamp_ms: u64,
        properties: &[(&str, &str)],
        mut output: impl Write,
    ) -> io::Result<()> {
        let units = lock(&self.units).clone();
        let unit = |key: &Key| units.get(key.name()).and_then(unit_name);
        for (labels, metrics) in self.take() {
            let rounds = metrics.iter().map(|(_, values)| values.rounds()).max().unwrap_or(0);
            for round in 0..rounds {
                let in_round: Vec<_> = metrics
                    .iter()
                    .filter_map(|(key, values)| Some((key.name(), unit(key), values.round(round)?)))
                    .collect();
                for metrics in in_round.chunks(MAX_IN_LINE) {
                    let namespace = self.namespace;
                    let line = Line { namespace, timestamp_ms, labels: &labels, properties, metrics };
                    let mut json = serde_json::to_vec(&line)?;
                    json.push(b'\n');
                    output.write_all(&json)?;
                }
            }
        }
        Ok(())
    }

    /// Returns what has been recorded since the last time, by labels.
    fn take(&self) -> BTreeMap<Vec<Label>, Vec<(Key, Recorded)>> {
        let mut recorded: BTreeMap<Vec<Label>, Vec<(Key, Recorded)>> = BTreeMap::new();
        let mut add = |key: &Key, values| {
            let labels = key.labels().cloned().collect();
            recorded.entry(labels).or_default().push((key.clone(), values));
        };
        for (key, counter) in &*lock(&self.counters) {
            match counter.swap(0, Ordering::Relaxed) {
                0 => {}
                count => add(key, Recorded::Count(count)),
            }
        }
        for (key, gauge) in &*lock(&self.gauges) {
            let value = f64::from_bits(gauge.load(Ordering::Relaxed));
            if value.is_finite() {
                add(key, Recorded::Level(value));
            }
        }
        for (key, histogram) in &*lock(&self.histograms) {
            add(key, Recorded::Values(mem::take(&mut *lock(&histogram.0))));
        }
        recorded
    }
}

/// A metric since the last line.
enum Recorded {
    Count(u64),
    Level(f64),
    Values(Vec<f64>),
}

/// As much of a metric as one line may hold.
#[derive(Serialize)]
#[serde(untagged)]
enum InLine<'a> {
    Count(u64),
    Level(f64),
    Values(&'a [f64]),
}

impl Recorded {
    /// Returns the number of lines that hold the metric.
    fn rounds(&self) -> usize {
        match self {
            Recorded::Count(_) | Recorded::Level(_) => 1,
            Recorded::Values(values) => values.len().div_ceil(MAX_IN_LINE),
        }
    }

    fn round(&self, round: usize) -> Option<InLine<'_>> {
        match self {
            Recorded::Count(count) => (round == 0).then_some(InLine::Count(*count)),
            Recorded::Level(level) => (round == 0).then_some(InLine::Level(*level)),
            Recorded::Values(values) => values.chunks(MAX_IN_LINE).nth(round).map(InLine::Values),
        }
    }
}

/// A line. Its members are the metadata, then labels, properties and metrics.
struct Line<'a> {
    namespace: &'static str,
    timestamp_ms: u64,
    labels: &'a [Label],
    properties: &'a [(&'a str, &'a str)],
    metrics: &'a [(&'a str, Option<&'static str>, InLine<'a>)],
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Metadata<'a> {
            cloud_watch_metrics: [Directive<'a>; 1],
            timestamp: u64,
        }

        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Directive<'a> {
            namespace: &'a str,
            dimensions: [Vec<&'a str>; 1],
            metrics: Vec<Definition<'a>>,
        }

        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Definition<'a> {
            name: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            unit: Option<&'static str>,
        }

        let directive = Directive {
            namespace: self.namespace,
            dimensions: [self.labels.iter().map(Label::key).take(MAX_DIMENSIONS).collect()],
            metrics: self.metrics.iter().map(|&(name, unit, _)| Definition { name, unit }).collect(),
        };
        let mut map = serializer.serialize_map(None)?;
        let metadata = Metadata { cloud_watch_metrics: [directive], timestamp: self.timestamp_ms };
        map.serialize_entry("_aws", &metadata)?;
        for label in self.labels {
            map.serialize_entry(label.key(), label.value())?;
        }
        for (name, value) in self.properties {
            map.serialize_entry(name, value)?;
        }
        for (name, _, value) in self.metrics {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Returns CloudWatch's name of a unit; `None` for a unit that it does not have.
///
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_MetricDatum.html>
fn unit_name(unit: &Unit) -> Option<&'static str> {
    Some(match unit {
        Unit::Count => "Count",
        Unit::Percent => "Percent",
        Unit::Seconds => "Seconds",
        Unit::Milliseconds => "Milliseconds",
        Unit::Microseconds => "Microseconds",
        Unit::Bytes => "Bytes",
        Unit::Kibibytes => "Kilobytes",
        Unit::Mebibytes => "Megabytes",
        Unit::Gibibytes => "Gigabytes",
        Unit::Tebibytes => "Terabytes",
        Unit::BitsPerSecond => "Bits/Second",
        Unit::KilobitsPerSecond => "Kilobits/Second",
        Unit::MegabitsPerSecond => "Megabits/Second",
        Unit::GigabitsPerSecond => "Gigabits/Second",
        Unit::TerabitsPerSecond => "Terabits/Second",
        Unit::CountPerSecond => "Count/Second",
        Unit::Nanoseconds => return None,
    })
}

#[cfg(test)]
mod tests {
    use metrics::{counter, describe_histogram, gauge, histogram, with_local_recorder};
    use serde_json::{Value, json};

    use super::*;

    fn lines(metrics: &EmbeddedMetrics) -> Vec<Value> {
        let mut output = Vec::new();
        metrics.write(7, &[("requestId", "r")], &mut output).expect("memory");
        let text = String::from_utf8(output).expect("JSON");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    fn recorder() -> &'static EmbeddedMetrics {
        Box::leak(Box::new(EmbeddedMetrics::new("Orders")))
    }

    #[test]
    fn a_line_has_the_format_that_cloudwatch_reads() {
        let metrics = recorder();
        with_local_recorder(&metrics, || {
            describe_histogram!("Latency", Unit::Milliseconds, "");
            counter!("Orders", "stream" => "s").increment(2);
            counter!("Orders", "stream" => "s").increment(1);
            counter!("Idle", "stream" => "s").increment(0);
            gauge!("Depth", "stream" => "s").set(1.5);
            histogram!("Latency", "stream" => "s").record(4.0);
            histogram!("Latency", "stream" => "s").record(f64::NAN);
        });
        let expected = json!({
            "_aws": {"Timestamp": 7, "CloudWatchMetrics": [{
                "Namespace": "Orders", "Dimensions": [["stream"]],
                "Metrics": [{"Name": "Orders"}, {"Name": "Depth"}, {"Name": "Latency", "Unit": "Milliseconds"}],
            }]},
            "stream": "s", "requestId": "r", "Orders": 3, "Depth": 1.5, "Latency": [4.0],
        });
        assert_eq!(lines(metrics), [expected]);
        // A gauge keeps its value, and nothing else has moved.
        let again = lines(metrics);
        assert_eq!((again.len(), &again[0]["Orders"], &again[0]["Depth"]), (1, &Value::Null, &json!(1.5)));
    }

    #[test]
    fn every_value_of_a_histogram_is_written() {
        let metrics = recorder();
        with_local_recorder(&metrics, || {
            counter!("Orders").increment(1);
            (0..250).for_each(|value| histogram!("Latency").record(f64::from(value)));
        });
        let lines = lines(metrics);
        let values = lines.iter().map(|line| line["Latency"].as_array().expect("values").len());
        assert_eq!(values.collect::<Vec<_>>(), [100, 100, 50]);
        let orders: Vec<_> = lines.iter().map(|line| line["Orders"].clone()).collect();
        assert_eq!(orders, [json!(1), Value::Null, Value::Null], "a counter is written once");
    }

    #[test]
    fn each_set_of_labels_has_its_own_lines_of_at_most_100_metrics() {
        let metrics = recorder();
        with_local_recorder(&metrics, || {
            (0..150).for_each(|number| counter!(format!("M{number}")).increment(1));
            counter!("M0", "mode" => "replay").increment(5);
        });
        let lines = lines(metrics);
        let names = |line: &Value| {
            line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().map(Vec::len).unwrap_or_default()
        };
        assert_eq!(lines.iter().map(names).collect::<Vec<_>>(), [100, 50, 1]);
        assert_eq!((&lines[2]["mode"], &lines[2]["M0"]), (&json!("replay"), &json!(5)));
    }
}
