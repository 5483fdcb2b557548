//! The event as Lambda sent it. `lambda_runtime` parses events into owned types; the handler wants to borrow from the
//! bytes, so they are carried past its parser.

use std::{cell::Cell, fmt, task};

use bytes::Bytes;
use lambda_runtime::LambdaInvocation;
use serde::{Deserialize, Deserializer, de::IgnoredAny};
use serde_json::value::RawValue;
use tower::{Layer, Service};

thread_local! {
    /// The body of the invocation that `RawEventService` is handing to the runtime right now.
    static BODY: Cell<Option<Bytes>> = const { Cell::new(None) };
}

/// An event's JSON as it came.
///
/// Under [`RawEventLayer`] these are the very bytes that Lambda sent; without it they are copied out of the JSON parser.
#[derive(Clone, PartialEq, Eq)]
pub struct RawEvent(Bytes);

impl From<Bytes> for RawEvent {
    fn from(json: Bytes) -> Self {
        RawEvent(json)
    }
}

impl AsRef<[u8]> for RawEvent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// Shows the length, not the payload.
impl fmt::Debug for RawEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RawEvent({} bytes)", self.0.len())
    }
}

impl<'de> Deserialize<'de> for RawEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if let Some(body) = BODY.take() {
            IgnoredAny::deserialize(deserializer)?;
            return Ok(RawEvent(body));
        }
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(RawEvent(String::from(Box::<str>::from(raw)).into()))
    }
}

/// Lets [`RawEvent`] have Lambda's bytes without a copy. A layer of [`lambda_runtime::Runtime`]:
///
/// ```no_run
/// use kinesis_handler::{Handler, ProcessError, RawEventLayer, Record};
/// use lambda_runtime::Runtime;
///
/// async fn process(record: Record<'_>) -> Result<(), ProcessError> {
///     record.text()?;
///     Ok(())
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), lambda_runtime::Error> {
/// Runtime::new(Handler::new(process)).layer(RawEventLayer).run().await
/// # }
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct RawEventLayer;

impl<S> Layer<S> for RawEventLayer {
    type Service = RawEventService<S>;

    fn layer(&self, inner: S) -> RawEventService<S> {
        RawEventService { inner }
    }
}

/// The service that [`RawEventLayer`] makes.
#[derive(Debug, Clone)]
pub struct RawEventService<S> {
    inner: S,
}

impl<S: Service<LambdaInvocation>> Service<LambdaInvocation> for RawEventService<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> task::Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut invocation: LambdaInvocation) -> S::Future {
        // The runtime deserializes inside `call`, on this thread: the body waits where `RawEvent` finds it, and the
        // parser gets something small.
        BODY.set(Some(std::mem::replace(&mut invocation.body, Bytes::from_static(b"null"))));
        let future = self.inner.call(invocation);
        // Whatever did not take it must not leave it to the next invocation.
        BODY.take();
        future
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_layer_the_json_is_copied() {
        let event: RawEvent = serde_json::from_str(r#" {"Records": []} "#).expect("JSON");
        assert_eq!(event.as_ref(), br#"{"Records": []}"#);
        assert_eq!(format!("{event:?}"), "RawEvent(15 bytes)");
    }

    #[test]
    fn with_the_layer_the_body_is_taken_once() {
        struct Parse;

        impl Service<LambdaInvocation> for Parse {
            type Response = RawEvent;
            type Error = serde_json::Error;
            type Future = std::future::Ready<Result<RawEvent, serde_json::Error>>;

            fn poll_ready(&mut self, _: &mut task::Context<'_>) -> task::Poll<Result<(), serde_json::Error>> {
                task::Poll::Ready(Ok(()))
            }

            fn call(&mut self, invocation: LambdaInvocation) -> Self::Future {
                std::future::ready(serde_json::from_slice(&invocation.body))
            }
        }

        let body = Bytes::from_static(b"not even JSON");
        let (parts, ()) = http::Response::new(()).into_parts();
        let invocation =
            LambdaInvocation { parts, body: body.clone(), context: lambda_runtime::Context::default() };
        let event = RawEventLayer.layer(Parse).call(invocation).into_inner().expect("the raw body");
        assert_eq!(event.as_ref().as_ptr(), body.as_ptr());
        assert!(BODY.take().is_none());
    }
}
