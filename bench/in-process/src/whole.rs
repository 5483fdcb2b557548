use std::hint::black_box;

use anyhow::{Result, ensure};
use bench_events::Event;
use kinesis_handler::{Context, Handler, ProcessError, Record, RecordProcessor};
use tokio::runtime::{Builder, Runtime};

/// The work on an event from its bytes to the response, without transport.
pub(crate) struct Whole {
    runtime: Runtime,
    handler: Handler<Lengths>,
    context: Context,
}

/// A processor that looks at the length of each user record.
struct Lengths;

impl RecordProcessor for Lengths {
    async fn process(&self, record: Record<'_>) -> Result<(), ProcessError> {
        black_box(record.data().len());
        Ok(())
    }
}

impl Whole {
    pub(crate) fn new() -> Result<Self> {
        kinesis_handler::keep_freed_memory();
        let runtime = Builder::new_current_thread().enable_time().build()?;
        Ok(Whole { runtime, handler: Handler::new(Lengths), context: context() })
    }

    pub(crate) fn handle(&self, event: &Event) -> Result<()> {
        let response = self.runtime.block_on(self.handler.handle(&event.body, &self.context))?;
        ensure!(response.counts().user_records == event.user_records, "not all user records were processed");
        Ok(())
    }
}

/// Returns the context of an invocation without a deadline.
pub(crate) fn context() -> Context {
    let mut context = Context::default();
    context.request_id = "00000000-0000-0000-0000-000000000000".to_owned();
    context.deadline = u64::MAX;
    context
}
