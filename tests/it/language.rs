//! The language of the code's documentation: see CONTRIBUTING.md.

use std::{fs, path::Path};

use crate::emulator::repository;

/// First words of a sentence without a subject and a verb, or without a noun.
const FRAGMENT_WORDS: [&str; 12] =
    ["What", "How", "Who", "Whose", "Whom", "Where", "Which", "Of", "Until", "That", "Nothing", "None"];

/// Folders whose code is checked, tests included.
const FOLDERS: [&str; 10] =
    ["deaggregation", "handler", "esm", "host", "simulator", "function", "cli", "tests", "examples", "bench"];

/// The documentation of an item or a module.
struct DocComment {
    place: String,
    text: String,
}

/// Returns the doc comments of a file.
fn doc_comments(path: &Path) -> Vec<DocComment> {
    let source = fs::read_to_string(path).expect("UTF-8");
    let mut comments: Vec<DocComment> = Vec::new();
    let mut is_inside = false;
    for (index, line) in source.lines().enumerate() {
        let line = line.trim_start();
        let Some(text) = line.strip_prefix("///").or_else(|| line.strip_prefix("//!")) else {
            is_inside = false;
            continue;
        };
        if !is_inside {
            let place = format!("{}:{}", path.display(), index + 1);
            comments.push(DocComment { place, text: String::new() });
        }
        is_inside = true;
        let comment = comments.last_mut().expect("one was begun");
        comment.text.push_str(text);
        comment.text.push('\n');
    }
    comments
}

fn all_doc_comments() -> Vec<DocComment> {
    let mut comments = Vec::new();
    let mut folders: Vec<_> = FOLDERS.iter().map(|folder| repository().join(folder)).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.ends_with("target") {
                continue;
            }
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                comments.extend(doc_comments(&path));
            }
        }
    }
    assert!(comments.len() > 3_000, "{} doc comments", comments.len());
    comments
}

#[track_caller]
fn check(is_wrong: impl Fn(&DocComment) -> bool) {
    let comments = all_doc_comments();
    let wrong = comments.iter().filter(|comment| is_wrong(comment));
    let wrong: Vec<String> =
        wrong.map(|comment| format!("{}: {}", comment.place, comment.text.trim())).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn paragraphs_of_doc_comments_begin_with_a_verb_or_a_noun() {
    check(|comment| {
        // Every second part is the code of an example.
        let prose = comment.text.split("```").step_by(2);
        prose.flat_map(|text| text.split("\n\n")).any(|paragraph| {
            let word = paragraph.split_whitespace().next().unwrap_or_default();
            // `None` is a value.
            FRAGMENT_WORDS.contains(&word.trim_end_matches([',', ':']))
        })
    });
}

#[test]
fn doc_comments_say_more_than_a_name() {
    check(|comment| comment.text.split_whitespace().count() <= 2);
}
