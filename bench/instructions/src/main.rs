//! Handles an event as often as it is told, in `handle_events`, whose instructions callgrind counts: see `bench/instructions/run`.

use std::{env, hint::black_box, time::Instant};

use anyhow::{Context as _, Result, ensure};
use bench_events::Event;
use kinesis_handler::{Context, Handler, ProcessError, Record};
use tokio::runtime::{Builder, Runtime};

async fn process(record: Record<'_>) -> Result<(), ProcessError> {
    black_box(record.data().len());
    Ok(())
}

fn main() -> Result<()> {
    let mut args = env::args().skip(1);
    let name = args.next().context("usage: bench-instructions EVENT [TIMES]")?;
    let times: usize = args.next().map_or(Ok(1), |times| times.parse())?;
    let events = bench_events::all()?;
    let event = events.iter().find(|event| event.name == name).context("no such event")?;
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let handler = Handler::new(process);
    let mut context = Context::default();
    context.request_id = "00000000-0000-0000-0000-000000000000".to_owned();
    context.deadline = u64::MAX;
    // What only the first events need, such as fresh memory, is not part of the figure.
    for _ in 0..3 {
        handle_event(&runtime, &handler, event, &context)?;
    }
    let started = Instant::now();
    for _ in 0..times {
        measured(&runtime, &handler, event, &context)?;
    }
    println!("{name}: {:.3} ms", started.elapsed().as_secs_f64() * 1e3 / times as f64);
    Ok(())
}

/// The one call that is counted. It must keep its name.
#[inline(never)]
fn measured(
    runtime: &Runtime,
    handler: &Handler<impl kinesis_handler::RecordProcessor>,
    event: &Event,
    context: &Context,
) -> Result<()> {
    handle_event(runtime, handler, event, context)
}

fn handle_event(
    runtime: &Runtime,
    handler: &Handler<impl kinesis_handler::RecordProcessor>,
    event: &Event,
    context: &Context,
) -> Result<()> {
    let response = runtime.block_on(handler.handle(&event.body, context))?;
    ensure!(response.counts().user_records == event.user_records, "not all user records were processed");
    Ok(())
}
