//! Every output that a page shows is what the command above it writes.
//!
//! A block of the language `console` has commands, each behind `$ `, and below each of them all that it writes, standard
//! error included. `…` in a line matches any text, and alone any number of lines. The commands of a page
//! run in a folder of their own, one after the other. It holds the page's files (see `Block::file`), and `demo/`,
//! `events/` and `template.yaml` of the repository. A page with a `Cargo.toml` is built first.

use std::{
    fs, io,
    os::unix::fs::symlink,
    path::Path,
    process::{Command, Stdio},
};

use tempfile::TempDir;

use super::page::{Page, pages};
use crate::{
    consumer::{cargo, handler_path},
    emulator::{kinesis_kit, order_function, repository, target},
    moto::{self, Moto},
};

/// A command of a page, and the lines that the page shows as its output.
struct Shown {
    place: String,
    command: String,
    output: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// A stand-in for AWS.
    Services,
    /// A script that installs tools.
    Script,
}

/// The options that name something in AWS.
const AWS_OPTIONS: [&str; 6] = ["--stream", "--queue", "--s3", "--table", "--discarded", "--function"];

/// Returns the commands of a page that need this. Those of `kinesis-kit` all need the same, because they build on each other.
fn of_need(page: &Page, needs: Needs) -> Vec<Shown> {
    let (scripts, commands): (Vec<_>, Vec<_>) =
        shown(page).into_iter().partition(|shown| shown.command.starts_with("make "));
    let mut words = commands.iter().flat_map(|shown| shown.command.split_whitespace());
    let of_commands =
        if words.any(|word| AWS_OPTIONS.contains(&word)) { Needs::Services } else { Needs::Nothing };
    match needs {
        Needs::Script => scripts,
        _ if needs == of_commands => commands,
        _ => Vec::new(),
    }
}

fn shown(page: &Page) -> Vec<Shown> {
    let mut all: Vec<Shown> = Vec::new();
    for block in page.blocks().into_iter().filter(|block| block.language() == "console") {
        let first = all.len();
        for (number, line) in block.text.lines().enumerate() {
            match line.strip_prefix("$ ") {
                Some(command) => {
                    let place = format!("{}:{}", page.path, block.line + 1 + number);
                    let is_run = command.contains("kinesis-kit ") || command.starts_with("make ");
                    assert!(is_run, "{place}: not a command of the kit: use a block of the language sh");
                    all.push(Shown { place, command: command.to_owned(), output: Vec::new() });
                }
                None => match all[first..].last_mut() {
                    Some(shown) => shown.output.push(line.to_owned()),
                    None => panic!("{}:{}: a console begins with a command", page.path, block.line),
                },
            }
        }
    }
    all
}

/// Returns whether the lines are those that the pattern shows.
fn matches(lines: &[String], pattern: &[String]) -> bool {
    match (pattern.split_first(), lines.split_first()) {
        (None, rest) => rest.is_none(),
        (Some((shown, after)), rest) if shown == "…" => {
            matches(lines, after) || rest.is_some_and(|(_, lines)| matches(lines, pattern))
        }
        (Some(_), None) => false,
        (Some((shown, pattern)), Some((line, lines))) => {
            (line == shown || line_matches(line, shown)) && matches(lines, pattern)
        }
    }
}

/// Returns whether the line has, in order, all parts of the pattern that `…` separates.
fn line_matches(line: &str, pattern: &str) -> bool {
    let mut parts = pattern.split('…');
    let first = parts.next().expect("one part at least");
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let Some(last) = parts.next_back() else { return rest.is_empty() };
    for part in parts {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

#[track_caller]
fn check(shown: &Shown, lines: &[String]) {
    assert!(
        matches(lines, &shown.output),
        "{}: {}\n-- shown\n{}\n-- real\n{}\n",
        shown.place,
        shown.command,
        shown.output.join("\n"),
        lines.join("\n")
    );
}

/// Cuts off the age of records, which is never the same.
fn without_age(line: &str) -> String {
    let age = "iterator age up to ";
    line.split_once(age).map_or_else(|| line.to_owned(), |(before, _)| format!("{before}{age}"))
}

/// Makes the folder in which a page's commands run.
fn folder(page: &Page) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let root = repository().canonicalize().expect("it is there");
    let link = |from: &Path, to: &str| symlink(from, folder.path().join(to)).expect("a writable folder");
    link(&target(), "target");
    for name in ["demo", "events"] {
        link(&root.join(name), name);
    }
    let mut has_manifest = false;
    for block in page.blocks() {
        let Some(file) = &block.file else { continue };
        let path = folder.path().join(file);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a writable folder");
        let text = match block.language() {
            "toml" if file == "Cargo.toml" => {
                has_manifest = true;
                let edited = block.text.replace("\"../kinesis-handler-kit/handler\"", &handler_path());
                assert_ne!(edited, block.text, "{}: no path of the library", page.path);
                edited
            }
            _ => block.text.clone(),
        };
        // Blocks of the same file are its parts.
        let mut options = fs::OpenOptions::new();
        let file = options.create(true).append(true).open(path).expect("a writable folder");
        io::Write::write_all(&mut &file, text.as_bytes()).expect("a writable folder");
    }
    if !folder.path().join("template.yaml").exists() {
        link(&root.join("template.yaml"), "template.yaml");
    }
    if has_manifest {
        cargo(folder.path(), &["test", "--quiet"]);
        cargo(folder.path(), &["build", "--quiet"]);
    }
    folder
}

/// Starts the stand-ins that `make services` starts.
fn services() -> Moto {
    let moto = Moto::start();
    let status = Command::new(repository().join(".tools/servers/bin/python"))
        .args(["scripts/demo-table.py", "create"])
        .current_dir(repository())
        .envs(moto::variables(moto.port))
        .env("AWS_DEFAULT_REGION", "us-east-1")
        .status();
    assert!(status.expect("it runs").success(), "no table");
    moto
}

fn check_pages(needs: Needs) {
    let kit = kinesis_kit();
    order_function();
    let binaries = kit.parent().expect("a folder");
    let path = format!("{}:{}", binaries.display(), std::env::var("PATH").expect("a path"));
    let mut number = 0;
    for page in pages().iter().filter(|page| page.is_guide()) {
        let shown = of_need(page, needs);
        if shown.is_empty() {
            continue;
        }
        number += shown.len();
        let folder = folder(page);
        let moto = (needs == Needs::Services).then(services);
        for shown in shown {
            let mut shell = Command::new("sh");
            shell
                .args(["-c", &format!("{{ {}\n}} 2>&1", shown.command)])
                .current_dir(folder.path())
                .stdin(Stdio::null())
                .env("PATH", &path)
                // Tables as a terminal shows them.
                .env("COLUMNS", "80")
                .env("XDG_STATE_HOME", folder.path());
            if let Some(moto) = &moto {
                shell.envs(moto::variables(moto.port));
            }
            let output = shell.output().expect("a shell");
            let text = String::from_utf8(output.stdout).expect("UTF-8");
            // The log of a function comes between the lines of the command, of which its response is one.
            let is_log = |line: &str| line.starts_with("{\"") && !line.starts_with("{\"batchItemFailures\"");
            let lines: Vec<_> = text.lines().filter(|line| !is_log(line)).map(without_age).collect();
            let shown =
                Shown { output: shown.output.iter().map(|line| without_age(line)).collect(), ..shown };
            check(&shown, &lines);
        }
    }
    assert!(number > 4, "{number} commands");
}

#[test]
fn commands_write_what_the_docs_show() {
    check_pages(Needs::Nothing);
}

#[test]
#[ignore = "needs moto: make test"]
fn commands_on_streams_write_what_the_docs_show() {
    check_pages(Needs::Services);
}

#[test]
#[ignore = "runs scripts: make test"]
fn make_writes_what_the_docs_show() {
    let mut commands = Vec::new();
    for page in pages().iter().filter(|page| page.is_guide()) {
        commands.extend(of_need(page, Needs::Script));
    }
    for shown in &commands {
        let mut words = shown.command.split_whitespace().skip(1);
        let script = match words.next() {
            Some(name @ ("demo" | "invoke")) => format!("scripts/{name}"),
            _ => panic!("{}: no such script", shown.place),
        };
        let arguments = words.map(|word| word.strip_prefix("EVENT=").expect("an event"));
        let output =
            Command::new(script).args(arguments).current_dir(repository()).env("COLUMNS", "80").output();
        let output = output.expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(output.status.success(), "{stdout}{stderr}");
        check(shown, &stdout.lines().map(str::to_owned).collect::<Vec<_>>());
        if shown.command == "make demo" {
            assert!(stderr.contains(": payload does not match the expected type"), "{stderr}");
            assert!(stderr.contains("kinesis-kit: 5 invocations, 1 cold start"), "{stderr}");
        }
    }
    let has = |command: &str| commands.iter().any(|shown| shown.command == command);
    assert!(has("make demo") && has("make invoke"), "the docs show neither");
}

#[test]
fn an_ellipsis_stands_for_what_is_left_out() {
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    let real = lines("one\ntwo\nthree");
    for pattern in [
        "one\ntwo\nthree",
        "one\n…",
        "one\nt…\nth…",
        "…ne\nt…o\nt…r…e",
        "…\nthree",
        "…\none\n…\ntwo\nthree\n…",
    ] {
        assert!(matches(&real, &lines(pattern)), "{pattern}");
    }
    for pattern in [
        "",
        "one\ntwo",
        "one\n…\ntwo",
        "one\ntwo\nthree\nfour",
        "two\n…",
        "one\nx…\nthree",
        "one\nt…wo…o\nthree",
        "o…\nt…x\nthree",
    ] {
        assert!(!matches(&real, &lines(pattern)), "{pattern}");
    }
}
