//! The trace of a scenario as JSON: what `kinesis-kit simulate --format json` prints.

use std::{
    cell::RefCell,
    collections::{HashMap, HashSet},
    rc::Rc,
};

use serde::{Serialize, Serializer, ser::SerializeMap, ser::SerializeSeq};

use crate::{
    Condition, Delivery, DropReason, FailureRecord, Fate, Ids, Metrics, Observer, SharedRecord, Step,
    StepKind, scenario::SCENARIO_START_MS,
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

    /// What CloudWatch would have counted.
    pub fn metrics(&self) -> Metrics {
        self.seen.borrow().metrics
    }

    /// Which record has which ID.
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

    /// What has become of the records.
    pub fn fates(&self) -> Fates<'_> {
        let seen = self.seen.borrow();
        let mut acknowledged = HashMap::new();
        let mut lost = HashSet::new();
        for (place, step) in seen.steps.iter().enumerate() {
            match &step.kind {
                StepKind::Acknowledged(records) => {
                    for (offset, record) in records.iter().enumerate() {
                        acknowledged.insert(record.sequence_number, (place, offset));
                    }
                }
                StepKind::Discarded(discarded) => {
                    lost.extend(discarded.records.iter().map(|record| record.sequence_number));
                }
                StepKind::Dropped(records, _) => {
                    lost.extend(records.iter().map(|record| record.sequence_number));
                }
                StepKind::Read(_) | StepKind::Invoked(_) => {}
            }
        }
        acknowledged.retain(|number, _| !lost.contains(number));
        let mut completed: Vec<_> = acknowledged.iter().collect();
        completed.sort_unstable_by_key(|&(_, place)| place);
        let unread = self.ids.all().iter().map(String::as_str).filter(|id| {
            let number = self.ids.number(id);
            number.is_some_and(|number| !lost.contains(&number) && !acknowledged.contains_key(&number))
        });
        Fates {
            completed: completed.into_iter().filter_map(|(&number, _)| self.ids.id(number)).collect(),
            unread: unread.collect(),
        }
    }
}

/// What has become of a scenario's records, by ID.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fates<'a> {
    /// Acknowledged, and neither discarded nor dropped, in the order of that.
    pub completed: Vec<&'a str>,
    /// Never delivered: they lie before the starting position, or arrive after the end of the simulation.
    pub unread: Vec<&'a str>,
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

/// A JSON array of what is made of some of the steps.
struct List<'s, F>(&'s [Step], F);

impl<'s, T: Serialize + 's, F: Fn(&'s Step) -> Option<T>> Serialize for List<'s, F> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(None)?;
        for item in self.0.iter().filter_map(&self.1) {
            list.serialize_element(&item)?;
        }
        list.end()
    }
}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Seen { steps, metrics } = &*self.seen.borrow();
        let mut invocations: Vec<_> = steps.iter().filter_map(|step| self.invocation(step)).collect();
        // Shards overlap, and steps are in the order of their ends.
        invocations.sort_by_key(|invocation| invocation.at_ms);
        let Fates { completed, unread } = self.fates();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("invocations", &invocations)?;
        map.serialize_entry("discarded", &List(steps, |step| self.discarded(step)))?;
        map.serialize_entry("destination", &List(steps, delivered))?;
        map.serialize_entry("dropped", &List(steps, |step| self.dropped(step)))?;
        map.serialize_entry("completed", &completed)?;
        map.serialize_entry("unread", &unread)?;
        map.serialize_entry("metrics", metrics)?;
        map.end()
    }
}
