//! The template, deployed: what CloudFormation makes of it works together, and nothing is left behind that was not meant to.
//!
//! ministack runs the function as a process, beside its own tables, buckets and alarms. What it does not know is taken out
//! of the template: the consumer, and alarms on expressions. Its Kinesis has sequence numbers that AWS never makes, and its
//! mapping ignores partial failures: kinesis-local is the stream, and `kinesis-kit simulate` the mapping.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, TcpStream},
    os::unix::fs::symlink,
    path::PathBuf,
    process::{Child, Command, Output},
    time::{SystemTime, UNIX_EPOCH},
};

use aws_config::SdkConfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{
    emulator::{free_port, kinesis_kit, repository, target, wait_for},
    kinesis::{CREDENTIALS, Kinesis},
    moto,
    new_project::{NAME, new_project},
};

const STACK: &str = "orders";
const STREAM: &str = "orders";
const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:000000000000:stream/orders";

struct Live {
    kinesis: Kinesis,
    ministack: Child,
    port: u16,
    config: SdkConfig,
    runtime: Runtime,
    folder: TempDir,
}

impl Live {
    fn start() -> Self {
        let kinesis = Kinesis::start();
        kinesis.create_stream(STREAM, 1);
        let (port, folder) = (free_port(), tempfile::tempdir().expect("a temporary folder"));
        let log = fs::File::create(folder.path().join("ministack.log")).expect("a writable folder");
        let ministack =
            Command::new(repository().canonicalize().expect("it is there").join(".tools/e2e/bin/ministack"))
                .current_dir(folder.path())
                .env("GATEWAY_PORT", port.to_string())
                // It runs deployed code for whoever reaches it, and listens on all interfaces by default.
                .env("BIND_HOST", "127.0.0.1")
                .env("TMPDIR", folder.path())
                // The function inherits them.
                .env("AWS_ENDPOINT_URL", moto::endpoint(port))
                .envs(CREDENTIALS)
                .stdout(log.try_clone().expect("a file can be shared"))
                .stderr(log)
                .spawn()
                .expect("ministack is installed: run the test with `make e2e`");
        wait_for("ministack", || TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let config = runtime.block_on(moto::config(port));
        Live { kinesis, ministack, port, config, runtime, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.folder.path())
            .envs(CREDENTIALS)
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_ENDPOINT_URL", moto::endpoint(self.port))
            .env("XDG_STATE_HOME", self.folder.path())
            .env("SAM_CLI_TELEMETRY", "0");
        command
    }

    /// Builds the template as users do, and takes out what the stand-in does not know.
    fn build(&self) -> PathBuf {
        let build = self.path("build");
        let output = Command::new("sam")
            .args(["build", "--build-dir"])
            .arg(&build)
            .current_dir(repository())
            .env("SAM_CLI_TELEMETRY", "0")
            .output()
            .expect("sam is installed: run the test with `make e2e`");
        succeeded(&output);
        let path = build.join("template.yaml");
        // What is built has no short forms. JSON, because readers of YAML differ in what `on` is.
        let mut template: Value =
            serde_yaml_ng::from_str(&fs::read_to_string(&path).expect("it is built")).expect("YAML");
        let resources = template["Resources"].as_object_mut().expect("resources");
        for unknown in ["Consumer", "IteratorAgeAlarm", "DurationAlarm"] {
            assert!(resources.remove(unknown).is_some(), "{unknown} is not there");
        }
        fs::write(&path, template.to_string()).expect("a writable folder");
        path
    }

    fn sam(&self, args: &[&str]) {
        let output = self.command("sam".into()).args(args).output().expect("sam runs");
        succeeded(&output);
    }

    fn outputs(&self) -> BTreeMap<String, String> {
        let output = self
            .command("sam".into())
            .args(["list", "stack-outputs", "--stack-name", STACK, "--output", "json"])
            .output()
            .expect("sam runs");
        let outputs: Vec<Value> = serde_json::from_str(&succeeded(&output)).expect("JSON");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        outputs.iter().map(|output| (text(&output["OutputKey"]), text(&output["OutputValue"]))).collect()
    }

    /// Runs `kinesis-kit`: the stream is elsewhere than all the rest.
    fn kit(&self, args: &str) -> (Option<i32>, String, String) {
        let mut command = self.command(kinesis_kit());
        command.args(args.split_whitespace()).env("AWS_ENDPOINT_URL_KINESIS", self.kinesis.url());
        let output = command.output().expect("the binary runs");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    /// The mapping, with these retries, for some seconds, from a time on. Returns what it has said.
    fn mapping(&self, function: &str, retries: u32, since: SystemTime) -> String {
        let since = since.duration_since(UNIX_EPOCH).expect("after 1970").as_secs_f64();
        let scenario = json!({ "mapping": { "MaximumRetryAttempts": retries, "BisectBatchOnFunctionError": true,
            "FunctionResponseTypes": ["ReportBatchItemFailures"], "StartingPosition": "AT_TIMESTAMP",
            "StartingPositionTimestamp": since } });
        fs::write(self.path("scenario.json"), scenario.to_string()).expect("a writable folder");
        let args =
            format!("simulate --stream {STREAM} --scenario scenario.json --failures failures.jsonl --for 6");
        let (code, stdout, stderr) = self.kit(&format!("{args} --function {function}"));
        assert_eq!(code, Some(0), "{stdout}{stderr}");
        format!("{stdout}{stderr}")
    }

    fn log(&self) -> String {
        let logs = self
            .command(repository().canonicalize().expect("it is there").join(".tools/e2e/bin/python"))
            .args(["-c", READ_LOG])
            .output()
            .expect("python runs");
        succeeded(&logs)
    }

    /// Returns the number of times that this order was reserved.
    fn reserved(&self, order: &str) -> usize {
        self.log().matches(&format!(r#""message":"order reserved","order":"{order}""#)).count()
    }
}

/// All that the function has logged.
const READ_LOG: &str = "
import json, os, urllib.request
def call(target, body):
    headers = {'X-Amz-Target': 'Logs_20140328.' + target, 'Content-Type': 'application/x-amz-json-1.1',
        'Authorization': 'AWS4-HMAC-SHA256 Credential=key/20260101/us-east-1/logs/aws4_request, SignedHeaders=host, Signature=0'}
    request = urllib.request.Request(os.environ['AWS_ENDPOINT_URL'], json.dumps(body).encode(), headers)
    return json.load(urllib.request.urlopen(request))
token = None
while True:
    page = call('FilterLogEvents', {'logGroupName': '/aws/lambda/orders', **({'nextToken': token} if token else {})})
    for event in page['events']:
        print(event['message'])
    token = page.get('nextToken')
    if not token:
        break
";

impl Drop for Live {
    fn drop(&mut self) {
        // Errors mean that it has ended by itself.
        let _ = self.ministack.kill();
        let _ = self.ministack.wait();
    }
}

/// Returns its output.
#[track_caller]
fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn order(id: &str, outages: u32) -> String {
    json!({ "id": id, "quantity": 1, "cents": 5, "simulateOutages": outages }).to_string()
}

#[test]
#[ignore = "needs ministack, kinesis-local and the SAM CLI: make e2e"]
fn the_deployed_template_does_what_it_promises() {
    let live = Live::start();
    let template = live.build();
    let stream = format!("StreamArn={STREAM_ARN}");
    live.sam(&[
        "deploy",
        "--template-file",
        template.to_str().expect("a plain path"),
        "--stack-name",
        STACK,
        "--resolve-s3",
        "--capabilities",
        "CAPABILITY_IAM",
        "--no-confirm-changeset",
        "--no-progressbar",
        "--parameter-overrides",
        "CheckpointMirror=on",
        "RetryJournal=quarantine",
        "MaxAttempts=2",
        "MappingEnabled=false",
        &stream,
    ]);
    let outputs = live.outputs();
    let output = |name: &str| outputs.get(name).unwrap_or_else(|| panic!("no output {name}")).clone();
    let (function, journal, leases) =
        (output("FunctionArn"), output("JournalTable"), output("CheckpointTable"));
    let bucket = output("FailureBucket");

    // An order that meets an outage of three attempts, in the middle of an aggregate: it is given up after two.
    let first =
        live.kinesis.put_aggregate(STREAM, None, &[order("A-1", 0), order("A-2", 3), order("A-3", 0)]);
    let said = live.mapping(&function, 5, UNIX_EPOCH);
    assert!(said.contains("1 record processed, 0 discarded"), "{said}");
    assert_eq!(["A-1", "A-2", "A-3"].map(|order| live.reserved(order)), [1, 0, 1], "{said}");
    let list = format!("quarantine list --table {journal} --format json");
    let (_, listed, _) = live.kit(&list);
    let quarantined: Value = serde_json::from_str(&listed).expect("one record");
    assert_eq!(
        (&quarantined["sequenceNumber"], &quarantined["subSequenceNumber"]),
        (&json!(first), &json!(1))
    );
    assert_eq!((&quarantined["reason"], &quarantined["attempts"]), (&json!("maxAttempts"), &json!(2)));
    let (_, states, _) = live.kit(&format!("journal list --table {journal} --format json"));
    assert_eq!(states, "", "what has passed has no state");
    // The mirror stands at the last user record.
    let dynamodb = aws_sdk_dynamodb::Client::new(&live.config);
    let rows = live
        .runtime
        .block_on(dynamodb.scan().table_name(&leases).send())
        .expect("an answer")
        .items
        .unwrap_or_default();
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["checkpoint"].as_s().expect("text"), &first);
    assert_eq!(rows[0]["checkpointSubSequenceNumber"].as_n().expect("a number"), "2");
    // Metrics are in the log, where CloudWatch takes them from.
    assert!(live.log().contains(r#""QuarantinedRecords":1"#), "{}", live.log());

    // When the outage is over, it comes back.
    let redrive = output("QuarantineCommand");
    let redrive = redrive.strip_prefix("kinesis-kit ").expect("a command");
    let (code, stdout, stderr) = live.kit(redrive);
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert_eq!(["A-1", "A-2", "A-3"].map(|order| live.reserved(order)), [1, 1, 1]);
    assert_eq!(live.kit(&list).1, "");

    // One that the mapping discards, because it does not retry.
    let since = SystemTime::now();
    live.kinesis.put_aggregate(STREAM, None, &[order("B-1", 0), order("B-2", 1)]);
    let said = live.mapping(&function, 0, since);
    assert!(said.contains("1 discarded, 0 lost"), "{said}");
    assert_eq!(["B-1", "B-2"].map(|order| live.reserved(order)), [1, 0], "{said}");
    let failure = fs::read_to_string(live.path("failures.jsonl")).expect("a failure record");
    let s3 = aws_sdk_s3::Client::from_conf(
        aws_sdk_s3::config::Builder::from(&live.config).force_path_style(true).build(),
    );
    let object =
        s3.put_object().bucket(&bucket).key("aws/lambda/m/failure").body(failure.into_bytes().into());
    live.runtime.block_on(object.send()).expect("an answer");
    let redrive = output("RedriveCommand");
    let redrive = redrive.strip_prefix("kinesis-kit ").expect("a command");
    // The stand-in does not list event source mappings.
    let (code, stdout, stderr) = live.kit(&format!("{redrive} --any-stream"));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    // The journal has resumed it inside the aggregate.
    assert_eq!(["B-1", "B-2"].map(|order| live.reserved(order)), [1, 1]);
    let objects = live.runtime.block_on(s3.list_objects_v2().bucket(&bucket).send()).expect("an answer");
    assert_eq!(objects.contents().len(), 0);

    // Nothing outlives the stack but what shall.
    live.sam(&["delete", "--stack-name", STACK, "--no-prompts", "--region", "us-east-1"]);
    let tables = live
        .runtime
        .block_on(dynamodb.list_tables().send())
        .expect("an answer")
        .table_names
        .unwrap_or_default();
    let mut retained = vec![journal.clone(), leases.clone()];
    retained.sort();
    let mut left = tables;
    left.sort();
    assert_eq!(left, retained);
    let buckets = live.runtime.block_on(s3.list_buckets().send()).expect("an answer");
    let left: Vec<&str> = buckets.buckets().iter().filter_map(|bucket| bucket.name()).collect();
    assert!(left.contains(&bucket.as_str()), "{left:?}");
    let (code, _, stderr) = live.kit(&format!("doctor --function {function}"));
    assert_eq!(code, Some(2), "the function is gone: {stderr}");
    for table in retained {
        let refused = live.runtime.block_on(dynamodb.delete_table().table_name(&table).send());
        assert!(refused.is_err(), "{table} is protected");
        let unprotect = dynamodb.update_table().table_name(&table).deletion_protection_enabled(false);
        live.runtime.block_on(unprotect.send()).expect("an answer");
        live.runtime.block_on(dynamodb.delete_table().table_name(table).send()).expect("it can be deleted");
    }
    // What redrive has deleted is there for some time, in case it is missed.
    let versions =
        live.runtime.block_on(s3.list_object_versions().bucket(&bucket).send()).expect("an answer");
    assert_eq!((versions.versions().len(), versions.delete_markers().len()), (1, 1));
    let markers = versions.delete_markers().iter().map(|marker| (marker.key(), marker.version_id()));
    let versions = versions.versions().iter().map(|version| (version.key(), version.version_id()));
    for (key, version) in versions.chain(markers) {
        let delete = s3.delete_object().bucket(&bucket).set_key(key.map(str::to_owned));
        let delete = delete.set_version_id(version.map(str::to_owned));
        live.runtime.block_on(delete.send()).expect("an answer");
    }
    live.runtime.block_on(s3.delete_bucket().bucket(&bucket).send()).expect("it is empty");
}

#[test]
#[ignore = "needs ministack, kinesis-local and the SAM CLI: make e2e"]
fn a_new_project_is_built_and_deployed_without_an_edit() {
    let live = Live::start();
    let project = new_project(live.folder.path());
    // What is built of the dependencies for the kit's template serves here, too.
    symlink(target().canonicalize().expect("it is there"), project.join("target"))
        .expect("a writable folder");
    let sam = |args: &[&str]| {
        let mut command = live.command("sam".into());
        let output = command.args(args).current_dir(&project).env("CARGO_NET_OFFLINE", "true").output();
        succeeded(&output.expect("sam runs"))
    };
    sam(&["build"]);
    sam(&[
        "deploy",
        "--stack-name",
        STACK,
        "--no-confirm-changeset",
        "--no-progressbar",
        "--parameter-overrides",
        "RetryJournal=quarantine MappingEnabled=false",
    ]);
    let outputs = live.outputs();
    let (code, stdout, stderr) = live
        .kit(&format!("invoke {NAME}/events/malformed-order.json --function {}", outputs["FunctionName"]));
    assert_eq!(code, Some(0), "{stdout}{stderr}");
    assert!(stderr.ends_with("all 3 records are processed: the mapping continues after them\n"), "{stderr}");
    // The malformed order is in the quarantine, whose table the stack has.
    let table = outputs["QuarantineCommand"].split(' ').skip_while(|word| *word != "--table").nth(1);
    let (_, listed, _) =
        live.kit(&format!("quarantine list --table {} --format json", table.expect("the table's name")));
    let quarantined: Value = serde_json::from_str(&listed).expect("one record");
    assert_eq!(
        (&quarantined["reason"], &quarantined["error"]),
        (&json!("permanent"), &json!("quantity is zero"))
    );
}
