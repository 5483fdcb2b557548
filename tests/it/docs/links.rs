use std::{
    collections::{BTreeSet, HashMap},
    path::{Component, Path, PathBuf},
};

use super::page::{Page, files, page, pages};
use crate::emulator::repository;

/// Returns the targets of a line's links, as they are written.
fn targets(line: &str) -> impl Iterator<Item = &str> {
    // Every other part is inline code.
    line.split('`').step_by(2).flat_map(|text| {
        text.split("](").skip(1).filter_map(|rest| rest.split_once(')').map(|(target, _)| target))
    })
}

/// Returns the anchors of a page's headings, as code hosts and mdBook make them.
fn anchors(page: &Page) -> BTreeSet<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    let headings = page.prose().filter_map(|(_, line)| {
        let text = line.trim_start_matches('#');
        (text.len() < line.len() && text.starts_with(' ')).then_some(text.trim())
    });
    let anchors = headings.map(|heading| {
        let heading = heading.to_lowercase();
        let kept = heading.chars().filter(|&c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let count = seen.entry(anchor.clone()).or_default();
        *count += 1;
        if *count == 1 { anchor } else { format!("{anchor}-{}", *count - 1) }
    });
    anchors.collect()
}

/// Joins a folder and a link's target, and resolves `..`.
fn resolved(folder: &str, target: &str) -> Option<String> {
    let mut path = PathBuf::new();
    for component in Path::new(folder).join(target).components() {
        match component {
            Component::Normal(name) => path.push(name),
            Component::ParentDir => path = path.parent()?.to_owned(),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(path.to_str()?.to_owned())
}

#[test]
fn every_link_leads_somewhere() {
    let pages = pages();
    let anchors: HashMap<_, _> = pages.iter().map(|page| (&*page.path, anchors(page))).collect();
    let (mut links, mut wrong) = (0, Vec::new());
    for page in &pages {
        for (number, line) in page.prose() {
            for target in targets(line).filter(|target| !target.contains("://")) {
                links += 1;
                let (file, anchor) = target.split_once('#').map_or((target, None), |(f, a)| (f, Some(a)));
                let path = match file {
                    "" => Some(page.path.clone()),
                    file => resolved(page.folder(), file),
                };
                let is_there = path.as_deref().is_some_and(|path| {
                    repository().join(path).exists()
                        && anchor.is_none_or(|anchor| {
                            anchors.get(path).is_some_and(|anchors| anchors.contains(anchor))
                        })
                });
                // The book holds nothing else.
                let is_in_book = |path: &str| path.starts_with("docs/");
                let leaves_book = is_in_book(&page.path) && !path.as_deref().is_some_and(is_in_book);
                if !is_there || leaves_book {
                    wrong.push(format!("{}:{number}: {target}", page.path));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(links > 50, "{links} links");
}

/// Returns whether the text is the path of a file of the repository, not one of the user's or a tool's.
fn is_path(span: &str) -> bool {
    const ENDINGS: [&str; 6] = [".rs", ".md", ".py", ".json", ".yaml", ".toml"];
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-".contains(c);
    span.contains('/')
        && span.chars().all(is_plain)
        && ENDINGS.iter().any(|ending| span.ends_with(ending))
        && !["target/", "/", "."].iter().any(|start| span.starts_with(start))
}

#[test]
fn every_file_that_a_page_or_a_comment_names_exists() {
    let (mut number, mut wrong) = (0, Vec::new());
    let mut check = |place: String, folder: &str, span: &str| {
        number += 1;
        // From the folder of the text, of the crate or of the repository, or from the sources of the crate.
        let crate_folder = folder.split('/').next().unwrap_or_default();
        let roots = [folder, crate_folder, "", "handler/src"];
        if !roots.iter().any(|root| repository().join(root).join(span).exists()) {
            wrong.push(format!("{place}: {span}"));
        }
    };
    for page in &pages() {
        let own: BTreeSet<_> = page.blocks().into_iter().filter_map(|block| block.file).collect();
        for (line, span) in page.spans().filter(|(_, span)| is_path(span) && !own.contains(*span)) {
            check(format!("{}:{line}", page.path), page.folder(), span);
        }
    }
    for (path, text) in files("", &|name| name.ends_with(".rs")) {
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        let comments = text.lines().enumerate().filter(|(_, line)| line.trim_start().starts_with("//"));
        for (index, line) in comments {
            let words = line.split([' ', '`', ':', ',', '(', ')']).filter(|word| word.ends_with(".md"));
            // A document of another repository is named with it.
            for span in words.filter(|&word| is_path(word) && !line.contains("awslabs/")) {
                check(format!("{path}:{}", index + 1), folder, span);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert!(number > 8, "{number} names");
}

#[test]
fn the_summary_lists_every_page_once() {
    let summary = page("docs/SUMMARY.md");
    let mut listed: Vec<_> = summary.prose().flat_map(|(_, line)| targets(line)).collect();
    listed.sort_unstable();
    let pages = pages();
    let files: Vec<_> = pages.iter().filter_map(|page| page.path.strip_prefix("docs/")).collect();
    let files: Vec<_> = files.into_iter().filter(|&file| file != "SUMMARY.md").collect();
    assert_eq!(listed, files);
}

#[test]
fn the_readme_lists_every_page_and_is_short() {
    let readme = page("README.md");
    let lines = readme.text.lines().count();
    assert!(lines <= 150, "{lines} lines");
    let linked: BTreeSet<_> = readme.prose().flat_map(|(_, line)| targets(line)).collect();
    let summary = page("docs/SUMMARY.md");
    for target in summary.prose().flat_map(|(_, line)| targets(line)).collect::<Vec<_>>() {
        // Parts of a chapter are listed by the chapter.
        if !target.contains('/') {
            assert!(linked.contains(&*format!("docs/{target}")), "docs/{target} is not in README.md");
        }
    }
}

#[test]
fn anchors_are_those_of_code_hosts() {
    let text =
        "# What each switch guarantees\n## `kinesis-kit` & co.\n## Twice\n## Twice\n```\n# no heading\n```\n";
    let page = Page { path: "page.md".into(), text: text.into() };
    let expected = ["kinesis-kit--co", "twice", "twice-1", "what-each-switch-guarantees"];
    assert_eq!(anchors(&page), expected.map(str::to_owned).into());
}
