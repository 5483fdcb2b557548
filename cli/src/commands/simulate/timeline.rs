use std::io::{self, Write};

use kinesis_esm::Destination;
use kinesis_esm_simulator::{DropReason, Ids, Outcome, Report, SCENARIO_START_MS, Scenario, Step, StepKind};

use super::{
    elapsed::Elapsed,
    id_ranges,
    lineage::{Descent, Lineage},
    outcome,
};
use crate::output::{
    cell,
    screen::Screen,
    table::{Column, LastCell, LastColumn, Row, Table},
    tone::Tone,
};

const TIME: Column = Column::number("TIME");
const SHARD: Column = Column::text("SHARD");
const INVOCATION: [Column; 4] = [
    Column::text("BATCH"),
    Column::text("REQUEST").start(REQUEST_ID_WIDTH),
    Column::number("TRY"),
    Column::text("OUTCOME"),
];
const RECORDS: LastColumn = LastColumn { heading: "RECORDS", min_width: 21 };

/// Enough to tell request IDs apart.
const REQUEST_ID_WIDTH: usize = 8;

const SHARD_WIDTH: usize = 20;

const OUTCOME_WIDTH: usize = 44;

/// The parts of a scenario that a timeline needs besides its steps.
#[derive(Debug)]
pub(super) struct View {
    has_several_shards: bool,
    has_several_lanes: bool,
    bisects: bool,
    destination: Option<Destination>,
}

impl View {
    pub(super) fn of(scenario: &Scenario) -> Self {
        let mapping = &scenario.simulation.mapping;
        View {
            has_several_shards: scenario.shards().len() > 1,
            has_several_lanes: mapping.parallelization_factor > 1,
            bisects: mapping.bisect_batch_on_function_error,
            destination: mapping.on_failure.clone(),
        }
    }

    fn has_shard_column(&self) -> bool {
        self.has_several_shards || self.has_several_lanes
    }

    /// Shard and lane, as far as there are several.
    fn place(&self, step: &Step) -> String {
        let shard = cell::text(cell::short_shard(&step.shard_id), SHARD_WIDTH);
        if self.has_several_lanes { format!("{shard}/{}", step.lane) } else { shard }
    }
}

/// Prints what happened, in the order in which it began.
pub(super) fn show<W: Write>(output: W, screen: Screen, report: &Report, view: &View) -> io::Result<()> {
    let mut columns = vec![TIME];
    columns.extend(view.has_shard_column().then_some(SHARD));
    columns.extend(INVOCATION);
    let mut table = Table::new(output, screen, columns, RECORDS);
    let mut lineage = Lineage::new(view.bisects);
    let mut written = Ok(());
    report.for_each_by_time(|step| {
        if written.is_ok()
            && let Some(row) = row(step, report.ids(), view, &mut lineage, table.last_width(0))
        {
            written = table.push(row);
        }
    });
    written?;
    table.finish()
}

fn row(step: &Step, ids: &Ids, view: &View, lineage: &mut Lineage, width: usize) -> Option<Row> {
    let mut columns = vec![Elapsed(step.began_ms().saturating_sub(SCENARIO_START_MS)).to_string()];
    columns.extend(view.has_shard_column().then(|| view.place(step)));
    let (last, tone) = match &step.kind {
        StepKind::Invoked(invoked) => {
            let Descent { origin, tries, repeats_outcome } = lineage.follow(step, invoked);
            if repeats_outcome && !is_shown(tries) {
                return None;
            }
            columns.push(origin.name().to_owned());
            columns.push(invoked.request_id.clone());
            columns.push(tries.to_string());
            columns.push(cell::text(&outcome::of_invocation(invoked, ids), OUTCOME_WIDTH));
            let tone = match invoked.outcome {
                Outcome::Success => Tone::Plain,
                Outcome::Partial if !outcome::has_progress(invoked) => Tone::Error,
                Outcome::Partial | Outcome::Throttled => Tone::Warning,
                Outcome::Failure => Tone::Error,
            };
            (LastCell::Cut(id_ranges::of_records(ids, &invoked.records, width)), tone)
        }
        StepKind::TooLarge(too_large) => {
            (LastCell::Whole(outcome::of_too_large(too_large, ids)), Tone::Error)
        }
        StepKind::Discarded(discarded) => {
            let last = outcome::of_discard(discarded, view.destination.as_ref(), ids);
            (LastCell::Whole(last), Tone::Error)
        }
        StepKind::Dropped(records, reason) => {
            let tone = match reason {
                DropReason::Filtered => Tone::Plain,
                DropReason::Trimmed | DropReason::OutOfRange => Tone::Error,
            };
            (LastCell::Whole(outcome::of_drop(records, *reason, ids)), tone)
        }
        _ => return None,
    };
    Some(Row::new(columns, last).with_tone(tone))
}

/// A record that blocks its shard may be tried thousands of times, always to the same effect: of these the first ten are
/// shown, and then ever fewer.
fn is_shown(tries: u32) -> bool {
    let magnitude = 10u32.pow(tries.max(1).ilog10());
    tries <= 10 || [1, 2, 5].contains(&(tries / magnitude)) && tries.is_multiple_of(magnitude)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_tries_few_are_shown() {
        let shown: Vec<u32> = (1..=3_000).filter(|&tries| is_shown(tries)).collect();
        assert_eq!(shown, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 20, 50, 100, 200, 500, 1_000, 2_000]);
    }
}
