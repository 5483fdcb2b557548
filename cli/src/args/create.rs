// No doc comment: it would become that of the command.
#[derive(Debug, clap::Args)]
pub(crate) struct CreateTableArgs {
    /// Name of the table
    #[arg(long, value_name = "NAME")]
    pub(crate) table: String,
    /// A tag of a new table
    #[arg(long, value_name = "KEY=VALUE", value_parser = tag)]
    pub(crate) tag: Vec<(String, String)>,
    /// ARN of the customer managed KMS key that encrypts a new table, instead of the AWS managed key
    #[arg(long, value_name = "KMS_KEY_ARN")]
    pub(crate) key: Option<String>,
}

fn tag(text: &str) -> Result<(String, String), &'static str> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("expected KEY=VALUE"),
    }
}
