use std::{
    collections::{BTreeSet, HashMap},
    fs,
    process::Command,
};

use kinesis_handler::Options;

use super::page::{files, page, pages};
use crate::emulator::{kinesis_kit, repository};

/// Returns all words in the text that start with the variables' prefix and continue.
fn variables(text: &str) -> BTreeSet<&str> {
    const PREFIX: &str = "KINESIS_HANDLER_";
    text.split(|character: char| !(character.is_ascii_alphanumeric() || character == '_'))
        .filter(|word| word.strip_prefix(PREFIX).is_some_and(|rest| !rest.is_empty()))
        .collect()
}

#[test]
fn docs_and_template_know_the_variables_that_exist() {
    let known = BTreeSet::from(Options::VARIABLES);
    let configuration = page("docs/configuration.md");
    let lines = configuration.text.lines().filter(|line| line.starts_with("| `KINESIS_HANDLER_"));
    let rows: Vec<_> = lines.clone().filter_map(|line| line.split('`').nth(1)).collect();
    assert_eq!(rows.iter().copied().collect::<BTreeSet<_>>(), known);
    assert_eq!(rows.len(), known.len(), "a variable has two rows");
    let mut code = String::new();
    for (_, text) in files("handler/src/options/", &|name| name.ends_with(".rs")) {
        code.push_str(&text);
    }
    for line in lines {
        let method = line.split('`').nth(3).and_then(|path| path.rsplit("::").next()).unwrap_or_default();
        assert!(code.contains(&format!("pub fn {method}(")), "no such option in code: {line}");
    }
    for page in pages().iter().filter(|page| page.is_guide()) {
        let unknown: Vec<_> = variables(&page.text).difference(&known).copied().collect();
        assert!(unknown.is_empty(), "{}: {unknown:?}", page.path);
    }
    let template = fs::read_to_string(repository().join("template.yaml")).expect("the template is there");
    assert_eq!(variables(&template), known);
}

#[test]
fn the_docs_list_the_parameters_of_the_template() {
    let template = fs::read_to_string(repository().join("template.yaml")).expect("the template is there");
    let (_, parameters) = template.split_once("\nParameters:\n").expect("a section");
    let (parameters, _) = parameters.split_once("\nConditions:\n").expect("another section");
    let names = parameters.lines().filter_map(|line| line.strip_prefix("  ")?.strip_suffix(':'));
    let mut expected: Vec<_> = names.filter(|name| !name.starts_with(' ')).collect();
    let page = page("docs/deploying.md");
    let (_, table) = page.text.split_once("| group | parameters |\n|---|---|\n").expect("a table");
    let (table, _) = table.split_once("\n\n").expect("an end of the table");
    let mut listed: Vec<_> = table.split('`').skip(1).step_by(2).collect();
    expected.sort_unstable();
    listed.sort_unstable();
    assert_eq!(listed, expected);
}

#[test]
fn each_yes_of_the_comparison_names_a_test_or_an_example_that_runs() {
    let page = page("docs/comparison.md");
    let read = |path: &str| fs::read_to_string(repository().join(path)).unwrap_or_default();
    let mut capabilities = 0;
    for line in page.text.lines() {
        let Some(cell) = line.split(" | ").nth(1).filter(|cell| cell.starts_with("yes")) else { continue };
        capabilities += 1;
        let paths: Vec<_> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!paths.is_empty(), "no test: {line}");
        for path in paths {
            let (folder, name) = path.rsplit_once('/').expect("a path");
            let name = name.trim_end_matches(".rs");
            let runs = match folder {
                "examples" => read("examples/tests/run/main.rs").contains(&format!("async fn {name}()")),
                _ if path.ends_with(".rs") => {
                    read(&format!("{folder}/main.rs")).contains(&format!("mod {name};"))
                }
                _ => read(&format!("{path}/it/main.rs")).contains("mod "),
            };
            assert!(runs, "{path} does not run: {line}");
        }
    }
    assert!(capabilities > 15, "{capabilities}");
}

#[test]
fn the_docs_of_its_subject_name_each_example() {
    let examples = fs::read_dir(repository().join("examples")).expect("the examples are there");
    let (mut examples_seen, mut unnamed) = (0, Vec::new());
    let is_subject = |path: &str| path.starts_with("docs/") && path != "docs/comparison.md";
    for entry in examples {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        let path = format!("examples/{name}");
        if !name.ends_with(".rs") {
            continue;
        }
        examples_seen += 1;
        if !pages().iter().any(|page| is_subject(&page.path) && page.text.contains(&path)) {
            unnamed.push(path);
        }
    }
    assert!(examples_seen > 15, "{examples_seen}");
    assert!(unnamed.is_empty(), "no page names {unnamed:?}");
}

#[test]
fn the_readme_has_the_version_of_rust() {
    let manifest = fs::read_to_string(repository().join("Cargo.toml")).expect("the manifest is there");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")?.strip_suffix('"'));
    let policy = format!("The minimum supported Rust version is {}.", version.expect("a version"));
    assert!(page("README.md").text.contains(&policy), "{policy}");
}

#[test]
fn the_docs_have_a_row_for_every_metric() {
    let code =
        fs::read_to_string(repository().join("handler/src/lambda/metrics.rs")).expect("the code is there");
    let of_processor = fs::read_to_string(repository().join("handler/src/idempotency/idempotent.rs"));
    let of_processor = of_processor.expect("the code is there");
    let counters = code.lines().filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next());
    let own = of_processor.split("counter!(\"").skip(1).filter_map(|rest| rest.split('"').next());
    let mut recorded: BTreeSet<&str> = counters.chain(own).collect();
    let histograms = ["AggregationRatio", "MillisBehindLatest"];
    assert!(histograms.iter().all(|name| code.contains(&format!("&str = \"{name}\";"))));
    recorded.extend(histograms);
    let page = page("docs/metrics.md");
    let rows = page.section("Metrics").lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    assert_eq!(rows.collect::<BTreeSet<_>>(), recorded);
}

/// The help of each command of `kinesis-kit`.
struct Helps {
    by_command: HashMap<String, String>,
}

impl Helps {
    /// Returns the help of the command that these words begin with.
    fn of(&mut self, words: &[&str]) -> &str {
        let is_name = |word: &&&str| word.chars().all(|c| c.is_ascii_lowercase());
        let depth =
            if matches!(words.first(), Some(&("quarantine" | "journal" | "checkpoint"))) { 2 } else { 1 };
        let names: Vec<_> = words.iter().take(depth).take_while(is_name).copied().collect();
        self.by_command.entry(names.join(" ")).or_insert_with(|| {
            let output = Command::new(kinesis_kit()).args(&names).arg("--help").output().expect("it runs");
            assert!(output.status.success(), "kinesis-kit has no command {names:?}");
            String::from_utf8(output.stdout).expect("UTF-8")
        })
    }
}

/// Returns the long options among these words, up to a `--`.
fn options<'a>(words: &'a [&'a str]) -> impl Iterator<Item = &'a str> {
    let words = words.iter().take_while(|&&word| word != "--");
    words.filter(|word| word.starts_with("--")).map(|word| word.split('=').next().expect("one part at least"))
}

fn has_option(help: &str, option: &str) -> bool {
    help.match_indices(option).any(|(start, _)| {
        let next = help[start + option.len()..].chars().next();
        next.is_none_or(|next| !next.is_ascii_alphanumeric() && next != '-')
    })
}

#[test]
fn every_option_that_the_docs_name_exists() {
    let mut helps = Helps { by_command: HashMap::new() };
    let (mut commands, mut unknown) = (0, Vec::new());
    for page in pages().iter().filter(|page| page.is_guide()) {
        let mut code: Vec<(usize, String)> =
            page.spans().map(|(number, span)| (number, span.to_owned())).collect();
        for block in page.blocks() {
            if ["console", "sh"].contains(&block.language()) {
                let joined = block.text.replace("\\\n", "");
                code.extend(joined.lines().map(|line| (block.line, line.to_owned())));
            }
        }
        for (number, code) in &code {
            for command in code.split("kinesis-kit ").skip(1) {
                let command = command.split(['|', ';', '>']).next().expect("one part at least");
                let words: Vec<_> = command.split_whitespace().collect();
                commands += 1;
                let help = helps.of(&words).to_owned();
                unknown.extend(
                    options(&words)
                        .filter(|option| !has_option(&help, option))
                        .map(|option| format!("{}:{number}: kinesis-kit {command}: {option}", page.path)),
                );
            }
        }
        // An option by itself is one of some command.
        for (number, span) in page.spans().filter(|(_, span)| span.starts_with("--")) {
            let words: Vec<_> = span.split_whitespace().collect();
            let all = COMMANDS.map(|command| {
                let words: Vec<_> = command.split(' ').collect();
                helps.of(&words).to_owned()
            });
            for option in options(&words).filter(|&option| option != "--") {
                if !all.iter().any(|help| has_option(help, option)) {
                    unknown.push(format!("{}:{number}: {option}", page.path));
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
    assert!(commands > 20, "{commands} commands");
}

/// The commands that have options.
const COMMANDS: [&str; 20] = [
    "inspect",
    "tail",
    "put",
    "aggregate",
    "simulate",
    "redrive",
    "replay",
    "quarantine list",
    "quarantine show",
    "quarantine redrive",
    "quarantine purge",
    "journal list",
    "journal clear",
    "journal create",
    "checkpoint create",
    "checkpoint release",
    "new",
    "invoke",
    "doctor",
    "man",
];

/// Words that readers of AWS's documentation do not know, and the glossary's.
const AVOIDED: [(&str, &str); 15] = [
    ("anew", "again"),
    ("as it came", "unchanged"),
    ("beside", "next to, together with"),
    ("digest", "checksum"),
    ("frame", "aggregated record"),
    ("frames", "aggregated records"),
    ("given up", "quarantined, discarded, timed out"),
    ("goes on", "continues"),
    ("hole", "discarded record"),
    ("holes", "discarded records"),
    ("illegal", "malformed"),
    ("mend", "fix"),
    ("without a word", "silently"),
    ("zombie", "invocation that keeps running after Lambda has retried it"),
    ("zombies", "invocations that keep running after Lambda has retried them"),
];

#[test]
fn the_docs_use_the_words_of_the_glossary() {
    let mut wrong = Vec::new();
    for page in pages().iter().filter(|page| !page.path.ends_with("CHANGELOG.md")) {
        for (number, line) in page.prose() {
            assert!(line.matches('`').count() % 2 == 0, "{}:{number}: code over two lines", page.path);
            let text: String = line.to_lowercase().split('`').step_by(2).collect();
            let words: Vec<_> =
                text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
            let text = format!(" {} ", words.join(" "));
            for (avoided, instead) in AVOIDED {
                if text.contains(&format!(" {avoided} ")) {
                    wrong.push(format!("{}:{number}: {avoided} (say: {instead})", page.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
