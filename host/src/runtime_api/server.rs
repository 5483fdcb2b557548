use std::{convert::Infallible, net::Ipv4Addr, sync::Arc};

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Request, Response, StatusCode,
    body::Incoming,
    header::{CONTENT_TYPE, HOST, ORIGIN},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use super::{
    BinaryOptions,
    error_report::reported_error,
    extensions,
    peer::is_foreign,
    state::{Offer, State},
};
use crate::{Answer, FunctionError};

/// Lambda's limit of a response.
pub(crate) const MAX_RESPONSE_BYTES: usize = 6_291_556;

/// The type of an error, where its report has none.
const ERROR_TYPE_HEADER: &str = "lambda-runtime-function-error-type";

pub(super) type Reply = Response<Full<Bytes>>;

/// Serves the Runtime API and the Extensions API to one process, for ever.
pub(super) async fn serve(listener: TcpListener, options: Arc<BinaryOptions>, state: Arc<State>) {
    let mut connections = JoinSet::new();
    loop {
        let connection = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((_, peer)) if listener.local_addr().is_ok_and(|server| is_foreign(peer, server)) => continue,
                Ok((connection, _)) => connection,
                // The connection was gone before it was accepted.
                Err(_) => continue,
            },
            Some(_) = connections.join_next() => continue,
        };
        let (options, state) = (Arc::clone(&options), Arc::clone(&state));
        connections.spawn(async move {
            let service =
                service_fn(async |request| Ok::<_, Infallible>(reply(request, &options, &state).await));
            let io = TokioIo::new(connection);
            // Names as Lambda writes them: simple clients compare them without folding case.
            let server = http1::Builder::new().title_case_headers(true).serve_connection(io, service);
            // An error means that the process has broken the connection; if it matters, its exit tells.
            let _ = server.await;
        });
    }
}

async fn reply(request: Request<Incoming>, options: &BinaryOptions, state: &State) -> Reply {
    let (head, body) = request.into_parts();
    if !is_from_program(&head.headers) {
        return error(
            StatusCode::FORBIDDEN,
            "Forbidden",
            "this is for the function's program, not for web pages",
        );
    }
    let path = head.uri.path();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    let Ok(body) = read(body).await else {
        return error(StatusCode::BAD_REQUEST, "InvalidRequest", "the request's body broke off");
    };
    match (head.method.as_str(), segments.as_slice()) {
        ("GET", ["2018-06-01", "runtime", "invocation", "next"]) => event(state.next().await, options),
        ("POST", ["2018-06-01", "runtime", "invocation", request_id, "response"]) => {
            take_response(request_id, body, state).await
        }
        ("POST", ["2018-06-01", "runtime", "invocation", request_id, "error"]) => {
            let thrown = thrown(&head.headers, &body.unwrap_or_default());
            match state.answer(request_id, Answer::Error(thrown)).await {
                true => accepted(),
                false => unknown_request(request_id),
            }
        }
        ("POST", ["2018-06-01", "runtime", "init", "error"]) => {
            state.fail(thrown(&head.headers, &body.unwrap_or_default()));
            accepted()
        }
        ("POST", ["2020-01-01", "extension", "register"]) => {
            extensions::register(&head.headers, &body.unwrap_or_default(), options, state)
        }
        ("GET", ["2020-01-01", "extension", "event", "next"]) => {
            extensions::next_event(&head.headers, options, state).await
        }
        ("POST", ["2020-01-01", "extension", phase @ ("init" | "exit"), "error"]) => {
            extensions::fail(phase, &head.headers, state)
        }
        (method, _) => error(
            StatusCode::NOT_FOUND,
            "NotFound",
            &format!("there is no {method} {path} in the Runtime API or the Extensions API"),
        ),
    }
}

/// Whether a request comes from a program. A web page may send requests to the loopback interface, too, in the name of
/// the user, and under a host name of its own.
fn is_from_program(headers: &HeaderMap) -> bool {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    // Simple clients send none.
    let is_loopback = host.is_none_or(|host| {
        let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
        name.eq_ignore_ascii_case("localhost") || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
    });
    is_loopback && !headers.contains_key(ORIGIN) && !headers.contains_key("sec-fetch-site")
}

/// All of the body, or nothing of one that is longer than a response may be. That one, too, is read to its end: many
/// clients look at the reply only then.
async fn read(mut body: Incoming) -> Result<Option<Bytes>, hyper::Error> {
    let mut whole = BytesMut::new();
    let mut fits = true;
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        fits &= whole.len() + data.len() <= MAX_RESPONSE_BYTES;
        if fits {
            whole.extend_from_slice(&data);
        }
    }
    Ok(fits.then(|| whole.freeze()))
}

fn event(offer: Offer, options: &BinaryOptions) -> Reply {
    let Offer { invocation, deadline_ms } = &offer;
    let reply = Response::builder()
        .header(CONTENT_TYPE, "application/json")
        .header("Lambda-Runtime-Aws-Request-Id", &invocation.request_id)
        .header("Lambda-Runtime-Deadline-Ms", deadline_ms.to_string())
        .header("Lambda-Runtime-Invoked-Function-Arn", &options.invoked_function_arn)
        .header("Lambda-Runtime-Trace-Id", trace_id(&offer))
        .body(Full::new(invocation.event.clone()));
    reply.unwrap_or_else(|fault| {
        error(StatusCode::INTERNAL_SERVER_ERROR, "InvalidOptions", &format!("the function's ARN: {fault}"))
    })
}

/// A trace that is not sampled. It only has to look right.
pub(super) fn trace_id(offer: &Offer) -> String {
    let (seconds, milliseconds) = (offer.deadline_ms / 1000, offer.deadline_ms);
    format!("Root=1-{seconds:08x}-{milliseconds:024x};Parent={milliseconds:016x};Sampled=0")
}

async fn take_response(request_id: &str, body: Option<Bytes>, state: &State) -> Reply {
    match body {
        Some(response) => match state.answer(request_id, Answer::Response(response)).await {
            true => accepted(),
            false => unknown_request(request_id),
        },
        None => {
            let error_type = "Function.ResponseSizeTooLarge";
            let message = format!("the response has more than {MAX_RESPONSE_BYTES} bytes");
            let reply = error(StatusCode::PAYLOAD_TOO_LARGE, error_type, &message);
            let too_large = FunctionError::Thrown { error_type: error_type.to_owned(), message };
            match state.answer(request_id, Answer::Error(too_large)).await {
                true => reply,
                false => unknown_request(request_id),
            }
        }
    }
}

fn thrown(headers: &HeaderMap, body: &[u8]) -> FunctionError {
    reported_error(body, headers.get(ERROR_TYPE_HEADER).and_then(|value| value.to_str().ok()))
}

fn accepted() -> Reply {
    json_reply(StatusCode::ACCEPTED, json!({"status": "OK"}))
}

fn unknown_request(request_id: &str) -> Reply {
    error(
        StatusCode::BAD_REQUEST,
        "InvalidRequestID",
        &format!("no invocation with the ID {request_id} awaits an answer"),
    )
}

pub(super) fn error(status: StatusCode, error_type: &str, message: &str) -> Reply {
    json_reply(status, json!({"errorMessage": message, "errorType": error_type}))
}

pub(super) fn json_reply(status: StatusCode, body: serde_json::Value) -> Reply {
    let mut reply = Response::new(Full::from(body.to_string()));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    reply
}
