use std::env;

use lambda_runtime::tracing::subscriber::{EnvFilter, filter::LevelFilter};

/// Targets whose finest levels show credentials: the AWS SDK logs access key IDs, and HTTP clients log headers.
const CREDENTIAL_TARGETS: &str = "aws_config=info,aws_credential_types=info,aws_runtime=info,aws_sigv4=info,\
    aws_smithy_http_client=info,aws_smithy_runtime=info,aws_smithy_runtime_api=info,h2=info,hyper=info,hyper_util=info,\
    rustls=info";

/// Writes `tracing` events to standard output as one line of JSON each, as Lambda's advanced logging controls read them.
///
/// The level is that of `AWS_LAMBDA_LOG_LEVEL`, else of `RUST_LOG` (which may also name modules), else `INFO`. Modules of
/// the AWS SDK and of HTTP clients, whose finest levels show credentials, stay at `INFO` unless `RUST_LOG` names them.
/// Does nothing if a subscriber is set already. [`run`](crate::run) calls it.
pub fn init_logs() {
    let filter =
        filter(env::var("AWS_LAMBDA_LOG_LEVEL").ok().as_deref(), env::var("RUST_LOG").ok().as_deref());
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

fn filter(lambda_level: Option<&str>, rust_log: Option<&str>) -> EnvFilter {
    let level = lambda_level.and_then(|level| level.parse::<LevelFilter>().ok());
    // Of two directives for one target, the later counts. A level that is set in the console takes precedence.
    let directives = match (level, rust_log) {
        (None, Some(rust_log)) => format!("{CREDENTIAL_TARGETS},{rust_log}"),
        // Then these targets have that level, too.
        (Some(level), _) if level < LevelFilter::INFO => level.to_string(),
        (level, _) => format!("{CREDENTIAL_TARGETS},{}", level.unwrap_or(LevelFilter::INFO)),
    };
    EnvFilter::builder().parse_lossy(directives)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(lambda_level: Option<&str>, rust_log: Option<&str>, expected: &[&str], absent: &[&str]) {
        let filter = filter(lambda_level, rust_log).to_string();
        let directives: Vec<_> = filter.split(',').collect();
        for directive in expected {
            assert!(directives.contains(directive), "{directive} is not in {filter}");
        }
        for directive in absent {
            assert!(!directives.contains(directive), "{directive} is in {filter}");
        }
    }

    #[test]
    fn what_logs_credentials_stays_at_info() {
        check(Some("TRACE"), None, &["trace", "aws_sigv4=info", "hyper=info"], &[]);
        check(Some("TRACE"), Some("aws_sigv4=trace"), &["trace", "aws_sigv4=info"], &["aws_sigv4=trace"]);
        check(None, Some("trace"), &["trace", "aws_runtime=info", "h2=info"], &[]);
        check(None, Some("debug,aws_sigv4=trace"), &["debug", "aws_sigv4=trace"], &["aws_sigv4=info"]);
        check(None, None, &["info"], &[]);
        check(Some("ERROR"), None, &["error"], &["aws_sigv4=info"]);
    }
}
