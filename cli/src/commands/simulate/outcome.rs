use kinesis_esm::{Destination, DestinationKind, MAX_EVENT_BYTES, SharedRecord};
use kinesis_esm_simulator::{Delivery, Discarded, DropReason, Ids, Invoked, Outcome, TooLarge};
use lambda_host::Fate;

use super::id_ranges;
use crate::output::{cell, note::count};

/// Width of IDs that a response named.
const REPORTED_WIDTH: usize = 24;

/// Width of IDs that were discarded.
const SETTLED_WIDTH: usize = 40;

/// Describes the end of an invocation in a few words.
pub(super) fn of_invocation(invoked: &Invoked, ids: &Ids) -> String {
    let mut text = match (invoked.outcome, &invoked.error) {
        (Outcome::Success, _) => "ok".to_owned(),
        (Outcome::Partial, _) => {
            let positions = invoked.reported.iter().filter_map(|&number| ids.position(number));
            let records = id_ranges::of_positions(ids, positions, REPORTED_WIDTH);
            let noun = if invoked.reported.len() == 1 { "record" } else { "records" };
            match has_progress(invoked) {
                true => format!("partial: {noun} {records} failed"),
                false => format!("failed: {noun} {records}"),
            }
        }
        (Outcome::Failure, Some(error)) => format!("failed: {error}"),
        (Outcome::Failure, None) => "failed: invalid response".to_owned(),
        (Outcome::Throttled, _) => "throttled".to_owned(),
    };
    text.push_str(match invoked.fate {
        Fate::Normal => "",
        Fate::Zombie => " (fault, keeps running)",
        Fate::Timeout | Fate::Crash | Fate::LostResponse => " (fault)",
    });
    if invoked.is_ignored {
        text.push_str(" (ignored)");
    }
    text
}

/// Whether a partial response says that records before the first one that failed are processed.
pub(super) fn has_progress(invoked: &Invoked) -> bool {
    let first = invoked.records.first().map(|record| record.sequence_number);
    invoked.outcome == Outcome::Partial && first.is_some_and(|first| !invoked.reported.contains(&first))
}

/// Names a record that no event can hold.
pub(super) fn of_too_large(too_large: &TooLarge, ids: &Ids) -> String {
    let TooLarge { record, event_bytes } = too_large;
    let record = counted(std::slice::from_ref(record), ids);
    format!(
        "TOO LARGE {record}; an event of {event_bytes} bytes, above {MAX_EVENT_BYTES}, is never delivered"
    )
}

/// Describes the records that were discarded, the reason, and the destination.
pub(super) fn of_discard(discarded: &Discarded, destination: Option<&Destination>, ids: &Ids) -> String {
    let records = counted(&discarded.records, ids);
    let Discarded { condition, approximate_invoke_count: invocations, .. } = discarded;
    let sent = match (&discarded.delivery, destination) {
        (Delivery::Delivered { .. }, Some(destination)) => format!("sent to {}", short(destination)),
        (Delivery::Delivered { .. }, None) => "sent to the destination".to_owned(),
        (Delivery::NoDestination, _) => "dropped: no destination".to_owned(),
        (Delivery::Failed, _) => "dropped: the destination failed".to_owned(),
    };
    format!("DISCARDED {records}; {condition:?}, approximateInvokeCount {invocations}, {sent}")
}

/// Describes the records that were passed over, and the reason.
pub(super) fn of_drop(records: &[SharedRecord], reason: DropReason, ids: &Ids) -> String {
    let why = match reason {
        DropReason::Trimmed => "older than the stream's retention, no failure record",
        DropReason::Filtered => "no filter admits them",
        DropReason::OutOfRange => "not of this shard's hash keys, no failure record",
    };
    format!("{} {}; {why}", drop_name(reason).to_uppercase(), counted(records, ids))
}

/// Returns the fate of records that were passed over. None of them is a dropped record for the metric DroppedEventCount, which
/// counts discarded records without a failure record.
pub(super) fn drop_name(reason: DropReason) -> &'static str {
    match reason {
        DropReason::Trimmed => "expired",
        DropReason::Filtered => "filtered out",
        DropReason::OutOfRange => "out of range",
    }
}

/// The IDs come first, where a terminal shows them before it breaks the line.
fn counted(records: &[SharedRecord], ids: &Ids) -> String {
    let shown = cell::text(&id_ranges::of_records(ids, records, SETTLED_WIDTH), SETTLED_WIDTH);
    format!("{}: {shown}", count(records.len() as u64, "record"))
}

/// Kind and name, without account and region.
fn short(destination: &Destination) -> String {
    let kind = match destination.kind() {
        DestinationKind::Sqs => "SQS queue",
        DestinationKind::Sns => "SNS topic",
        DestinationKind::S3 => "S3 bucket",
    };
    let arn = destination.arn();
    format!("{kind} {}", arn.rsplit_once(':').map_or(arn, |(_, name)| name))
}
