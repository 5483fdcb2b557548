use std::{
    collections::BTreeSet,
    io::{self, Write},
};

use kinesis_esm_simulator::{Fates, Metrics, Report, StepKind};

use super::id_ranges;
use crate::output::{
    screen::Screen,
    table::{Column, LastCell, LastColumn, Row, Table},
    tone::Tone,
};

const FATES: [Column; 2] = [Column::text("FATE"), Column::number("COUNT")];
const RECORDS: LastColumn = LastColumn { heading: "RECORDS", min_width: 21 };

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
            "discarded" if !positions.is_empty() => Tone::Error,
            "dropped" if !positions.is_empty() => Tone::Warning,
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

/// Positions in the scenario. Those of the completed records stand in the order in which they were completed.
fn fates(report: &Report) -> [(&'static str, Vec<usize>); 4] {
    let (mut discarded, mut dropped) = (BTreeSet::new(), BTreeSet::new());
    report.for_each(|step| {
        let (fate, records) = match &step.kind {
            StepKind::Discarded(step) => (&mut discarded, &step.records),
            StepKind::Dropped(records, _) => (&mut dropped, records),
            _ => return,
        };
        fate.extend(records.iter().filter_map(|record| report.ids().position(record.sequence_number)));
    });
    let Fates { completed, unread } = report.fates();
    [
        ("completed", completed),
        ("discarded", discarded.into_iter().collect()),
        ("dropped", dropped.into_iter().collect()),
        ("unread", unread),
    ]
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
