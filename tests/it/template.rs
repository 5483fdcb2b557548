//! The template's promises: every parameter reaches its property, nothing is weaker than it says, and no permission is
//! wider than it must be.

use std::{collections::BTreeSet, fs, process::Command};

use serde_json::{Value, json};

use crate::emulator::{kinesis_kit, repository};

// The command line's own: what the doctor makes of a template, these tests do.
#[allow(dead_code, unused_imports, reason = "the doctor needs more of it")]
#[path = "../../cli/src/commands/doctor/template/mod.rs"]
mod evaluation;

use evaluation::Template;

fn text() -> String {
    fs::read_to_string(repository().join("template.yaml")).expect("the template is there")
}

fn template(parameters: &[(&str, &str)]) -> Template {
    let parameters: Vec<_> =
        parameters.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Template::parse(&text(), &parameters).expect("a template")
}

fn properties(template: &Template, resource: &str) -> Value {
    let (_, properties) = template.resource(resource).unwrap_or_else(|| panic!("{resource} is not there"));
    template.evaluate(properties).expect("properties")
}

const KEY: &str = "arn:aws:kms:eu-west-1:123456789012:key/k";

const VARIABLES: &str = "/Environment/Variables/KINESIS_HANDLER_";

/// Parameter, what it is set to, others that it needs, the resource, and what stands there.
#[test]
fn every_parameter_reaches_its_property() {
    let stream = "arn:aws:kinesis:eu-west-1:123456789012:stream/s";
    let key = KEY;
    let boundary = "arn:aws:iam::123456789012:policy/p";
    let topic = "arn:aws:sns:eu-west-1:123456789012:t";
    let pattern = r#"{"data":{"a":[1]}}"#;
    let function = |name: &str| format!("{VARIABLES}{name}");
    let consumer = json!({ "Fn::GetAtt": ["Consumer", "ConsumerARN"] });
    let queue = json!({ "Fn::GetAtt": ["FailureQueue", "Arn"] });
    let table = |name: &str| json!({ "Ref": name });
    type Row<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, String, Value);
    let rows: Vec<Row<'_>> = vec![
        ("StreamArn", stream, &[], "Mapping", "/EventSourceArn".into(), json!(stream)),
        ("StreamKeyArn", key, &[], "Stream", "/StreamEncryption/KeyId".into(), json!(key)),
        (
            "StreamMode",
            "PROVISIONED",
            &[],
            "Stream",
            "/StreamModeDetails/StreamMode".into(),
            json!("PROVISIONED"),
        ),
        ("ShardCount", "7", &[("StreamMode", "PROVISIONED")], "Stream", "/ShardCount".into(), json!("7")),
        ("StreamRetentionHours", "48", &[], "Stream", "/RetentionPeriodHours".into(), json!("48")),
        ("EnhancedFanOut", "on", &[], "Mapping", "/EventSourceArn".into(), consumer),
        ("MappingEnabled", "false", &[], "Mapping", "/Enabled".into(), json!("false")),
        ("StartingPosition", "LATEST", &[], "Mapping", "/StartingPosition".into(), json!("LATEST")),
        (
            "StartingTimestamp",
            "7",
            &[("StartingPosition", "AT_TIMESTAMP")],
            "Mapping",
            "/StartingPositionTimestamp".into(),
            json!("7"),
        ),
        ("BatchSize", "7", &[], "Mapping", "/BatchSize".into(), json!("7")),
        (
            "MaximumBatchingWindowInSeconds",
            "7",
            &[],
            "Mapping",
            "/MaximumBatchingWindowInSeconds".into(),
            json!("7"),
        ),
        ("TumblingWindowInSeconds", "60", &[], "Mapping", "/TumblingWindowInSeconds".into(), json!("60")),
        ("ParallelizationFactor", "7", &[], "Mapping", "/ParallelizationFactor".into(), json!("7")),
        ("ParallelizationFactor", "7", &[], "OrderFunction", function("PARALLELIZATION_FACTOR"), json!("7")),
        ("MaximumRetryAttempts", "7", &[], "Mapping", "/MaximumRetryAttempts".into(), json!("7")),
        ("MaximumRecordAgeInSeconds", "77", &[], "Mapping", "/MaximumRecordAgeInSeconds".into(), json!("77")),
        (
            "BisectBatchOnFunctionError",
            "false",
            &[],
            "Mapping",
            "/BisectBatchOnFunctionError".into(),
            json!("false"),
        ),
        (
            "FilterPattern",
            pattern,
            &[],
            "Mapping",
            "/FilterCriteria/Filters/0/Pattern".into(),
            json!(pattern),
        ),
        (
            "FailureDestination",
            "sqs",
            &[],
            "Mapping",
            "/DestinationConfig/OnFailure/Destination".into(),
            queue,
        ),
        ("Architecture", "arm64", &[], "OrderFunction", "/Architectures/0".into(), json!("arm64")),
        ("MemorySize", "777", &[], "OrderFunction", "/MemorySize".into(), json!("777")),
        ("Timeout", "77", &[], "OrderFunction", "/Timeout".into(), json!("77")),
        (
            "ReservedConcurrency",
            "7",
            &[],
            "OrderFunction",
            "/ReservedConcurrentExecutions".into(),
            json!("7"),
        ),
        ("DeadlineMarginMs", "7", &[], "OrderFunction", function("DEADLINE_MARGIN_MS"), json!("7")),
        ("Concurrency", "7", &[], "OrderFunction", function("CONCURRENCY"), json!("7")),
        ("LookAhead", "7", &[], "OrderFunction", function("LOOK_AHEAD"), json!("7")),
        ("RetryAttempts", "7", &[], "OrderFunction", function("RETRY_ATTEMPTS"), json!("7")),
        ("InvalidAggregate", "raw", &[], "OrderFunction", function("INVALID_AGGREGATE"), json!("raw")),
        ("MaxKeyBytes", "7", &[], "OrderFunction", function("MAX_KEY_BYTES"), json!("7")),
        ("LogBufferBytes", "7", &[], "OrderFunction", function("LOG_BUFFER_BYTES"), json!("7")),
        ("HashRangeFilter", "on", &[], "OrderFunction", function("HASH_RANGE_FILTER"), json!("on")),
        ("Decompress", "on", &[], "OrderFunction", function("DECOMPRESS"), json!("on")),
        ("MaxDecompressedBytes", "7", &[], "OrderFunction", function("MAX_DECOMPRESSED_BYTES"), json!("7")),
        ("MaxDecompressionRatio", "7", &[], "OrderFunction", function("MAX_DECOMPRESSION_RATIO"), json!("7")),
        (
            "PayloadBucket",
            "payloads",
            &[],
            "OrderFunction",
            function("LARGE_PAYLOADS"),
            json!("s3://payloads/"),
        ),
        (
            "PayloadPrefix",
            "large/",
            &[("PayloadBucket", "payloads")],
            "OrderFunction",
            function("LARGE_PAYLOADS"),
            json!("s3://payloads/large/"),
        ),
        (
            "MaxLargePayloadBytes",
            "7",
            &[("PayloadBucket", "payloads")],
            "OrderFunction",
            function("MAX_LARGE_PAYLOAD_BYTES"),
            json!("7"),
        ),
        ("VectorInstructions", "avx2", &[], "OrderFunction", function("VECTOR_INSTRUCTIONS"), json!("avx2")),
        (
            "PermissionsBoundaryArn",
            boundary,
            &[],
            "FunctionRole",
            "/PermissionsBoundary".into(),
            json!(boundary),
        ),
        (
            "SubnetIds",
            "subnet-1,subnet-2",
            &[("SecurityGroupIds", "sg-1")],
            "OrderFunction",
            "/VpcConfig/SubnetIds".into(),
            json!(["subnet-1", "subnet-2"]),
        ),
        (
            "SecurityGroupIds",
            "sg-1,sg-2",
            &[("SubnetIds", "subnet-1")],
            "OrderFunction",
            "/VpcConfig/SecurityGroupIds".into(),
            json!(["sg-1", "sg-2"]),
        ),
        (
            "FailureRetentionDays",
            "7",
            &[],
            "FailureBucket",
            "/LifecycleConfiguration/Rules/1/ExpirationInDays".into(),
            json!("7"),
        ),
        (
            "DeletedFailureDays",
            "7",
            &[],
            "FailureBucket",
            "/LifecycleConfiguration/Rules/0/NoncurrentVersionExpiration/NoncurrentDays".into(),
            json!("7"),
        ),
        (
            "QueueRetentionSeconds",
            "77",
            &[("FailureDestination", "sqs")],
            "FailureQueue",
            "/MessageRetentionPeriod".into(),
            json!("77"),
        ),
        (
            "AccessLogBucket",
            "access-logs",
            &[],
            "FailureBucket",
            "/LoggingConfiguration/DestinationBucketName".into(),
            json!("access-logs"),
        ),
        (
            "CheckpointMirror",
            "on",
            &[],
            "OrderFunction",
            function("CHECKPOINT_TABLE"),
            table("CheckpointTable"),
        ),
        ("CheckpointMirror", "strict", &[], "OrderFunction", function("CHECKPOINT_STRICT"), json!("on")),
        ("Cutover", "on", &[("CheckpointMirror", "on")], "OrderFunction", function("CUTOVER"), json!("on")),
        ("RetryJournal", "on", &[], "OrderFunction", function("JOURNAL_TABLE"), table("JournalTable")),
        ("RetryJournal", "quarantine", &[], "OrderFunction", function("QUARANTINE"), json!("on")),
        (
            "MaxAttempts",
            "7",
            &[("RetryJournal", "quarantine")],
            "OrderFunction",
            function("MAX_ATTEMPTS"),
            json!("7"),
        ),
        (
            "MaxAgeSeconds",
            "7",
            &[("RetryJournal", "quarantine")],
            "OrderFunction",
            function("MAX_AGE_SECONDS"),
            json!("7"),
        ),
        (
            "AgePolicy",
            "skip",
            &[("MaxAgeSeconds", "7")],
            "OrderFunction",
            function("AGE_POLICY"),
            json!("skip"),
        ),
        (
            "MaxAgeSeconds",
            "7",
            &[("AgePolicy", "skip")],
            "OrderFunction",
            function("MAX_AGE_SECONDS"),
            json!("7"),
        ),
        ("Hold", "on", &[("RetryJournal", "quarantine")], "OrderFunction", function("HOLD"), json!("on")),
        ("Replays", "on", &[("RetryJournal", "on")], "OrderFunction", function("REPLAYS"), json!("on")),
        (
            "QuarantineLimit",
            "7",
            &[("RetryJournal", "quarantine")],
            "OrderFunction",
            function("QUARANTINE_LIMIT"),
            json!("7"),
        ),
        ("DataKeyArn", KEY, &[], "OrderFunction", "/KmsKeyArn".into(), json!(KEY)),
        ("AlarmTopicArn", topic, &[], "ErrorsAlarm", "/AlarmActions/0".into(), json!(topic)),
        (
            "LogLevel",
            "WARN",
            &[],
            "OrderFunction",
            "/LoggingConfig/ApplicationLogLevel".into(),
            json!("WARN"),
        ),
        (
            "RetainLogs",
            "on",
            &[],
            "OrderFunction",
            "/LoggingConfig/LogGroup".into(),
            table("RetainedLogGroup"),
        ),
        ("LogRetentionDays", "7", &[], "LogGroup", "/RetentionInDays".into(), json!("7")),
    ];
    for (parameter, value, others, resource, pointer, expected) in &rows {
        let mut parameters = others.to_vec();
        let without = properties_if_there(&template(&parameters), resource)
            .and_then(|all| all.pointer(pointer).cloned());
        assert_ne!(without.as_ref(), Some(expected), "{parameter}: it is the default");
        parameters.push((parameter, value));
        let all = properties(&template(&parameters), resource);
        assert_eq!(all.pointer(pointer), Some(expected), "{parameter}");
    }
    let tested: BTreeSet<&str> = rows.iter().map(|row| row.0).collect();
    let text = text();
    let (_, section) = text.split_once("\nParameters:\n").expect("parameters");
    let (section, _) = section.split_once("\nConditions:\n").expect("conditions");
    let declared = section.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let declared: BTreeSet<&str> = declared.filter(|name| !name.starts_with(' ')).collect();
    assert_eq!(tested, declared);
    for name in &declared {
        let (_, parameter) = section.split_once(&format!("  {name}:\n")).expect("a parameter");
        let parameter =
            parameter.split("\n  ").take_while(|line| line.starts_with("  ") || !line.ends_with(':'));
        let parameter: String = parameter.collect();
        assert!(parameter.contains("Description: "), "{name} has no description");
        let constraints = ["AllowedValues", "AllowedPattern", "MinValue", "MaxLength"];
        assert!(
            constraints.iter().any(|constraint| parameter.contains(constraint)),
            "{name} has no constraint"
        );
    }
}

fn properties_if_there(template: &Template, resource: &str) -> Option<Value> {
    template.resource(resource).and_then(|(_, properties)| template.evaluate(properties))
}

#[test]
fn a_mirror_means_one_lane() {
    for mirror in ["on", "strict"] {
        let template = template(&[("CheckpointMirror", mirror), ("ParallelizationFactor", "10")]);
        assert_eq!(properties(&template, "Mapping")["ParallelizationFactor"], 1);
        let variables = &properties(&template, "OrderFunction")["Environment"]["Variables"];
        assert_eq!(variables["KINESIS_HANDLER_PARALLELIZATION_FACTOR"], "1");
    }
}

/// Every combination that adds resources.
const VARIANTS: [&[(&str, &str)]; 6] = [
    &[],
    &[("AgePolicy", "skip"), ("MaxAgeSeconds", "600")],
    &[("PayloadBucket", "payloads"), ("PayloadPrefix", "large/")],
    &[("CheckpointMirror", "on"), ("RetryJournal", "quarantine"), ("EnhancedFanOut", "on")],
    &[("FailureDestination", "sqs"), ("StreamArn", "arn:aws:kinesis:eu-west-1:123456789012:stream/s")],
    &[("StreamKeyArn", KEY), ("DataKeyArn", KEY), ("RetryJournal", "on")],
];

#[test]
fn only_lambda_connects_the_function_to_its_vpc() {
    let outside = template(&[]);
    let connects = |statement: &Value| statement["Sid"] == "ConnectToVpc";
    assert!(!statements(&outside, "FunctionRole").iter().any(connects));
    assert!(properties_if_there(&outside, "NetworkPolicy").is_none());

    let inside = template(&[("SubnetIds", "subnet-1"), ("SecurityGroupIds", "sg-1")]);
    let allowed = statement(&inside, "FunctionRole", "ConnectToVpc");
    let denied = statement(&inside, "NetworkPolicy", "ConnectionIsLambdas");
    assert_eq!((&allowed["Effect"], &denied["Effect"]), (&json!("Allow"), &json!("Deny")));
    assert_eq!(allowed["Action"], denied["Action"]);
    let condition = &denied["Condition"]["ArnEquals"];
    assert_eq!(condition["lambda:SourceFunctionArn"], json!({ "Fn::GetAtt": ["OrderFunction", "Arn"] }));
}

#[test]
fn every_alarm_has_dimensions_that_exist() {
    for variant in VARIANTS {
        let template = template(variant);
        let mut alarms = 0;
        for (id, kind, properties) in template.resources() {
            if kind != "AWS::CloudWatch::Alarm" {
                continue;
            }
            alarms += 1;
            let properties = template.evaluate(properties).expect("properties");
            let of_metrics = properties["Metrics"].as_array().into_iter().flatten();
            let metrics: Vec<&Value> = of_metrics
                .map(|metric| &metric["MetricStat"]["Metric"])
                .filter(|metric| !metric.is_null())
                .chain(properties.get("MetricName").map(|_| &properties))
                .collect();
            assert_eq!(metrics.len(), 1, "{id}");
            let dimensions =
                metrics[0]["Dimensions"].as_array().unwrap_or_else(|| panic!("{id} has no dimensions"));
            let names: Vec<_> =
                dimensions.iter().map(|dimension| dimension["Name"].as_str().expect("text")).collect();
            let expected: &[&str] = match metrics[0]["Namespace"].as_str().expect("text") {
                "KinesisHandler" => &["function", "stream"],
                "AWS/Kinesis" => &["StreamName"],
                "AWS/SQS" => &["QueueName"],
                "AWS/Lambda" if names == ["EventSourceMappingUUID"] => &["EventSourceMappingUUID"],
                "AWS/Lambda" => &["FunctionName"],
                other => panic!("{id}: {other}"),
            };
            assert_eq!(names, expected, "{id}");
            for dimension in dimensions {
                let named = referred(&dimension["Value"]);
                // The name at the end of a given ARN, or a resource.
                assert!(!named.is_empty() || dimension["Value"] == "s", "{id}: {dimension}");
                for resource in named {
                    assert!(
                        template.resource(resource).is_some() || resource == "StreamArn",
                        "{id}: {resource}"
                    );
                }
            }
        }
        assert!(alarms >= 13, "{alarms}");
    }
}

/// Logical IDs in a value.
fn referred(value: &Value) -> Vec<&str> {
    match value {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, argument)| match (name.as_str(), argument) {
                ("Ref", Value::String(id)) => vec![id.as_str()],
                ("Fn::GetAtt", Value::Array(parts)) => {
                    parts.first().and_then(Value::as_str).into_iter().collect()
                }
                _ => referred(argument),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(referred).collect(),
        _ => Vec::new(),
    }
}

#[test]
fn no_permission_is_wider_than_it_must_be() {
    // Actions that take no resource.
    let without_resource = ["WriteTraces", "SeeMappings"];
    for variant in VARIANTS {
        let template = template(variant);
        let mut statements = 0;
        for (id, _, properties) in template.resources() {
            let Some(properties) = template.evaluate(properties) else { continue };
            let policies = properties["Policies"].as_array().into_iter().flatten();
            let documents = policies
                .map(|policy| &policy["PolicyDocument"])
                .chain([&properties["PolicyDocument"]])
                .filter_map(|document| document["Statement"].as_array());
            for statement in documents.flatten() {
                statements += 1;
                let sid =
                    statement["Sid"].as_str().unwrap_or_else(|| panic!("{id}: a statement without a name"));
                if statement["Effect"] == "Deny" {
                    continue;
                }
                let actions = statement["Action"].to_string();
                assert!(!actions.contains('*'), "{id}.{sid}: {actions}");
                let is_wild = statement["Resource"] == "*";
                assert_eq!(is_wild, without_resource.contains(&sid), "{id}.{sid}: {}", statement["Resource"]);
            }
        }
        assert!(statements >= 10, "{statements}");
        let role = properties(&template, "FunctionRole");
        assert!(role.get("ManagedPolicyArns").is_none(), "no policy of somebody else's");
    }
}

/// Statements of a resource's policies.
fn statements(template: &Template, resource: &str) -> Vec<Value> {
    let properties = properties(template, resource);
    let inline =
        properties["Policies"].as_array().into_iter().flatten().map(|policy| &policy["PolicyDocument"]);
    let documents = inline.chain([&properties["PolicyDocument"]]);
    documents.filter_map(|document| document["Statement"].as_array()).flatten().cloned().collect()
}

#[track_caller]
fn statement(template: &Template, resource: &str, sid: &str) -> Value {
    let mut all = statements(template, resource).into_iter();
    all.find(|statement| statement["Sid"] == sid)
        .unwrap_or_else(|| panic!("{resource} has no statement {sid}"))
}

#[test]
fn payloads_go_to_a_bucket_of_this_account_only() {
    let template = template(&[("PayloadBucket", "payloads")]);
    let account = json!({ "StringEquals": { "s3:ResourceAccount": { "Ref": "AWS::AccountId" } } });
    let mut checked = 0;
    for resource in ["FunctionRole", "OperatorPolicy"] {
        for statement in statements(&template, resource) {
            if statement["Action"].to_string().contains("\"s3:") {
                assert_eq!(statement["Condition"], account, "{resource}: {statement}");
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 6);
}

#[test]
fn only_the_function_writes_failure_records() {
    for (destination, policy, action) in
        [("s3", "FailureBucketPolicy", "s3:PutObject"), ("sqs", "FailureQueuePolicy", "sqs:SendMessage")]
    {
        let template = template(&[("FailureDestination", destination)]);
        let deny = statement(&template, policy, "OnlyTheFunctionWrites");
        let others =
            json!({ "ArnNotEquals": { "aws:PrincipalArn": { "Fn::GetAtt": ["FunctionRole", "Arn"] } } });
        assert_eq!((&deny["Effect"], &deny["Principal"]), (&json!("Deny"), &json!("*")), "{policy}");
        assert_eq!((&deny["Action"], &deny["Condition"]), (&json!(action), &others), "{policy}");
    }
}

#[test]
fn lambda_takes_the_role_for_functions_of_this_account_only() {
    let trust = &properties(&template(&[]), "FunctionRole")["AssumeRolePolicyDocument"]["Statement"];
    let account = json!({ "StringEquals": { "aws:SourceAccount": { "Ref": "AWS::AccountId" } } });
    assert_eq!(trust.as_array().map(Vec::len), Some(1));
    assert_eq!(trust[0]["Condition"], account);
}

#[test]
fn the_streams_key_decrypts_this_stream_through_kinesis_only() {
    let template = template(&[("StreamKeyArn", KEY)]);
    for resource in ["FunctionRole", "OperatorPolicy"] {
        let decrypt = statement(&template, resource, "DecryptStream");
        let stream = json!({ "Fn::GetAtt": ["Stream", "Arn"] });
        let kinesis = json!({ "Fn::Sub": "kinesis.${AWS::Region}.${AWS::URLSuffix}" });
        let through = json!({ "kms:ViaService": kinesis, "kms:EncryptionContext:aws:kinesis:arn": stream });
        assert_eq!(decrypt["Condition"], json!({ "StringEquals": through }), "{resource}");
    }
}

#[test]
fn one_key_encrypts_all_copies_of_the_data() {
    let all = [("DataKeyArn", KEY), ("CheckpointMirror", "on"), ("RetryJournal", "on")];
    let with_queue = [("DataKeyArn", KEY), ("FailureDestination", "sqs")];
    let bucket_key =
        "/BucketEncryption/ServerSideEncryptionConfiguration/0/ServerSideEncryptionByDefault/KMSMasterKeyID";
    for (parameters, resource, pointer) in [
        (&all[..], "FailureBucket", bucket_key),
        (&with_queue, "FailureQueue", "/KmsMasterKeyId"),
        (&all, "CheckpointTable", "/SSESpecification/KMSMasterKeyId"),
        (&all, "JournalTable", "/SSESpecification/KMSMasterKeyId"),
        (&all, "LogGroup", "/KmsKeyId"),
        (&[("DataKeyArn", KEY), ("RetainLogs", "on")], "RetainedLogGroup", "/KmsKeyId"),
        (&all, "OrderFunction", "/KmsKeyArn"),
    ] {
        let properties = properties(&template(parameters), resource);
        assert_eq!(properties.pointer(pointer), Some(&json!(KEY)), "{resource}");
    }
    assert!(properties(&template(&with_queue), "FailureQueue").get("SqsManagedSseEnabled").is_none());
    let text = text();
    let (_, rules) = text.split_once("\nRules:\n").expect("rules");
    let (rules, _) = rules.split_once("\nResources:\n").expect("resources");
    for part in ["RuleCondition: !Not [!Equals [!Ref StreamKeyArn", "Assert: !Not [!Equals [!Ref DataKeyArn"]
    {
        assert!(rules.contains(part), "a stream with a key of its own has no weaker copies: {rules}");
    }
    let template = template(&all);
    for (resource, services) in [
        ("FunctionRole", &["dynamodb", "lambda", "s3", "sqs"][..]),
        ("OperatorPolicy", &["dynamodb", "s3", "sqs"]),
    ] {
        let statement = statement(&template, resource, "UseDataKey");
        let services: Vec<Value> = services
            .iter()
            .map(|service| json!({ "Fn::Sub": format!("{service}.${{AWS::Region}}.${{AWS::URLSuffix}}") }))
            .collect();
        assert_eq!(statement["Resource"], KEY, "{resource}");
        assert_eq!(statement["Condition"]["StringEquals"]["kms:ViaService"], json!(services), "{resource}");
    }
}

#[test]
fn operators_reach_aliases_and_versions() {
    let template = template(&[]);
    let function =
        json!([{ "Fn::GetAtt": ["OrderFunction", "Arn"] }, { "Fn::Sub": "${OrderFunction.Arn}:*" }]);
    for sid in ["InvokeFunction", "ReadFunction"] {
        assert_eq!(statement(&template, "OperatorPolicy", sid)["Resource"], function, "{sid}");
    }
    let actions = &statement(&template, "OperatorPolicy", "ReadFunction")["Action"];
    assert!(
        actions.as_array().expect("a list").contains(&json!("lambda:GetFunctionConfiguration")),
        "{actions}"
    );
}

#[test]
fn what_holds_data_is_encrypted_and_outlives_the_stack() {
    let template = template(&[("CheckpointMirror", "on"), ("RetryJournal", "on")]);
    for table in ["CheckpointTable", "JournalTable"] {
        let table = properties(&template, table);
        assert_eq!(table["SSESpecification"]["SSEEnabled"], true);
        assert_eq!(table["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], true);
        assert_eq!(table["DeletionProtectionEnabled"], true);
    }
    assert_eq!(properties(&template, "Stream")["StreamEncryption"]["EncryptionType"], "KMS");
    assert!(properties(&template, "FailureBucket")["BucketEncryption"].is_object());
    let sqs = self::template(&[("FailureDestination", "sqs")]);
    assert_eq!(properties(&sqs, "FailureQueue")["SqsManagedSseEnabled"], true);
    let text = text();
    for resource in ["CheckpointTable", "JournalTable", "FailureBucket", "FailureQueue", "RetainedLogGroup"] {
        let (_, resource) = text.split_once(&format!("\n  {resource}:\n    Type: ")).expect("it is there");
        let (head, _) = resource.split_once("    Properties:\n").expect("properties");
        assert!(head.contains("DeletionPolicy: Retain\n    UpdateReplacePolicy: Retain\n"), "{head}");
    }
}

#[test]
fn there_is_one_log_group_and_it_can_outlive_the_stack() {
    for (retain, there, absent) in
        [("off", "LogGroup", "RetainedLogGroup"), ("on", "RetainedLogGroup", "LogGroup")]
    {
        let template = template(&[("RetainLogs", retain), ("LogRetentionDays", "7")]);
        assert!(template.resource(absent).is_none(), "{absent}");
        assert_eq!(properties(&template, there)["RetentionInDays"], "7");
        let write = &statement(&template, "FunctionRole", "WriteLogs")["Resource"];
        assert_eq!(*write, json!({ "Fn::GetAtt": [there, "Arn"] }));
    }
}

/// The doctor's findings: severity and setting of each finding.
fn findings(parameters: &[(&str, &str)]) -> Vec<String> {
    let mut command = Command::new(kinesis_kit());
    command.args(["doctor", "--format", "json"]).arg(repository().join("template.yaml"));
    for (name, value) in parameters {
        command.arg("--parameter").arg(format!("{name}={value}"));
    }
    let output = command.output().expect("the binary runs");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let line = |line: &str| {
        let line: Value = serde_json::from_str(line).expect("JSON lines");
        format!("{} {}", line["severity"].as_str().expect("text"), line["setting"].as_str().expect("text"))
    };
    let findings: Vec<String> = text.lines().map(line).collect();
    assert_eq!(output.status.code(), Some(i32::from(!findings.is_empty())));
    findings
}

#[test]
fn the_doctor_finds_nothing_until_a_default_is_weakened() {
    for variant in VARIANTS.iter().filter(|variant| !variant.contains(&("FailureDestination", "sqs"))) {
        assert_eq!(findings(variant), [""; 0], "{variant:?}");
    }
    for (parameters, expected) in [
        (&[("BisectBatchOnFunctionError", "false")][..], "error BisectBatchOnFunctionError"),
        (&[("MaximumRecordAgeInSeconds", "86400")], "error MaximumRecordAgeInSeconds"),
        (&[("StartingPosition", "LATEST")], "error StartingPosition"),
        (&[("FailureDestination", "sqs")], "warning DestinationConfig"),
        (&[("FilterPattern", r#"{"data":{"a":[1]}}"#)], "error FilterCriteria"),
        (&[("ParallelizationFactor", "2")], "warning ParallelizationFactor"),
        (&[("RetryJournal", "quarantine"), ("MaximumRetryAttempts", "5")], "warning MaximumRetryAttempts"),
        (&[("RetryJournal", "quarantine"), ("MaximumRetryAttempts", "3")], "error MaximumRetryAttempts"),
        (
            &[("RetryJournal", "quarantine"), ("MaxAgeSeconds", "82800")],
            "error KINESIS_HANDLER_MAX_AGE_SECONDS",
        ),
        (&[("TumblingWindowInSeconds", "60"), ("RetryJournal", "on")], "error TumblingWindowInSeconds"),
        (&[("TumblingWindowInSeconds", "60"), ("Concurrency", "16")], "error TumblingWindowInSeconds"),
    ] {
        assert_eq!(findings(parameters), [expected], "{parameters:?}");
    }
    // With the quarantine, no bad record needs a limit of retries.
    let unlimited = ("MaximumRetryAttempts", "-1");
    assert_eq!(findings(&[unlimited]), ["error MaximumRetryAttempts"]);
    assert_eq!(findings(&[unlimited, ("RetryJournal", "on")]), ["error MaximumRetryAttempts"]);
    assert_eq!(findings(&[unlimited, ("RetryJournal", "quarantine")]), [""; 0]);
    // The template's own limits forbid this, too.
    let expected = ["error MaximumRecordAgeInSeconds", "error MinValue"];
    assert_eq!(findings(&[("MaximumRecordAgeInSeconds", "-1")]), expected);
}

/// The defaults at the end of what is known about the mapping, one by one.
#[test]
fn the_defaults_lose_nothing() {
    let mapping = properties(&template(&[]), "Mapping");
    let defaults = json!({
        "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "BisectBatchOnFunctionError": "true",
        "MaximumRetryAttempts": "10",
        "MaximumRecordAgeInSeconds": "82800",
        "StartingPosition": "TRIM_HORIZON",
        "ParallelizationFactor": "1",
        "DestinationConfig": { "OnFailure": { "Destination": { "Fn::GetAtt": ["FailureBucket", "Arn"] } } },
        "MetricsConfig": { "Metrics": ["EventCount"] },
        "Enabled": "true",
    });
    for (name, expected) in defaults.as_object().expect("an object") {
        assert_eq!(mapping[name], *expected, "{name}");
    }
    assert!(mapping.get("FilterCriteria").is_none() && mapping.get("TumblingWindowInSeconds").is_none());
}
