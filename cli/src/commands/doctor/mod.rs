//! `kinesis-kit doctor`: settings that silently lose records.

mod setting;
mod finding;
mod mapping;
mod template;
mod terraform;
mod source;
mod rules;
mod from_template;
mod deployed;

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{
    args::{DoctorArgs, Format},
    error::{Completion, Error},
    output::{
        cell,
        note::{count, note},
    },
    run,
};
use finding::{Finding, Severity};
use mapping::Subject;
use setting::Setting;
use source::Source;
use template::Template;

pub(crate) fn run(args: &DoctorArgs) -> Result<Completion, Error> {
    let findings = match (&args.template, &args.function) {
        (Some(path), _) => of_template(path, args)?,
        (None, Some(function)) => run::block_on(async {
            let subject = deployed::subject(function).await?;
            if subject.mappings.is_empty() {
                return Err(Error::Usage(format!("function {function} has no mapping from Kinesis")));
            }
            Ok(rules::findings(&subject))
        })?,
        (None, None) => unreachable!("the command line has one of the two"),
    };
    show(&findings, args.format)?;
    let number = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let (errors, warnings) = (number(Severity::Error), number(Severity::Warning));
    let not_judged = match number(Severity::NotJudged) {
        0 => String::new(),
        number => format!(", {number} not judged"),
    };
    note(format_args!("{}, {}{not_judged}", count(errors, "error"), count(warnings, "warning")));
    Ok(if findings.is_empty() { Completion::Done } else { Completion::SomeFailed })
}

fn of_template(path: &Path, args: &DoctorArgs) -> Result<Vec<Finding>, Error> {
    let subject = read(path, &args.parameters)?;
    let mut findings = rules::findings(&subject);
    let is_hidden = |finding: &Finding| finding.severity == Severity::NotJudged;
    if subject.mappings.is_empty() && !findings.iter().any(is_hidden) {
        return Err(Error::Usage(format!("{} has no mapping from Kinesis", path.display())));
    }
    for mapping in subject.mappings.iter().filter(|mapping| mapping.function == Setting::Absent) {
        note(format_args!(
            "mapping {}: the function is not in the template, so its variables and its role are not judged",
            mapping.id
        ));
    }
    if let Some(baseline) = &args.baseline {
        let baseline = read(baseline, &args.baseline_parameters)?;
        findings.extend(rules::replacements(&baseline.mappings, &subject.mappings));
        // A mapping that is hidden in the baseline may be replaced, too.
        let hidden = baseline.findings.into_iter().filter(is_hidden);
        let hidden =
            hidden.map(|finding| Finding { resource: format!("{} (baseline)", finding.resource), ..finding });
        findings.extend(hidden);
        findings.sort();
    }
    Ok(findings)
}

/// Reads templates and evaluates them with these values of their parameters. Resources get the names that users know: paths
/// of the CDK and addresses of Terraform.
fn read(path: &Path, parameters: &[(String, String)]) -> Result<Subject, Error> {
    let sources = source::read(path)?;
    let declares = |source: &Source, name: &str| source.document["Parameters"].get(name).is_some();
    let mut subject = Subject::default();
    for source in &sources {
        // A parameter of one stack need not be one of the others.
        let of_others =
            |name: &str| sources.iter().any(|other| declares(other, name)) && !declares(source, name);
        let parameters: Vec<_> = parameters.iter().filter(|(name, _)| !of_others(name)).cloned().collect();
        let template = Template::new(source.document.clone(), &parameters).map_err(|reason| {
            Error::Usage(format!("{} cannot be read as a template: {reason}", source.name))
        })?;
        let mut stack = from_template::subject(&template);
        for value in template.unused_values() {
            note(format_args!(
                "--parameter {value} changes nothing that is judged: with these parameters, the template does not use it there"
            ));
        }
        stack.rename(|id| match template.path(id) {
            Some(path) => path.to_owned(),
            None if sources.len() > 1 => format!("{}/{id}", source.file_name()),
            None => id.to_owned(),
        });
        subject.extend(stack);
    }
    Ok(subject)
}

fn show(findings: &[Finding], format: Format) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for finding in findings {
        let Finding { severity, resource, setting, found, reason, fix } = finding;
        match format {
            Format::Json => {
                serde_json::to_writer(&mut output, finding)?;
                writeln!(output)?;
            }
            Format::Table => {
                let severity = match severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                    Severity::NotJudged => "not judged",
                };
                let [resource, setting, found, reason, fix] =
                    [resource, setting, found, reason, fix].map(|text| cell::text(text, usize::MAX));
                writeln!(
                    output,
                    "{severity}: {resource}: {setting}: {found}\n  why: {reason}\n  fix: {fix}"
                )?;
            }
        }
    }
    output.flush()
}
