use crate::{
    RecordProcessor,
    batch::{
        run::{Next, Run},
        steps::Pause,
    },
};

/// Calls a processor for one user record after the other.
pub(crate) async fn drive(processor: &impl RecordProcessor, run: &mut Run<'_, '_>) -> Pause {
    loop {
        let attempt = match run.next() {
            Next::Process(attempt) => attempt,
            Next::Pause(pause) => return pause,
        };
        match processor.process(run.begin(attempt)).await {
            Ok(()) => run.pass(attempt),
            Err(error) => return run.fail(error.into()),
        }
    }
}
