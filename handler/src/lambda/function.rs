use std::{env, fmt, panic, pin::Pin};

use lambda_runtime::{Error, Runtime, layers::TracingLayer, spawn_graceful_shutdown_handler};
use thiserror::Error;
use tower::Layer;

use crate::{
    EmbeddedMetricsLayer, Handler, Hooks, LogBufferLayer, Options, Processor, RawEventLayer,
    batch::stop::panic_text,
    init_logs,
    lambda::{memory::keep_freed_memory, thread_per_invocation::ThreadPerInvocation},
    processor::process_error::without_quoted_values,
};

/// Runs a processor as a Lambda function, without hooks. See [`Function::run`].
///
/// # Errors
///
/// As [`Function::run`].
pub async fn run<P: Processor + Send + Sync + 'static>(processor: P) -> Result<(), Error> {
    Function::new(processor).run().await
}

/// A Lambda function: a processor, and what happens before its first and after its last record.
///
/// ```no_run
/// use kinesis_handler::{Function, ProcessError, Record};
///
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     record.text()?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), kinesis_handler::Error> {
/// Function::new(process)
///     .on_start(|| async { Ok(()) })
///     .on_shutdown(|| async { kinesis_handler::tracing::info!("flushed") })
///     .run()
///     .await
/// # }
/// ```
pub struct Function<P> {
    processor: P,
    options: Option<Options>,
    hooks: Option<Hooks>,
    on_start: Option<StartHook>,
    on_shutdown: Option<ShutdownHook>,
}

type StartHook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<(), Error>>>>>;
/// Registers the hook. It is a function so that only programs with such a hook contain the extension that it needs.
type ShutdownHook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>>>;

impl<P: Processor + Send + Sync + 'static> Function<P> {
    /// Returns a function without hooks, whose options come from the environment.
    pub fn new(processor: P) -> Self {
        Function { processor, options: None, hooks: None, on_start: None, on_shutdown: None }
    }

    /// Sets the options, with stores of your own for example, instead of reading them from the environment.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    ///
    /// use kinesis_handler::{Function, JournalOptions, Options, ProcessError, Record, journal::MemoryJournal};
    ///
    /// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    ///     record.text()?;
    ///     Ok(())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), kinesis_handler::Error> {
    /// let journal = JournalOptions::new(Arc::new(MemoryJournal::default()));
    /// let options = Options::builder().application("orders").journal(journal).build()?;
    /// Function::new(process).options(options).run().await
    /// # }
    /// ```
    pub fn options(mut self, options: Options) -> Self {
        self.options = Some(options);
        self
    }

    /// Sets functions that are called when something happens to a batch, instead of those of the [options](Self::options).
    pub fn hooks(mut self, hooks: Hooks) -> Self {
        self.hooks = Some(hooks);
        self
    }

    /// Calls `hook` once, before the first event is asked for: logs and options are in place. An error ends the
    /// environment's start.
    pub fn on_start<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> Fut + 'static,
        Fut: Future<Output = Result<(), Error>> + 'static,
    {
        self.on_start = Some(Box::new(|| Box::pin(hook())));
        self
    }

    /// Calls `hook` once, when Lambda is about to end the environment (SIGTERM): it has 500 ms. A crash or a
    /// timeout ends the environment without it, so nothing may depend on it.
    ///
    /// Lambda sends the signal only to environments with an extension, so one is registered, which asks for no events.
    pub fn on_shutdown<F, Fut>(mut self, hook: F) -> Self
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.on_shutdown = Some(Box::new(|| Box::pin(spawn_graceful_shutdown_handler(hook))));
        self
    }

    /// Runs the function: takes one event after the other from the Lambda Runtime API, for as long as the environment
    /// lives. On Lambda Managed Instances, where an environment gets several invocations at once, each is handled on a
    /// thread of its own.
    ///
    /// Logs are JSON lines ([`init_logs`]), which a [`LogBufferLayer`] keeps if the options say so, options come from the environment ([`Options::from_env`]) unless they are
    /// [set](Self::options), and metrics go to
    /// standard output in CloudWatch's embedded metric format, once for each invocation. A processor that uses the
    /// [`metrics`](https://docs.rs/metrics) crate has its own among them; a function that has installed a recorder of
    /// that crate before gets all of them there instead.
    ///
    /// # Errors
    ///
    /// A program that was started by hand instead of by Lambda, a wrong variable, the start hook's error, or a failure of
    /// the Runtime API.
    ///
    /// # Panics
    ///
    /// If the extension for the shutdown hook cannot be registered.
    pub async fn run(self) -> Result<(), Error> {
        check_environment(|name| env::var(name).ok())?;
        keep_freed_memory();
        init_logs();
        // The default hook writes lines of text, which a payload in the panic's message could continue with lines of its own.
        panic::set_hook(Box::new(|panic| {
            let location = panic.location().map(ToString::to_string);
            tracing::error!(location, panic = shortened(&panic_text(panic.payload())), "panic");
        }));
        self.start_and_run().await.map_err(|error| FunctionEnded(error).into())
    }

    async fn start_and_run(self) -> Result<(), Error> {
        if cfg!(panic = "abort") {
            tracing::warn!(
                "compiled with panic = \"abort\": a panic in the processor will end the environment and fail the \
                 whole batch; set panic = \"unwind\" in the release profile"
            );
        }
        let metrics = EmbeddedMetricsLayer::install();
        let mut options = self.options.map_or_else(Options::from_env, Ok)?;
        if let Some(hooks) = self.hooks {
            options = options.with_hooks(hooks);
        }
        let log_buffer = LogBufferLayer::from_options(&options);
        let handler = Handler::try_with_options(self.processor, options)?;
        if let Some(hook) = self.on_start {
            hook().await?;
        }
        if let Some(register) = self.on_shutdown {
            register().await;
        }
        let service = metrics.layer(log_buffer.layer(handler));
        // Only environments of Lambda Managed Instances have it. `run` would warn of it.
        if env::var_os("AWS_LAMBDA_MAX_CONCURRENCY").is_none() {
            return Runtime::new(service).layer(RawEventLayer).layer(TracingLayer::new()).run().await;
        }
        let service = ThreadPerInvocation::new(service);
        Runtime::new(service).layer(RawEventLayer).layer(TracingLayer::new()).run_concurrent().await
    }
}

/// The longest text of a panic in the log, in characters.
const MAX_PANIC_CHARS: usize = 1_000;

/// Returns the text of a panic for the log, without values of a payload that an unwrapped error of serde quotes.
fn shortened(text: &str) -> String {
    let text = without_quoted_values(text);
    match text.char_indices().nth(MAX_PANIC_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.into_owned(),
    }
}

/// The reason why a function has ended. A `main` that returns it prints its debug form, so that is the text with all causes.
struct FunctionEnded(Error);

impl fmt::Display for FunctionEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for FunctionEnded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}

impl std::error::Error for FunctionEnded {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// The program was started by hand: neither by Lambda nor by a stand-in for it.
#[derive(Error)]
#[error(
    "this program is a Lambda function and cannot be run by itself ({reason}): invoke it with `kinesis-kit invoke EVENT -- \
     PROGRAM` or cargo-lambda, or simulate a stream with `kinesis-kit simulate --scenario FILE -- PROGRAM`"
)]
struct NotInLambda {
    reason: String,
}

/// A `main` that returns the error prints this.
impl fmt::Debug for NotInLambda {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Checks the variables without which `lambda_runtime` panics.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/configuration-envvars.html#configuration-envvars-runtime>
fn check_environment(variable: impl Fn(&str) -> Option<String>) -> Result<(), NotInLambda> {
    const MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";
    for name in ["AWS_LAMBDA_RUNTIME_API", "AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", MEMORY]
    {
        if variable(name).is_none_or(|value| value.is_empty()) {
            return Err(NotInLambda { reason: format!("{name} is not set") });
        }
    }
    match variable(MEMORY).is_some_and(|megabytes| megabytes.parse::<i32>().is_ok()) {
        true => Ok(()),
        false => Err(NotInLambda { reason: format!("{MEMORY} is not a number of megabytes") }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_that_is_run_by_hand_says_how_it_is_meant_to_be_run() {
        let lambda = |name: &str| Some(if name.ends_with("SIZE") { "512" } else { "text" }.to_owned());
        assert!(check_environment(lambda).is_ok());
        let advice = "invoke it with `kinesis-kit invoke EVENT -- PROGRAM` or cargo-lambda, or simulate a stream with \
                      `kinesis-kit simulate --scenario FILE -- PROGRAM`";
        let check = |variable: &dyn Fn(&str) -> Option<String>, reason: &str| {
            let error = check_environment(variable).expect_err("not in Lambda");
            let expected =
                format!("this program is a Lambda function and cannot be run by itself ({reason}): {advice}");
            assert_eq!((error.to_string(), format!("{error:?}")), (expected.clone(), expected));
        };
        check(&|_| None, "AWS_LAMBDA_RUNTIME_API is not set");
        for missing in [
            "AWS_LAMBDA_RUNTIME_API",
            "AWS_LAMBDA_FUNCTION_NAME",
            "AWS_LAMBDA_FUNCTION_VERSION",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        ] {
            check(&|name| lambda(name).filter(|_| name != missing), &format!("{missing} is not set"));
        }
        check(&|_| Some("text".to_owned()), "AWS_LAMBDA_FUNCTION_MEMORY_SIZE is not a number of megabytes");
    }

    #[test]
    fn a_long_panic_is_shortened() {
        assert_eq!(shortened(&"é".repeat(1_000)), "é".repeat(1_000));
        assert_eq!(shortened(&"é".repeat(1_001)), "é".repeat(1_000) + "…");
    }

    #[test]
    fn a_panic_about_a_payload_does_not_quote_it() {
        let error = serde_json::from_str::<u32>("\"secret\"").expect_err("text is no number");
        let text = shortened(&format!("called `Result::unwrap()` on an `Err` value: {error:?}"));
        assert!(text.starts_with("called `Result::unwrap()`") && !text.contains("secret"), "{text}");
    }
}
