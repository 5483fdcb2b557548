//! Your own `lambda_runtime::Runtime`: the parts of `kinesis_handler::run` with a tower layer between them.

use std::time::{Duration, Instant};

use kinesis_handler::{
    BatchResponse, EmbeddedMetricsLayer, Handler, LogBufferLayer, Options, ProcessError, RawEventLayer,
    Record, init_logs, keep_freed_memory,
};
use lambda_runtime::{LambdaEvent, Runtime, layers::TracingLayer};
use metrics::histogram;
use tower::{ServiceBuilder, ServiceExt, service_fn};

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    record.text()?;
    Ok(())
}

/// Reports how long a batch takes, as a metric of the function's own.
fn record_duration(_: &BatchResponse, duration: Duration) {
    histogram!("BatchMilliseconds").record(duration.as_secs_f64() * 1_000.0);
}

#[tokio::main]
async fn main() -> Result<(), lambda_runtime::Error> {
    keep_freed_memory();
    init_logs();
    let options = Options::from_env()?;
    let log_buffer = LogBufferLayer::from_options(&options);
    let handler = Handler::with_options(process, options);
    let timed = service_fn(move |event: LambdaEvent<kinesis_handler::RawEvent>| {
        let handler = handler.clone();
        async move {
            let begun = Instant::now();
            let response = handler.oneshot(event).await?;
            record_duration(&response, begun.elapsed());
            Ok::<_, kinesis_handler::HandlerError>(response)
        }
    });
    // The metrics layer comes first, so that it sees what all others record.
    let layers = ServiceBuilder::new().layer(EmbeddedMetricsLayer::install()).layer(log_buffer);
    let service = layers.service(timed);
    let runtime = Runtime::new(service).layer(RawEventLayer);
    runtime.layer(TracingLayer::new()).run().await
}
