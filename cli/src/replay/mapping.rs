use aws_config::SdkConfig;
use aws_sdk_lambda::{Client, types::EventSourceMappingConfiguration};

use crate::{
    aws::{self, Attempts, AwsError, Repeater},
    error::chain,
    function_name::FunctionName,
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
    if let Some(warning) = warning {
        note(format_args!(
            "warning: {warning}; while it is enabled, it may deliver records below the checkpoint again"
        ));
    }
}

/// States of the mappings that deliver the stream to the function, or to a version or alias of it, also through
/// consumers with enhanced fan-out.
///
/// They are listed by event source, because the list of a function lacks those of its versions and aliases.
async fn states(function: &str, stream_arn: &str) -> Result<Vec<String>, AwsError> {
    let config = aws::config(stream_arn.split(':').nth(3)).await?;
    let (lambda, repeater) = (Client::new(&config), Repeater::default());
    let function = FunctionName::parse(function);
    let is_of_function = |mapping: &EventSourceMappingConfiguration| {
        let arn = mapping.function_arn.as_deref().unwrap_or_default();
        FunctionName::parse(arn).is_same_function(&function)
    };
    let mut states = Vec::new();
    for source in [stream_arn.to_owned()].into_iter().chain(consumers(&config, stream_arn).await?) {
        let mut marker = None::<String>;
        loop {
            let request = || {
                let request = lambda.list_event_source_mappings().event_source_arn(&source);
                request.set_marker(marker.clone()).send()
            };
            let operation = "ListEventSourceMappings";
            let page = repeater.request(&source, operation, Attempts::Few, request).await?;
            let mappings = page.event_source_mappings.unwrap_or_default();
            states.extend(mappings.into_iter().filter(is_of_function).filter_map(|mapping| mapping.state));
            match page.next_marker.filter(|next| !next.is_empty()) {
                None => break,
                next => marker = next,
            }
        }
    }
    Ok(states)
}

/// ARNs of the stream's consumers with enhanced fan-out.
async fn consumers(config: &SdkConfig, stream_arn: &str) -> Result<Vec<String>, AwsError> {
    let (kinesis, repeater) = (aws_sdk_kinesis::Client::new(config), Repeater::default());
    let (mut arns, mut next_token) = (Vec::new(), None::<String>);
    loop {
        let request = || {
            let request = kinesis.list_stream_consumers().stream_arn(stream_arn);
            request.set_next_token(next_token.clone()).send()
        };
        let operation = "ListStreamConsumers";
        let page = repeater.request(stream_arn, operation, Attempts::Few, request).await?;
        arns.extend(page.consumers.unwrap_or_default().into_iter().map(|consumer| consumer.consumer_arn));
        match page.next_token.filter(|next| !next.is_empty()) {
            None => return Ok(arns),
            next => next_token = next,
        }
    }
}
