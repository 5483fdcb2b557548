use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};

/// Returns whether the condition of a write was met.
///
/// # Errors
///
/// Any other failure of the write.
pub(crate) fn is_condition_met<T, E, R>(sent: Result<T, SdkError<E, R>>) -> Result<bool, SdkError<E, R>>
where
    E: ProvideErrorMetadata,
{
    let Err(error) = sent else { return Ok(true) };
    match error.as_service_error().and_then(ProvideErrorMetadata::code) {
        Some("ConditionalCheckFailedException") => Ok(false),
        _ => Err(error),
    }
}
