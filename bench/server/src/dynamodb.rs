//! A stand-in for DynamoDB that answers at once: what a function spends on its tables is then its own.

use std::{convert::Infallible, net::SocketAddr};

use anyhow::{Context, Result};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{Request, Response, StatusCode, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// A server at a port of its own, with tables that are empty and take each write. Dropped, it stops.
pub(crate) struct DynamoDb {
    address: SocketAddr,
    server: AbortHandle,
}

impl DynamoDb {
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("cannot listen on 127.0.0.1")?;
        let address = listener.local_addr()?;
        let server = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Ok(DynamoDb { address, server: server.abort_handle() })
    }

    /// Variables with which the kit keeps a journal and a checkpoint mirror in it.
    pub(crate) fn variables(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{}", self.address)),
            ("AWS_ACCESS_KEY_ID", "bench".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "bench".to_owned()),
            ("KINESIS_HANDLER_JOURNAL_TABLE", "journal".to_owned()),
            ("KINESIS_HANDLER_CHECKPOINT_TABLE", "checkpoints".to_owned()),
        ]
    }
}

impl Drop for DynamoDb {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(stream: TcpStream) {
    // Only slower without it.
    let _ = stream.set_nodelay(true);
    // The program may close a connection at any time.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    let body = match target.and_then(|target| target.rsplit('.').next()) {
        Some("Query") => r#"{"Items":[],"Count":0,"ScannedCount":0}"#,
        Some("UpdateItem") => "{}",
        _ => "",
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    if body.is_empty() {
        *response.status_mut() = StatusCode::BAD_REQUEST;
    }
    // What is left of the request would end the connection.
    drop(request.into_body().collect().await);
    Ok(response)
}
