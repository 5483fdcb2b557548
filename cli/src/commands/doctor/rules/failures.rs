//! Rules about failed batches: retries, bisection, age and destination.

use super::{DATALESS, Judged, error, warning};
use crate::commands::doctor::{
    mapping::{Mapping, QUARANTINE, Service},
    setting::Unknown,
};

const DAY_S: i64 = 24 * 60 * 60;

pub(super) fn response_types(mapping: &Mapping) -> Judged {
    let kinds = mapping.response_types.get("FunctionResponseTypes")?.cloned().unwrap_or_default();
    let is_missing = !kinds.iter().any(|kind| kind == "ReportBatchItemFailures");
    Ok(is_missing.then(|| {
        error(
            "FunctionResponseTypes",
            if kinds.is_empty() { "none".to_owned() } else { kinds.join(", ") },
            "any response counts as success, so records that it names as failed are lost",
            "FunctionResponseTypes: [ReportBatchItemFailures]",
        )
    }))
}

pub(super) fn bisect(mapping: &Mapping) -> Judged {
    let bisects = mapping.bisects.get("BisectBatchOnFunctionError")?.copied().unwrap_or(false);
    Ok((!bisects).then(|| {
        error(
            "BisectBatchOnFunctionError",
            "false",
            "when retries are exhausted, the whole batch is discarded, including valid records",
            "BisectBatchOnFunctionError: true",
        )
    }))
}

pub(super) fn retries(mapping: &Mapping) -> Judged {
    let retries = mapping.retries.get("MaximumRetryAttempts")?.copied().unwrap_or(-1);
    if retries >= 0 || has_other_bound(mapping)? {
        return Ok(None);
    }
    Ok(Some(error(
        "MaximumRetryAttempts",
        retries.to_string(),
        "one record that always fails blocks its shard until records expire from the stream",
        "a finite number, such as MaximumRetryAttempts: 10, or the quarantine and a finite MaximumRecordAgeInSeconds",
    )))
}

/// Returns whether records that always fail go to the quarantine, and those of which it knows nothing (crashes and timeouts) are
/// discarded at some age.
fn has_other_bound(mapping: &Mapping) -> Result<bool, Unknown> {
    let age = mapping.record_age_s.get("MaximumRecordAgeInSeconds")?.copied().unwrap_or(-1);
    let Some(function) = mapping.function.known().filter(|_| age > 0) else { return Ok(false) };
    function.is_on(QUARANTINE)
}

pub(super) fn record_age(mapping: &Mapping) -> Judged {
    const SETTING: &str = "MaximumRecordAgeInSeconds";
    let age = mapping.record_age_s.get(SETTING)?.copied().unwrap_or(-1);
    if age < 0 {
        return Ok(Some(error(
            SETTING,
            age.to_string(),
            "records can expire from the stream without a failure record",
            "less than the stream's retention, such as MaximumRecordAgeInSeconds: 82800 for 24 hours",
        )));
    }
    // No stream keeps records for less than a day.
    if age < DAY_S {
        return Ok(None);
    }
    let fix = "less than the stream's retention, or a longer retention";
    Ok(match mapping.stream.retention_hours.get("RetentionPeriodHours")? {
        Some(hours) if age >= hours.saturating_mul(3600) => Some(error(
            SETTING,
            format!("{age}, with a retention of {} seconds", hours.saturating_mul(3600)),
            "records expire from the stream before they reach this age, without a failure record",
            fix,
        )),
        Some(_) => None,
        None => Some(warning(
            SETTING,
            format!("{age}, and the stream's retention is not known"),
            "with the default retention of 24 hours, records expire before they reach this age, without a failure record",
            fix,
        )),
    })
}

pub(super) fn destination(mapping: &Mapping) -> Judged {
    const SETTING: &str = "DestinationConfig";
    let Some(destination) = mapping.destination.get(SETTING)? else {
        return Ok(Some(error(
            SETTING,
            "no OnFailure destination",
            "discarded records are lost without a failure record",
            "an S3 bucket as DestinationConfig.OnFailure.Destination",
        )));
    };
    let found = match destination.service.get(SETTING)? {
        Some(Service::Sqs) => "an SQS queue",
        Some(Service::Sns) => "an SNS topic",
        Some(Service::S3 | Service::Other) | None => return Ok(None),
    };
    let finding = warning(
        SETTING,
        found,
        "failure records in it hold no data, only a position in the stream, where the records expire",
        "an S3 bucket",
    );
    Ok(Some(finding.by(DATALESS)))
}

pub(super) fn destination_permission(mapping: &Mapping) -> Judged {
    let Some(destination) = mapping.destination.known() else { return Ok(None) };
    let action = match destination.service.known() {
        Some(Service::S3) => "s3:PutObject",
        Some(Service::Sqs) => "sqs:SendMessage",
        Some(Service::Sns) => "sns:Publish",
        Some(Service::Other) | None => return Ok(None),
    };
    let may_write = destination.may_write.get("Role")?.copied().unwrap_or(true);
    Ok((!may_write).then(|| {
        warning(
            "Role",
            format!("no permission for {action} on the OnFailure destination"),
            "Lambda writes failure records with the function's role; without the permission, discarded records are lost",
            format!("allow {action} on the destination in the function's role"),
        )
    }))
}

pub(super) fn destination_key(mapping: &Mapping) -> Judged {
    let Some(destination) = mapping.destination.known() else { return Ok(None) };
    let may_use_key = destination.may_use_key.get("Role")?.copied().unwrap_or(true);
    Ok((!may_use_key).then(|| {
        warning(
            "Role",
            "no permission for kms:GenerateDataKey on the key of the OnFailure destination",
            "Lambda cannot write failure records without the key that encrypts the destination, so discarded records are lost",
            "allow kms:GenerateDataKey and kms:Decrypt on the key in the function's role",
        )
    }))
}
