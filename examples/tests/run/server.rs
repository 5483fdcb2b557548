//! A server in place of what an example calls.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// A request: its path, and its body of JSON, which is null if there is none.
pub(crate) struct Request {
    pub(crate) path: String,
    pub(crate) body: Value,
}

/// Answers requests with the status and the body that `answer` returns, one after the other. Returns the server's URL and its
/// task.
pub(crate) async fn serve(
    mut answer: impl FnMut(Request) -> (u16, Vec<u8>) + Send + 'static,
) -> (String, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let task = tokio::spawn(async move {
        loop {
            let (mut connection, _) = listener.accept().await.expect("a connection");
            while let Some(request) = read(&mut connection).await {
                let (status, body) = answer(request);
                let head = "content-type: application/x-amz-json-1.0\r\ncontent-length: ";
                let head = format!("HTTP/1.1 {status} Answer\r\n{head}{}\r\n\r\n", body.len());
                let response = [head.as_bytes(), &body].concat();
                connection.write_all(&response).await.expect("the client reads");
            }
        }
    });
    (url, task)
}

/// Serves a DynamoDB that answers one `BatchWriteItem` after the other: it does not process the first item of the first one.
/// `sizes` gets the number of items of each.
pub(crate) async fn stingy_dynamodb(sizes: Arc<Mutex<Vec<usize>>>) -> (String, JoinHandle<()>) {
    serve(move |request| {
        let items = request.body["RequestItems"]["orders"].as_array().expect("items");
        let mut sizes = sizes.lock().expect("no panic while locked");
        sizes.push(items.len());
        let unprocessed = if sizes.len() == 1 { json!({ "orders": items[..1] }) } else { json!({}) };
        (200, json!({ "UnprocessedItems": unprocessed }).to_string().into_bytes())
    })
    .await
}

/// Serves a bulk API that answers one request after the other: it is too busy for the second item of the first one. `sizes` gets
/// the number of items of each.
pub(crate) async fn busy_bulk_api(sizes: Arc<Mutex<Vec<usize>>>) -> (String, JoinHandle<()>) {
    serve(move |request| {
        let items = request.body["items"].as_array().expect("items").len();
        let mut sizes = sizes.lock().expect("no panic while locked");
        sizes.push(items);
        let is_first = sizes.len() == 1;
        let status = |item| if is_first && item == 1 { 429 } else { 201 };
        let items: Vec<_> = (0..items).map(|item| json!({ "status": status(item) })).collect();
        (200, json!({ "items": items }).to_string().into_bytes())
    })
    .await
}

/// Serves a DynamoDB that answers each request as `answer` says, which gets the number of requests before. `requests` gets their
/// bodies.
pub(crate) async fn dynamodb(
    answer: impl Fn(usize) -> (u16, Value) + Send + 'static,
    requests: Arc<Mutex<Vec<Value>>>,
) -> (String, JoinHandle<()>) {
    serve(move |request| {
        let mut requests = requests.lock().expect("no panic while locked");
        requests.push(request.body);
        let (status, body) = answer(requests.len() - 1);
        (status, body.to_string().into_bytes())
    })
    .await
}

/// Reads an HTTP request; `None` at the end of the connection.
async fn read(connection: &mut TcpStream) -> Option<Request> {
    let (mut request, mut part) = (Vec::new(), [0; 65_536]);
    loop {
        let read = connection.read(&mut part).await.ok().filter(|&read| read > 0)?;
        request.extend_from_slice(&part[..read]);
        let Some(end) = request.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&request[..end]).into_owned();
        let is_length = |name: &str| name.eq_ignore_ascii_case("content-length");
        let mut headers = head.lines().filter_map(|line| line.split_once(": "));
        let length = headers.find(|(name, _)| is_length(name));
        let length = length.map_or(0, |(_, value)| value.parse().expect("a number"));
        if request.len() == end + 4 + length {
            let path = head.split(' ').nth(1).expect("a path").to_owned();
            let body = match length {
                0 => Value::Null,
                _ => serde_json::from_slice(&request[end + 4..]).expect("JSON"),
            };
            return Some(Request { path, body });
        }
    }
}
