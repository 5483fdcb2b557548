use hyper::{HeaderMap, StatusCode, header::HeaderValue};
use serde::Deserialize;
use serde_json::json;

use super::{
    BinaryOptions,
    options::{FUNCTION_VERSION, HANDLER},
    server::{Reply, error, json_reply, trace_id},
    state::{ExtensionEvent, State, Subscription},
};
use crate::FunctionError;

const NAME_HEADER: &str = "lambda-extension-name";
const IDENTIFIER_HEADER: &str = "lambda-extension-identifier";
const EVENT_IDENTIFIER_HEADER: &str = "lambda-extension-event-identifier";
const ERROR_TYPE_HEADER: &str = "lambda-extension-function-error-type";

/// Identifiers look like UUIDs, as clients may parse them. Their last part is the extension's index.
const IDENTIFIER_START: &str = "00000000-0000-4000-8000-";

#[derive(Deserialize, Default)]
struct Registration {
    #[serde(default)]
    events: Vec<String>,
}

pub(super) fn register(headers: &HeaderMap, body: &[u8], options: &BinaryOptions, state: &State) -> Reply {
    let Some(name) = text(headers, NAME_HEADER) else {
        return error(StatusCode::BAD_REQUEST, "Extension.MissingHeader", "Lambda-Extension-Name is missing");
    };
    let registration: Registration = match body {
        b"" => Registration::default(),
        body => match serde_json::from_slice(body) {
            Ok(registration) => registration,
            Err(fault) => {
                return error(StatusCode::BAD_REQUEST, "InvalidRequestFormat", &fault.to_string());
            }
        },
    };
    let mut subscription = Subscription::default();
    for event in &registration.events {
        match event.as_str() {
            "INVOKE" => subscription.invoke = true,
            "SHUTDOWN" => subscription.shutdown = true,
            other => {
                let message = format!("{other} is no event, INVOKE and SHUTDOWN are");
                return error(StatusCode::BAD_REQUEST, "Extension.InvalidEventType", &message);
            }
        }
    }
    let index = state.register(name.to_owned(), subscription);
    let reply = json_reply(
        StatusCode::OK,
        json!({
            "functionName": options.function_name,
            "functionVersion": FUNCTION_VERSION,
            "handler": HANDLER,
        }),
    );
    with_header(reply, IDENTIFIER_HEADER, &format!("{IDENTIFIER_START}{index:012}"))
}

pub(super) async fn next_event(headers: &HeaderMap, options: &BinaryOptions, state: &State) -> Reply {
    let Some((index, _)) = caller(headers, state) else { return unknown_extension() };
    let event = match state.extension_event(index).await {
        ExtensionEvent::Invoke(offer) => json!({
            "eventType": "INVOKE",
            "deadlineMs": offer.deadline_ms,
            "requestId": offer.invocation.request_id,
            "invokedFunctionArn": options.invoked_function_arn,
            "tracing": {"type": "X-Amzn-Trace-Id", "value": trace_id(&offer)},
        }),
        ExtensionEvent::Shutdown { deadline_ms } => json!({
            "eventType": "SHUTDOWN",
            "shutdownReason": "SPINDOWN",
            "deadlineMs": deadline_ms,
        }),
    };
    let identifier = format!("{IDENTIFIER_START}{index:012}");
    with_header(json_reply(StatusCode::OK, event), EVENT_IDENTIFIER_HEADER, &identifier)
}

/// Lambda ends an environment whose extension reports an error.
pub(super) fn fail(phase: &str, headers: &HeaderMap, state: &State) -> Reply {
    let Some((_, name)) = caller(headers, state) else { return unknown_extension() };
    let error_type = text(headers, ERROR_TYPE_HEADER).unwrap_or("Extension.Unknown");
    let how = format!("extension {name} reported an {phase} error: {error_type}");
    state.fail(FunctionError::Crash { how });
    json_reply(StatusCode::ACCEPTED, json!({"status": "OK"}))
}

/// The index and the name of the extension that calls.
fn caller(headers: &HeaderMap, state: &State) -> Option<(usize, String)> {
    let index = text(headers, IDENTIFIER_HEADER)?.strip_prefix(IDENTIFIER_START)?.parse().ok()?;
    Some((index, state.extension_name(index)?))
}

fn unknown_extension() -> Reply {
    error(
        StatusCode::FORBIDDEN,
        "Extension.UnknownExtensionIdentifier",
        "Lambda-Extension-Identifier is missing, or names no extension",
    )
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

fn with_header(mut reply: Reply, name: &'static str, value: &str) -> Reply {
    let value = HeaderValue::from_str(value).expect("hexadecimal digits and dashes");
    reply.headers_mut().insert(name, value);
    reply
}
