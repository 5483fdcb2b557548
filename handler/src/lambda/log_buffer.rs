//! Log lines of a batch that are kept until its end, and written only if it fails.

use std::{
    cell::RefCell,
    collections::VecDeque,
    io::{self, Write},
    mem,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{self, Poll},
};

use lambda_runtime::LambdaEvent;
use pin_project_lite::pin_project;
use tower::{Layer, Service};
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

use crate::{BatchResponse, Options};

thread_local! {
    /// Lines of the invocation that is polled on this thread right now.
    static CURRENT: RefCell<Option<Arc<Mutex<Lines>>>> = const { RefCell::new(None) };
}

/// Writes log lines to the output of the process.
type Output = fn(&[u8]) -> io::Result<()>;

fn stdout(lines: &[u8]) -> io::Result<()> {
    io::stdout().lock().write_all(lines)
}

/// Log lines of an invocation: the last ones, as many as there is room for.
#[derive(Debug, Default)]
pub(super) struct Lines {
    lines: VecDeque<Box<[u8]>>,
    /// Sum of their lengths.
    bytes: usize,
    max_bytes: usize,
    /// Number of earlier lines for which there was no room.
    dropped: u64,
}

impl Lines {
    fn push(&mut self, line: &[u8]) {
        self.bytes += line.len();
        self.lines.push_back(line.into());
        while self.bytes > self.max_bytes {
            let Some(first) = self.lines.pop_front() else { return };
            self.bytes -= first.len();
            self.dropped += 1;
        }
    }
}

fn lock(lines: &Mutex<Lines>) -> MutexGuard<'_, Lines> {
    // A panic while it is locked would be one of the allocator.
    lines.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The writer of all log lines: to the output, or, below the level WARN and in an invocation with a [`LogBufferLayer`], to its
/// lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogWriter {
    output: Output,
}

impl Default for LogWriter {
    fn default() -> Self {
        LogWriter { output: stdout }
    }
}

/// The place of a log line.
pub(super) enum LogPlace {
    Output(Output),
    Lines(Arc<Mutex<Lines>>),
}

impl<'w> MakeWriter<'w> for LogWriter {
    type Writer = LogPlace;

    fn make_writer(&'w self) -> LogPlace {
        LogPlace::Output(self.output)
    }

    fn make_writer_for(&'w self, metadata: &Metadata<'_>) -> LogPlace {
        let is_kept = *metadata.level() > Level::WARN;
        // There is none while a thread ends.
        let current = CURRENT.try_with(|current| current.borrow().clone()).ok().flatten();
        match current.filter(|_| is_kept) {
            Some(lines) => LogPlace::Lines(lines),
            None => LogPlace::Output(self.output),
        }
    }
}

impl Write for LogPlace {
    /// Takes a whole line.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self {
            LogPlace::Output(output) => output(line)?,
            LogPlace::Lines(lines) => lock(lines).push(line),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A layer that keeps the log lines of an invocation below the level WARN until its end, and writes them only if it fails: if
/// it has a batch item failure, ends with an error, is cancelled or panics, or if it has quarantined a user record, or skipped one for
/// its age. Otherwise they are dropped.
///
/// It has an effect on lines of [`init_logs`](crate::init_logs) that are written while the invocation's future is polled, not on those of
/// tasks that it has spawned. Lines are in the log later than others of the same invocation, with the time at which they were
/// logged. If Lambda ends the environment in the midst of an invocation, because of a timeout for example, they are lost.
///
/// [`run`](crate::run) uses it, if the options say so. A function with a [`Runtime`](lambda_runtime::Runtime) of its own puts it around
/// the handler:
///
/// ```no_run
/// use kinesis_handler::{Handler, LogBufferLayer, Options, ProcessError, RawEventLayer, Record, init_logs};
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
/// init_logs();
/// let options = Options::builder().log_buffer_bytes(1_000_000).build()?;
/// let layer = LogBufferLayer::from_options(&options);
/// let service = layer.layer(Handler::with_options(process, options));
/// Runtime::new(service).layer(RawEventLayer).layer(TracingLayer::new()).run().await
/// # }
/// ```
#[derive(Debug, Clone, Copy)]
pub struct LogBufferLayer {
    max_bytes: usize,
    output: Output,
}

impl LogBufferLayer {
    /// Returns a layer that keeps as many bytes of log lines of an invocation, the last ones. With 0 it does nothing.
    pub fn new(max_bytes: usize) -> Self {
        LogBufferLayer { max_bytes, output: stdout }
    }

    /// Returns the layer of these options.
    pub fn from_options(options: &Options) -> Self {
        LogBufferLayer::new(usize::try_from(options.log_buffer_bytes).unwrap_or(usize::MAX))
    }
}

impl<S> Layer<S> for LogBufferLayer {
    type Service = LogBufferService<S>;

    fn layer(&self, inner: S) -> LogBufferService<S> {
        LogBufferService { inner, layer: *self }
    }
}

/// The service that [`LogBufferLayer`] makes.
#[derive(Debug, Clone)]
pub struct LogBufferService<S> {
    inner: S,
    layer: LogBufferLayer,
}

impl<S: Service<LambdaEvent<T>, Response = BatchResponse>, T> Service<LambdaEvent<T>>
    for LogBufferService<S>
{
    type Response = BatchResponse;
    type Error = S::Error;
    type Future = LogBufferFuture<S::Future>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, event: LambdaEvent<T>) -> Self::Future {
        let LogBufferLayer { max_bytes, output } = self.layer;
        let lines = (max_bytes > 0).then(|| {
            let lines = Arc::new(Mutex::new(Lines { max_bytes, ..Lines::default() }));
            KeptLines { lines, output }
        });
        let inner = match &lines {
            Some(lines) => lines.enter(|| self.inner.call(event)),
            None => self.inner.call(event),
        };
        LogBufferFuture { inner, lines }
    }
}

pin_project! {
    /// The future of [`LogBufferService`].
    #[derive(Debug)]
    pub struct LogBufferFuture<F> {
        #[pin]
        inner: F,
        lines: Option<KeptLines>,
    }
}

impl<F: Future<Output = Result<BatchResponse, E>>, E> Future for LogBufferFuture<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut task::Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let poll = match this.lines {
            Some(lines) => lines.enter(|| this.inner.poll(context)),
            None => this.inner.poll(context),
        };
        if let Poll::Ready(result) = &poll {
            let has_failed = result.as_ref().map_or(true, |response| {
                let counts = response.counts();
                response.batch_item_failure().is_some() || counts.quarantined > 0 || counts.skipped > 0
            });
            // Written before the response is sent: afterwards, Lambda may freeze the environment.
            match this.lines.take() {
                Some(lines) if !has_failed => lines.forget(),
                lines => drop(lines),
            }
        }
        poll
    }
}

/// The lines of an invocation. They are written when this is dropped.
#[derive(Debug)]
struct KeptLines {
    lines: Arc<Mutex<Lines>>,
    output: Output,
}

impl KeptLines {
    /// Calls a function whose log lines are kept.
    fn enter<T>(&self, call: impl FnOnce() -> T) -> T {
        /// Makes the lines of before the current ones again, also after a panic.
        struct Outer(Option<Arc<Mutex<Lines>>>);

        impl Drop for Outer {
            fn drop(&mut self) {
                CURRENT.replace(self.0.take());
            }
        }

        let _outer = Outer(CURRENT.replace(Some(Arc::clone(&self.lines))));
        call()
    }

    fn forget(&self) {
        *lock(&self.lines) = Lines::default();
    }
}

impl Drop for KeptLines {
    fn drop(&mut self) {
        let Lines { lines, dropped, .. } = mem::take(&mut *lock(&self.lines));
        if !lines.is_empty()
            && let Err(error) = (self.output)(&lines.into_iter().collect::<Vec<_>>().concat())
        {
            tracing::error!(%error, "log lines could not be written");
        }
        if dropped > 0 {
            tracing::warn!(
                lines = dropped,
                "earlier log lines of this invocation were dropped, because the buffer was full"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Ready, pending};

    use lambda_runtime::Context;
    use tower::{ServiceExt, service_fn};
    use tracing::subscriber::DefaultGuard;

    use super::*;
    use crate::Counts;

    thread_local! {
        /// The output of a test.
        static OUTPUT: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    }

    fn output(lines: &[u8]) -> io::Result<()> {
        OUTPUT.with_borrow_mut(|output| output.extend_from_slice(lines));
        Ok(())
    }

    /// Returns the messages of the output, and empties it.
    fn take_output() -> Vec<String> {
        let output = String::from_utf8(OUTPUT.take()).expect("UTF-8");
        output.lines().map(|line| line.trim().to_owned()).collect()
    }

    fn subscribe() -> DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .without_time()
            .with_ansi(false)
            .with_target(false)
            .with_writer(LogWriter { output })
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn layer(max_bytes: usize) -> LogBufferLayer {
        LogBufferLayer { max_bytes, output }
    }

    /// Invokes a service that logs a line of each level and returns this, under a layer that keeps so many bytes.
    async fn invoke(max_bytes: usize, result: Result<BatchResponse, &'static str>) -> Vec<String> {
        let service = service_fn(move |_: LambdaEvent<()>| {
            tracing::debug!("called");
            let result = result.clone();
            async move {
                tracing::info!("begun");
                tokio::task::yield_now().await;
                tracing::warn!("unusual");
                tracing::info!("ended");
                result
            }
        });
        let _subscriber = subscribe();
        let _ = layer(max_bytes).layer(service).oneshot(LambdaEvent::new((), Context::default())).await;
        tracing::info!("after");
        take_output()
    }

    fn response(failed: Option<u64>, quarantined: u64) -> Result<BatchResponse, &'static str> {
        let failed = failed.map(|number| number.to_string().parse().expect("digits"));
        Ok(BatchResponse::new(failed, None, Counts { quarantined, ..Counts::default() }))
    }

    fn skipped() -> Result<BatchResponse, &'static str> {
        Ok(BatchResponse::new(None, None, Counts { skipped: 1, ..Counts::default() }))
    }

    #[tokio::test]
    async fn lines_of_a_batch_are_written_only_if_it_fails() {
        assert_eq!(invoke(10_000, response(None, 0)).await, ["WARN unusual", "INFO after"]);
        let all = ["WARN unusual", "DEBUG called", "INFO begun", "INFO ended", "INFO after"];
        assert_eq!(invoke(10_000, response(Some(7), 0)).await, all);
        assert_eq!(invoke(10_000, response(None, 1)).await, all);
        assert_eq!(invoke(10_000, skipped()).await, all);
        assert_eq!(invoke(10_000, Err("asked to")).await, all);
    }

    #[tokio::test]
    async fn without_room_for_any_line_none_is_kept() {
        let in_order = ["DEBUG called", "INFO begun", "WARN unusual", "INFO ended", "INFO after"];
        assert_eq!(invoke(0, response(None, 0)).await, in_order);
    }

    #[tokio::test]
    async fn the_last_lines_are_kept_and_the_others_counted() {
        // Each line has about a dozen bytes.
        let text =
            "WARN earlier log lines of this invocation were dropped, because the buffer was full lines=";
        let expected =
            ["WARN unusual".to_owned(), "INFO ended".to_owned(), format!("{text}2"), "INFO after".to_owned()];
        assert_eq!(invoke(15, response(Some(7), 0)).await, expected);
        let expected = ["WARN unusual".to_owned(), format!("{text}3"), "INFO after".to_owned()];
        assert_eq!(invoke(5, response(Some(7), 0)).await, expected);
        assert_eq!(invoke(5, response(None, 0)).await, ["WARN unusual", "INFO after"]);
    }

    #[tokio::test]
    async fn lines_of_an_invocation_that_is_cancelled_are_written() {
        let _subscriber = subscribe();
        let service = service_fn(|_: LambdaEvent<()>| async {
            tracing::info!("begun");
            pending::<Result<BatchResponse, ()>>().await
        });
        let mut call =
            Box::pin(layer(10_000).layer(service).oneshot(LambdaEvent::new((), Context::default())));
        assert!(futures_util::poll!(&mut call).is_pending());
        assert!(take_output().is_empty());
        drop(call);
        assert_eq!(take_output(), ["INFO begun"]);
    }

    #[tokio::test]
    async fn invocations_that_run_at_once_do_not_share_lines() {
        let _subscriber = subscribe();
        let call = |failed: Option<u64>, text: &'static str| {
            let service = service_fn(move |_: LambdaEvent<()>| async move {
                for _ in 0..3 {
                    tracing::info!("{text}");
                    tokio::task::yield_now().await;
                }
                response(failed, 0)
            });
            layer(10_000).layer(service).oneshot(LambdaEvent::new((), Context::default()))
        };
        let results = futures_util::future::join(call(None, "good"), call(Some(1), "bad")).await;
        assert!(results.0.is_ok() && results.1.is_ok());
        assert_eq!(take_output(), ["INFO bad"; 3]);
    }

    #[tokio::test]
    async fn a_panic_leaves_no_buffer_behind() {
        let _subscriber = subscribe();
        let service = service_fn(|_: LambdaEvent<()>| -> Ready<Result<BatchResponse, ()>> {
            tracing::info!("called");
            assert!(OUTPUT.with_borrow(Vec::is_empty), "kept");
            panic!("asked to")
        });
        let mut service = layer(10_000).layer(service);
        let call = std::panic::AssertUnwindSafe(|| {
            drop(service.call(LambdaEvent::new((), Context::default())));
        });
        assert!(std::panic::catch_unwind(call).is_err());
        tracing::info!("after");
        assert_eq!(take_output(), ["INFO called", "INFO after"]);
    }
}
