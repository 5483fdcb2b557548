//! The counts of an invocation, as metrics.
//!
//! They go through the [`metrics`] facade, so whatever recorder the process has gets them, beside the processor's own.
//! [`EmbeddedMetricsLayer`] installs one that writes CloudWatch's embedded metric format to standard output, unless the
//! function has set another before.

use std::{
    env,
    io::{self, Write},
    pin::Pin,
    sync::{LazyLock, OnceLock},
    task::{self, Poll},
};

use chrono::DateTime;
use lambda_runtime::LambdaEvent;
use metrics::{Label, SharedString, Unit, counter, describe_counter, describe_histogram, histogram};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::{
    Clock, Counts, SystemClock,
    event::{Event, KinesisRecord},
    invocation::Invocation,
    lambda::emf::{self, EmbeddedMetrics, Properties, RecordedInvocation, Values},
};

/// Namespace of all metrics.
const NAMESPACE: &str = "KinesisHandler";

/// The name, unit and count of each counter. `docs/metrics.md` has the same table.
type Counter = (&'static str, Unit, fn(&Counts) -> u64);

const COUNTERS: [Counter; 24] = [
    ("KinesisRecords", Unit::Count, |counts| counts.kinesis_records),
    ("UserRecords", Unit::Count, |counts| counts.user_records),
    ("Bytes", Unit::Bytes, |counts| counts.bytes),
    ("FailedBatches", Unit::Count, |counts| counts.failed),
    ("PausedBatches", Unit::Count, |counts| counts.paused),
    ("RetriedRecords", Unit::Count, |counts| counts.retried),
    ("ResumedRecords", Unit::Count, |counts| counts.resumed),
    ("OutOfRangeRecords", Unit::Count, |counts| counts.out_of_range),
    ("QuarantinedRecords", Unit::Count, |counts| counts.quarantined),
    ("SkippedRecords", Unit::Count, |counts| counts.skipped),
    ("DiscardedRecords", Unit::Count, |counts| counts.discarded),
    ("InvalidAggregates", Unit::Count, |counts| counts.invalid_aggregates),
    ("EmptyAggregates", Unit::Count, |counts| counts.empty_aggregates),
    ("ChecksumMismatches", Unit::Count, |counts| counts.checksum_mismatches),
    ("DeadlineStops", Unit::Count, |counts| counts.deadline_stops),
    ("CheckpointWriteErrors", Unit::Count, |counts| counts.checkpoint_write_errors),
    ("JournalReadErrors", Unit::Count, |counts| counts.journal_read_errors),
    ("UnreadableJournalItems", Unit::Count, |counts| counts.unreadable_journal_items),
    ("JournalWriteErrors", Unit::Count, |counts| counts.journal_write_errors),
    ("HashRangeErrors", Unit::Count, |counts| counts.hash_range_errors),
    ("CheckpointAlreadyAhead", Unit::Count, |counts| counts.checkpoint_already_ahead),
    ("CheckpointLeaseOwned", Unit::Count, |counts| counts.checkpoint_lease_owned),
    ("CheckpointReadErrors", Unit::Count, |counts| counts.checkpoint_read_errors),
    ("CutoverSkippedRecords", Unit::Count, |counts| counts.cutover_skipped),
];

const AGGREGATION_RATIO: &str = "AggregationRatio";
const BEHIND_LATEST: &str = "MillisBehindLatest";

/// More bytes than the line of an invocation without metrics of the processor has.
const LINE_BYTES: usize = 1024;

/// The recorder of a process that has no other.
static EMBEDDED: LazyLock<EmbeddedMetrics> = LazyLock::new(|| EmbeddedMetrics::new(NAMESPACE));

/// Whether the process has no other recorder.
static IS_INSTALLED: LazyLock<bool> = LazyLock::new(|| {
    if metrics::set_global_recorder(&*EMBEDDED).is_err() {
        return false;
    }
    for (name, unit, _) in COUNTERS {
        describe_counter!(name, unit, "");
    }
    describe_histogram!(AGGREGATION_RATIO, Unit::Count, "");
    describe_histogram!(BEHIND_LATEST, Unit::Milliseconds, "");
    true
});

/// The level of the lines, if Lambda drops those below a level: metrics must not be lost with the log. It is never `ERROR`,
/// because filters that count errors would find every line.
static LEVEL: LazyLock<Option<&str>> = LazyLock::new(|| {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok()?;
    let levels = [("WARN", "WARN"), ("ERROR", "FATAL"), ("FATAL", "FATAL")];
    levels.into_iter().find(|(of, _)| level.eq_ignore_ascii_case(of)).map(|(_, written)| written)
});

/// A layer that writes metrics to standard output, in CloudWatch's embedded metric format, once for each invocation.
///
/// [`run`](crate::run) uses it. A function with a [`Runtime`](lambda_runtime::Runtime) of its own puts it around the handler,
/// or around any other service of Lambda events:
///
/// ```no_run
/// use kinesis_handler::{
///     EmbeddedMetricsLayer, Handler, ProcessError, RawEventLayer, Record, init_logs, keep_freed_memory,
/// };
/// use lambda_runtime::{Runtime, layers::TracingLayer};
/// use tower::Layer;
///
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     record.text()?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), lambda_runtime::Error> {
/// keep_freed_memory();
/// init_logs();
/// let service = EmbeddedMetricsLayer::install().layer(Handler::new(process));
/// Runtime::new(service).layer(RawEventLayer).layer(TracingLayer::new()).run().await
/// # }
/// ```
///
/// Invocations that run at once have lines of their own, with their request ID and shard. Values that are recorded outside of
/// any invocation, by a background task for example, are written at the end of the next one, without these properties.
#[derive(Debug, Clone, Copy)]
pub struct EmbeddedMetricsLayer {
    is_installed: bool,
}

impl EmbeddedMetricsLayer {
    /// Installs the recorder of the [`metrics`] facade, unless the process has one already: then that recorder gets all
    /// metrics, and the layer does nothing.
    pub fn install() -> Self {
        EmbeddedMetricsLayer { is_installed: *IS_INSTALLED }
    }
}

impl<S> Layer<S> for EmbeddedMetricsLayer {
    type Service = EmbeddedMetricsService<S>;

    fn layer(&self, inner: S) -> EmbeddedMetricsService<S> {
        EmbeddedMetricsService { inner, is_installed: self.is_installed }
    }
}

/// The service that [`EmbeddedMetricsLayer`] makes.
#[derive(Debug, Clone)]
pub struct EmbeddedMetricsService<S> {
    inner: S,
    is_installed: bool,
}

impl<S: Service<LambdaEvent<T>>, T> Service<LambdaEvent<T>> for EmbeddedMetricsService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = EmbeddedMetricsFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, event: LambdaEvent<T>) -> Self::Future {
        let request_id = &event.context.request_id;
        let invocation =
            self.is_installed.then(|| RecordedInvocation::new(&EMBEDDED, request_id, write_to_stdout));
        let inner = match &invocation {
            Some(invocation) => invocation.enter(|| self.inner.call(event)),
            None => self.inner.call(event),
        };
        EmbeddedMetricsFuture { inner, invocation }
    }
}

pin_project! {
    /// The future of [`EmbeddedMetricsService`].
    #[derive(Debug)]
    pub struct EmbeddedMetricsFuture<F> {
        #[pin]
        inner: F,
        invocation: Option<RecordedInvocation>,
    }
}

impl<F: Future> Future for EmbeddedMetricsFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let poll = match this.invocation {
            Some(invocation) => invocation.enter(|| this.inner.poll(context)),
            None => this.inner.poll(context),
        };
        if poll.is_ready() {
            // Written before the response is sent: afterwards, Lambda may freeze the environment.
            *this.invocation = None;
        }
        poll
    }
}

/// Records the counts of a batch. Metrics that have not moved are left out.
pub(crate) fn record(event: &Event<'_>, counts: &Counts, invocation: &Invocation<'_>) {
    let Some(last) = event.records.last() else { return };
    let mode = event.mode.name().or(invocation.is_replay.then_some("replay"));
    let labels = labels(last, mode);
    for (name, _, value) in COUNTERS {
        let value = value(counts);
        if value > 0 {
            counter!(name, labels.iter()).increment(value);
        }
    }
    if counts.kinesis_records > 0 {
        let passed = counts.resumed + counts.out_of_range + counts.quarantined + counts.skipped;
        let user_records = counts.user_records + passed;
        histogram!(AGGREGATION_RATIO, labels.iter())
            .record(user_records as f64 / counts.kinesis_records as f64);
    }
    if let Some(arrival_ms) = last.approximate_arrival_ms {
        let behind_ms = invocation.clock.epoch_ms().saturating_sub(arrival_ms);
        histogram!(BEHIND_LATEST, labels.iter()).record(behind_ms as f64);
    }
    // No dimension: each value of one is a metric of its own, and shards come and go.
    emf::set_property("shardId", last.shard_id.as_deref().unwrap_or_default());
}

/// Writes the lines of an invocation, and of what was recorded outside of any, to standard output.
fn write_to_stdout(metrics: &'static EmbeddedMetrics, mut properties: Properties, values: Values) {
    let now_ms = SystemClock.epoch_ms();
    let own = properties.len();
    // Lambda takes a line without both for one of the level INFO, and drops it.
    if let Some(level) = *LEVEL {
        let now = i64::try_from(now_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
        properties.extend([("level", level.to_owned()), ("timestamp", now.to_rfc3339())]);
    }
    let level = &properties[own..];
    let mut lines = Vec::with_capacity(LINE_BYTES);
    let result = metrics
        .write(now_ms, &properties, values, true, &mut lines)
        .and_then(|()| metrics.write(now_ms, level, metrics.take_outside(), false, &mut lines))
        // At once, so that lines of other invocations do not come between.
        .and_then(|()| io::stdout().lock().write_all(&lines));
    if let Err(error) = result {
        tracing::error!(%error, "metrics could not be written");
    }
}

/// The dimensions. Events of an operator and of a replay have one more, so that they move no metric of the mapping's, and no alarm on one.
fn labels(record: &KinesisRecord<'_>, mode: Option<&'static str>) -> Vec<Label> {
    // Both values are shared, because each metric has a copy.
    static FUNCTION: OnceLock<SharedString> = OnceLock::new();
    let function = FUNCTION.get_or_init(|| {
        let name = env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "unknown".to_owned());
        SharedString::from_shared(name.into())
    });
    let stream = record.stream_name().unwrap_or("unknown");
    let stream = SharedString::from_shared(stream.into());
    let mode = mode.map(|mode| Label::new("mode", mode));
    let labels = [Label::new("function", function.clone()), Label::new("stream", stream)];
    labels.into_iter().chain(mode).collect()
}
