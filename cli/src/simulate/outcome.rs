use kinesis_esm_simulator::{
    Delivery, Destination, DestinationKind, Discarded, DropReason, Fate, Ids, Invoked, Outcome,
};

use super::id_ranges;
use crate::note::count;

/// Longer ones are cut.
const REPORTED_WIDTH: usize = 24;

/// How an invocation ended, in a few words.
pub(super) fn of_invocation(invoked: &Invoked, ids: &Ids) -> String {
    let mut text = match (invoked.outcome, &invoked.error) {
        (Outcome::Success, _) => "ok".to_owned(),
        (Outcome::Partial, _) => {
            let positions = invoked.reported.iter().filter_map(|&number| ids.position(number));
            format!("partial: {}", id_ranges::of_positions(ids, positions, REPORTED_WIDTH))
        }
        (Outcome::Failure, Some(error)) => format!("failed: {error}"),
        (Outcome::Failure, None) => "failed: invalid response".to_owned(),
        (Outcome::Throttled, _) => "throttled".to_owned(),
    };
    text.push_str(match invoked.fate {
        Fate::Normal => "",
        Fate::Zombie => " (fault, goes on)",
        Fate::Timeout | Fate::Crash | Fate::LostResponse => " (fault)",
    });
    if invoked.is_ignored {
        text.push_str(" (ignored)");
    }
    text
}

/// What became of records that were given up, and who is told.
pub(super) fn of_discard(discarded: &Discarded, destination: Option<&Destination>) -> String {
    let records = count(discarded.records.len() as u64, "record");
    let Discarded { condition, approximate_invoke_count: invocations, .. } = discarded;
    let told = match (&discarded.delivery, destination) {
        (Delivery::Delivered { .. }, Some(destination)) => format!("told {}", short(destination)),
        (Delivery::Delivered { .. }, None) => "told the destination".to_owned(),
        (Delivery::NoDestination, _) => "told nobody".to_owned(),
        (Delivery::Failed, _) => "told nobody, as the destination cannot be written".to_owned(),
    };
    format!("DISCARDED {records} ({condition:?}, approximateInvokeCount {invocations}), {told}")
}

/// Why so many records were passed over.
pub(super) fn of_drop(records: usize, reason: DropReason) -> String {
    let why = match reason {
        DropReason::Trimmed => "older than the stream's retention",
        DropReason::Filtered => "no filter admits them",
        DropReason::OutOfRange => "not of this shard's hash keys",
    };
    format!("DROPPED {} ({why}), told nobody", count(records as u64, "record"))
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
