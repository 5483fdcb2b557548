//! The doctor's findings on random SAM templates, against its findings on what SAM's translator makes of them.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command, thread};

use crate::emulator::{kinesis_kit, repository};

/// The doctor's findings about a template.
#[derive(Debug, PartialEq, Eq)]
struct Diagnosis {
    exit_code: Option<i32>,
    /// Lines of JSON, without the place, which the two forms of a template do not share.
    findings: BTreeSet<String>,
    /// The summary, or the reason why there is none.
    note: String,
}

impl Diagnosis {
    fn of(path: &Path) -> Self {
        let output = Command::new(kinesis_kit())
            .args(["doctor", "--format", "json"])
            .arg(path)
            .output()
            .expect("the binary runs");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Diagnosis {
            exit_code: output.status.code(),
            findings: text(output.stdout).lines().map(without_place).collect(),
            note: text(output.stderr).replace(&path.display().to_string(), "the template"),
        }
    }
}

fn without_place(finding: &str) -> String {
    let mut finding: serde_json::Map<_, _> = serde_json::from_str(finding).expect("an object");
    for member in ["file", "line", "parameters"] {
        assert!(finding.remove(member).is_some(), "{finding:?}");
    }
    serde_json::Value::Object(finding).to_string()
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name} is not a number")))
}

/// Translates templates, and returns the seeds that the translator accepts.
fn translate(folder: &Path, first: u64, count: u64) -> Vec<u64> {
    let status = Command::new(repository().join(".tools/test/bin/python"))
        .arg(repository().join("tests/it/random_sam.py"))
        .arg(folder)
        .args([first.to_string(), count.to_string()])
        .status()
        .expect("aws-sam-translator is installed: run the tests with `make test`");
    assert!(status.success(), "the generator fails for one of the seeds from {first} on");
    (first..first + count).filter(|seed| folder.join(format!("{seed}.cfn.json")).exists()).collect()
}

/// Compares the findings on both forms of each template. Returns those that differ.
fn disagreements(folder: &Path, seeds: &[u64]) -> Vec<String> {
    let differs = |seed: &u64| {
        let [sam, translated] = ["sam", "cfn"].map(|form| folder.join(format!("{seed}.{form}.json")));
        let (of_sam, of_translated) = (Diagnosis::of(&sam), Diagnosis::of(&translated));
        (of_sam != of_translated).then(|| {
            let template = fs::read_to_string(&sam).expect("it was written");
            format!("seed {seed}: {template}\nSAM: {of_sam:#?}\ntranslated: {of_translated:#?}")
        })
    };
    seeds.iter().filter_map(differs).collect()
}

#[test]
#[ignore = "needs aws-sam-translator: make test"]
fn the_doctor_says_the_same_of_a_sam_template_and_of_its_translation() {
    let (first, count) = (number("RANDOM_SAM_FIRST_SEED", 0), number("RANDOM_SAM_TEMPLATES", 300));
    let folder = tempfile::tempdir().expect("a temporary folder");
    let half = count / 2;
    let (translated, found) = thread::scope(|scope| {
        let halves = [(first, half), (first + half, count - half)].map(|(first, count)| {
            let folder = folder.path();
            scope.spawn(move || {
                let seeds = translate(folder, first, count);
                (seeds.len() as u64, disagreements(folder, &seeds))
            })
        });
        let [one, other] = halves.map(|half| half.join().expect("no panic"));
        (one.0 + other.0, [one.1, other.1].concat())
    });
    // A generator whose templates are refused tests nothing.
    assert!(translated * 10 >= count * 9, "{translated} of {count} templates can be translated");
    assert!(found.is_empty(), "{} of {translated} templates differ, such as {}", found.len(), found[0]);
}
