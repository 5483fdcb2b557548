//! The permissions of the function's role for the on-failure destination.

use super::{SAM, TEMPLATE, check, check_clean, doctor, findings};

const DENIED: &str = "warning Role";

/// The template's function has a role with these properties.
fn with_role(properties: &str) -> String {
    TEMPLATE.replace("      Environment:", "      Role: !GetAtt Role.Arn\n      Environment:").replace(
        "  Queue: {",
        &format!("  Role: {{ Type: AWS::IAM::Role, Properties: {{ {properties} }} }}\n  Queue: {{"),
    )
}

fn allow(action: &str, resource: &str) -> String {
    let document = format!("{{ Statement: [{{ Effect: Allow, Action: {action}, Resource: {resource} }}] }}");
    format!("Policies: [{{ PolicyName: p, PolicyDocument: {document} }}]")
}

#[track_caller]
fn check_role(role: &str, expected: Option<&str>) {
    let template = with_role(role);
    match expected {
        Some(expected) => check(&template, "Position", "Position", expected),
        None => check_clean(&template, "Position", "Position"),
    }
}

#[test]
fn a_role_must_be_allowed_to_write_to_the_destination() {
    check_role("Path: /", Some(DENIED));
    check_role(&allow("s3:GetObject", "\"*\""), Some(DENIED));
    check_role(&allow("s3:PutObject", "!GetAtt Failures.Arn"), Some(DENIED));
    check_role(&allow("s3:PutObject", "!Sub \"${Other.Arn}/*\""), Some("not-judged Role"));
    check_role(&allow("s3:PutObject", "arn:aws:s3:::other/*"), Some(DENIED));
    check_role(&allow("[s3:GetObject, s3:PutObject]", "!Sub \"${Failures.Arn}/*\""), None);
    check_role(&allow("s3:Put*", "\"*\""), None);
    check_role(&allow("\"*\"", "!Sub \"arn:${AWS::Partition}:s3:::${Failures}/aws/lambda/*\""), Some(DENIED));
    check_role(&allow("S3:putobject", "!Join [\"\", [\"arn:aws:s3:::\", !Ref Failures, \"/*\"]]"), None);
    check_role(
        "ManagedPolicyArns: [arn:aws:iam::aws:policy/service-role/AWSLambdaKinesisExecutionRole]",
        Some(DENIED),
    );
    check_role("ManagedPolicyArns: [arn:aws:iam::123456789012:policy/mine]", Some("not-judged Role"));
    check_role("ManagedPolicyArns: !ImportValue policies", Some("not-judged Role"));
    let outside = with_role("Path: /").replace("!GetAtt Role.Arn", "arn:aws:iam::123456789012:role/mine");
    check(&outside, "Position", "Position", "not-judged Role");
}

#[test]
fn a_destination_that_is_partly_unknown_is_compared_by_its_expression() {
    for destination in ["!Sub \"arn:aws:sqs:us-east-1:123456789012:${Name}\"", "!ImportValue sqs"] {
        let own = with_role(&allow("sqs:SendMessage", destination));
        let other = with_role(&allow("sqs:SendMessage", "!GetAtt Queue.Arn"));
        let from = "{ Destination: !GetAtt Failures.Arn }";
        let to = format!("{{ Destination: {destination} }}");
        let is_import = destination.starts_with("!Import");
        let kind = if is_import { "not-judged DestinationConfig" } else { "warning DestinationConfig" };
        check(&own, from, &to, kind);
        let both = [kind, "not-judged Role"];
        super::check_all(&other, from, &to, if is_import { &both[..1] } else { &both });
    }
}

#[test]
fn policies_of_other_resources_count() {
    let statement = "Effect: Allow, Action: s3:PutObject, Resource: !Sub \"${Failures.Arn}/*\"";
    for resource in [
        format!(
            "P: {{ Type: AWS::IAM::Policy, Properties: {{ Roles: [!Ref Role], PolicyDocument: {{ Statement: {{ {statement} }} }} }} }}"
        ),
        format!(
            "P: {{ Type: AWS::IAM::RolePolicy, Properties: {{ RoleName: !Ref Role, PolicyDocument: {{ Statement: [{{ {statement} }}] }} }} }}"
        ),
        format!(
            "P: {{ Type: AWS::IAM::ManagedPolicy, Properties: {{ Roles: [!Ref Role], PolicyDocument: {{ Statement: [{{ {statement} }}] }} }} }}"
        ),
        format!(
            "P: {{ Type: AWS::S3::BucketPolicy, Properties: {{ Bucket: !Ref Failures, PolicyDocument: {{ Statement: [{{ {statement}, Principal: {{ AWS: !GetAtt Role.Arn }} }}] }} }} }}"
        ),
    ] {
        check_clean(&with_role("Path: /"), "  Queue: {", &format!("  {resource}\n  Queue: {{"));
        check(
            &with_role("Path: /"),
            "  Queue: {",
            &format!("  {}\n  Queue: {{", resource.replace("PutObject", "GetObject")),
            DENIED,
        );
    }
    let attached = "P: { Type: AWS::IAM::ManagedPolicy, Properties: { PolicyDocument: { Statement: [{ Effect: Allow, Action: s3:*, Resource: \"*\" }] } } }";
    check_clean(
        &with_role("ManagedPolicyArns: [!Ref P]"),
        "  Queue: {",
        &format!("  {attached}\n  Queue: {{"),
    );
    let deny =
        allow("s3:*", "\"*\"").replace("]}", ", { Effect: Deny, Action: s3:PutObject, Resource: \"*\" }]}");
    let deny =
        deny.replace("\"*\" }] }", "\"*\" }, { Effect: Deny, Action: s3:PutObject, Resource: \"*\" }] }");
    check_role(&deny, Some(DENIED));
}

#[test]
fn queues_and_topics_have_actions_of_their_own() {
    for (destination, action) in [("!GetAtt Queue.Arn", "sqs:SendMessage"), ("!Ref Topic", "sns:Publish")] {
        let template = |action: &str| {
            with_role(&allow(action, destination))
                .replace("Destination: !GetAtt Failures.Arn", &format!("Destination: {destination}"))
        };
        check(&template(action), "Position", "Position", "warning DestinationConfig");
        super::check_all(
            &template("s3:PutObject"),
            "Position",
            "Position",
            &["warning DestinationConfig", DENIED],
        );
    }
}

#[test]
fn a_role_must_be_allowed_to_use_the_key_of_the_destination() {
    let encrypted = |key: &str, more: &str| {
        let encryption = format!("{{ SSEAlgorithm: \"aws:kms\", KMSMasterKeyID: {key} }}");
        let bucket = format!(
            "Failures: {{ Type: AWS::S3::Bucket, Properties: {{ BucketEncryption: {{ ServerSideEncryptionConfiguration: [{{ ServerSideEncryptionByDefault: {encryption} }}] }} }} }}\n  Key: {{ Type: AWS::KMS::Key, Properties: {{ KeyPolicy: {{ Statement: [{more}] }} }} }}\n  KeyAlias: {{ Type: AWS::KMS::Alias, Properties: {{ TargetKeyId: !Ref Key }} }}"
        );
        with_role(&allow("s3:PutObject", "\"*\"")).replace("Failures: { Type: AWS::S3::Bucket }", &bucket)
    };
    let root = "{ Effect: Allow, Principal: { AWS: !Sub \"arn:aws:iam::${AWS::AccountId}:root\" }, Action: \"kms:*\", Resource: \"*\" }";
    let by_key =
        "{ Effect: Allow, Principal: { AWS: !GetAtt Role.Arn }, Action: \"kms:*\", Resource: \"*\" }";
    for key in ["!GetAtt Key.Arn", "!Ref Key", "!Ref KeyAlias"] {
        check(&encrypted(key, root), "Position", "Position", DENIED);
        check_clean(&encrypted(key, by_key), "Position", "Position");
        let statement = "{ Effect: Allow, Action: \"kms:GenerateDataKey*\", Resource: !GetAtt Key.Arn }, { Effect: Allow, Action: s3:PutObject";
        check_clean(&encrypted(key, root), "{ Effect: Allow, Action: s3:PutObject", statement);
    }
    check_clean(&encrypted("alias/aws/s3", root), "Position", "Position");
    check(&encrypted("!ImportValue key", root), "Position", "Position", "not-judged Role");
}

#[test]
fn a_role_that_sam_generates_has_the_policies_of_its_function() {
    let untyped = SAM.replace("Type: S3, Destination", "Destination");
    check(&untyped, "Position", "Position", DENIED);
    for (policies, expected) in [
        ("[{ S3WritePolicy: { BucketName: failures } }]", None),
        ("[{ S3CrudPolicy: { BucketName: failures } }, AWSXRayDaemonWriteAccess]", None),
        ("[{ S3WritePolicy: { BucketName: other } }]", Some(DENIED)),
        ("[{ S3ReadPolicy: { BucketName: failures } }]", Some(DENIED)),
        (
            "{ Statement: [{ Effect: Allow, Action: s3:PutObject, Resource: \"arn:aws:s3:::failures/*\" }] }",
            None,
        ),
        ("AWSLambdaBasicExecutionRole", Some(DENIED)),
        ("[arn:aws:iam::123456789012:policy/mine]", Some("not-judged Role")),
    ] {
        let to = format!("    Properties:\n      Policies: {policies}\n      Events");
        match expected {
            Some(expected) => check(&untyped, "    Properties:\n      Events", &to, expected),
            None => check_clean(&untyped, "    Properties:\n      Events", &to),
        }
    }
}

#[test]
fn a_type_without_a_destination_allows_nothing() {
    let destination = "OnFailure: { Type: S3, Destination: arn:aws:s3:::failures }";
    assert!(SAM.contains(destination));
    let stream =
        "Stream: arn:aws:kinesis:us-east-1:123456789012:stream/clicks, StartingPosition: TRIM_HORIZON";
    let config = "DestinationConfig: { OnFailure: { Type: SQS } }";
    let other = format!("Other: {{ Type: Kinesis, Properties: {{ {stream}, {config} }} }}");
    let template = SAM.replace(destination, "OnFailure: { Destination: arn:aws:s3:::failures }");
    let template = template.replace("        Http:", &format!("        {other}\n        Http:"));
    let found = findings(&doctor(&template, ""));
    let of_role: Vec<_> = found.iter().filter(|finding| finding.ends_with(" Role")).collect();
    assert_eq!(of_role, ["warning Role"], "{found:?}");
}
