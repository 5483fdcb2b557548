//! `kinesis-kit doctor`: settings that lose records, without a word.

mod finding;
mod mapping;
mod template;
mod from_template;
mod deployed;

use std::{
    io::{self, Write},
    path::Path,
};

use crate::{
    args::{DoctorArgs, Format},
    error::{Error, Outcome},
    input::Input,
    note::{count, note},
    run,
};
use finding::{Finding, Severity};
use template::Template;

pub(crate) fn run(args: &DoctorArgs) -> Result<Outcome, Error> {
    let mut findings = match (&args.template, &args.function) {
        (Some(path), _) => of_template(path, args)?,
        (None, Some(function)) => run::block_on(async {
            let mappings = deployed::mappings(function).await?;
            if mappings.is_empty() {
                return Err(Error::Usage(format!("function {function} has no mapping from Kinesis")));
            }
            Ok(mappings.iter().flat_map(mapping::Mapping::findings).collect())
        })?,
        (None, None) => unreachable!("the command line has one of the two"),
    };
    findings.sort_by_key(|finding| finding.severity);
    show(&findings, args.format)?;
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count() as u64;
    note(format_args!("{}, {}", count(errors, "error"), count(findings.len() as u64 - errors, "warning")));
    Ok(if findings.is_empty() { Outcome::Done } else { Outcome::SomeFailed })
}

fn of_template(path: &Path, args: &DoctorArgs) -> Result<Vec<Finding>, Error> {
    let read = |path: &Path, parameters: &[(String, String)]| {
        let Input { name, bytes } = Input::read(path)?;
        let text = String::from_utf8_lossy(&bytes);
        Template::parse(&text, parameters)
            .map_err(|reason| Error::Usage(format!("{name} cannot be taken as a template: {reason}")))
    };
    let template = read(path, &args.parameters)?;
    let mappings = from_template::mappings(&template);
    if mappings.is_empty() {
        return Err(Error::Usage(format!("{} has no mapping from Kinesis", path.display())));
    }
    let mut findings: Vec<Finding> = mappings.iter().flat_map(mapping::Mapping::findings).collect();
    findings.extend(from_template::alarms(&template));
    if let Some(was) = &args.was {
        // Deployed with the same values, as far as it had such parameters.
        let declared = read(was, &[])?;
        let parameters: Vec<_> =
            args.parameters.iter().filter(|(name, _)| declared.declares(name)).cloned().collect();
        for was in from_template::mappings(&read(was, &parameters)?) {
            match mappings.iter().find(|now| now.id == was.id) {
                Some(now) => findings.extend(was.replaced_by(now)),
                None => findings.push(was.removed()),
            }
        }
    }
    Ok(findings)
}

fn show(findings: &[Finding], format: Format) -> io::Result<()> {
    let mut output = io::stdout().lock();
    for finding in findings {
        let Finding { severity, resource, setting, found, reason, mend } = finding;
        match format {
            Format::Json => {
                serde_json::to_writer(&mut output, finding)?;
                writeln!(output)?;
            }
            Format::Table => {
                let severity = match severity {
                    Severity::Error => "error",
                    Severity::Warning => "warning",
                };
                writeln!(
                    output,
                    "{severity}: {resource}: {setting} is {found}\n  why:  {reason}\n  mend: {mend}"
                )?;
            }
        }
    }
    output.flush()
}
