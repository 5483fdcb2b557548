//! The trace of a scenario as JSON: what `kinesis-kit simulate --format json` prints.

use std::{cell::RefCell, rc::Rc};

use kinesis_esm::{Condition, FailureRecord, SharedRecord};
use lambda_host::Fate;
use serde::{Serialize, Serializer, ser::SerializeMap};

use crate::{
    Delivery, Discarded, DropReason, Ids, Metrics, Observer, Step, StepKind, scenario::SCENARIO_START_MS,
};

/// Collects the steps of a scenario.
#[derive(Debug, Clone)]
pub struct Report {
    ids: Rc<Ids>,
    seen: Rc<RefCell<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    steps: Vec<Step>,
    metrics: Metrics,
}

impl Report {
    /// An empty report. Its clones share what they collect.
    pub fn new(ids: Rc<Ids>) -> Self {
        Report { ids, seen: Rc::default() }
    }

    /// Returns the metrics that CloudWatch would have counted.
    pub fn metrics(&self) -> Metrics {
        self.seen.borrow().metrics
    }

    /// Returns the IDs of the records.
    pub fn ids(&self) -> &Ids {
        &self.ids
    }

    /// Calls `show` with each step, in the order in which they began.
    pub fn for_each_by_time(&self, mut show: impl FnMut(&Step)) {
        let steps = &self.seen.borrow().steps;
        by_time(steps).into_iter().for_each(|place| show(&steps[place]));
    }

    /// Calls `show` with each step, in the order in which they ended.
    pub fn for_each(&self, mut show: impl FnMut(&Step)) {
        self.seen.borrow().steps.iter().for_each(&mut show);
    }

    /// The IDs of these records, in order. Members of one aggregate, which share an ID, are one.
    pub fn ids_of<'a>(&'a self, records: &[SharedRecord]) -> Vec<&'a str> {
        let mut ids: Vec<&str> =
            records.iter().filter_map(|record| self.ids.id(record.sequence_number)).collect();
        ids.dedup();
        ids
    }

    /// IDs of the records that are done: acknowledged, and neither discarded nor dropped. In the order of that.
    pub fn completed(&self) -> Vec<&str> {
        self.fates().completed.into_iter().map(|position| self.ids.all()[position].as_str()).collect()
    }

    /// Returns the fates of the records.
    pub fn fates(&self) -> Fates {
        let seen = self.seen.borrow();
        let records = self.ids.all().len();
        let mut acknowledgements = 0u64;
        let mut acknowledged = vec![None; records];
        let mut is_lost = vec![false; records];
        let positions = |records: &[SharedRecord]| -> Vec<usize> {
            records.iter().filter_map(|record| self.ids.position(record.sequence_number)).collect()
        };
        for step in &seen.steps {
            match &step.kind {
                StepKind::Acknowledged(records) => {
                    for position in positions(records) {
                        acknowledgements += 1;
                        acknowledged[position] = Some(acknowledgements);
                    }
                }
                StepKind::Discarded(Discarded { records, .. }) | StepKind::Dropped(records, _) => {
                    positions(records).into_iter().for_each(|position| is_lost[position] = true);
                }
                StepKind::Read(_) | StepKind::Invoked(_) | StepKind::TooLarge(_) => {}
            }
        }
        let mut fates = Fates::default();
        for (position, is_lost) in is_lost.into_iter().enumerate() {
            match acknowledged[position] {
                _ if is_lost => {}
                Some(_) => fates.completed.push(position),
                None => fates.unread.push(position),
            }
        }
        fates.completed.sort_unstable_by_key(|&position| acknowledged[position]);
        fates
    }
}

/// The fates of a scenario's records, by their positions in it, counted from zero.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fates {
    /// Acknowledged, and neither discarded nor dropped, in the order of that.
    pub completed: Vec<usize>,
    /// Never delivered: they lie before the starting position, or arrive after the end of the simulation.
    pub unread: Vec<usize>,
}

impl Observer for Report {
    fn observe(&mut self, step: Step) {
        let seen = &mut *self.seen.borrow_mut();
        seen.metrics.count(&step);
        if !matches!(step.kind, StepKind::Read(_)) {
            seen.steps.push(step);
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InvocationLine<'a> {
    at_ms: u64,
    request_id: &'a str,
    shard_id: &'a str,
    ids: Vec<&'a str>,
    outcome: crate::Outcome,
    reported: Vec<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fault: Option<&'static str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    ignored: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DiscardedLine<'a> {
    ids: Vec<&'a str>,
    condition: Condition,
    approximate_invoke_count: u32,
}

/// Why records are in the member `dropped`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Why {
    Trimmed,
    Filtered,
    OutOfRange,
    Destination,
}

#[derive(Serialize)]
struct DroppedLine<'a> {
    ids: Vec<&'a str>,
    why: Why,
}

impl Report {
    fn invocation<'a>(&'a self, step: &'a Step) -> Option<InvocationLine<'a>> {
        let StepKind::Invoked(invoked) = &step.kind else { return None };
        Some(InvocationLine {
            at_ms: invoked.began_ms.saturating_sub(SCENARIO_START_MS),
            request_id: &invoked.request_id,
            shard_id: &step.shard_id,
            ids: self.ids_of(&invoked.records),
            outcome: invoked.outcome,
            reported: invoked.reported.iter().filter_map(|&number| self.ids.id(number)).collect(),
            error: invoked.error.as_ref().map(ToString::to_string),
            fault: match invoked.fate {
                Fate::Normal => None,
                Fate::Timeout => Some("timeout"),
                Fate::Crash => Some("crash"),
                Fate::LostResponse => Some("lostResponse"),
                Fate::Zombie => Some("zombie"),
            },
            ignored: invoked.is_ignored,
        })
    }

    fn discarded<'a>(&'a self, step: &'a Step) -> Option<DiscardedLine<'a>> {
        let StepKind::Discarded(discarded) = &step.kind else { return None };
        Some(DiscardedLine {
            ids: self.ids_of(&discarded.records),
            condition: discarded.condition,
            approximate_invoke_count: discarded.approximate_invoke_count,
        })
    }

    fn dropped<'a>(&'a self, step: &'a Step) -> Option<DroppedLine<'a>> {
        let (records, why) = match &step.kind {
            StepKind::Dropped(records, DropReason::Trimmed) => (records, Why::Trimmed),
            StepKind::Dropped(records, DropReason::Filtered) => (records, Why::Filtered),
            StepKind::Dropped(records, DropReason::OutOfRange) => (records, Why::OutOfRange),
            StepKind::Discarded(discarded) if matches!(discarded.delivery, Delivery::Failed) => {
                (&discarded.records, Why::Destination)
            }
            _ => return None,
        };
        Some(DroppedLine { ids: self.ids_of(records), why })
    }
}

/// The places of the steps in the order in which they began. Shards overlap, and steps are in the order of their ends.
fn by_time(steps: &[Step]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..steps.len()).collect();
    places.sort_by_key(|&place| steps[place].began_ms());
    places
}

fn delivered(step: &Step) -> Option<&FailureRecord> {
    match &step.kind {
        StepKind::Discarded(discarded) => match &discarded.delivery {
            Delivery::Delivered { record, .. } => Some(record),
            Delivery::NoDestination | Delivery::Failed => None,
        },
        _ => None,
    }
}

/// A JSON array of items that are made as they are written: there may be more than memory should hold.
struct List<I>(RefCell<I>);

impl<T: Serialize, I: Iterator<Item = T>> List<I> {
    fn of(items: impl IntoIterator<IntoIter = I>) -> Self {
        List(RefCell::new(items.into_iter()))
    }
}

impl<T: Serialize, I: Iterator<Item = T>> Serialize for List<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.borrow_mut().by_ref())
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Seen { steps, metrics } = &*self.seen.borrow();
        let invocations = by_time(steps).into_iter().filter_map(|place| self.invocation(&steps[place]));
        let Fates { completed, unread } = self.fates();
        let ids = |positions: Vec<usize>| positions.into_iter().map(|position| &self.ids.all()[position]);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("invocations", &List::of(invocations))?;
        map.serialize_entry("discarded", &List::of(steps.iter().filter_map(|step| self.discarded(step))))?;
        map.serialize_entry("destination", &List::of(steps.iter().filter_map(delivered)))?;
        map.serialize_entry("dropped", &List::of(steps.iter().filter_map(|step| self.dropped(step))))?;
        map.serialize_entry("completed", &List::of(ids(completed)))?;
        map.serialize_entry("unread", &List::of(ids(unread)))?;
        map.serialize_entry("metrics", metrics)?;
        map.end()
    }
}
