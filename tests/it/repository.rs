//! Rules that no compiler checks: documents agree with the code, and what users are told to do works.

use std::{fs, path::Path};

use crate::{
    consumer::{cargo, handler_path},
    emulator::repository,
};

fn read(path: &str) -> String {
    fs::read_to_string(repository().join(path)).expect("a file of the repository")
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
    for folder in ["deaggregation", "handler", "esm", "host", "simulator", "cli", "tests"] {
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

#[test]
fn each_set_of_tools_that_a_command_installs_exists() {
    let tools = read("scripts/tools");
    let mut checked = 0;
    let folder = fs::read_dir(repository().join("scripts")).expect("scripts");
    let scripts = folder.map(|entry| entry.expect("an entry").path()).filter(|path| path.is_file());
    for path in scripts.chain([repository().join("Makefile"), repository().join("bench/instructions/run")]) {
        let text = fs::read_to_string(&path).expect("a text");
        let commands = text.lines().map(|line| line.trim_start_matches([' ', '\t', '@']));
        for set in commands.filter_map(|line| line.strip_prefix("scripts/tools ")) {
            let case = format!("    {set})\n");
            assert!(tools.contains(&case), "{}: scripts/tools has no {set}", path.display());
            checked += 1;
        }
    }
    assert!(checked > 5, "{checked}");
}
