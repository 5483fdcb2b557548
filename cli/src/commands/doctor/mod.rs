//! `kinesis-kit doctor`: settings that silently lose records.

mod setting;
mod finding;
mod mapping;
mod template;
mod terraform;
mod line_index;
mod sam_config;
mod source;
mod rules;
mod from_template;
mod deployed;

use std::{
    cell::RefCell,
    collections::HashMap,
    io::{self, Write},
    path::Path,
};

use crate::{
    args::{DoctorArgs, Format},
    error::{Completion, Error},
    output::{
        cell, json,
        note::{count, note},
        screen::Screen,
        table::wrap,
        tone::Tone,
    },
    run,
};
use finding::{Finding, Place, Severity};
use mapping::Subject;
use sam_config::SamConfig;
use setting::Setting;
use source::Source;
use template::Template;

pub(crate) fn run(args: &DoctorArgs) -> Result<Completion, Error> {
    let mut findings = match (&args.template, &args.function) {
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
    let unneeded = accept(&mut findings, &args.accept)?;
    match show(&findings, args.format) {
        // `| head` has seen enough, and what it has not seen counts as well.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        shown => shown?,
    }
    let number = |severity| findings.iter().filter(|finding| finding.severity == severity).count() as u64;
    let (errors, warnings) = (number(Severity::Error), number(Severity::Warning));
    let not_judged = match number(Severity::NotJudged) {
        0 => String::new(),
        number => format!(", {number} not judged"),
    };
    let accepted = match number(Severity::Accepted) {
        0 => String::new(),
        number => format!(", {number} accepted"),
    };
    note(format_args!("{}, {}{not_judged}{accepted}", count(errors, "error"), count(warnings, "warning")));
    if !unneeded.is_empty() {
        let rules = unneeded.join(", ");
        return Err(Error::Usage(format!(
            "--accept {rules}: the rule finds nothing, so there is nothing to accept"
        )));
    }
    let is_good = findings.iter().all(|finding| finding.severity == Severity::Accepted);
    Ok(if is_good { Completion::Done } else { Completion::SomeFailed })
}

/// Marks the findings of these rules as accepted. Returns the rules that have none.
///
/// # Errors
///
/// [`Error::Usage`] if there is no such rule.
fn accept(findings: &mut [Finding], rules: &[String]) -> Result<Vec<String>, Error> {
    let mut unneeded = Vec::new();
    for rule in rules {
        if !rules::names().any(|name| name == rule) {
            let mut names: Vec<_> = rules::names().collect();
            names.sort_unstable();
            return Err(Error::Usage(format!("--accept {rule}: no such rule, only {}", names.join(", "))));
        }
        let of_rule: Vec<_> = findings.iter_mut().filter(|finding| finding.rule == rule).collect();
        if of_rule.is_empty() {
            unneeded.push(rule.clone());
        }
        of_rule.into_iter().for_each(|finding| finding.severity = Severity::Accepted);
    }
    findings.sort();
    Ok(unneeded)
}

fn of_template(path: &Path, args: &DoctorArgs) -> Result<Vec<Finding>, Error> {
    let parameters = match &args.config_env {
        Some(environment) => with_config(path, environment, &args.parameters)?,
        None => args.parameters.clone(),
    };
    let sources = source::read(path)?;
    let (subject, places) = subject(&sources, &parameters, &args.parameters)?;
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
        let baseline = source::read(baseline)?;
        let (baseline, _) = self::subject(&baseline, &args.baseline_parameters, &args.baseline_parameters)?;
        let replacements = rules::replacements(&baseline.mappings, &subject.mappings);
        findings.extend(replacements.into_iter().map(|finding| finding.by("replacement")));
        // A mapping that is hidden in the baseline may be replaced, too.
        let hidden = baseline.findings.into_iter().filter(is_hidden);
        let hidden =
            hidden.map(|finding| Finding { resource: format!("{} (baseline)", finding.resource), ..finding });
        findings.extend(hidden);
    }
    for finding in &mut findings {
        finding.place = place(finding, &places);
    }
    findings.sort();
    Ok(findings)
}

/// Returns the parameters of an environment of the SAM CLI, with these before them.
fn with_config(
    template: &Path,
    environment: &str,
    given: &[(String, String)],
) -> Result<Vec<(String, String)>, Error> {
    let SamConfig { file, parameters, stack_name, region } = sam_config::read(template, environment)?;
    let of =
        |name: &str, value: Option<String>| value.map_or(String::new(), |value| format!(", {name} {value}"));
    note(format_args!(
        "{}, environment {environment}: {}{}{}",
        file.display(),
        count(parameters.len() as u64, "parameter"),
        of("stack", stack_name),
        of("region", region)
    ));
    let is_given = |name: &str| given.iter().any(|(given, _)| given == name);
    Ok(parameters.into_iter().filter(|(name, _)| !is_given(name)).chain(given.iter().cloned()).collect())
}

/// The source and the logical ID of a resource by the name that users know.
type Places<'s> = HashMap<String, (&'s Source, String)>;

/// Evaluates templates with these values of their parameters, and names those of the given ones that change nothing. Resources get the names that users know: paths of the CDK and
/// addresses of Terraform.
fn subject<'s>(
    sources: &'s [Source],
    parameters: &[(String, String)],
    given: &[(String, String)],
) -> Result<(Subject, Places<'s>), Error> {
    let declares = |source: &Source, name: &str| source.document["Parameters"].get(name).is_some();
    let mut subject = Subject::default();
    let places = RefCell::new(Places::new());
    for source in sources {
        // A parameter of one stack need not be one of the others.
        let of_others =
            |name: &str| sources.iter().any(|other| declares(other, name)) && !declares(source, name);
        let parameters: Vec<_> = parameters.iter().filter(|(name, _)| !of_others(name)).cloned().collect();
        let template = Template::new(source.document.clone(), &parameters).map_err(|reason| {
            Error::Usage(format!("{} cannot be read as a template: {reason}", source.name))
        })?;
        let mut stack = from_template::subject(&template);
        // Those of a file are for more than what is judged.
        let is_given = |value: &String| given.iter().any(|(name, _)| value.starts_with(&format!("{name}=")));
        for value in template.unused_values().into_iter().filter(is_given) {
            note(format_args!(
                "--parameter {value} changes nothing that is judged: with these parameters, the template does not use it there"
            ));
        }
        stack.rename(|id| {
            let name = match template.path(id) {
                Some(path) => path.to_owned(),
                None if sources.len() > 1 => format!("{}/{id}", source.file_name()),
                None => id.to_owned(),
            };
            places.borrow_mut().insert(name.clone(), (source, id.to_owned()));
            name
        });
        subject.extend(stack);
    }
    Ok((subject, places.into_inner()))
}

/// Returns the place of a setting, if its file has lines.
fn place(finding: &Finding, places: &Places<'_>) -> Option<Place> {
    let (source, id) = places.get(&finding.resource)?;
    let (line, path) = source.lines.setting(id, &finding.setting)?;
    let parameters = line_index::parameters(&source.document, &path);
    Some(Place { file: source.name.clone(), line, parameters })
}

fn show(findings: &[Finding], format: Format) -> io::Result<()> {
    let screen = Screen::of_stdout();
    let mut output = io::stdout().lock();
    for finding in findings {
        match format {
            Format::Json => {
                json::write(&mut output, finding)?;
                writeln!(output)?;
            }
            Format::Table => output.write_all(text(finding, screen).as_bytes())?,
        }
    }
    output.flush()
}

/// Returns a finding for people, in lines that are broken between words.
fn text(finding: &Finding, screen: Screen) -> String {
    let Finding { severity, resource, setting, found, reason, fix, rule, place } = finding;
    let (severity, tone) = match severity {
        Severity::Error => ("error", Tone::Error),
        Severity::Warning => ("warning", Tone::Warning),
        Severity::NotJudged => ("not judged", Tone::Warning),
        Severity::Accepted => ("accepted", Tone::Plain),
    };
    let place = place.as_ref().map(|Place { file, line, parameters }| match &parameters[..] {
        [] => format!("{file}:{line}"),
        [parameter] => format!("{file}:{line}, parameter {parameter}"),
        parameters => format!("{file}:{line}, parameters {}", parameters.join(", ")),
    });
    let style = if screen.has_colours { tone.style() } else { Tone::Plain.style() };
    let mut text = style.to_string();
    let width = screen.width.unwrap_or(usize::MAX);
    wrap(&mut text, &cell::escape(&format!("{severity}: {resource}: {setting}: {found}")), 0, width);
    text.push_str(&style.render_reset().to_string());
    let lines = [
        place.map(|place| ("at", place)),
        Some(("why", reason.clone())),
        Some(("fix", fix.clone())),
        Some(("rule", (*rule).to_owned())),
    ];
    for (name, value) in lines.into_iter().flatten() {
        text.push_str(&format!("\n  {:6}", format!("{name}:")));
        wrap(&mut text, &cell::escape(&value), 8, width);
    }
    text.push('\n');
    text
}
