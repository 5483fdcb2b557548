use std::{
    collections::{BTreeMap, BTreeSet},
    io::{self, Write},
};

use kinesis_esm_simulator::{Delivery, Fates, Metrics, Report, StepKind};

use super::{id_ranges, outcome::drop_name};
use crate::output::{
    screen::Screen,
    table::{Column, LastCell, LastColumn, Row, Table},
    tone::Tone,
};

const FATES: [Column; 2] = [Column::text("FATE"), Column::number("COUNT")];
const RECORDS: LastColumn = LastColumn { heading: "RECORDS", min_width: 21 };

/// The fate of records that were discarded with a failure record.
const DISCARDED: &str = "discarded";

/// The fate of records that were discarded without a failure record, as the metric DroppedEventCount counts them.
const DROPPED: &str = "dropped";

const METRICS: [Column; 1] = [Column::text("METRIC")];
const VALUE: LastColumn = LastColumn { heading: "VALUE", min_width: 20 };

/// Prints what has become of the records, and what CloudWatch would have counted.
pub(super) fn show<W: Write>(mut output: W, screen: Screen, report: &Report) -> io::Result<()> {
    writeln!(output)?;
    let mut table = Table::new(&mut output, screen, FATES, RECORDS);
    for (name, positions) in fates(report) {
        let records = id_ranges::of_positions(report.ids(), positions.iter().copied(), table.last_width(0));
        let columns = vec![name.to_owned(), positions.len().to_string()];
        let tone = match name {
            DISCARDED | DROPPED if !positions.is_empty() => Tone::Error,
            "expired" | "out of range" => Tone::Error,
            _ => Tone::Plain,
        };
        table.push(Row::new(columns, LastCell::Cut(records)).with_tone(tone))?;
    }
    table.finish()?;
    writeln!(output)?;
    let mut table = Table::new(&mut output, screen, METRICS, VALUE);
    for (name, value) in metrics(report.metrics()) {
        table.push(Row::new(vec![name.to_owned()], LastCell::Whole(value.to_string())))?;
    }
    table.finish()
}

/// Positions in the scenario by fate, those that are rare only if there are any. Those of the processed records are in the
/// order in which they were processed.
fn fates(report: &Report) -> Vec<(&'static str, Vec<usize>)> {
    let mut positions: BTreeMap<&'static str, BTreeSet<usize>> = BTreeMap::new();
    report.for_each(|step| {
        let (fate, records) = match &step.kind {
            StepKind::Discarded(step) => match step.delivery {
                Delivery::Delivered { .. } => (DISCARDED, &step.records),
                Delivery::NoDestination | Delivery::Failed => (DROPPED, &step.records),
            },
            StepKind::Dropped(records, reason) => (drop_name(*reason), records),
            _ => return,
        };
        let records = records.iter().filter_map(|record| report.ids().position(record.sequence_number));
        positions.entry(fate).or_default().extend(records);
    });
    let mut of = |fate| positions.remove(fate).map(Vec::from_iter).unwrap_or_default();
    let settled = [(DISCARDED, of(DISCARDED)), (DROPPED, of(DROPPED))];
    let Fates { completed, unread } = report.fates();
    let mut fates = vec![("processed", completed)];
    fates.extend(settled);
    fates.extend(positions.into_iter().map(|(fate, records)| (fate, Vec::from_iter(records))));
    fates.push(("unread", unread));
    fates
}

fn metrics(metrics: Metrics) -> [(&'static str, u64); 7] {
    [
        ("PolledEventCount", metrics.polled_event_count),
        ("FilteredOutEventCount", metrics.filtered_out_event_count),
        ("InvokedEventCount", metrics.invoked_event_count),
        ("FailedInvokeEventCount", metrics.failed_invoke_event_count),
        ("DroppedEventCount", metrics.dropped_event_count),
        ("OnFailureDestinationDeliveredEventCount", metrics.on_failure_destination_delivered_event_count),
        ("IteratorAge (ms, maximum)", metrics.iterator_age),
    ]
}
