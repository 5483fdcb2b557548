use std::path::PathBuf;

use clap::ArgGroup;

use super::Format;

/// Judges the settings of an event source mapping: those that lose records, without a word.
///
/// Reads a CloudFormation or SAM template, in YAML or JSON, with the defaults of its parameters; or the mappings of a
/// deployed function.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = AFTER_HELP,
    group = ArgGroup::new("what").required(true).args(["template", "function"]),
)]
pub(crate) struct DoctorArgs {
    /// The template
    pub(crate) template: Option<PathBuf>,
    /// Values of parameters in the place of their defaults: NAME=VALUE
    #[arg(long = "parameter", value_name = "NAME=VALUE", requires = "template", value_parser = parameter)]
    pub(crate) parameters: Vec<(String, String)>,
    /// The template as it was deployed: names changes that would replace a mapping, which forgets its position then
    #[arg(long, value_name = "FILE", requires = "template")]
    pub(crate) was: Option<PathBuf>,
    /// A deployed function, by its name or ARN
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// How to show what was found
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or("expected NAME=VALUE")
}

const AFTER_HELP: &str = "\
It names mappings from Kinesis that
  - do not take partial failures (FunctionResponseTypes), or do not bisect
  - retry for ever, or deliver until the stream drops the records (MaximumRecordAgeInSeconds)
  - have no on-failure destination; or one that gets no data (SQS, SNS: a warning)
  - begin at LATEST, or filter by data, which drops aggregated records
  - have several lanes (a warning; an error with the checkpoint mirror)
  - discard records before the handler's quarantine takes them (MAX_ATTEMPTS, MAX_AGE_SECONDS)
  - would be replaced by this change (with --was)
and alarms that watch nothing, because they have no dimensions.

What a template leaves to functions that only CloudFormation can evaluate is passed over. JSON is a line for each \
finding: severity, resource, setting, found, reason, mend.

Permissions, with --function: lambda:ListEventSourceMappings, GetFunctionConfiguration; kinesis:DescribeStreamSummary.

Exit codes:
  0  nothing was found
  1  something was, if only a warning
  2  wrong usage; the template cannot be read, or has no mapping from Kinesis

Examples:
  kinesis-kit doctor template.yaml
  kinesis-kit doctor template.yaml --parameter ParallelizationFactor=4
  git show HEAD~1:template.yaml > was.yaml && kinesis-kit doctor template.yaml --was was.yaml
  kinesis-kit doctor --function orders";
