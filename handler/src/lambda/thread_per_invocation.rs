use std::{
    panic,
    pin::Pin,
    task::{self, Poll},
};

use lambda_runtime::LambdaEvent;
use tokio::{runtime::Handle, task::spawn_blocking};
use tower::Service;
use tracing::{Instrument, Span};

/// A service that handles each invocation on a thread of its own, as Lambda Managed Instances need it: there an environment
/// gets several invocations at once.
///
/// The futures of the inner service need not be `Send`, so `async fn` and async closures remain processors. A thread only
/// polls its invocation. Timers, connections and spawned tasks stay with the caller's runtime, whose threads no processor
/// blocks: a runtime for each thread would stall connections that another thread has opened while a processor computes.
#[derive(Debug, Clone)]
pub(crate) struct ThreadPerInvocation<S> {
    inner: S,
}

impl<S> ThreadPerInvocation<S> {
    pub(crate) fn new(inner: S) -> Self {
        ThreadPerInvocation { inner }
    }
}

impl<S, T> Service<LambdaEvent<T>> for ThreadPerInvocation<S>
where
    S: Service<LambdaEvent<T>, Response: Send, Error: Send> + Clone + Send + 'static,
    T: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, event: LambdaEvent<T>) -> Self::Future {
        let ready = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, ready);
        let (runtime, span) = (Handle::current(), Span::current());
        let thread =
            spawn_blocking(move || runtime.block_on(async { inner.call(event).await }.instrument(span)));
        Box::pin(async move {
            match thread.await {
                Ok(result) => result,
                // The caller catches panics. A thread that has begun is not cancelled, and the runtime outlives the call.
                Err(error) => panic::resume_unwind(error.into_panic()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, rc::Rc, sync::Arc, time::Duration};

    use futures_util::future::{FutureExt, join_all};
    use lambda_runtime::Context;
    use tokio::{sync::Barrier, time::timeout};
    use tower::{ServiceExt, service_fn};

    use super::*;

    fn event(number: u32) -> LambdaEvent<u32> {
        LambdaEvent::new(number, Context::default())
    }

    #[tokio::test]
    async fn invocations_run_at_once_on_the_callers_runtime() {
        let met = Arc::new(Barrier::new(3));
        let service = ThreadPerInvocation::new(service_fn(move |event: LambdaEvent<u32>| {
            let met = Arc::clone(&met);
            async move {
                // Not `Send`.
                let number = Rc::new(event.payload);
                // All three are here at once, or none goes on. A task and a timer of the caller's runtime work.
                met.wait().await;
                tokio::spawn(tokio::time::sleep(Duration::from_millis(1))).await.expect("no panic");
                Ok::<_, Infallible>(*number * 2)
            }
        }));
        let calls = (1..=3).map(|number| service.clone().oneshot(event(number)));
        let results = timeout(Duration::from_secs(10), join_all(calls)).await.expect("they run at once");
        assert_eq!(results, [Ok(2), Ok(4), Ok(6)]);
    }

    #[tokio::test]
    async fn a_panic_is_the_callers() {
        let service =
            ThreadPerInvocation::new(service_fn(async |_: LambdaEvent<u32>| -> Result<(), Infallible> {
                panic!("asked to")
            }));
        let result = panic::AssertUnwindSafe(service.oneshot(event(1))).catch_unwind().await;
        let panic = result.expect_err("a panic");
        assert_eq!(panic.downcast_ref(), Some(&"asked to"));
    }
}
