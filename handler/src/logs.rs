use std::env;

use lambda_runtime::tracing::subscriber::{
    EnvFilter,
    filter::{Directive, LevelFilter},
};

/// Writes `tracing` events to standard output as one line of JSON each, as Lambda's advanced logging controls read them.
///
/// The level is that of `AWS_LAMBDA_LOG_LEVEL`, else of `RUST_LOG` (which may also name modules), else `INFO`. Does
/// nothing if a subscriber is set already. [`run`](crate::run) calls it.
pub fn init_logs() {
    let level = env::var("AWS_LAMBDA_LOG_LEVEL").ok().and_then(|level| level.parse::<LevelFilter>().ok());
    let filter =
        EnvFilter::builder().with_default_directive(Directive::from(level.unwrap_or(LevelFilter::INFO)));
    let filter = match level {
        // Set in the console, it takes precedence.
        Some(_) => filter.parse_lossy(""),
        None => filter.from_env_lossy(),
    };
    let subscriber = lambda_runtime::tracing::subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(true)
        .with_span_list(false)
        .with_env_filter(filter)
        .finish();
    // An error means that the function has set its own.
    let _ = lambda_runtime::tracing::subscriber::util::SubscriberInitExt::try_init(subscriber);
}
