//! A project that `kinesis-kit new` makes, or another tool from the same files, is built, tested, invoked and simulated.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

use crate::{
    consumer::handler_path,
    emulator::{kinesis_kit, repository, target},
};

pub(crate) const NAME: &str = "order-consumer";

/// Makes a project, with the versions that the workspace uses.
pub(crate) fn new_project(folder: &Path) -> PathBuf {
    let output = Command::new(kinesis_kit()).args(["new", NAME]).current_dir(folder).output();
    succeeded(&output.expect("the binary runs"));
    let project = folder.join(NAME);
    fs::copy(repository().join("Cargo.lock"), project.join("Cargo.lock")).expect("a writable folder");
    project
}

#[track_caller]
fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// Collects the text of all files below a folder, by path.
fn files(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = format!("{prefix}{}", entry.file_name().to_str().expect("a plain name"));
        match entry.path().is_dir() {
            true => files(&entry.path(), &format!("{name}/"), found),
            false => {
                found.insert(name, fs::read_to_string(entry.path()).expect("text"));
            }
        }
    }
}

fn files_of(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    files(folder, "", &mut found);
    found
}

#[test]
fn the_templates_of_both_tools_have_the_same_source() {
    let templates = repository().join("templates");
    let mut source = files_of(&templates.join("cargo-lambda"));
    source.remove("CargoLambda.toml").expect("the settings of cargo-lambda");
    for text in source.values_mut() {
        *text = text
            .replace("{{project_name}}", "{{cookiecutter.project_name}}")
            .replace("{{kinesis_handler}}", "{{cookiecutter.kinesis_handler}}");
    }
    let copy = files_of(&templates.join("sam/{{cookiecutter.project_name}}"));
    assert_eq!(copy, source, "run scripts/templates");
}

#[test]
#[ignore = "needs cargo-lambda and the SAM CLI: make test"]
fn every_tool_makes_the_same_project() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let templates = repository().canonicalize().expect("it is there").join("templates");
    let run = |name: &str, command: &mut Command| {
        let place = folder.path().join(name);
        fs::create_dir(&place).expect("a writable folder");
        succeeded(&command.current_dir(&place).output().expect("it runs"));
        files_of(&place.join(NAME))
    };
    let kit = run("kit", Command::new(kinesis_kit()).args(["new", NAME]));
    let variable = format!("kinesis_handler=path = {}", handler_path());
    let cargo_lambda = run(
        "cargo-lambda",
        Command::new("cargo-lambda")
            .args(["lambda", "new", "--no-interactive", "--template"])
            .arg(templates.join("cargo-lambda"))
            .args(["--render-var", &variable, NAME]),
    );
    assert_eq!(cargo_lambda, kit);
    let context =
        serde_json::json!({ "project_name": NAME, "kinesis_handler": format!("path = {}", handler_path()) });
    let sam = run(
        "sam",
        Command::new("sam")
            .args(["init", "--no-input", "--location"])
            .arg(templates.join("sam"))
            .args(["--name", NAME, "--extra-context", &context.to_string()])
            .env("SAM_CLI_TELEMETRY", "0"),
    );
    assert_eq!(sam, kit);
}

/// A project, and the commands of its README.
struct Project {
    path: PathBuf,
    _folder: TempDir,
}

impl Project {
    fn make(&self, args: &[&str]) -> Output {
        let binaries = kinesis_kit().parent().expect("a folder").to_owned();
        let path = format!("{}:{}", binaries.display(), std::env::var("PATH").expect("a path"));
        Command::new("make")
            .args(args)
            .current_dir(&self.path)
            .env("PATH", path)
            .env("CARGO_TARGET_DIR", target().canonicalize().expect("it is there"))
            .env("CARGO_NET_OFFLINE", "true")
            .env("SAM_CLI_TELEMETRY", "0")
            // As in a shell: below another make, it would say which folders it enters.
            .env_remove("MAKEFLAGS")
            .env_remove("MAKELEVEL")
            .output()
            .expect("make runs")
    }
}

#[test]
#[ignore = "needs the SAM CLI, and builds the AWS SDK: make test"]
fn a_new_project_is_tested_invoked_simulated_and_checked_without_an_edit() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let project = Project { path: new_project(folder.path()), _folder: folder };
    succeeded(&project.make(&["test"]));
    let stdout = succeeded(&project.make(&["invoke"]));
    assert!(stdout.ends_with("{\"batchItemFailures\":[]}\n"), "{stdout}");
    let malformed = project.make(&["invoke", "EVENT=events/malformed-order.json"]);
    let stderr = String::from_utf8_lossy(&malformed.stderr);
    assert!(!malformed.status.success());
    assert!(
        stderr.contains("kinesis-kit: record 1 of 3 is processed: the mapping retries 2 records"),
        "{stderr}"
    );
    let stdout = succeeded(&project.make(&["simulate"]));
    assert!(stdout.contains("processed      2  1, 3"), "{stdout}");
    let stdout = succeeded(&project.make(&["check"]));
    assert!(stdout.contains("is a valid SAM Template"), "{stdout}");
}
