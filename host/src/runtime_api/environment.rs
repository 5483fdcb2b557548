use std::{
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio::{
    net::TcpListener,
    sync::mpsc,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    BinaryOptions, StartError,
    process::Process,
    server::serve,
    state::{Acceptance, Invocation, Offer, Report, State},
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
    options: Arc<BinaryOptions>,
    state: Arc<State>,
    reports: mpsc::UnboundedReceiver<Report>,
    /// Whether it has answered before.
    is_warm: bool,
    /// The one task in it ends with it.
    _server: JoinSet<()>,
}

/// The end of an invocation.
#[derive(Debug)]
pub(super) enum Ending {
    /// The process has answered, and learns with the acceptance that it may go on.
    Answered(Answer, Acceptance),
    /// The process is of no further use.
    Failed(FunctionError),
    /// The process ended after its previous invocation. It has seen nothing of this one.
    NotBegun,
}

impl Environment {
    /// Starts the process.
    pub(super) async fn start(options: Arc<BinaryOptions>, number: u64) -> Result<Self, StartError> {
        let no_port = |source| StartError::RuntimeApi { source };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(no_port)?;
        let address = listener.local_addr().map_err(no_port)?;
        let process = Process::start(&options, address, number)?;
        let (state, reports) = State::new();
        let state = Arc::new(state);
        let mut server = JoinSet::new();
        server.spawn(serve(listener, Arc::clone(&options), Arc::clone(&state)));
        Ok(Environment { process, options, state, reports, is_warm: false, _server: server })
    }

    /// Waits until the process asks for its first event.
    pub(super) async fn init(&mut self) -> Result<(), FunctionError> {
        tokio::select! {
            biased;
            report = self.reports.recv() => match report {
                Some(Report::Failed(error)) => Err(error),
                // There is nothing yet that it could have answered.
                Some(Report::Asked | Report::Answered(..)) | None => Ok(()),
            },
            how = self.process.ended() => {
                Err(FunctionError::Crash { how: format!("{how} before the first invocation") })
            }
            () = sleep(self.options.init_timeout) => {
                let how = format!("no event was asked for within {:?}", self.options.init_timeout);
                Err(FunctionError::Crash { how })
            }
        }
    }

    /// Whether the process has ended while it was idle.
    pub(super) fn has_ended(&mut self) -> bool {
        self.process.has_ended()
    }

    /// Offers the event to the process, and waits for what becomes of it.
    pub(super) async fn invoke(&mut self, invocation: Invocation) -> Ending {
        let deadline_ms = epoch_ms() + self.options.timeout.as_millis() as u64;
        self.state.offer(Offer { invocation, deadline_ms });
        let ending = tokio::select! {
            biased;
            ending = answer(&mut self.reports) => ending,
            how = self.process.ended() => match self.is_warm && !self.state.offer_was_taken() {
                true => Ending::NotBegun,
                false => Ending::Failed(FunctionError::Crash { how }),
            },
            () = sleep(self.options.timeout) => Ending::Failed(FunctionError::Timeout),
        };
        self.is_warm = true;
        ending
    }

    pub(super) fn peak_memory_bytes(&self) -> Option<u64> {
        self.process.peak_memory_bytes()
    }

    /// Kills the process, and says how it ended.
    pub(super) async fn kill(mut self) -> String {
        self.process.kill().await
    }

    /// Ends the process as Lambda does: at once, unless it has registered an extension.
    pub(super) async fn end(mut self) {
        if self.state.announce_shutdown(epoch_ms() + SHUTDOWN_TIME.as_millis() as u64) {
            self.process.terminate();
            // If the time is up, it is killed.
            let _ = timeout(SHUTDOWN_TIME, self.process.ended()).await;
        }
        self.process.kill().await;
    }
}

/// The answer of the process, or its failure.
async fn answer(reports: &mut mpsc::UnboundedReceiver<Report>) -> Ending {
    loop {
        match reports.recv().await {
            Some(Report::Answered(answer, acceptance)) => return Ending::Answered(answer, acceptance),
            Some(Report::Failed(error)) => return Ending::Failed(error),
            Some(Report::Asked) => {}
            // Not while the environment holds the state, which holds the sender.
            None => std::future::pending().await,
        }
    }
}

fn epoch_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
