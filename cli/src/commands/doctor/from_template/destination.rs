//! The on-failure destination of a mapping.

use serde_json::Value;

use super::{
    super::{
        mapping::{Destination, Function, Service},
        setting::Setting,
        template::{scalar, spell},
    },
    index::Index,
    properties::{express, member, raw, text},
    role::Role,
    source::resource,
};

/// Returns the destination, absent if there is none. An event of a SAM function may name its `Type`, too.
pub(super) fn of_mapping(
    index: &Index<'_>,
    properties: &Value,
    function: Option<&Function>,
    is_sam_event: bool,
) -> Setting<Destination> {
    let on_failure = member(properties, "DestinationConfig").and_then(|config| member(&config, "OnFailure"));
    on_failure.and_then(|on_failure| {
        let kind = if is_sam_event { text(&on_failure, "Type") } else { Setting::Absent };
        raw(&on_failure, "Destination").and_then(|destination| {
            if scalar(&destination).is_some_and(|text| text.is_empty()) {
                return Setting::Absent;
            }
            let role = function.map(|function| index.role_of(&function.id));
            Setting::Known(of_value(index, &destination, kind, role.as_deref()))
        })
    })
}

fn of_value(
    index: &Index<'_>,
    destination: &Value,
    kind: Setting<String>,
    role: Option<&Role>,
) -> Destination {
    let described = resource(index.template, destination);
    let by_resource = described.as_ref().and_then(|(_, kind, _)| match *kind {
        "AWS::S3::Bucket" => Some(Service::S3),
        "AWS::SQS::Queue" => Some(Service::Sqs),
        "AWS::SNS::Topic" => Some(Service::Sns),
        _ => None,
    });
    let by_text =
        || spell(destination).filter(|text| text.starts_with("arn:")).and_then(|text| Service::of(&text));
    let by_kind = || kind.known().and_then(|kind| Service::of(kind));
    let service = match by_resource.or_else(by_text).or_else(by_kind) {
        Some(service) => Setting::Known(service),
        None => Setting::Unknown(express(destination)),
    };
    let Some(role) = role else {
        return Destination { service, may_write: Setting::Absent, may_use_key: Setting::Absent };
    };
    let may_write = match service.known() {
        Some(Service::S3) => role.allows(index, "s3:PutObject", destination, "/key"),
        Some(Service::Sqs) => role.allows(index, "sqs:SendMessage", destination, ""),
        Some(Service::Sns) => role.allows(index, "sns:Publish", destination, ""),
        Some(Service::Other) | None => Setting::Absent,
    };
    let key = described.map_or(Setting::Absent, |(_, _, properties)| key(&properties));
    let may_use_key = key.and_then(|key| match role.allows(index, "kms:GenerateDataKey", &key, "") {
        // It may be a key that AWS manages.
        Setting::Known(false) if scalar(&key).is_none() && resource(index.template, &key).is_none() => {
            Setting::Unknown(express(&key))
        }
        other => other,
    });
    Destination { service, may_write, may_use_key }
}

/// Returns the customer managed key of a bucket, queue or topic. AWS managed keys need no permission.
fn key(properties: &Value) -> Setting<Value> {
    let of_bucket = member(properties, "BucketEncryption")
        .and_then(|encryption| member(&encryption, "ServerSideEncryptionConfiguration"))
        .and_then(|rules| Setting::from(rules.get(0).cloned()))
        .and_then(|rule| member(&rule, "ServerSideEncryptionByDefault"))
        .and_then(|default| raw(&default, "KMSMasterKeyID"));
    let key = match of_bucket {
        Setting::Absent => raw(properties, "KmsMasterKeyId"),
        found => found,
    };
    key.and_then(|key| match scalar(&key) {
        Some(text) if text.is_empty() || text.starts_with("alias/aws/") || text.contains(":alias/aws/") => {
            Setting::Absent
        }
        _ => Setting::Known(key),
    })
}
