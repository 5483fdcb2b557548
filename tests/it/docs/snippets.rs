use std::{fs, process::Command};

use super::page::{page, pages};
use crate::{
    consumer::{cargo, handler_path},
    emulator::repository,
};

#[test]
fn every_page_with_rust_is_compiled() {
    let compiled = fs::read_to_string(repository().join("tests/src/docs.rs")).expect("the list is there");
    let mut number = 0;
    for page in pages().iter().filter(|page| page.is_guide()) {
        let has_rust = page.blocks().iter().any(|block| block.language() == "rust");
        assert_eq!(
            compiled.contains(&format!("\"{}\"", page.path)),
            has_rust,
            "{}: tests/src/docs.rs",
            page.path
        );
        number += usize::from(has_rust);
    }
    assert!(number > 5, "{number} pages");
}

#[test]
fn json_and_yaml_of_the_docs_can_be_read() {
    for page in pages() {
        for block in page.blocks() {
            let place = format!("{}:{}", page.path, block.line);
            match block.language() {
                "json" => {
                    serde_json::from_str::<serde_json::Value>(&block.text).expect(&place);
                }
                "yaml" => {
                    serde_yaml_ng::from_str::<serde_yaml_ng::Value>(&block.text).expect(&place);
                }
                "sh" => {
                    let mut shell = Command::new("sh");
                    let output = shell.args(["-n", "-c", &block.text]).output().expect("a shell");
                    assert!(output.status.success(), "{place}: {}", String::from_utf8_lossy(&output.stderr));
                }
                "rust" | "console" | "toml" | "text" | "java" | "go" | "python" | "csharp" | "js" => {}
                other => panic!("{place}: unexpected language {other:?}"),
            }
        }
    }
}

#[test]
fn the_readmes_processor_compiles_and_is_tested_in_a_crate_of_its_own() {
    let block = |path: &str, info: &str| {
        let block = page(path).blocks().into_iter().find(|block| block.info == info);
        block.expect("the README has a processor, and the page about tests its test").text
    };
    let processor = block("README.md", "rust,no_run");
    let test = block("docs/testing.md", "rust,ignore");
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

#[test]
#[ignore = "needs sam: make test"]
fn the_tutorials_template_is_valid() {
    let blocks = page("docs/tutorial.md").blocks();
    let template = blocks.iter().find(|block| block.file.as_deref() == Some("template.yaml"));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("template.yaml");
    fs::write(&path, &template.expect("the tutorial has a template").text).expect("a writable folder");
    let python = repository().join(".tools/test/bin/python");
    let lint = repository().join("scripts/lint-translated.py");
    let mut sam = Command::new("sam");
    let mut translated = Command::new(python);
    for command in
        [sam.args(["validate", "--lint", "--template"]).arg(&path), translated.arg(lint).arg(&path)]
    {
        let command = command.env("AWS_DEFAULT_REGION", "us-east-1").env("SAM_CLI_TELEMETRY", "0");
        let output = command.output().expect("the tools are installed: run the tests with `make test`");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    }
}
