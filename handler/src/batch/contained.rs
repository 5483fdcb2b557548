use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

pin_project! {
    /// A future whose panics are its output. One that comes when it is dropped before its end is caught, too: among several
    /// futures that are cancelled together, it must not keep the others from being dropped.
    pub(crate) struct Contained<F> {
        #[pin]
        future: Option<F>,
    }

    impl<F> PinnedDrop for Contained<F> {
        fn drop(this: Pin<&mut Self>) {
            // The panic hook has logged it, and a cancelled future has no output.
            let _ = drop_future(this.project().future);
        }
    }
}

impl<F> Contained<F> {
    pub(crate) fn new(future: F) -> Self {
        Contained { future: Some(future) }
    }
}

type Panic = Box<dyn Any + Send>;

fn drop_future<F>(mut future: Pin<&mut Option<F>>) -> Result<(), Panic> {
    catch_unwind(AssertUnwindSafe(|| future.set(None)))
}

impl<F: Future> Future for Contained<F> {
    type Output = Result<F::Output, Panic>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.project().future;
        let future = slot.as_mut().as_pin_mut().expect("a future is not polled after its end");
        let polled = catch_unwind(AssertUnwindSafe(|| future.poll(context)));
        let output = match polled {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(output)) => Ok(output),
            Err(panic) => Err(panic),
        };
        // What it has kept is dropped here, where a panic can still be its output.
        let dropped = drop_future(slot);
        Poll::Ready(output.and_then(|output| dropped.map(|()| output)))
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt;

    use super::*;

    struct PanicsWhenDropped;

    impl Drop for PanicsWhenDropped {
        fn drop(&mut self) {
            panic!("dropped");
        }
    }

    fn text(result: Result<(), Panic>) -> &'static str {
        match result {
            Ok(()) => "done",
            Err(panic) => panic.downcast_ref::<&str>().copied().unwrap_or("another panic"),
        }
    }

    #[test]
    fn a_panic_is_the_output() {
        let output = |future: Pin<Box<dyn Future<Output = ()>>>| {
            text(Contained::new(future).now_or_never().expect("it does not wait"))
        };
        assert_eq!(output(Box::pin(ready(()))), "done");
        assert_eq!(output(Box::pin(async { panic!("polled") })), "polled");
        let keeps = async {
            let kept = PanicsWhenDropped;
            ready(()).await;
            std::mem::forget(kept);
        };
        assert_eq!(output(Box::pin(keeps)), "done");
        let mut kept = Some(PanicsWhenDropped);
        let ends = std::future::poll_fn(move |_| {
            let _ = &mut kept;
            Poll::Ready(())
        });
        assert_eq!(output(Box::pin(ends)), "dropped");
    }

    #[test]
    fn a_panic_of_a_future_that_is_cancelled_goes_no_further() {
        let mut future = Box::pin(Contained::new(async {
            let kept = PanicsWhenDropped;
            pending::<()>().await;
            std::mem::forget(kept);
        }));
        assert!(future.as_mut().now_or_never().is_none());
        drop(future);
    }
}
