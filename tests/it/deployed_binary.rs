//! The binary that `sam build` makes for the template's function.

use std::{fs, io::Write};

use flate2::{Compression, write::DeflateEncoder};

use crate::emulator::repository;

/// Largest package in bytes, as SAM zips it. With the AWS SDK and a processor of your own it remains below a tenth of what
/// Lambda accepts.
const MAX_ZIPPED_BYTES: usize = 4_500_000;

/// Texts that are in the binary only if the features of `kinesis-kit` or of the simulator were linked, too: single sign-on of
/// `aws-config`, and the paused clock of tokio.
const OF_OTHERS: [&str; 2] = ["SSO OIDC", "time is already frozen"];

#[test]
#[ignore = "needs sam build: make test"]
fn the_function_is_small_and_has_nothing_of_the_command_line() {
    let path = repository().join(".aws-sam/build/OrderFunction/bootstrap");
    let binary =
        fs::read(&path).expect("the function is built: run `sam build`, or the tests with `make test`");
    let texts = String::from_utf8_lossy(&binary);
    for text in OF_OTHERS {
        let is_there = texts.contains(text);
        assert!(
            !is_there,
            "{text:?} is in the function's binary: did its build unify the features of the workspace?"
        );
    }
    let mut zipped = DeflateEncoder::new(Vec::new(), Compression::default());
    zipped.write_all(&binary).expect("a vector takes all");
    let zipped = zipped.finish().expect("a vector takes all").len();
    assert!(
        zipped <= MAX_ZIPPED_BYTES,
        "{} bytes, zipped {zipped}, expected at most {MAX_ZIPPED_BYTES}",
        binary.len()
    );
}

#[test]
fn cargo_lambda_builds_the_function_of_the_template_alone() {
    let text = |name: &str| fs::read_to_string(repository().join(name)).expect("it is there");
    let template = text("template.yaml");
    let binary = template.lines().find_map(|line| line.trim().strip_prefix("Binary: ")).expect("a binary");
    let packages = format!("packages = [{binary:?}]");
    assert!(text("CargoLambda.toml").lines().any(|line| line == packages), "expected {packages}");
}
