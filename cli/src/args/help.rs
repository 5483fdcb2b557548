//! The layout of help: exit codes keep their indent, and examples are never broken, so that they can be copied.

use clap::Command;

use crate::output::{screen::Screen, table::wrap};

/// Widest help, in columns.
const MAX_WIDTH: usize = 100;

/// Stands for a space at which clap must not break a line, until help is printed. It is of Unicode's private use area.
const UNBROKEN: &str = "\u{e000}";

/// Prepares the end of each command's help for the width of the terminal.
pub(super) fn prepare(command: Command) -> Command {
    let width = Screen::of_stdout().width.unwrap_or(MAX_WIDTH).min(MAX_WIDTH);
    with_width(command, width).term_width(width)
}

fn with_width(command: Command, width: usize) -> Command {
    let command = command.mut_subcommands(|command| with_width(command, width));
    match command.get_after_long_help().map(|help| arrange(&help.to_string(), width)) {
        Some(help) => command.after_long_help(help),
        None => command,
    }
}

/// Returns the text of help as it is printed.
pub(super) fn printed(help: &str) -> String {
    help.replace(UNBROKEN, " ")
}

fn arrange(help: &str, width: usize) -> String {
    let (mut is_example, mut hang) = (false, 0);
    let lines = help.lines().map(|line| {
        is_example = line == "Examples:" || is_example && line.starts_with(' ');
        // clap breaks paragraphs.
        if !line.starts_with("  ") {
            hang = 0;
            return line.to_owned();
        }
        if is_example {
            return line.replace(' ', UNBROKEN);
        }
        hang = indent(line, hang);
        let mut text = line[..hang].to_owned();
        wrap(&mut text, &line[hang..], hang, width);
        text.replace(' ', UNBROKEN)
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns the column at which the text of an indented line begins: after its term, or its dash.
///
/// `above` is that of the line above. A term that is as long as the column is wide has one space after it.
fn indent(line: &str, above: usize) -> usize {
    let begin = line.len() - line.trim_start().len();
    let text = &line[begin..];
    let after = |term: usize| begin + term + text[term..].len() - text[term..].trim_start().len();
    match text.find("  ") {
        _ if text.starts_with("- ") => begin + 2,
        Some(term) => after(term),
        None if above > begin && line.as_bytes().get(above - 1) == Some(&b' ') => above,
        None => begin,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(help: &str, expected: &str) {
        let arranged = printed(&arrange(help, 26));
        let lines: Vec<_> = arranged.lines().map(str::trim_end).collect();
        assert_eq!(lines.join("\n"), expected);
    }

    #[test]
    fn indented_lines_keep_their_indent() {
        check(
            "Exit codes:\n  0    done\n  130  interrupted before all was shown",
            "Exit codes:\n  0    done\n  130  interrupted before\n       all was shown",
        );
        check(
            "  kept        as processed, or so\n  quarantined the same, but elsewhere\n  - retry without any limit",
            "  kept        as\n              processed,\n              or so\n  quarantined the same,\n              \
             but\n              elsewhere\n  - retry without any\n    limit",
        );
        check(
            "Members:\n    shards: one by default, or some",
            "Members:\n    shards: one by\n    default, or some",
        );
    }

    #[test]
    fn examples_are_not_broken() {
        let example = "Examples:\n  kinesis-kit inspect --stream orders --count 20 \\\n    --from 10m";
        check(example, example);
        assert!(
            arrange(example, 26)
                .lines()
                .skip(1)
                .all(|line| line.starts_with(UNBROKEN) && !line.contains(' '))
        );
    }
}
