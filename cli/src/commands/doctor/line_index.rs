use saphyr_parser::{Event, Parser};
use serde_json::Value;

/// Longest template that is searched for lines, in bytes. CloudFormation takes 1 MB.
const MAX_BYTES: usize = 2 << 20;

/// The lines of the keys of a template in YAML or JSON.
#[derive(Debug, Default)]
pub(super) struct LineIndex {
    /// In the order of the text, so that a key comes before those in its value.
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    name: String,
    line: usize,
    /// Position of the key whose value holds this one.
    parent: Option<usize>,
}

/// A collection that is open.
enum Open {
    /// A mapping, and the key whose value comes next.
    Mapping {
        parent: Option<usize>,
        key: Option<usize>,
    },
    Sequence {
        parent: Option<usize>,
    },
}

impl LineIndex {
    /// Reads the lines of a text that was read as a template before. Of a text that the parser does not take, there are
    /// none.
    pub(super) fn read(text: &str) -> Self {
        let mut index = LineIndex::default();
        if text.len() > MAX_BYTES {
            return index;
        }
        let mut open: Vec<Open> = Vec::new();
        for next in Parser::new_from_str(text) {
            let Ok((event, span)) = next else { return LineIndex::default() };
            let parent = match open.last() {
                Some(Open::Mapping { parent, key }) => key.or(*parent),
                Some(Open::Sequence { parent }) => *parent,
                None => None,
            };
            match event {
                Event::MappingStart(..) => open.push(Open::Mapping { parent, key: None }),
                Event::SequenceStart(..) => open.push(Open::Sequence { parent }),
                Event::MappingEnd | Event::SequenceEnd => {
                    open.pop();
                    index.end_value(&mut open);
                }
                Event::Scalar(text, ..) => match open.last_mut() {
                    Some(Open::Mapping { parent, key: key @ None }) => {
                        *key = Some(index.keys.len());
                        let line = span.start.line();
                        index.keys.push(Key { name: text.into_owned(), line, parent: *parent });
                    }
                    _ => index.end_value(&mut open),
                },
                Event::Alias(_) => index.end_value(&mut open),
                _ => {}
            }
        }
        index
    }

    /// The next scalar of a mapping is a key again.
    fn end_value(&self, open: &mut [Open]) {
        if let Some(Open::Mapping { key, .. }) = open.last_mut() {
            *key = None;
        }
    }

    /// Returns the line of a setting of a resource, and the path of keys to it: of the resource itself, if it does not
    /// have the setting.
    pub(super) fn setting(&self, resource: &str, setting: &str) -> Option<(usize, Vec<&str>)> {
        let base = self.resource(resource)?;
        // A finding about several settings names them all.
        let setting = setting.split(", ").next().unwrap_or(setting);
        let names: &[&str] = match setting {
            "EventSourceArn" => &["EventSourceArn", "Stream"],
            _ => &[setting],
        };
        let is_setting = |at: &usize| names.contains(&self.keys[*at].name.as_str());
        let all = 0..self.keys.len();
        let found = all.clone().filter(is_setting).find(|at| self.is_inside(*at, base));
        // Variables are in the function, or among SAM's globals.
        let of_function = || all.clone().filter(is_setting).find(|_| setting.starts_with("KINESIS_HANDLER_"));
        let at = found.or_else(of_function).unwrap_or(base);
        Some((self.keys[at].line, self.path(at)))
    }

    /// Returns the key of a resource, of an event of a SAM function, whose ID is that of both, or of a parameter.
    fn resource(&self, id: &str) -> Option<usize> {
        if let Some(at) = self.find(&["Resources", id]).or_else(|| self.find(&["Parameters", id])) {
            return Some(at);
        }
        let resources = self.find(&["Resources"])?;
        let functions = (0..self.keys.len()).filter(|at| self.keys[*at].parent == Some(resources));
        functions.map(|at| &self.keys[at].name).find_map(|function| {
            let event = id.strip_prefix(function.as_str())?;
            self.find(&["Resources", function, "Properties", "Events", event])
        })
    }

    fn find(&self, path: &[&str]) -> Option<usize> {
        let mut parent = None;
        for name in path {
            parent = Some(self.keys.iter().position(|key| key.parent == parent && key.name == *name)?);
        }
        parent
    }

    fn is_inside(&self, at: usize, base: usize) -> bool {
        let mut next = Some(at);
        while let Some(at) = next {
            if at == base {
                return true;
            }
            next = self.keys[at].parent;
        }
        false
    }

    fn path(&self, at: usize) -> Vec<&str> {
        let mut path = Vec::new();
        let mut next = Some(at);
        while let Some(at) = next {
            path.push(self.keys[at].name.as_str());
            next = self.keys[at].parent;
        }
        path.reverse();
        path
    }
}

/// Returns the parameters that the value at this path depends on, in the order of their names.
pub(super) fn parameters(document: &Value, path: &[&str]) -> Vec<String> {
    let value = path.iter().try_fold(document, |value, name| value.get(name));
    let mut names = Vec::new();
    let mut conditions = Vec::new();
    if let Some(value) = value.filter(|_| path.len() > 2 || path.first() == Some(&"Parameters")) {
        match path {
            ["Parameters", name, ..] => names.push((*name).to_owned()),
            _ => add_parameters(document, value, &mut names, &mut conditions),
        }
    }
    names.sort();
    names.dedup();
    names
}

fn add_parameters<'d>(
    document: &'d Value,
    value: &'d Value,
    names: &mut Vec<String>,
    conditions: &mut Vec<&'d str>,
) {
    let mut add = |name: &str| {
        if document["Parameters"].get(name).is_some() {
            names.push(name.to_owned());
        }
    };
    let of_condition = match value {
        Value::Object(members) => {
            if let Some(name) = members.get("Ref").and_then(Value::as_str) {
                add(name);
            }
            let text = members.get("Fn::Sub").and_then(|text| text.as_str().or_else(|| text[0].as_str()));
            for part in text.into_iter().flat_map(|text| text.split("${").skip(1)) {
                add(part.split('}').next().unwrap_or_default());
            }
            members.get("Fn::If").and_then(|of| of[0].as_str()).or_else(|| members.get("Condition")?.as_str())
        }
        _ => None,
    };
    // A condition may refer to itself.
    if let Some(name) = of_condition.filter(|name| !conditions.contains(name)) {
        conditions.push(name);
        add_parameters(document, &document["Conditions"][name], names, conditions);
    }
    match value {
        Value::Object(members) => {
            members.values().for_each(|value| add_parameters(document, value, names, conditions));
        }
        Value::Array(items) => {
            items.iter().for_each(|item| add_parameters(document, item, names, conditions))
        }
        _ => {}
    }
}
