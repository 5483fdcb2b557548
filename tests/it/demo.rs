//! `make demo` shows what the README says.

use std::{fs, process::Command};

use crate::emulator::repository;

#[test]
#[ignore = "runs scripts: make test"]
fn the_demo_shows_what_the_readme_says() {
    let output = Command::new("scripts/demo").current_dir(repository()).output().expect("the script runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README is there");
    let shown = readme.split_once("$ make demo\n").and_then(|(_, rest)| rest.split_once("```"));
    assert_eq!(stdout, shown.expect("the README has the demo").0);
    assert!(stderr.contains(": payload does not match the expected type"), "{stderr}");
    assert!(stderr.contains("kinesis-kit: 5 invocations, 1 cold start"), "{stderr}");
}
