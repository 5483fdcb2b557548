//! `new`: the project's files. Building, simulating and deploying it is tested with the kit as a whole.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::kit::{Run, kit_with};

/// Runs `kinesis-kit new` in this folder.
fn new(folder: &TempDir, args: &[&str]) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_kinesis-kit"))
        .arg("new")
        .args(args)
        .current_dir(folder.path())
        .output()
        .expect("the binary runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    Run { exit_code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder")
}

fn checkout() -> String {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("it is there");
    checkout.to_str().expect("a plain path").to_owned()
}

/// Checks the dependency in Cargo.toml that these arguments lead to.
#[track_caller]
fn check_dependency(args: &[&str], expected: &str, origin: &str) {
    let folder = folder();
    let args = ["orders"].iter().chain(args).copied().collect::<Vec<_>>();
    let run = new(&folder, &args);
    let stderr = format!(
        "kinesis-kit: created orders, with kinesis-handler {origin}\nkinesis-kit: its first build takes some minutes, because it \
         builds the AWS SDK for the tables\nkinesis-kit: next: cd orders && make test && make invoke \
         && make simulate\n"
    );
    assert_eq!(run, Run { exit_code: Some(0), stdout: String::new(), stderr });
    let manifest = fs::read_to_string(folder.path().join("orders/Cargo.toml")).expect("text");
    let line = format!("kinesis-handler = {{ {expected}, features = [\"dynamodb\"] }}");
    assert!(manifest.lines().any(|found| found == line), "{manifest}");
}

#[test]
fn the_kit_comes_from_where_the_option_says() {
    let handler = checkout() + "/handler";
    let path = format!("path = {handler:?}");
    check_dependency(&[], &path, &format!("in {handler}"));
    check_dependency(&["--kit-path", &checkout()], &path, &format!("in {handler}"));
    check_dependency(&["--kit-version", "0.2.0"], "version = \"0.2.0\"", "0.2.0 from the registry");
    let url = "https://example.com/kit.git";
    check_dependency(&["--kit-git", url], &format!("git = {url:?}"), &format!("from {url}"));
}

#[test]
fn no_variable_is_left_and_the_template_has_no_findings() {
    let folder = folder();
    assert_eq!(new(&folder, &["orders"]).exit_code, Some(0));
    let project = folder.path().join("orders");
    let mut files = 0;
    for sub in ["", "src", "events"] {
        for entry in fs::read_dir(project.join(sub)).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_file() {
                let text = fs::read_to_string(&path).expect("text");
                assert!(!text.contains("{{"), "{}", path.display());
                files += 1;
            }
        }
    }
    assert_eq!(files, 12);
    let template = project.join("template.yaml");
    let template = template.to_str().expect("a plain path");
    for journal in ["off", "on", "quarantine"] {
        let run = kit_with(["doctor", template, "--parameter", &format!("RetryJournal={journal}")], "");
        assert_eq!((run.exit_code, run.stdout.as_str()), (Some(0), ""), "{}", run.stderr);
        assert_eq!(run.stderr, "kinesis-kit: 0 errors, 0 warnings\n", "{journal}");
    }
}

#[test]
fn the_event_is_made_of_the_payloads() {
    let events = Path::new(&checkout()).join("templates/cargo-lambda/events");
    let payloads = events.join("orders.jsonl");
    let run = kit_with(["aggregate", "--key", "customer", payloads.to_str().expect("a plain path")], "");
    let json = |text: &str| serde_json::from_str::<Value>(text).expect("JSON");
    let event = fs::read_to_string(events.join("orders.json")).expect("text");
    assert_eq!(json(&event), json(&run.stdout), "{}", run.stderr);
}

#[test]
fn nothing_is_overwritten() {
    let folder = folder();
    fs::create_dir(folder.path().join("orders")).expect("a writable folder");
    let run = new(&folder, &["orders"]);
    let stderr = "kinesis-kit: orders exists: nothing was written\n".to_owned();
    assert_eq!(run, Run { exit_code: Some(2), stdout: String::new(), stderr });
    assert_eq!(fs::read_dir(folder.path().join("orders")).expect("a folder").count(), 0);
}

#[test]
fn a_wrong_name_or_checkout_is_refused() {
    let folder = folder();
    for name in ["build", "deps"] {
        let run = new(&folder, &[name]);
        assert_eq!(run.exit_code, Some(2), "{name}");
        assert!(run.stderr.contains("Cargo reserves this name"), "{}", run.stderr);
    }
    for name in ["1orders", "or_ders", "../orders", "", &"o".repeat(65)] {
        let run = new(&folder, &[name]);
        assert_eq!(run.exit_code, Some(2), "{name}");
        assert!(
            run.stderr.contains("expected a letter, and up to 63 letters, digits and \"-\""),
            "{}",
            run.stderr
        );
    }
    let run = new(&folder, &["orders", "--kit-path", "missing"]);
    let stderr =
        "kinesis-kit: --kit-path missing: expected a checkout of the kit, with the file handler/Cargo.toml\n";
    assert_eq!((run.exit_code, run.stderr.as_str()), (Some(2), stderr));
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 0);
}
