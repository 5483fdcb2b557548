//! Handles an event once, in `measured`, whose instructions callgrind counts: see `bench/instructions/run`.

use std::{env, hint::black_box};

use anyhow::{Context as _, Result, bail, ensure};
use bench_events::Event;
use kinesis_handler::{Context, Handler, ProcessError, Record};
use tokio::runtime::{Builder, Runtime};

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    black_box(record.data().len());
    Ok(())
}

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let (Some(contestant), Some(name)) = (args.next(), args.next()) else {
        bail!("usage: bench-instructions ours|plain-rust EVENT");
    };
    let events = bench_events::all()?;
    let event = events.iter().find(|event| event.name == name).context("no such event")?;
    let mut handle: Box<dyn FnMut() -> Result<()>> = match contestant.as_str() {
        "ours" => Box::new(ours(event)?),
        "plain-rust" => Box::new(|| plain_rust(event)),
        _ => bail!("no such contestant"),
    };
    // What only the first events need, such as fresh memory, is not part of the figure.
    for _ in 0..3 {
        handle()?;
    }
    measured(&mut handle)
}

/// The one call that is counted. It must keep its name.
#[inline(never)]
fn measured(handle: &mut dyn FnMut() -> Result<()>) -> Result<()> {
    handle()
}

fn ours(event: &Event) -> Result<impl FnMut() -> Result<()>> {
    let runtime: Runtime = Builder::new_current_thread().enable_time().build()?;
    let handler = Handler::new(process);
    let mut context = Context::default();
    context.request_id = "00000000-0000-0000-0000-000000000000".to_owned();
    context.deadline = u64::MAX;
    Ok(move || {
        let response = runtime.block_on(handler.handle(&event.body, &context))?;
        ensure!(response.counts().user_records == event.user_records, "not all user records were processed");
        Ok(())
    })
}

fn plain_rust(event: &Event) -> Result<()> {
    let mut user_records = 0;
    let response = bench_plain_rust::handle(serde_json::from_slice(&event.body)?, |data| {
        black_box(data.len());
        user_records += 1;
        Ok(())
    });
    ensure!(response.batch_item_failures.is_empty(), "a user record failed");
    ensure!(user_records == event.user_records, "not all user records were processed");
    Ok(())
}
