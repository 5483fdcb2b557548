use std::{cell::RefCell, collections::HashMap, rc::Rc};

use serde_json::{Value, json};

use super::{
    super::template::{Template, spell},
    role::Role,
    source::{id_of, tokens},
};

/// A template with an index of its functions and policies, so that the work for each mapping does not grow with the number
/// of resources.
pub(super) struct Index<'a> {
    pub(super) template: &'a Template,
    /// Logical IDs of functions by their spelled names.
    functions: HashMap<String, String>,
    pub(super) has_functions: bool,
    /// Statements that policies outside of a role give it, by its logical ID.
    grants: HashMap<String, Vec<Value>>,
    /// Statements of resource policies for any principal.
    for_anyone: Vec<Value>,
    /// Roles of functions by the function's logical ID.
    roles: RefCell<HashMap<String, Rc<Role>>>,
}

impl<'a> Index<'a> {
    pub(super) fn new(template: &'a Template) -> Self {
        let mut index = Index {
            template,
            functions: HashMap::new(),
            has_functions: false,
            grants: HashMap::new(),
            for_anyone: Vec::new(),
            roles: RefCell::default(),
        };
        for (id, kind, properties) in template.resources() {
            let evaluated = || template.evaluate(properties).unwrap_or_default();
            match kind {
                "AWS::Lambda::Function" | "AWS::Serverless::Function" => {
                    index.has_functions = true;
                    if let Some(name) =
                        template.evaluate(&properties["FunctionName"]).as_ref().and_then(spell)
                    {
                        index.functions.insert(plain(&name), id.to_owned());
                    }
                }
                "AWS::S3::BucketPolicy" | "AWS::SQS::QueuePolicy" | "AWS::SNS::TopicPolicy" => {
                    index.add_resource_policy(&evaluated()["PolicyDocument"], None);
                }
                "AWS::KMS::Key" => {
                    let key = json!({ "Fn::GetAtt": [id, "Arn"] });
                    index.add_resource_policy(&evaluated()["KeyPolicy"], Some(&key));
                }
                "AWS::IAM::Policy" | "AWS::IAM::RolePolicy" | "AWS::IAM::ManagedPolicy" => {
                    index.add_attached(&evaluated());
                }
                _ => {}
            }
        }
        index
    }

    /// Adds the statements of a policy that names its roles.
    fn add_attached(&mut self, properties: &Value) {
        let roles = properties["Roles"].as_array().into_iter().flatten().chain(properties.get("RoleName"));
        for role in roles.filter_map(spell) {
            for id in tokens(&role).filter_map(|token| id_of(self.template, token)) {
                self.grants.entry(id).or_default().extend(statements(&properties["PolicyDocument"]));
            }
        }
    }

    /// Adds the statements of a bucket, queue, topic or key policy. The only resource of a key policy is its key.
    fn add_resource_policy(&mut self, document: &Value, key: Option<&Value>) {
        for mut statement in statements(document) {
            if let Some(key) = key {
                statement["Resource"] = key.clone();
            }
            let principals = match &statement["Principal"]["AWS"] {
                Value::Null => vec![statement["Principal"].clone()],
                Value::Array(principals) => principals.clone(),
                principal => vec![principal.clone()],
            };
            for principal in principals.iter().filter_map(spell) {
                if principal == "*" {
                    self.for_anyone.push(statement.clone());
                }
                for id in tokens(&principal).filter_map(|token| id_of(self.template, token)) {
                    self.grants.entry(id).or_default().push(statement.clone());
                }
            }
        }
    }

    /// Returns the statements outside of a role that apply to it.
    pub(super) fn grants(&self, role: Option<&str>) -> impl Iterator<Item = &Value> {
        let own = role.and_then(|role| self.grants.get(role));
        own.into_iter().flatten().chain(&self.for_anyone)
    }

    /// Returns the logical ID of the function with this spelled name.
    pub(super) fn function_named(&self, name: &str) -> Option<String> {
        self.functions.get(&plain(name)).cloned()
    }

    /// Whether a logical ID is that of a function.
    pub(super) fn is_function(&self, id: &str) -> bool {
        let kind = self.template.resource(id).map(|(kind, _)| kind);
        matches!(kind, Some("AWS::Lambda::Function" | "AWS::Serverless::Function"))
    }

    pub(super) fn role_of(&self, function: &str) -> Rc<Role> {
        if let Some(role) = self.roles.borrow().get(function) {
            return Rc::clone(role);
        }
        let role = Rc::new(Role::of_function(self.template, function));
        self.roles.borrow_mut().insert(function.to_owned(), Rc::clone(&role));
        role
    }
}

/// Returns a spelled name without the colons of pseudo parameters, which separate a name from its qualifier.
pub(super) fn plain(name: &str) -> String {
    name.replace("AWS::", "")
}

/// Returns the statements of a policy document.
fn statements(document: &Value) -> Vec<Value> {
    match &document["Statement"] {
        Value::Array(statements) => statements.clone(),
        Value::Object(members) if !members.is_empty() => vec![document["Statement"].clone()],
        _ => Vec::new(),
    }
}
