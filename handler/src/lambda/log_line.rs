use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormattedFields,
        format::{JsonFields, Writer},
        time::{FormatTime, SystemTime},
    },
    registry::LookupSpan,
};

/// The modules of this crate, whose messages say where they come from.
const OWN_TARGET: &str = "kinesis_handler";

/// Length of a time to the millisecond, `2026-01-01T00:00:00.000`, without its zone.
const MILLISECONDS: usize = 23;

/// A log line: a flat JSON object with the fields of the event, and those of all spans around it, each once.
///
/// CloudWatch Logs charges for bytes, so a line has nothing that another member says: not the shard beside a position, not the
/// kit's own modules, and of the trace its ID, if X-Ray keeps the trace.
pub(super) struct LogLine;

impl<S> FormatEvent<S, JsonFields> for LogLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, JsonFields>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = Members::default();
        line.add("timestamp", timestamp()?);
        line.add("level", event.metadata().level().as_str());
        // `message` is the first field of an event.
        event.record(&mut line);
        let target = event.metadata().target();
        if !target.starts_with(OWN_TARGET) || *event.metadata().level() > Level::INFO {
            line.add("target", target);
        }
        // From the innermost span, whose fields count.
        for span in context.event_scope().into_iter().flatten() {
            let extensions = span.extensions();
            let Some(formatted) = extensions.get::<FormattedFields<JsonFields>>() else { continue };
            let Ok(fields) = serde_json::from_str::<Map<String, Value>>(formatted) else { continue };
            for (name, value) in fields {
                if let Some(value) = shown(&name, value) {
                    line.add(&name, value);
                }
            }
        }
        if line.names_shard_in_position() {
            line.0.retain(|(name, _)| name != "shardId");
        }
        writeln!(writer, "{}", serde_json::to_string(&line).map_err(|_| fmt::Error)?)
    }
}

/// Returns the value of a span's field, if it is worth its bytes.
fn shown(name: &str, value: Value) -> Option<Value> {
    if name != "xrayTraceId" {
        return Some(value);
    }
    let header = value.as_str()?;
    let part = |name: &str| header.split(';').find_map(|part| part.strip_prefix(name));
    // X-Ray has no other traces.
    (part("Sampled=") == Some("1")).then(|| part("Root=").unwrap_or(header).into())
}

fn timestamp() -> Result<String, fmt::Error> {
    let mut text = String::new();
    SystemTime.format_time(&mut Writer::new(&mut text))?;
    text.truncate(MILLISECONDS);
    text.push('Z');
    Ok(text)
}

/// The members of a line, in their order. The first one of a name counts.
#[derive(Default)]
struct Members(Vec<(String, Value)>);

impl Members {
    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(other, _)| other == name)
    }

    /// Whether `position` begins with the shard: that of a processor's own line may not.
    fn names_shard_in_position(&self) -> bool {
        let text = |name: &str| self.0.iter().find(|(other, _)| other == name)?.1.as_str();
        let (Some(position), Some(shard_id)) = (text("position"), text("shardId")) else { return false };
        position.strip_prefix(shard_id).is_some_and(|rest| rest.starts_with('/'))
    }

    fn add(&mut self, name: &str, value: impl Into<Value>) {
        if !self.has(name) {
            self.0.push((name.to_owned(), value.into()));
        }
    }

    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.add(field.name(), value);
    }
}

impl Serialize for Members {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.insert(field, value.to_string());
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.insert(field, value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.insert(field, value.to_string());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex},
    };

    use serde_json::json;
    use tracing::subscriber::with_default;

    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Write for Output {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic while locked").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns the lines that are logged.
    fn lines(log: impl FnOnce()) -> Vec<String> {
        let output = Output::default();
        let writer = output.clone();
        let subscriber = tracing_subscriber::fmt()
            .fmt_fields(JsonFields::new())
            .event_format(LogLine)
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        with_default(subscriber, log);
        let bytes = output.0.lock().expect("no panic while locked").clone();
        String::from_utf8(bytes).expect("UTF-8").lines().map(str::to_owned).collect()
    }

    /// A line without its time, which must be there.
    #[track_caller]
    fn check(line: &str, expected: Value) {
        let mut line: Map<String, Value> = serde_json::from_str(line).expect("JSON");
        let time = line.remove("timestamp").expect("a time");
        let time = time.as_str().expect("text");
        assert!(time.len() == 24 && time.starts_with("20") && time.ends_with('Z'), "{time}");
        assert_eq!(Value::Object(line), expected);
    }

    fn invocation(trace: &'static str) -> tracing::Span {
        let runtime = tracing::error_span!("runtime", requestId = "outer", xrayTraceId = trace);
        let _entered = runtime.enter();
        tracing::error_span!(
            "invocation",
            requestId = "id",
            stream = "orders",
            shardId = "shardId-000000000000"
        )
    }

    #[test]
    fn a_line_has_each_member_once_and_nothing_that_another_one_says() {
        let unsampled = "Root=1-6b0a8a1f-00000000000001a2212b8970;Parent=000001a2212b8970;Sampled=0";
        let lines = lines(|| {
            let _entered = invocation(unsampled).entered();
            tracing::error!(target: "kinesis_handler::batch", position = "shardId-000000000000/49:1", "failed");
            tracing::info!(target: "orders", total_cents = 7650, is_new = true, ratio = 0.5, "order reserved");
            tracing::info!(target: "orders", position = "49:1", "without its shard");
        });
        let ids = json!({ "requestId": "id", "stream": "orders" });
        let with = |mut members: Value| {
            members
                .as_object_mut()
                .expect("an object")
                .append(&mut ids.as_object().expect("an object").clone());
            members
        };
        check(
            &lines[0],
            with(json!({ "level": "ERROR", "message": "failed", "position": "shardId-000000000000/49:1" })),
        );
        check(
            &lines[1],
            with(json!({ "level": "INFO", "message": "order reserved", "total_cents": 7650, "is_new": true,
                "ratio": 0.5, "target": "orders", "shardId": "shardId-000000000000" })),
        );
        check(
            &lines[2],
            with(
                json!({ "level": "INFO", "message": "without its shard", "position": "49:1", "target": "orders",
                "shardId": "shardId-000000000000" }),
            ),
        );
    }

    #[test]
    fn a_trace_that_xray_keeps_is_named_by_its_id() {
        let sampled = "Root=1-6b0a8a1f-00000000000001a2212b8970;Parent=000001a2212b8970;Sampled=1";
        let lines = lines(|| {
            let _entered = invocation(sampled).entered();
            tracing::debug!(target: "kinesis_handler::batch", "processed");
        });
        check(
            &lines[0],
            json!({ "level": "DEBUG", "message": "processed", "target": "kinesis_handler::batch", "requestId": "id",
                "xrayTraceId": "1-6b0a8a1f-00000000000001a2212b8970", "stream": "orders",
                "shardId": "shardId-000000000000" }),
        );
    }

    #[test]
    fn a_failed_record_takes_less_than_300_bytes() {
        let lines = lines(|| {
            let span = tracing::error_span!(
                "invocation",
                requestId = "1f84c474-549a-44b1-8698-83aa02b05781",
                stream = "orders",
                shardId = "shardId-000000000000"
            );
            let _entered = span.entered();
            let position = "shardId-000000000000/49670000000000000000000000000000133784000000000000000037:1";
            tracing::error!(target: "kinesis_handler::lambda", position, error = "warehouse is not available",
                "record failed, batch stopped");
        });
        assert!(lines[0].len() < 300, "{}: {}", lines[0].len(), lines[0]);
    }
}
