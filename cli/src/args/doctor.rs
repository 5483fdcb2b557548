use std::path::PathBuf;

use clap::ArgGroup;

use super::Format;

/// Checks event source mappings for settings that silently lose records.
///
/// Reads a CloudFormation or SAM template, in YAML or JSON, with the defaults of its parameters; a plan or state of
/// Terraform (`terraform show -json`); all stacks of the AWS CDK (`cdk.out`); or the mappings of a deployed function, its
/// aliases and its versions.
#[derive(Debug, clap::Args)]
#[command(
    after_long_help = AFTER_HELP,
    group = ArgGroup::new("what").required(true).args(["template", "function"]),
)]
pub(crate) struct DoctorArgs {
    /// Template, plan, or folder of the CDK to check (- for standard input)
    pub(crate) template: Option<PathBuf>,
    /// Values of parameters, instead of their defaults
    #[arg(
        long = "parameter",
        value_name = "NAME=VALUE",
        requires = "template",
        num_args = 1..,
        value_parser = parameter
    )]
    pub(crate) parameters: Vec<(String, String)>,
    /// Take the parameters that `sam deploy --config-env NAME` takes from samconfig.toml; --parameter goes before them
    #[arg(long, value_name = "NAME", requires = "template")]
    pub(crate) config_env: Option<String>,
    /// Accept the findings of a rule, because they are a decision; may be given several times
    #[arg(long, value_name = "RULE")]
    pub(crate) accept: Vec<String>,
    /// Deployed template: reports changes that replace a mapping, which loses its position
    #[arg(long, value_name = "FILE", requires = "template")]
    pub(crate) baseline: Option<PathBuf>,
    /// Values that parameters of the deployed template have, instead of their defaults
    #[arg(
        long = "baseline-parameter",
        value_name = "NAME=VALUE",
        requires = "baseline",
        num_args = 1..,
        value_parser = parameter
    )]
    pub(crate) baseline_parameters: Vec<(String, String)>,
    /// Deployed function to check, by its name or ARN; with an alias or version, only its mappings
    #[arg(long, value_name = "NAME")]
    pub(crate) function: Option<String>,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: Format,
}

fn parameter(text: &str) -> Result<(String, String), &'static str> {
    text.split_once('=')
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or("expected NAME=VALUE; the template goes before --parameter")
}

const AFTER_HELP: &str = "\
Errors and warnings are about mappings from Kinesis that
  - do not report partial failures (FunctionResponseTypes), or do not bisect
  - retry without a limit, or let records expire from the stream (MaximumRecordAgeInSeconds)
  - have no on-failure destination, one that gets no data (SQS, SNS: a warning), or one to which the role may not write
  - are disabled or throttled (ReservedConcurrentExecutions: 0), start at LATEST, or drop aggregated records by a filter
  - have concurrent batches (a warning; an error with the checkpoint mirror)
  - have tumbling windows together with filters, concurrent batches, the retry journal, the checkpoint mirror or CONCURRENCY
  - read a stream that distributes records automatically
  - discard records before the handler quarantines or skips them (MAX_ATTEMPTS, MAX_AGE_SECONDS), or share a retry journal
  - invoke a function that cannot start, because of its KINESIS_HANDLER_ variables
  - are replaced by this change (with --baseline)
about parameters outside of the template's own limits, and about alarms whose metric does not have their dimensions.

A part of a template that cannot be judged, such as a value that only CloudFormation knows, a nested stack or a macro, is \
listed as \"not judged\". Streams, keys and functions outside of the template are taken to have the API's defaults. With \
--function, roles and alarms are not judged.

The kind of a file is found by its content. Resources are named as in their tool: by logical ID, address of Terraform, or \
path of the CDK. Values that are known only after a plan has been applied, tokens and imports of other stacks are not \
judged. Nested stacks of the CDK are read if their templates are in the same folder.

Each finding has a rule. --accept RULE accepts its findings, for a decision that was made: they are listed as accepted, and do \
not count for the exit code. A rule that finds nothing must not be accepted, so that no acceptance outlives its reason.

JSON output is one line for each finding: severity (error, warning, not-judged, accepted), resource, setting, found, reason, \
fix, rule, and for a template file, line and parameters (those that the setting depends on).

Permissions, with --function: lambda:ListEventSourceMappings, lambda:GetFunctionConfiguration, \
kinesis:DescribeStreamSummary.

Exit codes:
  0  no findings but accepted ones, and everything was judged
  1  errors, warnings, or something that was not judged
  2  wrong usage; an accepted rule is unknown or finds nothing; the template cannot be read, or has no mapping from Kinesis

Examples:
  kinesis-kit doctor template.yaml
  kinesis-kit doctor template.yaml --parameter ParallelizationFactor=4 StreamMode=ON_DEMAND
  kinesis-kit doctor template.yaml --config-env production --accept destination-without-data
  git show HEAD~1:template.yaml > old.yaml && kinesis-kit doctor template.yaml --baseline old.yaml
  terraform plan -out=plan && terraform show -json plan > plan.json && kinesis-kit doctor plan.json
  cdk synth && kinesis-kit doctor cdk.out
  kinesis-kit doctor --function orders";
