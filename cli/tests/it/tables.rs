//! `journal create` and `checkpoint create`, and tables of another kind, against DynamoDB as told.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::{
    kit::{Run, kit_where},
    scripted_kinesis::{Answer, ScriptedKinesis, error, variables},
};

fn run(server: &ScriptedKinesis, args: &str) -> Run {
    kit_where(&variables(&server.url()), args.split_whitespace(), "")
}

/// A table that does not exist before it is created, and needs some time then.
fn new_table(operation: &str, number: usize) -> Answer {
    match operation {
        "DescribeTable" if number == 0 => error(400, "ResourceNotFoundException"),
        "DescribeTable" if number == 1 => (200, json!({ "Table": { "TableStatus": "CREATING" } })),
        "DescribeTable" => (200, json!({ "Table": { "TableStatus": "ACTIVE" } })),
        "UpdateContinuousBackups" if number == 0 => error(400, "ContinuousBackupsUnavailableException"),
        "CreateTable" | "UpdateTimeToLive" | "UpdateContinuousBackups" => (200, json!({})),
        other => panic!("{other} is not scripted"),
    }
}

/// The properties of a table in the template, but for those with functions.
fn template(resource: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    let text = fs::read_to_string(path).expect("the template");
    let template: serde_yaml_ng::Value = serde_yaml_ng::from_str(&text).expect("YAML");
    let mut properties = template["Resources"][resource]["Properties"].clone();
    let properties = properties.as_mapping_mut().expect("properties");
    let encryption = properties.get_mut("SSESpecification").expect("encryption");
    let encryption = encryption.as_mapping_mut().expect("properties");
    encryption.remove("KMSMasterKeyId").expect("a key by a parameter");
    // The API's name for it.
    let is_on = encryption.remove("SSEEnabled").expect("whether it is encrypted");
    encryption.insert("Enabled".into(), is_on);
    serde_json::to_value(properties).expect("JSON")
}

#[track_caller]
fn check_created(args: &str, resource: &str) -> ScriptedKinesis {
    let server = ScriptedKinesis::start(|operation, number, _| new_table(operation, number));
    let stderr = "kinesis-kit: creating table orders\nkinesis-kit: table orders can be used\n".to_owned();
    assert_eq!(run(&server, args), Run { exit_code: Some(0), stdout: String::new(), stderr });
    let mut expected = template(resource);
    let expected = expected.as_object_mut().expect("properties");
    let expiry = expected.remove("TimeToLiveSpecification");
    let recovery = expected.remove("PointInTimeRecoverySpecification").expect("recovery");
    let mut request = server.requests("CreateTable").remove(0);
    request.as_object_mut().expect("a request").remove("Tags");
    expected.insert("TableName".to_owned(), json!("orders"));
    assert_eq!(request, json!(expected));
    let expiries = server.requests("UpdateTimeToLive");
    assert_eq!(expiries.first().map(|request| request["TimeToLiveSpecification"].clone()), expiry);
    let recoveries = server.requests("UpdateContinuousBackups");
    assert_eq!(recoveries.len(), 2, "repeated until they are available");
    assert_eq!(recoveries[1]["PointInTimeRecoverySpecification"], recovery);
    server
}

#[test]
fn a_table_is_created_as_the_template_creates_it() {
    check_created("journal create --table orders", "JournalTable");
    let server =
        check_created("checkpoint create --table orders --tag team=orders --tag a=", "CheckpointTable");
    assert_eq!(
        server.requests("CreateTable")[0]["Tags"],
        json!([{ "Key": "team", "Value": "orders" }, { "Key": "a", "Value": "" }])
    );
}

#[test]
fn a_key_encrypts_the_table() {
    let server = ScriptedKinesis::start(|operation, number, _| new_table(operation, number));
    assert_eq!(run(&server, "journal create --table orders --key arn:aws:kms:k").exit_code, Some(0));
    let request = server.requests("CreateTable").remove(0);
    assert_eq!(
        request["SSESpecification"],
        json!({ "Enabled": true, "SSEType": "KMS", "KMSMasterKeyId": "arn:aws:kms:k" })
    );
}

/// An existing table for a journal, or what else these changes make of it.
fn existing(change: impl Fn(&mut Value)) -> ScriptedKinesis {
    let mut table = json!({
        "TableStatus": "ACTIVE",
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }, { "AttributeName": "sk", "KeyType": "RANGE" }],
        "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }, { "AttributeName": "sk", "AttributeType": "S" }],
        "SSEDescription": { "Status": "ENABLED" },
        "DeletionProtectionEnabled": true,
        "expiry": "ENABLED",
        "recovery": "ENABLED",
    });
    change(&mut table);
    ScriptedKinesis::start(move |operation, _, _| match operation {
        "DescribeTable" => (200, json!({ "Table": table })),
        "DescribeTimeToLive" => (
            200,
            json!({ "TimeToLiveDescription": {
            "TimeToLiveStatus": table["expiry"], "AttributeName": "expiresAt" } }),
        ),
        "DescribeContinuousBackups" => (
            200,
            json!({ "ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": { "PointInTimeRecoveryStatus": table["recovery"] } } }),
        ),
        "UpdateTimeToLive" | "UpdateContinuousBackups" => (200, json!({})),
        other => panic!("{other} is not scripted"),
    })
}

#[test]
fn an_existing_table_that_fits_is_a_success() {
    let run = run(&existing(|_| {}), "journal create --table orders");
    let stderr = "kinesis-kit: table orders exists, and fits\n".to_owned();
    assert_eq!(run, Run { exit_code: Some(0), stdout: String::new(), stderr });
}

#[test]
fn what_an_interrupted_run_has_left_is_completed() {
    let server = existing(|table| {
        table["expiry"] = json!("DISABLED");
        table["recovery"] = json!("DISABLED");
    });
    let stderr = "kinesis-kit: time to live: expected expiresAt, found off: switching it on\nkinesis-kit: point-in-time \
                  recovery: expected on, found off: switching it on\nkinesis-kit: table orders can be used\n";
    let expected = Run { exit_code: Some(0), stdout: String::new(), stderr: stderr.to_owned() };
    assert_eq!(run(&server, "journal create --table orders"), expected);
    let expiry = &server.requests("UpdateTimeToLive")[0]["TimeToLiveSpecification"];
    assert_eq!(*expiry, json!({ "AttributeName": "expiresAt", "Enabled": true }));
    let recovery = &server.requests("UpdateContinuousBackups")[0]["PointInTimeRecoverySpecification"];
    assert_eq!(*recovery, json!({ "PointInTimeRecoveryEnabled": true }));
}

#[track_caller]
fn check_refused(args: &str, change: impl Fn(&mut Value), differences: &[&str]) {
    let server = existing(change);
    let run = run(&server, args);
    assert!(server.requests("UpdateTimeToLive").is_empty());
    assert!(server.requests("UpdateContinuousBackups").is_empty());
    let mut stderr: String = differences.iter().map(|line| format!("kinesis-kit: {line}\n")).collect();
    stderr += "kinesis-kit: table orders exists, and differs: nothing was changed\n";
    assert_eq!(run, Run { exit_code: Some(2), stdout: String::new(), stderr });
}

#[test]
fn an_existing_table_that_differs_is_an_error_that_says_what_differs() {
    let journal = "journal create --table orders";
    let key =
        |name: &'static str| move |table: &mut Value| table["KeySchema"][0]["AttributeName"] = json!(name);
    check_refused(journal, key("id"), &["key: expected pk (S), sk (S), found id (?), sk (S)"]);
    check_refused(
        journal,
        |table| {
            table["AttributeDefinitions"][1]["AttributeType"] = json!("N");
            table["SSEDescription"] = Value::Null;
            table["DeletionProtectionEnabled"] = json!(false);
            table["expiry"] = json!("DISABLED");
            table["recovery"] = json!("DISABLED");
        },
        &[
            "key: expected pk (S), sk (S), found pk (S), sk (N)",
            "time to live: expected expiresAt, found off",
            "encryption with KMS: expected on, found off",
            "point-in-time recovery: expected on, found off",
            "deletion protection: expected on, found off",
        ],
    );
    check_refused(
        "checkpoint create --table orders",
        |_| {},
        &[
            "key: expected leaseKey (S), found pk (S), sk (S)",
            "index LeaseOwnerToLeaseKeyIndex: expected leaseOwner (S), leaseKey (S), found none",
        ],
    );
}

#[test]
fn a_missing_permission_is_an_error() {
    let server = ScriptedKinesis::start(|_, _, _| error(400, "AccessDeniedException"));
    let run = run(&server, "checkpoint create --table orders");
    assert_eq!(run.exit_code, Some(2));
    assert_eq!(
        run.stderr,
        "kinesis-kit: table orders cannot be used: DescribeTable: AccessDeniedException: asked to\n"
    );
}

#[test]
fn a_table_that_is_no_journal_is_refused() {
    for command in ["quarantine list", "quarantine show", "quarantine purge --yes", "journal list"] {
        // A lease has neither of the keys that are asked for.
        let server = ScriptedKinesis::start(|operation, _, _| match operation {
            "Scan" => (200, json!({ "Items": [{}, {}], "Count": 2, "ScannedCount": 2 })),
            other => panic!("{other} is not scripted"),
        });
        let run = run(&server, &format!("{command} --table leases"));
        let expected =
            "kinesis-kit: table leases is not the table of a retry journal: its 2 items lack the key pk\n";
        assert_eq!((run.exit_code, run.stdout.as_str()), (Some(2), ""), "{command}");
        assert!(run.stderr.ends_with(expected), "{command}: {}", run.stderr);
    }
}
