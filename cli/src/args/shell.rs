use std::path::PathBuf;

use clap_complete::Shell;

/// Prints the completions for a shell.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kinesis-kit completions bash > ~/.local/share/bash-completion/completions/kinesis-kit
  kinesis-kit completions zsh > ~/.zfunc/_kinesis-kit
  kinesis-kit completions fish > ~/.config/fish/completions/kinesis-kit.fish")]
pub(crate) struct CompletionsArgs {
    /// Shell to complete for
    #[arg(value_enum)]
    pub(crate) shell: Shell,
}

/// Writes the manual: a page for each command.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  kinesis-kit man | man -l -
  kinesis-kit man --dir ~/.local/share/man/man1")]
pub(crate) struct ManArgs {
    /// Folder for the pages; without it, the page of kinesis-kit itself goes to standard output
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}
