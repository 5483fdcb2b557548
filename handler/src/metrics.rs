//! What an invocation has come to, as metrics.
//!
//! They go through the [`metrics`] facade, so whatever recorder the process has gets them, beside the processor's own.
//! [`run`](crate::run) installs one that writes CloudWatch's embedded metric format to standard output, unless the
//! function has set another before.

use std::{
    env,
    io::{self, Write},
    sync::{LazyLock, OnceLock},
};

use chrono::DateTime;
use metrics::{Label, SharedString, Unit, counter, describe_counter, describe_histogram, histogram};

use crate::{
    Counts,
    emf::EmbeddedMetrics,
    event::{Event, EventMode, KinesisRecord},
    invocation::Invocation,
};

/// Of all metrics.
const NAMESPACE: &str = "KinesisHandler";

/// Name, unit, and when it moves. The README has the same table.
type Counter = (&'static str, Unit, fn(&Counts) -> u64);

const COUNTERS: [Counter; 18] = [
    ("KinesisRecords", Unit::Count, |counts| counts.kinesis_records),
    ("UserRecords", Unit::Count, |counts| counts.user_records),
    ("Bytes", Unit::Bytes, |counts| counts.bytes),
    ("Failed", Unit::Count, |counts| counts.failed),
    ("Retried", Unit::Count, |counts| counts.retried),
    ("Resumed", Unit::Count, |counts| counts.resumed),
    ("Quarantined", Unit::Count, |counts| counts.quarantined),
    ("Discarded", Unit::Count, |counts| counts.discarded),
    ("InvalidAggregates", Unit::Count, |counts| counts.invalid_aggregates),
    ("EmptyAggregates", Unit::Count, |counts| counts.empty_aggregates),
    ("BadDigest", Unit::Count, |counts| counts.bad_digests),
    ("DeadlineStops", Unit::Count, |counts| counts.deadline_stops),
    ("CheckpointWriteFailed", Unit::Count, |counts| counts.checkpoint_write_failed),
    ("JournalReadFailed", Unit::Count, |counts| counts.journal_read_failed),
    ("JournalUnreadable", Unit::Count, |counts| counts.journal_unreadable),
    ("JournalWriteFailed", Unit::Count, |counts| counts.journal_write_failed),
    ("MirrorAhead", Unit::Count, |counts| counts.mirror_ahead),
    ("MirrorSuspended", Unit::Count, |counts| counts.mirror_suspended),
];

const AGGREGATION_RATIO: &str = "AggregationRatio";
const BEHIND_LATEST: &str = "BehindLatestMs";

/// The recorder of a process that has no other.
static EMBEDDED: LazyLock<EmbeddedMetrics> = LazyLock::new(|| EmbeddedMetrics::new(NAMESPACE));

/// Whether the process has no other recorder.
static IS_INSTALLED: OnceLock<()> = OnceLock::new();

/// The level of the lines, if Lambda drops those below a level: metrics must not be lost with the log. It is never `ERROR`,
/// because filters that count errors would find every line.
static LEVEL: LazyLock<Option<&str>> = LazyLock::new(|| {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok()?;
    let levels = [("WARN", "WARN"), ("ERROR", "FATAL"), ("FATAL", "FATAL")];
    levels.into_iter().find(|(of, _)| level.eq_ignore_ascii_case(of)).map(|(_, written)| written)
});

/// Makes standard output the place for metrics, if there is no other yet.
pub(crate) fn install() {
    if metrics::set_global_recorder(&*EMBEDDED).is_err() {
        return;
    }
    for (name, unit, _) in COUNTERS {
        describe_counter!(name, unit, "");
    }
    describe_histogram!(AGGREGATION_RATIO, Unit::Count, "");
    describe_histogram!(BEHIND_LATEST, Unit::Milliseconds, "");
    // An error means that it is set already.
    let _ = IS_INSTALLED.set(());
}

/// Records what a batch has come to. What has not moved is left out.
pub(crate) fn record(event: &Event<'_>, counts: &Counts, invocation: &Invocation<'_>) {
    let Some(last) = event.records.last() else { return };
    let labels = labels(last, event.mode);
    for (name, _, value) in COUNTERS {
        let value = value(counts);
        if value > 0 {
            counter!(name, labels.iter()).increment(value);
        }
    }
    if counts.kinesis_records > 0 {
        let user_records = counts.user_records + counts.resumed + counts.quarantined;
        histogram!(AGGREGATION_RATIO, labels.iter())
            .record(user_records as f64 / counts.kinesis_records as f64);
    }
    if let Some(arrival_ms) = last.approximate_arrival_ms {
        let behind_ms = invocation.clock.epoch_ms().saturating_sub(arrival_ms);
        histogram!(BEHIND_LATEST, labels.iter()).record(behind_ms as f64);
    }
    if IS_INSTALLED.get().is_some()
        && let Err(error) = write(last, invocation)
    {
        tracing::error!(%error, "metrics could not be written");
    }
}

/// Writes what has been recorded to standard output.
fn write(last: &KinesisRecord<'_>, invocation: &Invocation<'_>) -> io::Result<()> {
    let now_ms = invocation.clock.epoch_ms();
    let now = i64::try_from(now_ms).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
    let timestamp = now.to_rfc3339();
    // No dimension: each value of one is a metric of its own, and shards come and go.
    let shard_id = last.shard_id.as_deref().unwrap_or_default();
    let mut properties = vec![("requestId", &*invocation.request_id), ("shardId", shard_id)];
    if let Some(level) = *LEVEL {
        // Lambda takes a line without both for one of the level INFO, and drops it.
        properties.extend([("level", level), ("timestamp", &timestamp)]);
    }
    let mut lines = Vec::new();
    EMBEDDED.write(now_ms, &properties, &mut lines)?;
    io::stdout().lock().write_all(&lines)
}

/// The dimensions. Events of an operator have one more, so that they move no metric of the mapping's, and no alarm on one.
fn labels(record: &KinesisRecord<'_>, mode: EventMode) -> Vec<Label> {
    static FUNCTION: OnceLock<SharedString> = OnceLock::new();
    let function = FUNCTION.get_or_init(|| {
        let name = env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "unknown".to_owned());
        SharedString::from(name)
    });
    let stream = record.stream_arn().and_then(|arn| arn.rsplit_once('/')).map_or("unknown", |(_, name)| name);
    let mode = mode.name().map(|mode| Label::new("mode", mode));
    let labels = [Label::new("function", function.clone()), Label::new("stream", stream.to_owned())];
    labels.into_iter().chain(mode).collect()
}
