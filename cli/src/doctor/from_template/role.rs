//! The permissions of a function's role, as far as the template describes them.

use serde_json::{Value, json};

use super::{
    super::{
        setting::Setting,
        template::{Template, scalar, spell},
    },
    properties::{express, raw},
    source::{id_of, tokens},
};

/// Managed policies of AWS that allow neither writing to a destination nor using a key.
const WITHOUT_WRITING: [&str; 9] = [
    "AWSLambdaBasicExecutionRole",
    "AWSLambdaKinesisExecutionRole",
    "AWSLambdaVPCAccessExecutionRole",
    "AWSLambdaDynamoDBExecutionRole",
    "AWSLambdaSQSQueueExecutionRole",
    "AWSXRayDaemonWriteAccess",
    "AWSXrayWriteOnlyAccess",
    "CloudWatchLambdaInsightsExecutionRolePolicy",
    "AmazonKinesisReadOnlyAccess",
];

/// Policy templates of SAM that allow writing to a destination or using a key: name, action, parameter, and the ARN around
/// the parameter.
const SAM_POLICIES: [(&str, &str, &str, &str); 7] = [
    ("S3WritePolicy", "s3:PutObject", "BucketName", "arn:x:s3:x:x:{}/*"),
    ("S3CrudPolicy", "s3:PutObject", "BucketName", "arn:x:s3:x:x:{}/*"),
    ("S3FullAccessPolicy", "s3:PutObject", "BucketName", "arn:x:s3:x:x:{}/*"),
    ("SQSSendMessagePolicy", "sqs:SendMessage", "QueueName", "arn:x:sqs:x:x:{}"),
    ("SNSPublishMessagePolicy", "sns:Publish", "TopicName", "arn:x:sns:x:x:{}"),
    ("SNSCrudPolicy", "sns:Publish", "TopicName", "arn:x:sns:x:x:{}*"),
    ("KMSEncryptPolicy_v2", "kms:GenerateDataKey", "KeyId", "arn:x:kms:x:x:key/{}"),
];

/// The role of a function.
#[derive(Debug, Default)]
pub(super) struct Role {
    /// Logical ID, unless SAM generates the role.
    id: Option<String>,
    /// Statements of its policies.
    statements: Vec<Value>,
    /// A policy that the template does not describe.
    unknown: Option<String>,
    /// Whether the template describes the role at all, as a resource or by a function of SAM.
    is_described: bool,
}

impl Role {
    pub(super) fn of_function(template: &Template, function: &str) -> Self {
        let mut role = Role::default();
        let Some((kind, properties)) = template.resource(function) else { return role };
        let is_sam = kind == "AWS::Serverless::Function";
        let properties = template.evaluate(properties).unwrap_or_default();
        match raw(&properties, "Role") {
            Setting::Known(value) => role.add_role(template, &value),
            Setting::Unknown(expression) => role.unknown = Some(expression),
            // A function without a role is incomplete, so nothing can be said.
            Setting::Absent if !is_sam => return role,
            Setting::Absent => {
                let policies = match raw(&properties, "Policies") {
                    Setting::Known(Value::Array(policies)) => policies,
                    Setting::Known(policy) => vec![policy],
                    Setting::Unknown(expression) => {
                        role.unknown = Some(expression);
                        Vec::new()
                    }
                    Setting::Absent => Vec::new(),
                };
                for policy in &policies {
                    role.add_policy(template, policy);
                }
                role.add_event_policies(&properties["Events"]);
            }
        }
        role.is_described = true;
        role
    }

    /// Adds the permissions that SAM generates for a destination whose event names its `Type`.
    fn add_event_policies(&mut self, events: &Value) {
        for event in events.as_object().into_iter().flatten().map(|(_, event)| event) {
            let on_failure = &event["Properties"]["DestinationConfig"]["OnFailure"];
            let (action, suffix) = match on_failure["Type"].as_str() {
                Some("S3") => ("s3:PutObject", "/*"),
                Some("SQS") => ("sqs:SendMessage", ""),
                Some("SNS") => ("sns:Publish", ""),
                _ => continue,
            };
            match spell(&on_failure["Destination"]) {
                Some(destination) => self.allow(action, &format!("{destination}{suffix}")),
                None => self.unknown = Some(express(&on_failure["Destination"])),
            }
        }
    }

    /// Adds a statement for a spelled ARN.
    fn allow(&mut self, action: &str, arn: &str) {
        let resource = json!({ "Fn::Sub": arn });
        self.statements.push(json!({ "Effect": "Allow", "Action": action, "Resource": resource }));
    }

    fn add_role(&mut self, template: &Template, value: &Value) {
        let spelled = spell(value).unwrap_or_default();
        let id = tokens(&spelled).find_map(|token| id_of(template, token));
        let resource =
            id.and_then(|id| template.resource(&id).map(|(kind, properties)| (id, kind, properties)));
        let Some((id, "AWS::IAM::Role", properties)) = resource else {
            self.unknown = Some(express(value));
            return;
        };
        let properties = template.evaluate(properties).unwrap_or_default();
        for name in ["Policies", "ManagedPolicyArns"] {
            match raw(&properties, name) {
                Setting::Absent => {}
                Setting::Known(Value::Array(policies)) => {
                    for policy in &policies {
                        self.add_policy(template, policy);
                    }
                }
                Setting::Known(other) => self.unknown = Some(express(&other)),
                Setting::Unknown(expression) => self.unknown = Some(expression),
            }
        }
        self.add_attached(template, &id);
        self.id = Some(id);
    }

    /// Adds the policies that name the role, and the resource policies that allow it something.
    fn add_attached(&mut self, template: &Template, id: &str) {
        for (_, kind, properties) in template.resources() {
            if !kind.starts_with("AWS::IAM::") || kind == "AWS::IAM::Role" {
                continue;
            }
            let properties = template.evaluate(properties).unwrap_or_default();
            let roles =
                properties["Roles"].as_array().into_iter().flatten().chain(properties.get("RoleName"));
            let names =
                |role: &Value| spell(role).is_some_and(|text| tokens(&text).any(|token| names(token, id)));
            if roles.into_iter().any(names) {
                self.add_document(&properties["PolicyDocument"]);
            }
        }
    }

    fn add_policy(&mut self, template: &Template, policy: &Value) {
        if policy.get("PolicyDocument").is_some() {
            return self.add_document(&policy["PolicyDocument"]);
        }
        if policy.get("Statement").is_some() {
            return self.add_document(policy);
        }
        // A policy template of SAM has one member, its name.
        let members = policy.as_object().filter(|members| members.len() == 1);
        if let Some((name, parameters)) = members.and_then(|members| members.iter().next())
            && name.ends_with("Policy")
        {
            for (_, action, parameter, arn) in SAM_POLICIES.iter().filter(|(policy, ..)| policy == name) {
                let target = parameters.get(parameter).and_then(spell).unwrap_or_default();
                self.allow(action, &arn.replace("{}", &target));
            }
            return;
        }
        let spelled = spell(policy).unwrap_or_else(|| policy.to_string());
        if let Some(id) = tokens(&spelled).find_map(|token| id_of(template, token))
            && let Some(("AWS::IAM::ManagedPolicy", properties)) = template.resource(&id)
        {
            let properties = template.evaluate(properties).unwrap_or_default();
            return self.add_document(&properties["PolicyDocument"]);
        }
        let name = spelled.rsplit('/').next().unwrap_or(&spelled);
        if !WITHOUT_WRITING.contains(&name) {
            self.unknown = Some(spelled);
        }
    }

    fn add_document(&mut self, document: &Value) {
        match &document["Statement"] {
            Value::Array(statements) => self.statements.extend(statements.iter().cloned()),
            Value::Object(members) if !members.is_empty() => {
                self.statements.push(document["Statement"].clone())
            }
            _ => self.unknown = Some(express(document)),
        }
    }

    /// Returns whether the role may do this to a resource. A role without a statement for it may still be allowed by a
    /// policy outside of the template.
    pub(super) fn allows(&self, template: &Template, action: &str, arn: &str) -> Setting<bool> {
        if !self.is_described {
            return Setting::Absent;
        }
        let mut maybe = self.unknown.clone();
        let of_resources = resource_statements(template, self.id.as_deref());
        let statements: Vec<&Value> = self.statements.iter().chain(&of_resources).collect();
        for statement in &statements {
            let is_denied = statement["Effect"] == "Deny" && statement.get("Condition").is_none();
            if is_denied && matches!(matches(template, statement, action, arn), Match::Yes) {
                return Setting::Known(false);
            }
        }
        for statement in statements.iter().filter(|statement| statement["Effect"] != "Deny") {
            match matches(template, statement, action, arn) {
                Match::Yes => return Setting::Known(true),
                Match::Maybe(expression) => maybe = Some(expression),
                Match::No => {}
            }
        }
        maybe.map_or(Setting::Known(false), Setting::Unknown)
    }
}

/// Whether a token stands for this resource or one of its attributes.
fn names(token: &str, id: &str) -> bool {
    token == id || token.strip_prefix(id).is_some_and(|rest| rest.starts_with('.'))
}

/// Returns the statements of bucket, queue, topic and key policies that name the role.
fn resource_statements(template: &Template, role: Option<&str>) -> Vec<Value> {
    let mut statements = Vec::new();
    for (id, kind, properties) in template.resources() {
        let (member, own) = match kind {
            "AWS::S3::BucketPolicy" | "AWS::SQS::QueuePolicy" | "AWS::SNS::TopicPolicy" => {
                ("PolicyDocument", None)
            }
            "AWS::KMS::Key" => ("KeyPolicy", Some(json!({ "Fn::GetAtt": [id, "Arn"] }))),
            _ => continue,
        };
        let properties = template.evaluate(properties).unwrap_or_default();
        let found = match &properties[member]["Statement"] {
            Value::Array(found) => found.clone(),
            Value::Object(_) => vec![properties[member]["Statement"].clone()],
            _ => Vec::new(),
        };
        for mut statement in found {
            let principal = statement["Principal"].to_string();
            let is_anyone = statement["Principal"] == "*" || statement["Principal"]["AWS"] == "*";
            let is_role = role.is_some_and(|role| {
                principal.contains(&format!("\"{role}\"")) || principal.contains(&format!("{{{role}.Arn}}"))
            });
            if !is_anyone && !is_role {
                continue;
            }
            // The only resource of a key policy is its key.
            if let Some(own) = &own {
                statement["Resource"] = own.clone();
            }
            statements.push(statement);
        }
    }
    statements
}

enum Match {
    Yes,
    Maybe(String),
    No,
}

fn matches(template: &Template, statement: &Value, action: &str, arn: &str) -> Match {
    if statement.get("Effect").is_none() {
        return Match::Maybe(express(statement));
    }
    let actions = items(&statement["Action"]);
    if statement.get("NotAction").is_some() || statement.get("NotResource").is_some() {
        return Match::Maybe(express(statement));
    }
    let has_action = actions.iter().any(|pattern| match scalar(pattern) {
        Some(pattern) => glob(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase()),
        None => false,
    });
    if !has_action {
        return match actions.into_iter().find(|action| scalar(action).is_none()) {
            Some(unknown) => Match::Maybe(express(&unknown)),
            None => Match::No,
        };
    }
    let mut maybe = None;
    for resource in items(&statement["Resource"]) {
        match spell(&resource).map(|spelled| (short_arn(template, &spelled), spelled)) {
            Some(((pattern, _), _)) if glob(&pattern, arn) => return Match::Yes,
            Some(((_, false), _)) => {}
            Some(((_, true), spelled)) => maybe = Some(spelled),
            None => maybe = Some(express(&resource)),
        }
    }
    maybe.map_or(Match::No, Match::Maybe)
}

fn items(value: &Value) -> Vec<Value> {
    match value {
        Value::Array(items) => items.clone(),
        Value::Null => Vec::new(),
        other => vec![other.clone()],
    }
}

/// Returns service and resource of an expression's ARN, such as `s3:orders`, `None` if a part of it is unknown.
pub(super) fn arn_of(template: &Template, value: &Value) -> Option<String> {
    let spelled = spell(value)?;
    let (arn, is_partly_unknown) = short_arn(template, &spelled);
    if is_partly_unknown {
        return None;
    }
    // A key may be named by its ID, or by an alias that the template does not resolve.
    match arn.split_once(':') {
        Some((_, resource)) => (!resource.starts_with("alias/")).then_some(arn),
        None if arn.starts_with("alias/") => None,
        None => Some(format!("kms:key/{arn}")),
    }
}

/// Returns service and resource of a spelled ARN, with the names of resources put in, and whether a part is unknown.
/// Partition, region and account are left out: a template seldom names others than its own.
fn short_arn(template: &Template, spelled: &str) -> (String, bool) {
    let mut arn = String::new();
    let mut is_partly_unknown = spelled.contains("{{resolve:");
    let mut parts = spelled.split("${");
    arn.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let (token, rest) = part.split_once('}').unwrap_or((part, ""));
        match token {
            "AWS::Partition" | "AWS::Region" | "AWS::AccountId" => arn.push('x'),
            token if token.starts_with("AWS::") => arn.push_str(&literal(token)),
            token => match id_of(template, token) {
                Some(id) => arn.push_str(&of_resource(template, &id, token)),
                None => {
                    is_partly_unknown = true;
                    arn.push_str(&literal(token));
                }
            },
        }
        arn.push_str(rest);
    }
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    match parts.as_slice() {
        ["arn", _, service, _, _, resource] => (format!("{service}:{resource}"), is_partly_unknown),
        _ => (arn, is_partly_unknown),
    }
}

/// Returns a token in a form without colons, which separate the parts of an ARN.
fn literal(token: &str) -> String {
    format!("<{}>", token.replace(':', "_"))
}

/// Returns the name or the ARN that a token of a resource stands for.
fn of_resource(template: &Template, id: &str, token: &str) -> String {
    let Some((kind, properties)) = template.resource(id) else { return literal(token) };
    let properties = template.evaluate(properties).unwrap_or_default();
    let name = |property: &str| match properties.get(property).and_then(spell) {
        Some(name) => name.replace("${", "<").replace('}', ">").replace(':', "_"),
        None => literal(id),
    };
    let attribute = token.strip_prefix(id).unwrap_or_default().trim_start_matches('.');
    match (kind, attribute) {
        ("AWS::S3::Bucket", "Arn") => format!("arn:x:s3:x:x:{}", name("BucketName")),
        ("AWS::S3::Bucket", "") => name("BucketName"),
        ("AWS::SQS::Queue", "Arn") => format!("arn:x:sqs:x:x:{}", name("QueueName")),
        ("AWS::SQS::Queue", "QueueName") => name("QueueName"),
        ("AWS::SNS::Topic", "" | "TopicArn") => format!("arn:x:sns:x:x:{}", name("TopicName")),
        ("AWS::SNS::Topic", "TopicName") => name("TopicName"),
        ("AWS::KMS::Key", "Arn") => format!("arn:x:kms:x:x:key/{}", literal(id)),
        ("AWS::KMS::Key", _) => literal(id),
        ("AWS::KMS::Alias", _) => match properties.get("TargetKeyId").and_then(spell) {
            Some(target) => short_key(template, &target),
            None => literal(token),
        },
        _ => literal(token),
    }
}

/// Returns the ARN of the key that an alias stands for.
fn short_key(template: &Template, target: &str) -> String {
    let (arn, _) = short_arn(template, target);
    let key = arn.strip_prefix("kms:key/").unwrap_or(&arn);
    format!("arn:x:kms:x:x:key/{key}")
}

/// Whether a text matches a pattern in which `*` stands for any text and `?` for any character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some(expected) if *expected == '?' || *expected == text[read] => {
                at += 1;
                read += 1;
            }
            _ => match star {
                Some((of_star, taken)) => {
                    star = Some((of_star, taken + 1));
                    (at, read) = (of_star + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|left| *left == '*')
}
