use std::fs;

use crate::emulator::repository;

/// A Markdown file of the repository.
pub(crate) struct Page {
    /// Path from the root of the repository, with `/`.
    pub(crate) path: String,
    pub(crate) text: String,
}

/// A fenced code block.
pub(crate) struct Block {
    /// Number of the line of its fence, from one.
    pub(crate) line: usize,
    /// Text after the fence, such as `rust,no_run`.
    pub(crate) info: String,
    /// Name of the file that the block is, if the paragraph before it is nothing but that name and a colon.
    pub(crate) file: Option<String>,
    pub(crate) text: String,
}

impl Block {
    pub(crate) fn language(&self) -> &str {
        self.info.split([',', ' ']).next().unwrap_or_default()
    }
}

impl Page {
    pub(crate) fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    /// Returns whether the page is one for readers, whose commands are all run.
    pub(crate) fn is_guide(&self) -> bool {
        self.path == "README.md" || self.path.starts_with("docs/")
    }

    pub(crate) fn blocks(&self) -> Vec<Block> {
        let mut blocks: Vec<Block> = Vec::new();
        let mut fence: Option<usize> = None;
        let mut paragraph = "";
        for (index, line) in self.text.lines().enumerate() {
            let (indent, rest) = line.split_at(line.len() - line.trim_start().len());
            match (fence, rest.strip_prefix("```")) {
                (None, Some(info)) => {
                    fence = Some(indent.len());
                    let file = paragraph.strip_prefix('`').and_then(|name| name.strip_suffix("`:"));
                    let (file, info) = (file.map(str::to_owned), info.to_owned());
                    blocks.push(Block { line: index + 1, info, file, text: String::new() });
                }
                (Some(_), Some("")) => (fence, paragraph) = (None, ""),
                (Some(indent), _) => {
                    let block = blocks.last_mut().expect("its fence was read");
                    block.text.push_str(line.get(indent..).unwrap_or_default());
                    block.text.push('\n');
                }
                (None, None) if !rest.is_empty() => paragraph = rest,
                (None, None) => {}
            }
        }
        assert_eq!(fence, None, "{}: a code block does not end", self.path);
        blocks
    }

    /// Returns the lines outside of code blocks, with their numbers from one.
    pub(crate) fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let mut is_code = false;
        self.text.lines().enumerate().filter_map(move |(index, line)| {
            let is_fence = line.trim_start().starts_with("```");
            is_code ^= is_fence;
            (!is_code && !is_fence).then_some((index + 1, line))
        })
    }

    /// Returns the spans of inline code, with the numbers of their lines.
    pub(crate) fn spans(&self) -> impl Iterator<Item = (usize, &str)> {
        self.prose()
            .flat_map(|(number, line)| line.split('`').skip(1).step_by(2).map(move |span| (number, span)))
    }

    /// Returns the text below a heading of the second level, up to the next one.
    pub(crate) fn section(&self, heading: &str) -> &str {
        let start = format!("\n## {heading}\n");
        let (_, section) = self.text.split_once(&start).unwrap_or_else(|| panic!("{}: {heading}", self.path));
        section.split("\n## ").next().expect("one part at least")
    }
}

/// Reads a page by its path in the repository.
pub(crate) fn page(path: &str) -> Page {
    let text = fs::read_to_string(repository().join(path)).expect("a page of the repository");
    Page { path: path.to_owned(), text }
}

/// Reads all pages of the repository, in the order of their paths.
pub(crate) fn pages() -> Vec<Page> {
    let files = files("", &|name| name.ends_with(".md")).into_iter();
    let pages: Vec<_> = files.map(|(path, text)| Page { path, text }).collect();
    assert!(pages.len() > 10, "{} pages", pages.len());
    pages
}

/// Reads the files below a folder whose names are wanted, and returns their paths, sorted, and their texts.
pub(crate) fn files(prefix: &str, is_wanted: &dyn Fn(&str) -> bool) -> Vec<(String, String)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(repository().join(prefix)).expect("a folder") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a plain name");
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().expect("a type");
        // Built or installed: it has this file, or a name with a dot.
        if kind.is_dir() && !name.starts_with('.') && !entry.path().join("CACHEDIR.TAG").exists() {
            files.extend(self::files(&format!("{path}/"), is_wanted));
        } else if kind.is_file() && is_wanted(&name) {
            files.push((path, fs::read_to_string(entry.path()).expect("UTF-8")));
        }
    }
    files.sort();
    files
}
