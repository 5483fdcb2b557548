//! Terraform's plans and states, read as templates.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Longest chain of module inputs and outputs that is followed from an attribute to a resource.
const MAX_HOPS: usize = 32;

/// Returns the template that corresponds to a plan or state as `terraform show -json` prints it, or `None` if the document
/// is neither.
///
/// The logical ID of a resource is its address. A value that is known only after the plan has been applied becomes a
/// reference to the resource that it comes from, as far as the plan's configuration tells; otherwise it is the
/// expression's references, which stay unknown.
pub(super) fn template(document: &Value) -> Option<Value> {
    document.get("format_version")?;
    let values = document.get("planned_values").or_else(|| document.get("values"))?;
    let mut plan = Plan::default();
    plan.add(&values["root_module"], &document["configuration"]["root_module"], None, |_| true);
    // Data sources are read while planning, so only the state before the plan has them.
    let is_data = |resource: &Value| resource["mode"] == "data";
    plan.add(&document["prior_state"]["values"]["root_module"], &Value::Null, None, is_data);

    let changes = document["resource_changes"].as_array().into_iter().flatten();
    let unknown: BTreeMap<&str, &Value> = changes
        .filter_map(|change| Some((change["address"].as_str()?, &change["change"]["after_unknown"])))
        .collect();
    let mut resources = Map::new();
    let mut parts = Vec::new();
    for (address, resource) in &plan.resources {
        let values = match unknown.get(address.as_str()) {
            Some(unknown) => plan.with_unknown(address, resource, unknown),
            None => resource.values.clone(),
        };
        let (kind, properties) = resource_of(resource.kind, &values);
        let mut properties = strip_nulls(properties);
        plan.refer(&mut properties);
        resources.insert(address.clone(), json!({ "Type": kind, "Properties": properties }));
        if let Some((mut owner, property, mut part)) = part_of(resource.kind, &values) {
            plan.refer_by_name(&mut owner);
            plan.refer(&mut owner);
            plan.refer(&mut part);
            parts.push((owner, property, part));
        }
    }
    for (owner, property, part) in parts {
        let owner = owner["Fn::GetAtt"][0].as_str().and_then(|address| resources.get_mut(address));
        if let Some(owner) = owner {
            add_part(&mut owner["Properties"], property, part);
        }
    }
    Some(json!({ "Resources": resources }))
}

/// The resources of a plan or state by their addresses, and the modules that they are in.
#[derive(Debug, Default)]
struct Plan<'a> {
    resources: BTreeMap<String, Resource<'a>>,
    modules: Vec<Module<'a>>,
}

#[derive(Debug)]
struct Resource<'a> {
    kind: &'a str,
    /// Address without the module and without the key of an instance, as the configuration has it.
    local_address: String,
    values: &'a Value,
    /// Index of its module.
    module: usize,
}

#[derive(Debug)]
struct Module<'a> {
    /// Empty for the root module.
    address: String,
    configuration: &'a Value,
    /// Index of the module that calls it, and the call.
    caller: Option<(usize, &'a Value)>,
}

impl<'a> Plan<'a> {
    /// Adds the resources of a module and of those inside it.
    fn add(
        &mut self,
        values: &'a Value,
        configuration: &'a Value,
        caller: Option<(usize, &'a Value)>,
        is_wanted: fn(&Value) -> bool,
    ) {
        let module = self.modules.len();
        let address = values["address"].as_str().unwrap_or_default();
        self.modules.push(Module { address: address.to_owned(), configuration, caller });
        let resources = values["resources"].as_array();
        for resource in resources.into_iter().flatten().filter(|resource| is_wanted(resource)) {
            let (Some(address), Some(kind)) = (resource["address"].as_str(), resource["type"].as_str())
            else {
                continue;
            };
            let mode = if resource["mode"] == "data" { "data." } else { "" };
            let local_address = format!("{mode}{kind}.{}", resource["name"].as_str().unwrap_or_default());
            let resource = Resource { kind, local_address, values: &resource["values"], module };
            self.resources.entry(address.to_owned()).or_insert(resource);
        }
        for child in values["child_modules"].as_array().into_iter().flatten() {
            let name =
                child["address"].as_str().and_then(|address| segments(address).pop()).unwrap_or_default();
            let name = name.split('[').next().unwrap_or(name);
            let call = &configuration["module_calls"][name];
            self.add(child, &call["module"], Some((module, call)), is_wanted);
        }
    }

    /// Returns the attributes of a resource, with those that are known only after the plan has been applied.
    fn with_unknown(&self, address: &str, resource: &Resource<'_>, unknown: &Value) -> Value {
        let configuration = self.modules[resource.module].configuration["resources"].as_array();
        let expressions = configuration
            .into_iter()
            .flatten()
            .find(|configured| configured["address"] == resource.local_address.as_str())
            .map(|configured| &configured["expressions"]);
        let of_expression = |expression: &Value| self.unknown(address, resource.module, expression);
        let mut values =
            overlay(resource.values, unknown, expressions.unwrap_or(&Value::Null), &of_expression);
        for attribute in DEFAULTED {
            let is_set = expressions.is_none_or(|expressions| expressions.get(attribute).is_some());
            if unknown[attribute] == true && !is_set {
                values[attribute] = Value::Null;
            }
        }
        values
    }

    /// Returns a reference to the resource that an expression names, if it names one.
    fn unknown(&self, address: &str, module: usize, expression: &Value) -> Value {
        let mut named = Vec::new();
        self.collect(module, expression, 0, &mut named);
        named.sort_unstable();
        named.dedup();
        // The references do not tell which instance `each.key` or `count.index` selects: it is the one with the same key.
        let is_same_instance = |name: &&str| key(name).is_some_and(|key| address.contains(key));
        if named.len() > 1 && named.iter().any(is_same_instance) {
            named.retain(is_same_instance);
        }
        match named[..] {
            [] => {
                let references = expression["references"].as_array().into_iter().flatten();
                let first = references.filter_map(Value::as_str).next();
                json!({ "Fn::Sub": format!("${{{}}}", first.unwrap_or("known after apply")) })
            }
            [name] => self.reference(name),
            _ => json!({ "Fn::Sub": named.iter().map(|name| format!("${{{name}}}")).collect::<String>() }),
        }
    }

    fn reference(&self, address: &str) -> Value {
        match self.resources[address].kind {
            "aws_kinesis_stream_consumer" => json!({ "Fn::GetAtt": [address, "ConsumerARN"] }),
            "aws_sns_topic" => json!({ "Fn::GetAtt": [address, "TopicArn"] }),
            _ => json!({ "Fn::GetAtt": [address, "Arn"] }),
        }
    }

    /// Collects the addresses of the resources that an expression in a module names.
    fn collect<'s>(&'s self, module: usize, expression: &Value, hops: usize, named: &mut Vec<&'s str>) {
        if hops > MAX_HOPS {
            return;
        }
        let references: Vec<&str> =
            expression["references"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        // Terraform lists `a.b[0].arn`, `a.b[0]` and `a.b` for the first of them.
        let is_part = |part: &str, whole: &str| {
            whole.strip_prefix(part).is_some_and(|rest| rest.starts_with(['.', '[']))
        };
        for reference in &references {
            if references.iter().any(|other| is_part(reference, other)) {
                continue;
            }
            match segments(reference)[..] {
                ["var", variable, ..] => {
                    if let Some((caller, call)) = self.modules[module].caller {
                        self.collect(caller, &call["expressions"][variable], hops + 1, named);
                    }
                }
                ["module", call, output, ..] => {
                    for called in self.instances(module, &format!("module.{call}")) {
                        let output = &self.modules[called].configuration["outputs"][output]["expression"];
                        self.collect(called, output, hops + 1, named);
                    }
                }
                ["data", kind, name, ..] => self.find(module, &format!("data.{kind}.{name}"), named),
                [kind, name, ..] => self.find(module, &format!("{kind}.{name}"), named),
                _ => {}
            }
        }
    }

    /// Returns the instances of a module that another one calls.
    fn instances(&self, caller: usize, local_address: &str) -> Vec<usize> {
        let address = join(&self.modules[caller].address, local_address);
        let is_called = |module: &Module<'_>| is_instance(&module.address, &address);
        (0..self.modules.len()).filter(|index| is_called(&self.modules[*index])).collect()
    }

    /// Collects the instances of a resource of a module.
    fn find<'s>(&'s self, module: usize, local_address: &str, named: &mut Vec<&'s str>) {
        let address = join(&self.modules[module].address, local_address);
        named.extend(self.resources.keys().map(String::as_str).filter(|full| is_instance(full, &address)));
    }

    /// Replaces ARNs of the plan's resources, and IDs of its keys, by references to these.
    fn refer(&self, value: &mut Value) {
        match value {
            Value::String(text) => {
                let is_its = |resource: &Resource<'_>| {
                    let id = if resource.kind == "aws_kms_key" {
                        &resource.values["key_id"]
                    } else {
                        &Value::Null
                    };
                    resource.values["arn"] == text.as_str() || id == text.as_str()
                };
                if let Some((address, _)) = self.resources.iter().find(|(_, resource)| is_its(resource)) {
                    *value = self.reference(address);
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.refer(item)),
            Value::Object(members) => members.values_mut().for_each(|member| self.refer(member)),
            _ => {}
        }
    }

    /// Replaces the name of a role or bucket by a reference to it.
    fn refer_by_name(&self, value: &mut Value) {
        let Value::String(text) = value else { return };
        let is_its = |resource: &Resource<'_>| {
            let name = match resource.kind {
                "aws_iam_role" => "name",
                "aws_s3_bucket" => "bucket",
                _ => return false,
            };
            resource.values[name] == text.as_str()
        };
        if let Some((address, _)) = self.resources.iter().find(|(_, resource)| is_its(resource)) {
            *value = self.reference(address);
        }
    }
}

/// Adds the unknown parts of a value to its known ones.
fn overlay(
    value: &Value,
    unknown: &Value,
    expression: &Value,
    of_expression: &dyn Fn(&Value) -> Value,
) -> Value {
    match unknown {
        Value::Bool(true) => of_expression(expression),
        Value::Object(members) => {
            let mut all = value.as_object().cloned().unwrap_or_default();
            for (name, unknown) in members {
                all.insert(name.clone(), overlay(&value[name], unknown, &expression[name], of_expression));
            }
            Value::Object(all)
        }
        Value::Array(items) if !items.is_empty() => {
            let item = |(index, unknown)| overlay(&value[index], unknown, &expression[index], of_expression);
            Value::Array(items.iter().enumerate().map(item).collect())
        }
        _ => value.clone(),
    }
}

fn join(module: &str, local_address: &str) -> String {
    if module.is_empty() { local_address.to_owned() } else { format!("{module}.{local_address}") }
}

/// Splits an address or a reference at its points, but not inside keys such as `["a.b"]`.
fn segments(address: &str) -> Vec<&str> {
    let mut depth = 0;
    let is_separator = |character| {
        match character {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        character == '.' && depth == 0
    };
    address.split(is_separator).collect()
}

/// Returns the key of an instance, with its brackets.
fn key(address: &str) -> Option<&str> {
    let name = segments(address).pop()?;
    Some(&name[name.find('[')?..])
}

/// Whether an address is that of a resource or module, or of one of its instances.
fn is_instance(address: &str, of: &str) -> bool {
    address.strip_prefix(of).is_some_and(|rest| rest.is_empty() || key(address) == Some(rest))
}

/// Attributes that the provider reads back if the configuration does not set them. Then they have the API's defaults.
const DEFAULTED: [&str; 6] = [
    "inline_policy",
    "managed_policy_arns",
    "maximum_record_age_in_seconds",
    "maximum_retry_attempts",
    "parallelization_factor",
    "policy",
];

/// Returns type and properties that a resource has in CloudFormation. Only the type is kept of other resources.
fn resource_of<'a>(kind: &'a str, values: &Value) -> (&'a str, Value) {
    match kind {
        "aws_lambda_event_source_mapping" => ("AWS::Lambda::EventSourceMapping", mapping(values)),
        "aws_lambda_function" => ("AWS::Lambda::Function", function(values)),
        "aws_lambda_alias" => {
            ("AWS::Lambda::Alias", json!({ "FunctionName": values["function_name"], "Name": values["name"] }))
        }
        "aws_kinesis_stream" => ("AWS::Kinesis::Stream", stream(values)),
        "aws_kinesis_stream_consumer" => {
            let properties = json!({ "ConsumerName": values["name"], "StreamARN": values["stream_arn"] });
            ("AWS::Kinesis::StreamConsumer", properties)
        }
        "aws_cloudwatch_metric_alarm" => ("AWS::CloudWatch::Alarm", alarm(values)),
        "aws_s3_bucket" => ("AWS::S3::Bucket", json!({ "BucketName": values["bucket"] })),
        "aws_sqs_queue" => {
            let properties =
                json!({ "QueueName": values["name"], "KmsMasterKeyId": values["kms_master_key_id"] });
            ("AWS::SQS::Queue", properties)
        }
        "aws_sns_topic" => {
            let properties =
                json!({ "TopicName": values["name"], "KmsMasterKeyId": values["kms_master_key_id"] });
            ("AWS::SNS::Topic", properties)
        }
        "aws_kms_key" => ("AWS::KMS::Key", json!({ "KeyPolicy": policy(&values["policy"]) })),
        "aws_iam_policy" => {
            ("AWS::IAM::ManagedPolicy", json!({ "PolicyDocument": policy(&values["policy"]) }))
        }
        "aws_iam_role" => {
            let inline = blocks(
                &values["inline_policy"],
                |block| json!({ "PolicyName": block["name"], "PolicyDocument": policy(&block["policy"]) }),
            );
            let properties =
                json!({ "Policies": inline, "ManagedPolicyArns": values["managed_policy_arns"] });
            ("AWS::IAM::Role", properties)
        }
        other => (other, Value::Null),
    }
}

/// Returns what a resource of Terraform adds to a list of another one: the owner, the list, and the item.
fn part_of(kind: &str, values: &Value) -> Option<(Value, &'static str, Value)> {
    match kind {
        "aws_iam_role_policy" => {
            let part = json!({ "PolicyName": values["name"], "PolicyDocument": policy(&values["policy"]) });
            Some((values["role"].clone(), "Policies", part))
        }
        "aws_iam_role_policy_attachment" => {
            Some((values["role"].clone(), "ManagedPolicyArns", values["policy_arn"].clone()))
        }
        "aws_s3_bucket_server_side_encryption_configuration" => {
            let rules = blocks(&values["rule"], |rule| {
                let default = block(
                    &rule["apply_server_side_encryption_by_default"],
                    |default| json!({ "KMSMasterKeyID": default["kms_master_key_id"] }),
                );
                json!({ "ServerSideEncryptionByDefault": default })
            });
            let encryption = json!({ "ServerSideEncryptionConfiguration": rules });
            Some((values["bucket"].clone(), "BucketEncryption", strip_nulls(encryption)))
        }
        _ => None,
    }
}

/// Adds an item to a list, or sets what is no list.
fn add_part(properties: &mut Value, property: &str, part: Value) {
    match &mut properties[property] {
        Value::Array(parts) => parts.push(part),
        unset @ Value::Null if property == "BucketEncryption" => *unset = part,
        unset @ Value::Null => *unset = json!([part]),
        // It is known after the plan has been applied.
        _ => {}
    }
}

/// Returns a policy, which Terraform has as text.
fn policy(text: &Value) -> Value {
    if text == "" {
        return json!({ "Statement": [] });
    }
    text.as_str().and_then(|text| serde_json::from_str(text).ok()).unwrap_or_else(|| text.clone())
}

/// Removes members that are not set.
fn strip_nulls(value: Value) -> Value {
    match value {
        Value::Object(members) => members
            .into_iter()
            .filter(|(_, member)| !member.is_null())
            .map(|(name, member)| (name, strip_nulls(member)))
            .collect(),
        Value::Array(items) => items.into_iter().map(strip_nulls).collect(),
        other => other,
    }
}

fn function(values: &Value) -> Value {
    let environment = block(&values["environment"], |block| json!({ "Variables": block["variables"] }));
    json!({
        "FunctionName": values["function_name"],
        "Environment": environment,
        "Timeout": values["timeout"],
        "MemorySize": values["memory_size"],
        "Role": values["role"],
    })
}

fn mapping(values: &Value) -> Value {
    let destination = block(&values["destination_config"], |config| {
        let on_failure = |block: &Value| json!({ "Destination": block["destination_arn"] });
        json!({ "OnFailure": self::block(&config["on_failure"], on_failure) })
    });
    let filters = block(
        &values["filter_criteria"],
        |criteria| json!({ "Filters": blocks(&criteria["filter"], |filter| json!({ "Pattern": filter["pattern"] })) }),
    );
    json!({
        "FunctionName": values["function_name"],
        "EventSourceArn": values["event_source_arn"],
        "Enabled": values["enabled"],
        "StartingPosition": values["starting_position"],
        "StartingPositionTimestamp": values["starting_position_timestamp"],
        "BatchSize": values["batch_size"],
        "MaximumBatchingWindowInSeconds": values["maximum_batching_window_in_seconds"],
        "ParallelizationFactor": values["parallelization_factor"],
        "FunctionResponseTypes": values["function_response_types"],
        "BisectBatchOnFunctionError": values["bisect_batch_on_function_error"],
        "MaximumRetryAttempts": values["maximum_retry_attempts"],
        "MaximumRecordAgeInSeconds": values["maximum_record_age_in_seconds"],
        "TumblingWindowInSeconds": values["tumbling_window_in_seconds"],
        "DestinationConfig": destination,
        "FilterCriteria": filters,
        "Topics": non_empty(&values["topics"]),
        "Queues": non_empty(&values["queues"]),
        "SelfManagedEventSource": block(&values["self_managed_event_source"], Value::clone),
    })
}

fn stream(values: &Value) -> Value {
    let mode = block(&values["stream_mode_details"], |block| json!({ "StreamMode": block["stream_mode"] }));
    json!({
        "Name": values["name"],
        "RetentionPeriodHours": values["retention_period"],
        "ShardCount": values["shard_count"],
        "StreamModeDetails": mode,
    })
}

fn alarm(values: &Value) -> Value {
    let metric = |values: &Value| {
        let dimensions = match values["dimensions"].as_object() {
            Some(members) if !members.keys().any(|name| name.starts_with("Fn::")) => {
                members.iter().map(|(name, value)| json!({ "Name": name, "Value": value })).collect()
            }
            _ => values["dimensions"].clone(),
        };
        json!({
            "Namespace": values["namespace"],
            "MetricName": values["metric_name"],
            "Dimensions": dimensions,
        })
    };
    let mut properties = metric(values);
    properties["Metrics"] = blocks(&values["metric_query"], |query| {
        let stat = block(&query["metric"], |block| json!({ "Metric": metric(block) }));
        json!({ "Id": query["id"], "Expression": query["expression"], "MetricStat": stat })
    });
    properties
}

fn non_empty(list: &Value) -> Value {
    if list.as_array().is_some_and(Vec::is_empty) { Value::Null } else { list.clone() }
}

/// Converts a block that is there at most once: Terraform has a list of one.
fn block(values: &Value, convert: impl Fn(&Value) -> Value) -> Value {
    match values {
        Value::Array(blocks) => blocks.first().map(convert).unwrap_or_default(),
        unknown => unknown.clone(),
    }
}

/// Converts blocks that are there any number of times.
fn blocks(values: &Value, convert: impl Fn(&Value) -> Value) -> Value {
    match values {
        Value::Array(blocks) => blocks.iter().map(convert).collect(),
        unknown => unknown.clone(),
    }
}
