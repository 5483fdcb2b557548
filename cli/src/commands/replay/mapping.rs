use crate::{
    aws::{AwsError, event_source_mappings, function_name::FunctionName},
    delivery::target::TargetOptions,
    error::chain,
    output::note::warning,
    stream::point::StreamPoint,
};

/// Tells whoever replays up to the checkpoint that a live mapping may deliver the same records, unless it is known to be
/// disabled.
pub(super) async fn warn_unless_disabled(target: &TargetOptions, stream_arn: &str, to: &StreamPoint) {
    if *to != StreamPoint::Checkpoint {
        return;
    }
    let unknown = match target {
        TargetOptions::Function(name) => match states(name, stream_arn).await {
            Ok(states) => states
                .iter()
                .any(|state| state != "Disabled")
                .then(|| "the function's event source mapping is not disabled".to_owned()),
            Err(failure) => Some(format!(
                "whether the function's event source mapping is disabled is not known: {}",
                chain(&failure)
            )),
        },
        _ => Some("whether an event source mapping reads this stream is not known".to_owned()),
    };
    if let Some(unknown) = unknown {
        warning(format_args!(
            "warning: {unknown}; while it is enabled, it may deliver records below the checkpoint again"
        ));
    }
}

/// Returns the states of the mappings that deliver the stream to the function.
async fn states(function: &str, stream_arn: &str) -> Result<Vec<String>, AwsError> {
    let mappings = event_source_mappings::to_function(&FunctionName::parse(function), stream_arn).await?;
    // A state that is left out is not known to be disabled.
    Ok(mappings.into_iter().map(|mapping| mapping.state.unwrap_or_default()).collect())
}
