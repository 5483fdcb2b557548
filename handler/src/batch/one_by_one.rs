use crate::{
    RecordProcessor,
    batch::{
        run::{Drive, Next, Run},
        steps::Pause,
    },
};

/// Calls a processor for one user record after the other.
pub(crate) struct OneByOne<'p, P> {
    processor: &'p P,
}

impl<'p, P> OneByOne<'p, P> {
    pub(crate) fn new(processor: &'p P) -> Self {
        OneByOne { processor }
    }
}

impl<P: RecordProcessor> Drive for OneByOne<'_, P> {
    async fn drive(&self, run: &mut Run<'_, '_>) -> Pause {
        loop {
            let attempt = match run.next() {
                Next::Process(attempt) => attempt,
                Next::Pause(pause) => return pause,
            };
            match self.processor.process(run.begin(attempt)).await {
                Ok(()) => run.pass(attempt),
                Err(error) => return run.fail(error.into()),
            }
        }
    }
}
