use std::pin::Pin;

use lambda_runtime::{Error, Runtime, layers::TracingLayer};

use crate::{Handler, Options, RawEventLayer, RecordProcessor, init_logs, metrics};

/// Runs a processor as a Lambda function, without hooks. See [`Function::run`].
///
/// # Errors
///
/// As [`Function::run`].
pub async fn run<P: RecordProcessor + 'static>(processor: P) -> Result<(), Error> {
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
///     .on_shutdown(|| async { println!("flushed") })
///     .run()
///     .await
/// # }
/// ```
pub struct Function<P> {
    processor: P,
    on_start: Option<StartHook>,
    on_shutdown: Option<ShutdownHook>,
}

type StartHook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = Result<(), Error>>>>>;
type ShutdownHook = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

impl<P: RecordProcessor + 'static> Function<P> {
    /// A function without hooks.
    pub fn new(processor: P) -> Self {
        Function { processor, on_start: None, on_shutdown: None }
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
        self.on_shutdown = Some(Box::new(|| Box::pin(hook())));
        self
    }

    /// Runs the function: takes one event after the other from the Lambda Runtime API, for as long as the environment
    /// lives.
    ///
    /// Logs are JSON lines ([`init_logs`]), options come from the environment ([`Options::from_env`]), and metrics go to
    /// standard output in CloudWatch's embedded metric format, once for each invocation. A processor that uses the
    /// [`metrics`](https://docs.rs/metrics) crate has its own among them; a function that has installed a recorder of
    /// that crate before gets all of them there instead.
    ///
    /// # Errors
    ///
    /// A wrong variable, the start hook's error, or a failure of the Runtime API.
    ///
    /// # Panics
    ///
    /// Outside of Lambda ([`Runtime::new`] needs its variables), or if the extension for the shutdown hook cannot be
    /// registered.
    pub async fn run(self) -> Result<(), Error> {
        init_logs();
        let result = self.start_and_run().await;
        if let Err(error) = &result {
            // What `main` prints is the error's debug form.
            tracing::error!(error = %error, "function ended");
        }
        result
    }

    async fn start_and_run(self) -> Result<(), Error> {
        if cfg!(panic = "abort") {
            tracing::warn!(
                "compiled with panic = \"abort\": a panic in the processor will end the environment and fail the \
                 whole batch; set panic = \"unwind\" in the release profile"
            );
        }
        metrics::install();
        let options = Options::from_env()?;
        if let Some(hook) = self.on_start {
            hook().await?;
        }
        if let Some(hook) = self.on_shutdown {
            lambda_runtime::spawn_graceful_shutdown_handler(hook).await;
        }
        let handler = Handler::with_options(self.processor, options);
        Runtime::new(handler).layer(RawEventLayer).layer(TracingLayer::new()).run().await
    }
}
