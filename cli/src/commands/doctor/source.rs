//! The files that hold templates: a template, a plan or state of Terraform, and the output of the AWS CDK.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::{line_index::LineIndex, template, terraform};
use crate::{error::Error, input::Input};

/// A template, and the file that it was read from.
#[derive(Debug)]
pub(super) struct Source {
    pub(super) name: String,
    pub(super) document: Value,
    /// Lines of the template's keys; none of a plan.
    pub(super) lines: LineIndex,
}

impl Source {
    pub(super) fn file_name(&self) -> &str {
        self.name.rsplit(['/', '\\']).next().unwrap_or(&self.name)
    }
}

/// The files that can be judged, for those who name another one.
const EXPECTED: &str = "; expected a template of CloudFormation or SAM in YAML or JSON, a plan of Terraform as JSON, or the \
                        folder that cdk synth writes";

/// File of a cloud assembly that names its stacks.
const MANIFEST: &str = "manifest.json";

/// Most assemblies inside each other: an app, its stages, and the stages of these.
const MAX_DEPTH: usize = 8;

/// Reads the template in a file. A folder, or its `manifest.json`, is the output of `cdk synth`: reads the templates of all
/// stacks in it.
pub(super) fn read(path: &Path) -> Result<Vec<Source>, Error> {
    let mut sources = Vec::new();
    let file = if path.is_dir() { path.join(MANIFEST) } else { path.to_owned() };
    add(&file, 0, &mut sources)?;
    if sources.is_empty() {
        return Err(Error::Usage(format!("{} has no stacks", path.display())));
    }
    Ok(sources)
}

fn add(path: &Path, depth: usize, sources: &mut Vec<Source>) -> Result<(), Error> {
    let mut source = parse(path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let Some(artifacts) = source.document["artifacts"].as_object() else {
        if !source.document["Resources"].is_object() {
            let name = &source.name;
            return Err(Error::Usage(format!("{name} is not a template: it has no Resources{EXPECTED}")));
        }
        let nested = take_nested(&mut source.document, folder);
        sources.push(source);
        return nested
            .iter()
            .filter(|_| depth < MAX_DEPTH)
            .try_for_each(|path| add(path, depth + 1, sources));
    };
    for artifact in artifacts.values() {
        let properties = &artifact["properties"];
        let file = match artifact["type"].as_str() {
            Some("aws:cloudformation:stack") => {
                properties["templateFile"].as_str().map(|file| folder.join(file))
            }
            Some("cdk:cloud-assembly") => {
                properties["directoryName"].as_str().map(|name| folder.join(name).join(MANIFEST))
            }
            _ => None,
        };
        if let Some(file) = file.filter(|_| depth < MAX_DEPTH) {
            add(&file, depth + 1, sources)?;
        }
    }
    Ok(())
}

fn parse(path: &Path) -> Result<Source, Error> {
    let Input { name, bytes } = Input::read(path)?;
    let is_archive = bytes.starts_with(b"PK\x03\x04");
    let (document, text) =
        String::from_utf8(bytes)
            .map_err(|error| format!("byte {} is not UTF-8", error.utf8_error().valid_up_to()))
            .and_then(|text| Ok((document(&text)?, text)))
            .map_err(|reason| {
                if is_archive { format!("it may be a saved plan of Terraform: {CONVERT}") } else { reason }
            })
            .map_err(|reason| {
                let expected = if is_template(path) { "" } else { EXPECTED };
                Error::Usage(format!("{name} cannot be read as a template: {reason}{expected}"))
            })?;
    match terraform::template(&document) {
        Some(document) => Ok(Source { name, document, lines: LineIndex::default() }),
        None => Ok(Source { name, document, lines: LineIndex::read(&text) }),
    }
}

/// Whether a file is a template by its name.
fn is_template(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or("template");
    ["yaml", "yml", "json", "template"].contains(&extension)
}

/// Advice for files of Terraform that only Terraform can read.
const CONVERT: &str = "convert it with terraform show -json FILE";

fn document(text: &str) -> Result<Value, String> {
    // `terraform plan -json` prints messages, not the plan.
    if text.lines().next().is_some_and(|line| line.starts_with("{\"@level\"")) {
        return Err(format!("it is a log of Terraform; save the plan with -out=FILE, then {CONVERT}"));
    }
    let document = template::parse(text)?;
    if document.get("lineage").is_some() && document.get("terraform_version").is_some() {
        return Err(format!("it is a state file of Terraform: {CONVERT}"));
    }
    Ok(document)
}

/// Removes the nested stacks whose templates the CDK has written into the same folder, and returns the files of these.
fn take_nested(document: &mut Value, folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    if let Some(resources) = document.get_mut("Resources").and_then(Value::as_object_mut) {
        resources.retain(|_, resource| {
            let is_stack = resource["Type"] == "AWS::CloudFormation::Stack";
            let asset = resource["Metadata"]["aws:asset:path"].as_str().filter(|_| is_stack);
            let file = asset.map(|asset| folder.join(asset)).filter(|file| file.is_file());
            let is_nested = file.is_some();
            files.extend(file);
            !is_nested
        });
    }
    files
}
