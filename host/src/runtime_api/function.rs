use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use kinesis_handler::BoxError;
use tokio::runtime::Handle;

use super::{
    BinaryOptions, Measurement, StartError,
    pool::Pool,
    state,
    worker::{Worker, run_on, run_to_end_on},
};
use crate::{Answer, Fate, Function, Invocation};

/// A function that is a program, in any language, with the processes that run it.
///
/// Each process is an execution environment, which has one invocation at a time, or up to
/// [`concurrency`](BinaryOptions::concurrency). An invocation uses an environment with a free place, or else starts one
/// more. What they print goes to the [`log`](BinaryOptions::log), before the
/// answer to the invocation in which they printed it is returned. No process, nor one that it has started and
/// that is still in its process group, outlives this value; if the caller itself is killed, the connections to
/// the Runtime API break, which ends usual runtimes.
///
/// ```no_run
/// use lambda_host::{BinaryFunction, BinaryOptions, Fate};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), lambda_host::StartError> {
/// let function = BinaryFunction::new(BinaryOptions::new(["target/debug/function"]));
/// let answer = function.invoke(r#"{"Records":[]}"#.into(), "request-1", Fate::Normal).await?;
/// println!("{answer:?}");
/// function.shutdown().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct BinaryFunction {
    worker: Mutex<Option<Worker>>,
    pool: Arc<Pool>,
}

impl BinaryFunction {
    /// Starts nothing yet: as in Lambda, the first invocation does.
    pub fn new(options: BinaryOptions) -> Self {
        BinaryFunction { worker: Mutex::new(None), pool: Arc::new(Pool::new(options)) }
    }

    /// Invokes the function with this event, and makes this happen to it.
    ///
    /// - [`Fate::Timeout`]: the function does its work; then its answer is not taken, and its process is killed as if its
    ///   time were up, without waiting for that.
    /// - [`Fate::Crash`]: the function does its work; then its answer is not taken, and its process is killed.
    /// - [`Fate::LostResponse`]: the function does its work and its environment lives on, but the answer is lost.
    /// - [`Fate::Zombie`]: it has timed out at once. An environment is put aside with the event, and gets it at the moment
    ///   at which the function's next invocation gets its own: the work runs beside its retry. Its answer is ignored, and
    ///   then the environment can be used again. Without a next invocation the work is never done.
    ///
    /// The request ID reaches the function as it is. It takes real time, however long the function needs, but no time of
    /// a tokio runtime whose time is paused. If the future is dropped, the process that works for it is killed.
    ///
    /// A process with a concurrency above 1 is killed by [`Fate::Crash`] only, which is a crash of its other invocations, too:
    /// after a timeout it continues, as [on Lambda Managed Instances][timeout], and so does the work of a future that is
    /// dropped. Invocations with the same request ID are in different processes.
    ///
    /// [timeout]: https://docs.aws.amazon.com/lambda/latest/dg/lambda-managed-instances-execution-environment.html
    ///
    /// # Errors
    ///
    /// [`StartError::Command`] and [`StartError::NoCommand`] if the program cannot be started, [`StartError::RequestId`],
    /// and [`StartError::RuntimeApi`]. [`StartError::Init`] if no process of the program has ever asked for an event. A program
    /// that fails later is an answer.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn invoke(&self, event: Bytes, request_id: &str, fate: Fate) -> Result<Answer, StartError> {
        let fits_into_url = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
        if request_id.is_empty() || !request_id.bytes().all(fits_into_url) {
            return Err(StartError::RequestId { request_id: request_id.to_owned() });
        }
        let invocation = state::QueuedInvocation { event, request_id: request_id.to_owned() };
        let work = Arc::clone(&self.pool).invoke(invocation, fate);
        match self.pool.is_concurrent() {
            true => run_to_end_on(self.runtime()?, work).await,
            false => run_on(self.runtime()?, work).await,
        }
    }

    /// Ends all environments, once what they are doing is done; of zombies, what has begun. Invocations that have timed out are
    /// not waited for.
    ///
    /// A process that has registered an extension gets the SHUTDOWN event, if it has asked for that, and SIGTERM, and
    /// has 500 ms. Others are killed at once. Both is [what Lambda does][shutdown]. The function can be invoked again
    /// afterwards.
    ///
    /// [shutdown]: https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub async fn shutdown(&self) {
        let runtime = self.lock_worker().as_ref().map(|worker| worker.runtime().clone());
        if let Some(runtime) = runtime {
            run_on(runtime, Arc::clone(&self.pool).shutdown()).await;
        }
    }

    /// Returns the times and results of the invocations up to now.
    pub fn measurement(&self) -> Measurement {
        self.pool.measurement()
    }

    /// Returns the runtime of the worker, which is started if need be.
    fn runtime(&self) -> Result<Handle, StartError> {
        let mut worker = self.lock_worker();
        let worker = match &mut *worker {
            Some(worker) => worker,
            none => {
                let pool = Arc::clone(&self.pool);
                let started = Worker::start(move || pool.abandon());
                none.insert(started.map_err(|source| StartError::RuntimeApi { source })?)
            }
        };
        Ok(worker.runtime().clone())
    }

    fn lock_worker(&self) -> std::sync::MutexGuard<'_, Option<Worker>> {
        // It is either there or not.
        self.worker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// In real time: invocations run beside each other, and take as long as they take. Under virtual time, wrap it into an
/// [`InTurn`](crate::InTurn).
///
/// The timeout is that of the [`BinaryOptions`]; so is the ARN that the program is told.
impl Function for BinaryFunction {
    async fn invoke(&self, invocation: Invocation<'_>) -> Result<Answer, BoxError> {
        let event = invocation.event_json().into();
        Ok(self.invoke(event, invocation.request_id, invocation.fate).await?)
    }
}
