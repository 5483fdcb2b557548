//! Rules that no compiler checks: documents agree with the code, and what users are told to do works.

use std::{collections::BTreeSet, fs, path::Path, process::Command};

use kinesis_handler::Options;

use crate::emulator::{misbehaving_function, repository};

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).expect("a file of the repository")
}

/// All words in the text that start with the variables' prefix and go on.
fn variables(text: &str) -> BTreeSet<&str> {
    const PREFIX: &str = "KINESIS_HANDLER_";
    text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .filter(|word| word.strip_prefix(PREFIX).is_some_and(|rest| !rest.is_empty()))
        .collect()
}

#[test]
fn readme_and_template_know_the_variables_that_exist() {
    let known = BTreeSet::from(Options::VARIABLES);
    assert_eq!(variables(&read("README.md")), known);
    assert_eq!(variables(&read("template.yaml")), known);
}

#[test]
fn the_readme_has_a_row_for_every_metric() {
    let code = read("handler/src/metrics.rs");
    let counters = code.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next());
    let mut recorded: BTreeSet<&str> = counters.collect();
    let histograms = ["AggregationRatio", "BehindLatestMs"];
    assert!(histograms.iter().all(|name| code.contains(&format!("&str = \"{name}\";"))));
    recorded.extend(histograms);
    let readme = read("README.md");
    let (_, section) = readme.split_once("## Metrics\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<BTreeSet<_>>(), recorded);
}

#[test]
fn every_event_is_documented_and_tested() {
    let documented = read("events/README.md");
    let tested = read("tests/it/end_to_end.rs");
    let mut events = 0;
    for entry in fs::read_dir(repository().join("events")).expect("events/ is there") {
        let name = entry.expect("a file").file_name().into_string().expect("a plain name");
        if name.ends_with(".json") {
            assert!(documented.contains(&format!("`{name}`")), "{name} is not in events/README.md");
            assert!(tested.contains(&format!("\"{name}\"")), "{name} is in no end-to-end test");
            events += 1;
        }
    }
    assert_eq!(events, 9);
}

/// Everything that a build outside of the workspace may need is in cargo's cache already: the workspace needs it too.
fn cargo(folder: &Path, arguments: &[&str]) {
    // The versions that the workspace uses, and what is built of them.
    let target = misbehaving_function().ancestors().nth(2).expect("target/debug/…").to_owned();
    fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a writable folder");
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target)
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn handler_path() -> String {
    let path = repository().join("handler").canonicalize().expect("the handler is there");
    // Quoted as TOML wants it.
    format!("{path:?}")
}

#[test]
fn a_copy_of_the_function_builds_after_one_edit() {
    let copy = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(copy.path().join("src")).expect("a writable folder");
    for file in ["src/main.rs", "src/order.rs", "src/outage.rs"] {
        fs::copy(repository().join("function").join(file), copy.path().join(file))
            .expect("a file of the function");
    }
    let manifest = read("function/Cargo.toml");
    let edited = manifest.replace("\"../handler\"", &handler_path());
    assert_ne!(edited, manifest);
    fs::write(copy.path().join("Cargo.toml"), edited).expect("a writable folder");
    cargo(copy.path(), &["test", "--quiet"]);
}

#[test]
fn the_readmes_processor_compiles_and_is_tested_in_a_crate_of_its_own() {
    let readme = read("README.md");
    let block = |start: &str| {
        let block = readme.split_once(start).and_then(|(_, rest)| rest.split_once("```"));
        block.expect("the README has a processor and its test").0
    };
    let (processor, test) = (block("```rust,no_run\n"), block("```rust,ignore\n"));
    assert!(processor.lines().filter(|line| !line.is_empty()).count() <= 12, "longer than twelve lines");

    let consumer = tempfile::tempdir().expect("a temporary folder");
    fs::create_dir(consumer.path().join("src")).expect("a writable folder");
    let manifest = format!(
        r#"
[package]
name = "consumer"
version = "0.1.0"
edition = "2024"

[dependencies]
kinesis-handler = {{ path = {} }}
serde = {{ version = "1", features = ["derive"] }}
tokio = {{ version = "1", features = ["macros", "rt-multi-thread"] }}
"#,
        handler_path()
    );
    fs::write(consumer.path().join("Cargo.toml"), manifest).expect("a writable folder");
    fs::write(consumer.path().join("src/main.rs"), format!("{processor}\n{test}"))
        .expect("a writable folder");
    cargo(consumer.path(), &["test", "--quiet"]);
}

/// The text of all Rust files of a folder and below.
fn rust_files(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            // What cargo builds into has this file.
            if !path.join("CACHEDIR.TAG").exists() {
                rust_files(&path, text);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&fs::read_to_string(&path).expect("UTF-8"));
        }
    }
}

#[test]
fn each_line_of_the_threat_model_points_to_a_test() {
    let mut code = String::new();
    for folder in ["deaggregation", "handler", "simulator", "cli", "tests"] {
        rust_files(&repository().join(folder), &mut code);
    }
    let document = read("docs/threat-model.md");
    let rows = document.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| attack"));
    let mut tests = 0;
    for row in rows {
        let column = row.split('|').nth(3).unwrap_or_default();
        let names: Vec<_> = column.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "no test: {row}");
        for name in names {
            assert!(code.contains(&format!("fn {name}(")), "{name} is not a test: {row}");
            tests += 1;
        }
    }
    assert!(tests > 30, "{tests} tests");
}
