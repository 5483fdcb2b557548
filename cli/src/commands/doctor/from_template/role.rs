//! The permissions of a function's role, as far as the template describes them.

use serde_json::{Value, json};

use super::{
    super::{
        setting::Setting,
        template::{Template, scalar, spell},
    },
    index::Index,
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
            // SAM makes no destination for a type alone, so there is nothing to allow.
            if !on_failure["Destination"].is_null() {
                self.allow(action, &format!("{}{suffix}", spell_any(&on_failure["Destination"])));
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
        self.id = Some(id);
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

    /// Returns whether the role may do this to a resource, or to what a suffix names in it. A role without a statement for
    /// it may still be allowed by a policy outside of the template.
    pub(super) fn allows(
        &self,
        index: &Index<'_>,
        action: &str,
        resource: &Value,
        suffix: &str,
    ) -> Setting<bool> {
        if !self.is_described {
            return Setting::Absent;
        }
        let mut target = Arn::of(index.template, &spell_any(resource));
        target.text.push_str(suffix);
        let statements = || self.statements.iter().chain(index.grants(self.id.as_deref()));
        let is_denied = |statement: &&Value| {
            statement["Effect"] == "Deny"
                && statement.get("Condition").is_none()
                && matches!(matches(index.template, statement, action, &target), Match::Yes)
        };
        if statements().any(|statement| is_denied(&statement)) {
            return Setting::Known(false);
        }
        let mut maybe = self.unknown.clone();
        for statement in statements().filter(|statement| statement["Effect"] != "Deny") {
            match matches(index.template, statement, action, &target) {
                Match::Yes => return Setting::Known(true),
                Match::Maybe(expression) => maybe = Some(expression),
                Match::No => {}
            }
        }
        maybe.map_or(Setting::Known(false), Setting::Unknown)
    }
}

/// Whether a statement is about an action and a resource.
enum Match {
    Yes,
    Maybe(String),
    No,
}

fn matches(template: &Template, statement: &Value, action: &str, target: &Arn) -> Match {
    let is_readable = ["NotAction", "NotResource"].iter().all(|name| statement.get(name).is_none());
    if !is_readable || statement.get("Effect").is_none() {
        return Match::Maybe(express(statement));
    }
    let actions = items(&statement["Action"]);
    let has_action = actions
        .iter()
        .filter_map(scalar)
        .any(|pattern| glob(&pattern.to_ascii_lowercase(), &action.to_ascii_lowercase()));
    if !has_action {
        let unknown = actions.iter().find(|action| scalar(action).is_none());
        return unknown.map_or(Match::No, |unknown| Match::Maybe(express(unknown)));
    }
    let mut maybe = None;
    for resource in items(&statement["Resource"]) {
        let pattern = Arn::of(template, &spell_any(&resource));
        if glob(&pattern.text, &target.text) {
            return Match::Yes;
        }
        if pattern.is_partly_unknown || target.is_partly_unknown {
            maybe = Some(express(&resource));
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

/// Spells any expression, one that [`spell`] cannot as a token of its own.
fn spell_any(value: &Value) -> String {
    if let Some(spelled) = spell(value) {
        return spelled;
    }
    match value["Fn::Join"].as_array().map(Vec::as_slice) {
        Some([Value::String(delimiter), Value::Array(items)]) => {
            items.iter().map(spell_any).collect::<Vec<_>>().join(delimiter)
        }
        _ => format!("${{{}}}", value.to_string().replace(['{', '}'], "|")),
    }
}

/// Service and resource of an ARN, such as `s3:orders`, with the names of resources put in.
///
/// Partition, region and account are left out: a template seldom names others than its own.
struct Arn {
    text: String,
    is_partly_unknown: bool,
}

impl Arn {
    /// Reads a spelled ARN.
    fn of(template: &Template, spelled: &str) -> Self {
        let mut parts = spelled.split("${");
        let mut arn = parts.next().unwrap_or_default().to_owned();
        let mut is_partly_unknown = spelled.contains("{{resolve:") || spelled.contains("alias/");
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
        let text = match parts.as_slice() {
            ["arn", _, service, _, _, resource] => format!("{service}:{resource}"),
            // A key may be named by its ID.
            _ if !arn.contains([':', '*']) => format!("kms:key/{arn}"),
            _ => arn,
        };
        Arn { text, is_partly_unknown }
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
            Some(target) => format!("arn:x:{}", Arn::of(template, &target).text.replacen(':', ":x:x:", 1)),
            None => literal(token),
        },
        _ => literal(token),
    }
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
