//! A Lambda Runtime API for one program at a time.
//!
//! <https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html>

use std::{
    convert::Infallible,
    net::SocketAddr,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{mpsc, oneshot},
    task::AbortHandle,
};

/// Time in milliseconds that an invocation may take.
const TIMEOUT_MS: u128 = 60_000;

/// A request of the program.
pub(crate) enum Call {
    /// It waits for an event.
    Next(oneshot::Sender<Bytes>),
    /// It has returned this response. The time is that of the response's last byte.
    Response(Bytes, Instant),
    /// It has reported an error, at its start or of an invocation.
    Error(Bytes),
}

/// A server at a port of its own. Dropped, it stops.
pub(crate) struct RuntimeApi {
    address: SocketAddr,
    calls: mpsc::UnboundedReceiver<Call>,
    server: AbortHandle,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let (sender, calls) = mpsc::unbounded_channel();
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, sender.clone()));
            }
        });
        Ok(RuntimeApi { address, calls, server: server.abort_handle() })
    }

    /// Value of `AWS_LAMBDA_RUNTIME_API`.
    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Waits for the next request. Never returns if there is none.
    pub(crate) async fn call(&mut self) -> Result<Call> {
        self.calls.recv().await.context("the Runtime API has stopped")
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(stream: TcpStream, calls: mpsc::UnboundedSender<Call>) {
    // Without it, the end of a large event could wait for an acknowledgement. Only that would be slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| answer(request, &calls));
    // The program may close a connection at any time.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    calls: &mpsc::UnboundedSender<Call>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let Ok(body) = request.into_body().collect().await else { return Ok(status(StatusCode::BAD_REQUEST)) };
    let (body, received) = (body.to_bytes(), Instant::now());
    let call = match path.strip_prefix("/2018-06-01/runtime/") {
        Some("invocation/next") => {
            let (sender, event) = oneshot::channel();
            // If the receiver is gone, so is the sender of the event.
            let _ = calls.send(Call::Next(sender));
            return Ok(event.await.map_or_else(|_| status(StatusCode::GONE), invocation));
        }
        Some(path) if path.ends_with("/response") => Call::Response(body, received),
        Some(path) if path.ends_with("/error") => Call::Error(body),
        _ => return Ok(status(StatusCode::NOT_FOUND)),
    };
    let _ = calls.send(call);
    Ok(status(StatusCode::ACCEPTED))
}

fn invocation(event: Bytes) -> Response<Full<Bytes>> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis());
    let mut response = Response::new(Full::new(event));
    let headers = [
        ("content-type", "application/json"),
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
        ("lambda-runtime-deadline-ms", &(now_ms + TIMEOUT_MS).to_string()),
        ("lambda-runtime-invoked-function-arn", "arn:aws:lambda:us-east-1:123456789012:function:bench"),
        ("lambda-runtime-trace-id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Sampled=0"),
    ];
    for (name, value) in headers {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    response
}

fn status(code: StatusCode) -> Response<Full<Bytes>> {
    let mut response = Response::default();
    *response.status_mut() = code;
    response
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_program_gets_an_event_and_answers_in_chunks() {
        let mut api = RuntimeApi::start().await.expect("a free port");
        let mut program = TcpStream::connect(api.address()).await.expect("it listens");
        let next = b"GET /2018-06-01/runtime/invocation/next HTTP/1.1\r\nhost: runtime\r\n\r\n";
        program.write_all(next).await.expect("connected");
        let Ok(Call::Next(event)) = api.call().await else { panic!("the program waits for an event") };
        event.send(Bytes::from_static(b"{}")).expect("the program still waits");
        let mut received = String::new();
        while !received.ends_with("{}") {
            received.push(char::from(program.read_u8().await.expect("more of the event")));
        }
        assert!(received.starts_with("HTTP/1.1 200 OK\r\n"), "{received}");
        assert!(received.contains("\r\nlambda-runtime-aws-request-id: "), "{received}");
        let response = b"POST /2018-06-01/runtime/invocation/8476a536/response HTTP/1.1\r\nhost: runtime\r\n\
            transfer-encoding: chunked\r\n\r\n3\r\nnul\r\n1\r\nl\r\n0\r\n\r\n";
        program.write_all(response).await.expect("connected");
        let Ok(Call::Response(body, _)) = api.call().await else { panic!("the program has responded") };
        assert_eq!(body, "null");
    }
}
