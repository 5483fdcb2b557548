//! The time for user records that wait, by how many are processed at once.

use std::{
    fmt,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use bench_events::{Event, of_keys};
use kinesis_handler::{Context, Handler, Options, ProcessError, Record, RecordProcessor};
use serde::Serialize;
use tokio::{
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::sleep,
};

use crate::{timing::thread_cpu_time, whole};

/// Time for which the processor waits for each user record, as for a request to a database.
const WAIT: Duration = Duration::from_millis(5);

/// The numbers of user records in flight, and of all. One after the other, 40,000 would take minutes.
const FULL: [(u32, usize); 3] = [(1, 1_000), (16, 40_000), (256, 40_000)];
const QUICK: [(u32, usize); 3] = [(1, 100), (16, 1_600), (256, 40_000)];

/// The times for different numbers of user records in flight.
#[derive(Serialize)]
pub(crate) struct Waiting {
    points: Vec<Point>,
}

#[derive(Serialize)]
struct Point {
    concurrency: u32,
    user_records: usize,
    wall_ms: f64,
    /// The wall time of as many tasks that share the waits among them, and do nothing else.
    ideal_ms: f64,
    /// CPU time for each user record in nanoseconds, the timer included.
    record_ns: f64,
    /// The same for the tasks that do nothing else.
    ideal_record_ns: f64,
}

struct Wait;

impl RecordProcessor for Wait {
    async fn process(&self, _record: Record<'_>) -> Result<(), ProcessError> {
        sleep(WAIT).await;
        Ok(())
    }
}

pub(crate) fn measure(is_quick: bool) -> Result<Waiting> {
    let runtime = Builder::new_current_thread().enable_time().build()?;
    let context = whole::context();
    let mut points = Vec::new();
    for (concurrency, user_records) in if is_quick { QUICK } else { FULL } {
        let event = of_keys(user_records)?;
        let (wall, cpu) = timed(|| handle(&runtime, &context, concurrency, &event))?;
        let (ideal_wall, ideal_cpu) = timed(|| wait(&runtime, concurrency, user_records))?;
        let each = |cpu: Duration| cpu.as_nanos() as f64 / user_records as f64;
        points.push(Point {
            concurrency,
            user_records,
            wall_ms: wall.as_secs_f64() * 1e3,
            ideal_ms: ideal_wall.as_secs_f64() * 1e3,
            record_ns: each(cpu),
            ideal_record_ns: each(ideal_cpu),
        });
    }
    Ok(Waiting { points })
}

fn timed(work: impl FnOnce() -> Result<()>) -> Result<(Duration, Duration)> {
    let (started, cpu_started) = (Instant::now(), thread_cpu_time());
    work()?;
    Ok((started.elapsed(), thread_cpu_time() - cpu_started))
}

fn handle(runtime: &Runtime, context: &Context, concurrency: u32, event: &Event) -> Result<()> {
    let options = Options::builder().concurrency(concurrency).build()?;
    let handler = Handler::with_options(Wait, options);
    let response = runtime.block_on(handler.handle(&event.body, context))?;
    ensure!(response.counts().user_records == event.user_records, "not all user records were processed");
    Ok(())
}

fn wait(runtime: &Runtime, concurrency: u32, user_records: usize) -> Result<()> {
    runtime.block_on(async {
        let mut tasks = JoinSet::new();
        for _ in 0..concurrency {
            tasks.spawn(async move {
                for _ in 0..user_records / concurrency as usize {
                    sleep(WAIT).await;
                }
            });
        }
        tasks.join_all().await;
    });
    Ok(())
}

impl fmt::Display for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "user records with keys of their own that wait for {} ms each\n", WAIT.as_millis())?;
        writeln!(f, "at once  user records   wall ms  ÷ waits alone  CPU µs of each  of a wait alone")?;
        for point in &self.points {
            writeln!(
                f,
                "{:7}  {:12}  {:8.0}  {:13.2}  {:14.2}  {:15.2}",
                point.concurrency,
                point.user_records,
                point.wall_ms,
                point.wall_ms / point.ideal_ms,
                point.record_ns / 1e3,
                point.ideal_record_ns / 1e3
            )?;
        }
        Ok(())
    }
}
