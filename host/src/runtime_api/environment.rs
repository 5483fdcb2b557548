use std::{
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    net::TcpListener,
    sync::oneshot,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    BinaryOptions, StartError,
    output::Output,
    process::Process,
    server::serve,
    state::{Acceptance, Answered, Offer, QueuedInvocation, State},
};
use crate::{Answer, FunctionError};

/// Time in which a process with an extension has to end.
///
/// <https://docs.aws.amazon.com/lambda/latest/dg/lambda-runtime-environment.html#runtimes-lifecycle-shutdown>
const SHUTDOWN_TIME: Duration = Duration::from_millis(500);

/// An execution environment: a process with a server of its own.
#[derive(Debug)]
pub(super) struct Environment {
    // First, so that it is dropped first: a killed process has nobody to complain to.
    process: Process,
    // Second, so that all that a killed process has written is passed on.
    output: Output,
    options: Arc<BinaryOptions>,
    state: Arc<State>,
    /// Whether an invocation has ended before.
    is_warm: AtomicBool,
    /// The one task in it ends with it.
    _server: JoinSet<()>,
}

/// The end of an invocation.
#[derive(Debug)]
pub(super) enum Ending {
    /// The process has answered, and learns with the acceptance that it may go on.
    Answered(Answer, Acceptance),
    /// The time is up, and the process continues, because it has other invocations.
    Late(oneshot::Receiver<Answered>),
    /// The process is of no further use.
    Failed(FunctionError),
    /// The process ended after an earlier invocation. It has seen nothing of this one.
    NotBegun,
}

impl Environment {
    /// Starts the process.
    pub(super) async fn start(options: Arc<BinaryOptions>, number: u64) -> Result<Self, StartError> {
        let no_port = |source| StartError::RuntimeApi { source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let (output, writer) =
            Output::open(options.log.clone(), options.output_observer.clone()).map_err(no_port)?;
        let process = Process::start(&options, address, number, writer)?;
        let state = Arc::new(State::default());
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&options), Arc::clone(&state)));
        Ok(Environment { process, output, options, state, is_warm: AtomicBool::new(false), _server: server })
    }

    /// Waits until the process asks for its first event.
    pub(super) async fn init(&self) -> Result<(), FunctionError> {
        let started = tokio::select! {
            biased;
            started = self.state.started() => started,
            how = self.process.ended() => {
                Err(FunctionError::Crash { how: format!("{how} before the first invocation") })
            }
            () = sleep(self.options.init_timeout) => {
                let how = format!("no event was asked for within {:?}", self.options.init_timeout);
                Err(FunctionError::Crash { how })
            }
        };
        self.output.flush();
        started
    }

    /// Returns the line of the output that is most likely to say why the process has ended.
    pub(super) fn last_line(&self) -> Option<String> {
        self.output.last_line()
    }

    /// Whether the process has ended while it was idle.
    pub(super) fn has_ended(&self) -> bool {
        self.process.has_ended()
    }

    /// Reserves a place for an invocation with this request ID. `false` if there is one already.
    pub(super) fn reserve(&self, request_id: &str) -> bool {
        self.state.reserve(request_id)
    }

    /// Gives the place of an invocation back.
    pub(super) fn release(&self, request_id: &str) {
        self.state.release(request_id);
    }

    /// Offers the event to the process, and waits for what becomes of it.
    pub(super) async fn invoke(&self, invocation: QueuedInvocation) -> Ending {
        let deadline_ms = epoch_ms() + self.options.timeout.as_millis() as u64;
        let request_id = invocation.request_id.clone();
        let mut answer = self.state.offer(Offer { invocation, deadline_ms });
        let ending = tokio::select! {
            biased;
            Ok((answer, acceptance)) = &mut answer => Ending::Answered(answer, acceptance),
            error = self.state.failed() => Ending::Failed(error),
            how = self.process.ended() => {
                match self.is_warm.load(Ordering::Relaxed) && !self.state.was_taken(&request_id) {
                    true => Ending::NotBegun,
                    false => Ending::Failed(FunctionError::Crash { how }),
                }
            }
            () = sleep(self.options.timeout) => {
                match self.options.is_concurrent() && self.state.was_taken(&request_id) {
                    true => Ending::Late(answer),
                    false => Ending::Failed(FunctionError::Timeout),
                }
            }
        };
        self.is_warm.store(true, Ordering::Relaxed);
        // What it has written comes before what the caller makes of the answer.
        self.output.flush();
        ending
    }

    /// Waits for the end of an invocation whose time is up. `None` if the process does not come to it.
    pub(super) async fn late_answer(&self, answer: oneshot::Receiver<Answered>) -> Option<Acceptance> {
        tokio::select! {
            biased;
            Ok((_, acceptance)) = answer => Some(acceptance),
            _ = self.state.failed() => None,
            _ = self.process.ended() => None,
        }
    }

    pub(super) fn peak_memory_bytes(&self) -> Option<u64> {
        self.process.peak_memory_bytes()
    }

    /// Returns the largest number of events that the process had at the same time.
    pub(super) fn max_concurrency(&self) -> usize {
        self.state.max_running()
    }

    /// Kills the process, and says how it ended.
    pub(super) async fn kill(&self) -> String {
        self.process.kill().await
    }

    /// Ends the process as Lambda does: at once, unless it has registered an extension.
    pub(super) async fn end(&self) {
        if self.state.announce_shutdown(epoch_ms() + SHUTDOWN_TIME.as_millis() as u64) {
            self.process.terminate();
            // If the time is up, it is killed.
            let _ = timeout(SHUTDOWN_TIME, self.process.ended()).await;
        }
        self.process.kill().await;
    }
}

fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
