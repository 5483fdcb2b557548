use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    future::poll_fn,
    task::Poll,
};

use futures_util::{Stream, StreamExt, stream::FuturesUnordered};

use crate::{
    Record, RecordProcessor,
    batch::{
        ahead::Place,
        contained::Contained,
        run::{Next, Run},
        steps::Pause,
        stop::{Failure, panic_text},
        walk::Walk,
    },
    record::BatchRecord,
};

/// The bounds of processing several user records at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ConcurrencyLimits {
    /// Most user records that are in flight.
    pub(crate) concurrency: usize,
    /// Most user records beyond the first unfinished one that are looked at.
    pub(crate) look_ahead: usize,
}

/// Calls a processor for several user records at once. Those of one partition key are processed in order.
///
/// A copy of the cursor's walk goes ahead. A user record that it finds starts at once if a call is free and no earlier one of
/// its key is unfinished, and otherwise waits. When a call ends, the first in the batch of those that are ready is next.
///
/// After a failure, nothing beyond it starts until the loop over the batch has decided about it.
pub(crate) async fn drive(
    processor: &impl RecordProcessor,
    limits: ConcurrencyLimits,
    run: &mut Run<'_, '_>,
) -> Pause {
    let mut schedule = Schedule::default();
    let mut in_flight = FuturesUnordered::new();
    let pause = loop {
        let attempt = match run.next() {
            Next::Process(attempt) => attempt,
            Next::Pause(pause) => break pause,
        };
        let here = run.begin_here(attempt);
        // Whatever has ended counts before the next one starts, and that one runs up to its first wait before yet another one
        // does: nothing beyond a failure may start.
        let ended = match poll_once(&mut in_flight).await {
            Poll::Ready(ended @ Some(_)) => ended,
            _ if in_flight.len() < limits.concurrency
                && let Some((place, record)) = schedule.next(run, in_flight.len(), limits.look_ahead) =>
            {
                in_flight.push(process(processor, place, record));
                continue;
            }
            _ => in_flight.next().await,
        };
        // The first user record of all never waits for another one of its key, and starts before all others.
        let (place, record, result) =
            ended.unwrap_or_else(|| unreachable!("the user record at {here:?} is in flight"));
        schedule.end(&record, result.is_ok());
        run.ahead.insert(place, record, result);
    };
    while let Some((place, record, result)) = in_flight.next().await {
        run.ahead.insert(place, record, result);
    }
    pause
}

/// Polls a stream without waiting for it.
async fn poll_once<S: Stream + Unpin>(stream: &mut S) -> Poll<Option<S::Item>> {
    poll_fn(|context| Poll::Ready(stream.poll_next_unpin(context))).await
}

/// Processes a user record, and keeps all panics inside: also of what the processor's error does when it is dropped.
async fn process<'b>(
    processor: &impl RecordProcessor,
    place: Place,
    record: BatchRecord<'b>,
) -> (Place, BatchRecord<'b>, Result<(), Failure>) {
    let process = async { processor.process(Record::of_batch(&record)).await.map_err(Failure::from) };
    let result = Contained::new(process).await;
    (place, record, result.unwrap_or_else(|panic| Err(Failure::Panic(panic_text(&*panic)))))
}

/// The user records that were found and have not started.
#[derive(Default)]
struct Schedule<'b> {
    /// The walk ahead; it is at the first user record that is not looked at. `None` before the first one.
    walk: Option<Walk<'b>>,
    /// Those that can start.
    ready: BTreeMap<Place, BatchRecord<'b>>,
    /// Partition keys of those that can start or are in flight, and what waits for them.
    waiting: HashMap<&'b [u8], VecDeque<(Place, BatchRecord<'b>)>>,
    /// Number of all that wait.
    waiting_records: usize,
}

impl<'b> Schedule<'b> {
    /// Returns the next user record to start. `None` if none can at present.
    fn next(
        &mut self,
        run: &mut Run<'_, 'b>,
        in_flight: usize,
        look_ahead: usize,
    ) -> Option<(Place, BatchRecord<'b>)> {
        while self.ready.is_empty() {
            if in_flight + self.waiting_records + run.ahead.len() > look_ahead {
                return None;
            }
            let (place, record) = run.look_ahead(&mut self.walk)?;
            self.add(place, record);
        }
        let first = self.ready.first_entry()?;
        (!run.ahead.has_failed_before(*first.key())).then(|| first.remove_entry())
    }

    fn add(&mut self, place: Place, record: BatchRecord<'b>) {
        if let Some(waiting) = self.waiting.get_mut(record.partition_key) {
            waiting.push_back((place, record));
            self.waiting_records += 1;
        } else {
            self.waiting.insert(record.partition_key, VecDeque::new());
            self.ready.insert(place, record);
        }
    }

    /// Notes the end of a user record, after which the next one of its key can start if it has succeeded.
    fn end(&mut self, record: &BatchRecord<'b>, is_done: bool) {
        if is_done && let Some(waiting) = self.waiting.get_mut(record.partition_key) {
            if let Some((place, record)) = waiting.pop_front() {
                self.waiting_records -= 1;
                self.ready.insert(place, record);
            } else {
                self.waiting.remove(record.partition_key);
            }
        }
    }
}
