//! CloudWatch's embedded metric format: lines of a log that CloudWatch turns into metrics.
//!
//! <https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>

use std::{
    cell::RefCell,
    collections::BTreeMap,
    io::{self, Write},
    mem, ptr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, HistogramFn, Key, KeyName, Label, Metadata, Recorder, SharedString,
    Unit,
};
use serde::{Serialize, Serializer, ser::SerializeMap};

/// The most values of a metric, and the most metrics, that a line may hold.
const MAX_IN_LINE: usize = 100;

/// The most dimensions of a metric. Further labels are members of the line without being dimensions.
const MAX_DIMENSIONS: usize = 30;

/// Number of properties that an invocation usually has.
const PROPERTIES: usize = 2;

/// A recorder whose metrics are written as lines. A label is a dimension.
///
/// Counters and histograms are kept for each invocation, so that invocations that run at once do not share lines. A gauge is
/// a level of the whole process.
#[derive(Debug, Default)]
pub(crate) struct EmbeddedMetrics {
    namespace: &'static str,
    registry: Mutex<Registry>,
    /// Values that were recorded outside of any invocation: by a start hook or a background task.
    outside: Mutex<Values>,
}

/// All metrics that were ever used, so that their number of different labels bounds its size.
#[derive(Debug, Default)]
struct Registry {
    units: BTreeMap<KeyName, Unit>,
    /// Counters and histograms by their number.
    keys: Vec<Key>,
    counters: BTreeMap<Key, Arc<Series>>,
    histograms: BTreeMap<Key, Arc<Series>>,
    gauges: BTreeMap<Key, Arc<AtomicU64>>,
}

/// The values of counters and histograms since the last line, by the number of the metric.
pub(crate) type Values = BTreeMap<usize, Recorded>;

/// Members of a line besides its labels and metrics.
pub(crate) type Properties = Vec<(&'static str, String)>;

/// The metric with a number. A processor may keep it, so each value goes to the invocation that is current by then.
#[derive(Debug)]
struct Series {
    metrics: &'static EmbeddedMetrics,
    number: usize,
    /// Sum of all increments of a counter: an absolute value stands for the difference to it.
    total: AtomicU64,
}

impl Series {
    fn count(&self, increment: u64) {
        self.metrics.record(|values| {
            if let Recorded::Count(count) = values.entry(self.number).or_insert(Recorded::Count(0)) {
                *count += increment;
            }
        });
    }
}

impl CounterFn for Series {
    fn increment(&self, value: u64) {
        self.total.fetch_add(value, Ordering::Relaxed);
        self.count(value);
    }

    fn absolute(&self, value: u64) {
        let before = self.total.fetch_max(value, Ordering::Relaxed);
        self.count(value.saturating_sub(before));
    }
}

impl HistogramFn for Series {
    fn record(&self, value: f64) {
        // JSON has no other numbers.
        if !value.is_finite() {
            return;
        }
        self.metrics.record(|values| {
            if let Recorded::Values(values) =
                values.entry(self.number).or_insert_with(|| Recorded::Values(Vec::new()))
            {
                values.push(value);
            }
        });
    }
}

/// A metric is as good after a panic as before.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let Registry { keys, counters, .. } = &mut *lock(&self.registry);
        Counter::from_arc(self.series(keys, counters, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::clone(lock(&self.registry).gauges.entry(key.clone()).or_default()))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        let Registry { keys, histograms, .. } = &mut *lock(&self.registry);
        Histogram::from_arc(self.series(keys, histograms, key))
    }
}

thread_local! {
    /// The invocation that this thread is polling.
    static CURRENT: RefCell<Option<Arc<Recording>>> = const { RefCell::new(None) };
}

/// The metrics of one invocation.
#[derive(Debug)]
struct Recording {
    metrics: &'static EmbeddedMetrics,
    values: Mutex<Values>,
    properties: Mutex<Properties>,
}

/// An invocation whose metrics are being recorded. Its end writes them, also if the invocation is cancelled.
#[derive(Debug)]
pub(crate) struct RecordedInvocation {
    recording: Arc<Recording>,
    write: fn(&'static EmbeddedMetrics, Properties, Values),
}

impl RecordedInvocation {
    /// Begins to record an invocation. At its end, `write` gets its properties and values.
    pub(crate) fn new(
        metrics: &'static EmbeddedMetrics,
        request_id: &str,
        write: fn(&'static EmbeddedMetrics, Properties, Values),
    ) -> Self {
        let mut properties = Vec::with_capacity(PROPERTIES);
        properties.push(("requestId", request_id.to_owned()));
        let (values, properties) = (Mutex::default(), Mutex::new(properties));
        let recording = Arc::new(Recording { metrics, values, properties });
        RecordedInvocation { recording, write }
    }

    /// Runs a part of the invocation: what this thread records meanwhile belongs to it.
    pub(crate) fn enter<T>(&self, part: impl FnOnce() -> T) -> T {
        /// Puts the former invocation back, also after a panic.
        struct Entered(Option<Arc<Recording>>);

        impl Drop for Entered {
            fn drop(&mut self) {
                CURRENT.set(self.0.take());
            }
        }

        let _entered = Entered(CURRENT.replace(Some(Arc::clone(&self.recording))));
        part()
    }
}

impl Drop for RecordedInvocation {
    fn drop(&mut self) {
        let properties = mem::take(&mut *lock(&self.recording.properties));
        (self.write)(self.recording.metrics, properties, mem::take(&mut *lock(&self.recording.values)));
    }
}

/// Adds a property to the lines of the invocation that this thread is polling, if it is recorded.
pub(crate) fn set_property(name: &'static str, value: &str) {
    CURRENT.with_borrow(|current| {
        if let Some(recording) = current {
            let mut properties = lock(&recording.properties);
            properties.retain(|(known, _)| *known != name);
            properties.push((name, value.to_owned()));
        }
    });
}

impl EmbeddedMetrics {
    pub(crate) fn new(namespace: &'static str) -> Self {
        EmbeddedMetrics { namespace, ..EmbeddedMetrics::default() }
    }

    fn describe(&self, name: KeyName, unit: Option<Unit>) {
        let units = &mut lock(&self.registry).units;
        match unit {
            Some(unit) => drop(units.insert(name, unit)),
            None => drop(units.remove(&name)),
        }
    }

    /// Returns the metric of a kind, which gets the next number if it is new.
    fn series(
        &'static self,
        keys: &mut Vec<Key>,
        of_kind: &mut BTreeMap<Key, Arc<Series>>,
        key: &Key,
    ) -> Arc<Series> {
        if let Some(series) = of_kind.get(key) {
            return Arc::clone(series);
        }
        let series = Arc::new(Series { metrics: self, number: keys.len(), total: AtomicU64::new(0) });
        keys.push(key.clone());
        of_kind.insert(key.clone(), Arc::clone(&series));
        series
    }

    /// Adds a value to the invocation that this thread is polling, or else to those outside of any.
    fn record(&'static self, add: impl FnOnce(&mut Values)) {
        // While the thread ends, there is no invocation.
        let current = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
        match current.filter(|recording| ptr::eq(recording.metrics, self)) {
            Some(recording) => add(&mut lock(&recording.values)),
            None => add(&mut lock(&self.outside)),
        }
    }

    /// Returns the values that were recorded outside of any invocation since the last time.
    pub(crate) fn take_outside(&self) -> Values {
        mem::take(&mut *lock(&self.outside))
    }

    /// Writes values, the gauges if they are wanted, and these properties: one line for each set of labels, and further
    /// ones if a histogram has more values than a line may hold. Counters that have not moved are left out.
    pub(crate) fn write(
        &self,
        timestamp_ms: u64,
        properties: &[(&str, String)],
        values: Values,
        with_gauges: bool,
        mut output: impl Write,
    ) -> io::Result<()> {
        let registry = lock(&self.registry);
        let unit = |key: &Key| registry.units.get(key.name()).and_then(unit_name);
        for (labels, metrics) in by_labels(&registry, values, with_gauges) {
            let rounds = metrics.iter().map(|(_, values)| values.rounds()).max().unwrap_or(0);
            for round in 0..rounds {
                let mut in_round = Vec::with_capacity(metrics.len());
                in_round.extend(
                    metrics
                        .iter()
                        .filter_map(|(key, values)| Some((key.name(), unit(key), values.round(round)?))),
                );
                for metrics in in_round.chunks(MAX_IN_LINE) {
                    let namespace = self.namespace;
                    let line = MetricsLine { namespace, timestamp_ms, labels, properties, metrics };
                    serde_json::to_writer(&mut output, &line)?;
                    output.write_all(b"\n")?;
                }
            }
        }
        Ok(())
    }
}

/// Returns the metrics that have a value, by their labels.
fn by_labels(
    registry: &Registry,
    values: Values,
    with_gauges: bool,
) -> BTreeMap<&[Label], Vec<(&Key, Recorded)>> {
    let mut by_labels: BTreeMap<&[Label], Vec<(&Key, Recorded)>> = BTreeMap::new();
    let count = values.len();
    let values = values.into_iter().map(|(number, recorded)| (&registry.keys[number], recorded));
    let gauges = registry.gauges.iter().filter(|_| with_gauges).map(|(key, gauge)| {
        let level = f64::from_bits(gauge.load(Ordering::Relaxed));
        (key, Recorded::Level(level))
    });
    for (key, recorded) in values.chain(gauges).filter(|(_, recorded)| recorded.has_value()) {
        let metrics = by_labels.entry(key.labels().as_slice());
        metrics.or_insert_with(|| Vec::with_capacity(count)).push((key, recorded));
    }
    by_labels
}

/// A metric since the last line.
#[derive(Debug)]
pub(crate) enum Recorded {
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

    fn has_value(&self) -> bool {
        match self {
            Recorded::Count(count) => *count > 0,
            Recorded::Level(level) => level.is_finite(),
            Recorded::Values(values) => !values.is_empty(),
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
struct MetricsLine<'a> {
    namespace: &'static str,
    timestamp_ms: u64,
    labels: &'a [Label],
    properties: &'a [(&'a str, String)],
    metrics: &'a [(&'a str, Option<&'static str>, InLine<'a>)],
}

impl Serialize for MetricsLine<'_> {
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

    /// The lines of what was recorded outside of an invocation, which has no property but the one given here.
    fn lines(metrics: &EmbeddedMetrics) -> Vec<Value> {
        let mut output = Vec::new();
        let properties = [("requestId", "r".to_owned())];
        metrics.write(7, &properties, metrics.take_outside(), true, &mut output).expect("memory");
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
            counter!("Requests", "stream" => "s").absolute(7);
            counter!("Requests", "stream" => "s").absolute(9);
            gauge!("Depth", "stream" => "s").set(1.5);
            histogram!("Latency", "stream" => "s").record(4.0);
            histogram!("Latency", "stream" => "s").record(f64::NAN);
        });
        let expected = json!({
            "_aws": {"Timestamp": 7, "CloudWatchMetrics": [{
                "Namespace": "Orders", "Dimensions": [["stream"]],
                "Metrics": [
                    {"Name": "Orders"}, {"Name": "Requests"}, {"Name": "Latency", "Unit": "Milliseconds"}, {"Name": "Depth"},
                ],
            }]},
            "stream": "s", "requestId": "r", "Orders": 3, "Requests": 9, "Depth": 1.5, "Latency": [4.0],
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

    /// Lines that `collect` was called with, by request ID.
    static COLLECTED: Mutex<BTreeMap<String, Vec<String>>> = Mutex::new(BTreeMap::new());

    fn collect(metrics: &'static EmbeddedMetrics, properties: Properties, values: Values) {
        let mut output = Vec::new();
        metrics.write(7, &properties, values, false, &mut output).expect("memory");
        let lines = String::from_utf8(output).expect("JSON").lines().map(str::to_owned).collect();
        lock(&COLLECTED).insert(properties[0].1.clone(), lines);
    }

    #[test]
    fn invocations_that_run_at_once_do_not_share_values_or_properties() {
        let metrics = recorder();
        let [first, second] = ["first", "second"].map(|id| RecordedInvocation::new(metrics, id, collect));
        with_local_recorder(&metrics, || {
            // A processor may keep a counter for all invocations.
            let orders = counter!("Orders");
            orders.increment(100);
            first.enter(|| {
                orders.increment(1);
                second.enter(|| {
                    set_property("shardId", "2");
                    orders.increment(20);
                    histogram!("Latency").record(2.0);
                });
                set_property("shardId", "1");
                orders.increment(2);
            });
            set_property("shardId", "nobody's");
        });
        // The first is cancelled: it has an end all the same.
        drop(second);
        drop(first);
        let collected = lock(&COLLECTED).clone();
        let values = |id: &str| -> Value {
            let line: Value = serde_json::from_str(&collected[id][0]).expect("JSON");
            json!([line["requestId"], line["shardId"], line["Orders"], line["Latency"]])
        };
        assert_eq!(values("first"), json!(["first", "1", 3, null]));
        assert_eq!(values("second"), json!(["second", "2", 20, [2.0]]));
        assert_eq!(lines(metrics)[0]["Orders"], json!(100));
    }

    #[test]
    fn each_set_of_labels_has_its_own_lines_of_at_most_100_metrics() {
        let metrics = recorder();
        with_local_recorder(&metrics, || {
            (0..150).for_each(|number| counter!(format!("M{number}")).increment(1));
            counter!("M0", "mode" => "reprocess").increment(5);
        });
        let lines = lines(metrics);
        let names = |line: &Value| {
            line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().map(Vec::len).unwrap_or_default()
        };
        assert_eq!(lines.iter().map(names).collect::<Vec<_>>(), [100, 50, 1]);
        assert_eq!((&lines[2]["mode"], &lines[2]["M0"]), (&json!("reprocess"), &json!(5)));
    }
}
