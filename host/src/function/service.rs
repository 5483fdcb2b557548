use std::{
    any::Any,
    fmt::Display,
    future::{Future, poll_fn},
    marker::PhantomData,
    panic::AssertUnwindSafe,
    pin::pin,
    task::Poll,
};

use bytes::Bytes;
use futures_util::FutureExt;
use kinesis_handler::{BoxError, Context, LambdaEvent};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep_until, timeout_at};
use tower::{Service, ServiceExt};

use super::{Function, Invocation};
use crate::{Answer, Fate, FunctionError};

/// A function in this process: a service of Lambda events, such as a [`kinesis_handler::Handler`].
///
/// Each invocation gets a clone of it, as if all were in one environment. Under tokio's paused time, a service that
/// waits takes that time, and one that computes takes none. A fault in the middle of an invocation strikes after some
/// of the service's steps from one `await` to the next.
#[derive(Debug)]
pub struct ServiceFunction<S, E> {
    service: S,
    event: PhantomData<fn(E)>,
}

impl<S, E> ServiceFunction<S, E> {
    /// A function that is this service.
    pub fn new(service: S) -> Self {
        ServiceFunction { service, event: PhantomData }
    }
}

impl<S, E> Function for ServiceFunction<S, E>
where
    S: Service<LambdaEvent<E>> + Clone + 'static,
    S::Response: Serialize,
    S::Error: Display,
    E: DeserializeOwned + 'static,
{
    async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, BoxError> {
        let deadline = Instant::now() + invocation.timeout;
        let call = call(self.service.clone(), &invocation);
        let mut call = Box::pin(call);
        let steps = invocation.steps_before_fault;
        match invocation.fate {
            Fate::Normal => {
                let answer = timeout_at(deadline, call).await;
                Ok(answer.unwrap_or(Answer::Error(FunctionError::Timeout)))
            }
            Fate::LostResponse => {
                let ended = timeout_at(deadline, call).await.is_ok();
                let error = if ended { FunctionError::LostResponse } else { FunctionError::Timeout };
                Ok(Answer::Error(error))
            }
            Fate::Crash => {
                // A timeout ends it, too, whichever comes first.
                let crashed = timeout_at(deadline, after_steps(&mut call, steps)).await.is_ok();
                let how = "ended by a fault".to_owned();
                Ok(Answer::Error(if crashed { FunctionError::Crash { how } } else { FunctionError::Timeout }))
            }
            Fate::Timeout => {
                // An error means that the time was up before that many steps.
                let _ = timeout_at(deadline, after_steps(&mut call, steps)).await;
                sleep_until(deadline).await;
                Ok(Answer::Error(FunctionError::Timeout))
            }
            Fate::Zombie => {
                let stopped = timeout_at(deadline, after_steps(&mut call, steps)).await;
                sleep_until(deadline).await;
                // It has ended already if that took fewer steps. Nothing lives for ever: after as much time again it is
                // killed.
                if stopped != Ok(true) {
                    tokio::task::spawn_local(timeout_at(deadline + invocation.timeout, call));
                }
                Ok(Answer::Error(FunctionError::Timeout))
            }
        }
    }
}

/// Polls the future until it has ended (true) or until it has come to wait this many times (false).
async fn after_steps<F: Future + Unpin>(future: &mut F, mut steps: u32) -> bool {
    let mut future = pin!(future);
    poll_fn(|context| match steps.checked_sub(1) {
        None => Poll::Ready(false),
        Some(left) => {
            steps = left;
            match future.as_mut().poll(context) {
                Poll::Ready(_) => Poll::Ready(true),
                Poll::Pending if steps == 0 => Poll::Ready(false),
                Poll::Pending => Poll::Pending,
            }
        }
    })
    .await
}

fn call<S, E>(service: S, invocation: &Invocation<'_>) -> impl Future<Output = Answer> + 'static
where
    S: Service<LambdaEvent<E>> + 'static,
    S::Response: Serialize,
    S::Error: Display,
    E: DeserializeOwned + 'static,
{
    let event = invocation.event_json();
    let mut context = Context::default();
    context.request_id = invocation.request_id.to_owned();
    context.deadline = invocation.deadline_ms();
    context.invoked_function_arn = invocation.function_arn.to_owned();
    let answer = async move {
        let event = match serde_json::from_slice::<E>(&event) {
            Ok(event) => event,
            Err(error) => return thrown("Runtime.InvalidEvent", &error),
        };
        match service.oneshot(LambdaEvent::new(event, context)).await {
            Ok(response) => match serde_json::to_vec(&response) {
                Ok(response) => Answer::Response(Bytes::from(response)),
                Err(error) => thrown("Runtime.InvalidResponse", &error),
            },
            Err(error) => thrown("Error", &error),
        }
    };
    AssertUnwindSafe(answer).catch_unwind().map(|answer| {
        answer.unwrap_or_else(|panic| {
            Answer::Error(FunctionError::Crash { how: format!("panicked: {}", panic_text(&*panic)) })
        })
    })
}

fn thrown(error_type: &str, error: &dyn Display) -> Answer {
    let (error_type, message) = (error_type.to_owned(), error.to_string());
    Answer::Error(FunctionError::Thrown { error_type, message })
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or(panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no text)")
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tokio::task::yield_now;

    use super::*;

    #[tokio::test]
    async fn steps_are_counted_and_the_last_one_is_not_waited_for() {
        let mut endless = Box::pin(pending::<()>());
        assert!(!after_steps(&mut endless, 0).await);
        assert!(!after_steps(&mut endless, 1).await);
        let mut two_waits = Box::pin(async {
            yield_now().await;
            yield_now().await;
        });
        assert!(!after_steps(&mut two_waits, 2).await);
        assert!(after_steps(&mut two_waits, 1).await);
    }
}
