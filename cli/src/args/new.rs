use std::path::PathBuf;

/// Creates a project: a function that consumes a Kinesis data stream, with tests, a template to deploy, events and a scenario.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
The folder NAME gets a crate with a processor and its unit test, template.yaml and samconfig.toml for AWS SAM, events for \
`kinesis-kit invoke`, a scenario for `kinesis-kit simulate`, and a Makefile with the commands. Nothing is overwritten.

Without an option, kinesis-handler comes from the checkout that kinesis-kit was built in, if it is still there, or else from \
the registry, with the version of kinesis-kit.

The same files are templates for other tools: templates/cargo-lambda of the kit for `cargo lambda new --template`, \
and templates/sam for `sam init --location`.

Exit codes:
  0  done
  2  wrong usage; the folder exists, or cannot be written

Examples:
  kinesis-kit new order-consumer
  kinesis-kit new order-consumer --kit-path ../kinesis-handler-kit")]
pub(crate) struct NewArgs {
    /// Name of the project, its folder, and its stack
    #[arg(value_parser = project_name)]
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) kit: KitArgs,
}

// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
#[group(multiple = false)]
pub(crate) struct KitArgs {
    /// Checkout of the kit that kinesis-handler is taken from
    #[arg(long, value_name = "DIR")]
    pub(crate) kit_path: Option<PathBuf>,
    /// Git repository of the kit
    #[arg(long, value_name = "URL")]
    pub(crate) kit_git: Option<String>,
    /// Version of kinesis-handler in the registry
    #[arg(long, value_name = "VERSION")]
    pub(crate) kit_version: Option<String>,
}

/// Names of binaries that Cargo refuses, because it has folders of these names.
const RESERVED: [&str; 4] = ["build", "deps", "examples", "incremental"];

/// A name that crates, files and stacks of CloudFormation may have.
fn project_name(text: &str) -> Result<String, &'static str> {
    let is_legal = text.len() <= 64
        && text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    match is_legal {
        _ if RESERVED.contains(&text) => Err("Cargo reserves this name"),
        true => Ok(text.to_owned()),
        false => Err("expected a letter, and up to 63 letters, digits and \"-\""),
    }
}
