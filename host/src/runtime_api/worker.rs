use std::{io, thread};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
    task::AbortHandle,
};

/// A thread with a tokio runtime of its own, on which time is real even while that of the caller's runtime is paused.
#[derive(Debug)]
pub(super) struct Worker {
    runtime: Handle,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Worker {
    /// `at_end` is called on the thread, before the tasks that still run are cancelled.
    pub(super) fn start(at_end: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let thread = thread::Builder::new().name("lambda-runtime-api".to_owned()).spawn(move || {
            runtime.block_on(async {
                // Nothing is ever sent: the sender is dropped.
                let _ = stopped.await;
                at_end();
            });
        })?;
        Ok(Worker { runtime: handle, stop: Some(stop), thread: Some(thread) })
    }

    pub(super) fn runtime(&self) -> &Handle {
        &self.runtime
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // Its panic was printed already, and a second one while unwinding would abort.
            let _ = thread.join();
        }
    }
}

/// Runs the work on another runtime. Dropping this future cancels the work.
///
/// Waits as [`run_to_end_on`].
pub(super) async fn run_on<T: Send + 'static>(
    runtime: Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let (task, result) = spawn(runtime, work);
    let _cancelled_on_drop = CancelOnDrop(task);
    result.await
}

/// Runs the work on another runtime, also if this future is dropped.
///
/// tokio does not advance paused time while a blocking task runs, so one waits for the result. For the caller nothing
/// takes any time.
pub(super) async fn run_to_end_on<T: Send + 'static>(
    runtime: Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> T {
    let (_, result) = spawn(runtime, work);
    result.await
}

fn spawn<T: Send + 'static>(
    runtime: Handle,
    work: impl Future<Output = T> + Send + 'static,
) -> (AbortHandle, impl Future<Output = T>) {
    let (sender, receiver) = oneshot::channel();
    let task = runtime.spawn(async move {
        // Nobody listens if the caller has just gone away.
        let _ = sender.send(work.await);
    });
    let result = async {
        let result = tokio::task::spawn_blocking(move || receiver.blocking_recv()).await;
        result
            .expect("nobody cancels it")
            .expect("the work has not panicked, and the worker outlives its callers")
    };
    (task.abort_handle(), result)
}

struct CancelOnDrop(AbortHandle);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
