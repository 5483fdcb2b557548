use std::env;

use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{self, format::JsonFields},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

use super::{log_buffer::LogWriter, log_line::LogLine};

/// Targets whose finest levels show credentials: the AWS SDK logs access key IDs, and HTTP clients log headers.
const CREDENTIAL_TARGETS: &str = "aws_config=info,aws_credential_types=info,aws_runtime=info,aws_sigv4=info,\
    aws_smithy_http_client=info,aws_smithy_runtime=info,aws_smithy_runtime_api=info,h2=info,hyper=info,hyper_util=info,\
    rustls=info";

/// Writes `tracing` events to standard output as one line of JSON each, as Lambda's advanced logging controls read them.
///
/// The level is that of `AWS_LAMBDA_LOG_LEVEL`, else of `RUST_LOG`, else `INFO`. `RUST_LOG` may have levels of modules, as in
/// `info,orders::store=debug`; its filters by spans and fields are ignored with a warning. Modules of the AWS SDK and of HTTP
/// clients, whose finest levels show credentials, stay at `INFO` unless `RUST_LOG` names them. Does nothing if a subscriber
/// is set already. [`run`](crate::run) calls it.
pub fn init_logs() {
    let (lambda_level, rust_log) = (env::var("AWS_LAMBDA_LOG_LEVEL").ok(), env::var("RUST_LOG").ok());
    let (filter, invalid) = filter(lambda_level.as_deref(), rust_log.as_deref());
    let subscriber = fmt::fmt()
        .fmt_fields(JsonFields::new())
        .event_format(LogLine)
        .with_writer(LogWriter::default())
        // The filter decides.
        .with_max_level(LevelFilter::TRACE)
        .finish()
        .with(filter);
    // An error means that the function has set its own.
    if subscriber.try_init().is_ok() {
        for directive in invalid {
            tracing::warn!(directive, "RUST_LOG: ignored, expected LEVEL, MODULE or MODULE=LEVEL");
        }
    }
}

/// Returns the filter, and the parts of `rust_log` that it ignores.
fn filter<'r>(lambda_level: Option<&str>, rust_log: Option<&'r str>) -> (Targets, Vec<&'r str>) {
    let level = lambda_level.and_then(|level| level.parse::<LevelFilter>().ok());
    let is_valid = |directive: &&str| directive.parse::<Targets>().is_ok() && !directive.contains('[');
    let of_modules = rust_log.filter(|_| level.is_none()).unwrap_or_default();
    let of_modules = of_modules.split(',').map(str::trim).filter(|directive| !directive.is_empty());
    let (valid, invalid): (Vec<_>, Vec<_>) = of_modules.partition(is_valid);
    // Of two directives for one target, the later counts. A level that is set in the console takes precedence.
    let directives = match (level, rust_log) {
        (None, Some(_)) if !valid.is_empty() => format!("{CREDENTIAL_TARGETS},{}", valid.join(",")),
        // Then these targets have that level, too.
        (Some(level), _) if level < LevelFilter::INFO => level.to_string(),
        (level, _) => format!("{CREDENTIAL_TARGETS},{}", level.unwrap_or(LevelFilter::INFO)),
    };
    let directives = directives.trim_end_matches(',');
    (directives.parse().expect("each directive has been parsed alone"), invalid)
}

#[cfg(test)]
mod tests {
    use tracing::Level;

    use super::*;

    /// Checks which levels of targets are enabled.
    #[track_caller]
    fn check(lambda_level: Option<&str>, rust_log: Option<&str>, expected: &[(&str, LevelFilter)]) {
        let (filter, invalid) = filter(lambda_level, rust_log);
        assert!(invalid.is_empty(), "{invalid:?}");
        let levels = [Level::ERROR, Level::WARN, Level::INFO, Level::DEBUG, Level::TRACE];
        for (target, expected) in expected {
            let enabled = levels.iter().rfind(|level| filter.would_enable(target, level));
            let enabled = enabled.map_or(LevelFilter::OFF, |level| LevelFilter::from_level(*level));
            assert_eq!(enabled, *expected, "{target} with {filter}");
        }
    }

    const OFF: LevelFilter = LevelFilter::OFF;
    const ERROR: LevelFilter = LevelFilter::ERROR;
    const INFO: LevelFilter = LevelFilter::INFO;
    const DEBUG: LevelFilter = LevelFilter::DEBUG;
    const TRACE: LevelFilter = LevelFilter::TRACE;

    #[test]
    fn what_logs_credentials_stays_at_info() {
        let at_info = [("aws_sigv4::http_request", INFO), ("hyper", INFO), ("hyper_util::client", INFO)];
        check(Some("TRACE"), None, &at_info);
        check(Some("TRACE"), None, &[("orders", TRACE)]);
        check(Some("TRACE"), Some("aws_sigv4=trace"), &at_info);
        check(None, Some("trace"), &at_info);
        check(None, Some("debug,aws_sigv4=trace"), &[("orders", DEBUG), ("aws_sigv4", TRACE), ("h2", INFO)]);
        check(None, Some("trace,aws_sigv4=off"), &[("aws_sigv4", OFF)]);
        check(Some("ERROR"), None, &[("aws_sigv4", ERROR)]);
    }

    #[test]
    fn the_level_is_that_of_lambda_else_that_of_the_module() {
        check(None, None, &[("orders", INFO)]);
        check(Some("debug"), Some("orders=trace"), &[("orders", DEBUG)]);
        check(Some("FATAL"), Some("orders=trace"), &[("orders::store", TRACE), ("other", OFF)]);
        check(
            None,
            Some("error, orders::store=debug"),
            &[("orders", ERROR), ("orders::store::table", DEBUG)],
        );
        check(None, Some("orders"), &[("orders", TRACE)]);
        // Without a level that can be read, errors must be seen all the same.
        check(None, Some(""), &[("orders", INFO)]);
    }

    #[test]
    fn other_filters_are_ignored_and_reported() {
        let (filter, invalid) =
            filter(None, Some("info,orders=loud,[batch]=debug,orders[{id}]=debug,a=b=c,h2=warn"));
        assert_eq!(invalid, ["orders=loud", "[batch]=debug", "orders[{id}]=debug", "a=b=c"]);
        let expected = format!("{CREDENTIAL_TARGETS},info,h2=warn").parse::<Targets>().expect("a filter");
        assert_eq!(filter, expected);
        let (filter, invalid) = super::filter(None, Some("orders=loud"));
        assert_eq!((filter.default_level(), invalid), (Some(INFO), vec!["orders=loud"]));
    }
}
