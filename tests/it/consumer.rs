//! Crates outside of the workspace, as a user of the library has them.

use std::{fs, path::Path, process::Command};

use crate::emulator::{repository, target};

/// Runs cargo in a folder, with the versions that the workspace uses, and with what is built of them.
///
/// Everything that such a build may need is in cargo's cache already: the workspace needs it too.
pub(crate) fn cargo(folder: &Path, arguments: &[&str]) {
    fs::copy(repository().join("Cargo.lock"), folder.join("Cargo.lock")).expect("a writable folder");
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .arg("--offline")
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", target())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Returns the path of the crate `kinesis-handler`, quoted for TOML.
pub(crate) fn handler_path() -> String {
    let path = repository().join("handler").canonicalize().expect("the handler is there");
    format!("{path:?}")
}
