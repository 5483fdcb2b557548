//! The log lines about a batch.

use crate::{
    Counts, SequenceNumber,
    batch::stop::{Failure, StopReason},
    event::KinesisRecord,
};

/// Logs the reason for which a batch has stopped, with the position of its record.
pub(super) fn log_stop(
    reason: &StopReason,
    kinesis_record: &KinesisRecord<'_>,
    sub_sequence_number: Option<u64>,
) {
    macro_rules! at_record {
        ($level:ident, $($rest:tt)*) => {
            tracing::$level!(
                position = %kinesis_record.position(sub_sequence_number),
                $($rest)*
            )
        };
    }
    match reason {
        StopReason::Failed(Failure::NotNow(error)) => {
            at_record!(warn, error, "batch paused at this record, which counts no attempt");
        }
        StopReason::Failed(failure) => {
            let permanent = failure.is_permanent().then_some(true);
            at_record!(error, permanent, error = %failure, "record failed, batch stopped");
        }
        StopReason::Deadline | StopReason::DeadlineBeforeFirst => {
            at_record!(warn, "deadline is near, batch stopped before this record was processed");
        }
    }
}

/// Logs the counts of a batch that are not zero: at INFO if anything unusual has happened, else at DEBUG, because the metrics
/// have the counts of every batch.
pub(super) fn log_batch(batch_size: usize, failed: Option<SequenceNumber>, counts: &Counts) {
    let Counts {
        kinesis_records,
        user_records,
        bytes,
        aggregated,
        empty_aggregates,
        checksum_mismatches,
        invalid_aggregates,
        failed: failed_batches,
        paused,
        deadline_stops,
        retried,
        resumed,
        out_of_range,
        hash_range_errors,
        quarantined,
        skipped,
        discarded,
        journal_read_errors,
        unreadable_journal_items,
        journal_write_errors,
        checkpoint_already_ahead,
        checkpoint_lease_owned,
        cutover_skipped,
        checkpoint_read_errors,
        checkpoint_write_errors,
    } = *counts;
    let unusual = [
        empty_aggregates,
        checksum_mismatches,
        invalid_aggregates,
        failed_batches,
        paused,
        deadline_stops,
        retried,
        resumed,
        out_of_range,
        hash_range_errors,
        quarantined,
        skipped,
        discarded,
        journal_read_errors,
        unreadable_journal_items,
        journal_write_errors,
        checkpoint_already_ahead,
        checkpoint_lease_owned,
        cutover_skipped,
        checkpoint_read_errors,
        checkpoint_write_errors,
    ];
    let not_zero = |count: u64| (count > 0).then_some(count);
    // A line about the record itself has its position; only a strict mirror reports one without that.
    let unexplained = failed.filter(|_| failed_batches + paused + deadline_stops == 0);
    macro_rules! log {
        ($level:ident) => {
            tracing::$level!(
                batchItemFailure = unexplained.map(tracing::field::display),
                batchSize = batch_size,
                kinesisRecords = kinesis_records,
                userRecords = user_records,
                bytes,
                aggregated,
                emptyAggregates = not_zero(empty_aggregates),
                checksumMismatches = not_zero(checksum_mismatches),
                invalidAggregates = not_zero(invalid_aggregates),
                deadlineStops = not_zero(deadline_stops),
                retried = not_zero(retried),
                resumed = not_zero(resumed),
                outOfRange = not_zero(out_of_range),
                hashRangeErrors = not_zero(hash_range_errors),
                quarantined = not_zero(quarantined),
                skipped = not_zero(skipped),
                discarded = not_zero(discarded),
                journalReadErrors = not_zero(journal_read_errors),
                unreadableJournalItems = not_zero(unreadable_journal_items),
                journalWriteErrors = not_zero(journal_write_errors),
                checkpointAlreadyAhead = not_zero(checkpoint_already_ahead),
                checkpointLeaseOwned = not_zero(checkpoint_lease_owned),
                cutoverSkipped = not_zero(cutover_skipped),
                checkpointReadErrors = not_zero(checkpoint_read_errors),
                checkpointWriteErrors = not_zero(checkpoint_write_errors),
                "batch processed"
            )
        };
    }
    if failed.is_some() || unusual.iter().any(|&count| count > 0) {
        log!(info);
    } else {
        log!(debug);
    }
}
