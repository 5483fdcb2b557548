use aws_sdk_lambda::Client;

use crate::{
    aws::{self, ApiFailure},
    note::note,
    stream_point::StreamPoint,
    target::TargetOptions,
};

/// Tells whoever replays up to the checkpoint that a live mapping may deliver the same records, unless it is known to be
/// disabled.
pub(super) async fn warn_unless_disabled(target: &TargetOptions, stream_arn: &str, to: StreamPoint) {
    if to != StreamPoint::Checkpoint {
        return;
    }
    let warning = match target {
        TargetOptions::Function(name) => match state(name, stream_arn).await {
            Ok(states) => states
                .iter()
                .any(|state| state != "Disabled")
                .then(|| "the function's event source mapping is not disabled".to_owned()),
            Err(failure) => Some(format!(
                "whether the function's event source mapping is disabled is not known: {failure}"
            )),
        },
        _ => Some("whether an event source mapping reads this stream is not known".to_owned()),
    };
    if let Some(warning) = warning {
        note(format_args!(
            "warning: {warning}; while it is enabled, it may deliver records below the checkpoint again"
        ));
    }
}

/// States of the mappings from the stream to the function.
async fn state(function: &str, stream_arn: &str) -> Result<Vec<String>, String> {
    let config = aws::config(stream_arn.split(':').nth(3)).await.map_err(|error| error.to_string())?;
    let request = Client::new(&config).list_event_source_mappings();
    let answer = request.function_name(function).event_source_arn(stream_arn).send().await;
    let answer = answer.map_err(|error| ApiFailure::from(error).to_string())?;
    let mappings = answer.event_source_mappings.unwrap_or_default();
    Ok(mappings.into_iter().filter_map(|mapping| mapping.state).collect())
}
