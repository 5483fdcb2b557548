//! What the README's "Operate it" says about commands is what they do.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    emulator::{kinesis_kit, order_function, repository},
    moto::{self, Moto},
};

/// A command of the README, and the lines that it shows.
struct Shown {
    command: String,
    output: Vec<String>,
}

fn shown() -> Vec<Shown> {
    let readme = fs::read_to_string(repository().join("README.md")).expect("the README is there");
    let (_, section) = readme.split_once("## Operate it\n").expect("a section");
    let (section, _) = section.split_once("\n## ").expect("another section");
    let mut all: Vec<Shown> = Vec::new();
    // Every other part is inside of a block.
    for block in section.split("```").skip(1).step_by(2) {
        for line in block.strip_prefix("console\n").expect("only consoles").lines() {
            match line.strip_prefix("$ ") {
                Some(command) => all.push(Shown { command: command.to_owned(), output: Vec::new() }),
                None => all.last_mut().expect("a command").output.push(line.to_owned()),
            }
        }
    }
    all
}

/// Without the age of records, which is never the same, and without the function's log.
fn comparable(lines: impl Iterator<Item = String>) -> Vec<String> {
    let age = "iterator age up to ";
    lines
        .filter(|line| !line.starts_with('{'))
        .map(|line| line.split_once(age).map_or(line.clone(), |(before, _)| format!("{before}{age}")))
        .collect()
}

#[test]
#[ignore = "needs moto: make test"]
fn the_readme_shows_what_the_commands_do() {
    let (kit, function) = (kinesis_kit(), order_function());
    let moto = Moto::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let demo: PathBuf = fs::canonicalize(repository().join("demo")).expect("it is there");
    std::os::unix::fs::symlink(demo, folder.path().join("demo")).expect("a writable folder");
    let binaries = kit.parent().expect("a folder");
    assert_eq!(Some(binaries), function.parent());
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").expect("a path"));
    let commands = shown();
    assert_eq!(commands.len(), 6);
    for Shown { command, output } in &commands[1..] {
        let run = Command::new("sh")
            .args(["-c", command])
            .current_dir(folder.path())
            .env("PATH", &path)
            .env("XDG_STATE_HOME", folder.path())
            .envs(moto::variables(moto.port))
            .output()
            .expect("a shell");
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let (stdout, stderr) = (text(&run.stdout), text(&run.stderr));
        assert!(run.status.success(), "{command}: {stderr}");
        let lines = stdout.lines().chain(stderr.lines()).map(str::to_owned);
        assert_eq!(comparable(lines), comparable(output.iter().cloned()), "{command}");
    }
    let log = fs::read_to_string(folder.path().join("steps")).expect("the steps are kept");
    assert!(log.contains("discarded: retries are spent (failure record written)"), "{log}");
}
