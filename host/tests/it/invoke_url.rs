//! Functions behind URLs: what each thing that can happen to a request comes to.

use std::time::Duration;

use lambda_host::{Answer, FunctionError, UrlFunction};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::program::{TIMEOUT, response, thrown};

const EVENT: &str = r#"{"Records":[]}"#;

/// Reads one request to its end.
async fn read_request(connection: &mut TcpStream) -> String {
    let mut request = Vec::new();
    while !request.ends_with(EVENT.as_bytes()) {
        assert_ne!(connection.read_buf(&mut request).await.expect("a request"), 0, "it broke off");
    }
    String::from_utf8(request).expect("text")
}

/// Invokes a server that answers one request with these bytes and hangs up. Returns the request, too.
async fn exchange(path: &str, reply: &str) -> (Answer, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}{path}", listener.local_addr().expect("it is bound"));
    let function = UrlFunction::new(&url, Duration::from_secs(20)).expect("a URL");
    let serve = async {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        let request = read_request(&mut connection).await;
        connection.write_all(reply.as_bytes()).await.expect("a client");
        request
    };
    tokio::join!(function.invoke(EVENT.into()), serve)
}

#[track_caller]
fn check(reply: &str, expected: Answer) -> impl Future<Output = ()> {
    let caller = std::panic::Location::caller();
    async move { assert_eq!(exchange("/", reply).await.0, expected, "at {caller}") }
}

#[tokio::test]
async fn what_a_reply_comes_to() {
    let lost = || Answer::Error(FunctionError::LostResponse);
    check("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", response("{}")).await;
    check("HTTP/1.1 200 OK\r\n\r\n{garbage", response("{garbage")).await;
    check(
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\n\r\n",
        response("{}"),
    )
    .await;
    check(
        "HTTP/1.1 200 OK\r\nX-Amz-Function-Error: Unhandled\r\n\r\n{\"errorMessage\":\"no\",\"errorType\":\"Refusal\"}",
        thrown("Refusal", "no"),
    )
    .await;
    check(
        "HTTP/1.1 500 Oops\r\n\r\n{\"errorMessage\":\"no\",\"errorType\":\"Refusal\"}",
        thrown("Refusal", "no"),
    )
    .await;
    check("HTTP/1.1 502 Oops\r\n\r\nbad gateway", thrown("HTTP 502", "bad gateway")).await;
    check("HTTP/1.1 404 Lost\r\n\r\nno such function", thrown("HTTP 404", "no such function")).await;
    check("HTTP/1.1 202 Accepted\r\n\r\n{}", thrown("HTTP 202", "")).await;
    check("HTTP/1.1 204 No Content\r\n\r\n", thrown("HTTP 204", "")).await;
    check("HTTP/1.1 302 Moved\r\nLocation: /\r\n\r\n{}", thrown("HTTP 302", "")).await;
    let too_large = thrown("Function.ResponseSizeTooLarge", "the response has more than 6291556 bytes");
    check(&format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(6_291_557)), too_large).await;
    check("HTTP/1.1 408 Timeout\r\n\r\n", TIMEOUT).await;
    check("HTTP/1.1 429 Busy\r\n\r\n", Answer::Throttled).await;
    check("", lost()).await;
    check("HTTP/1.1 200 OK\r\nContent-Le", lost()).await;
    check("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}", lost()).await;
}

#[tokio::test]
async fn what_is_sent() {
    let path = "/2015-03-31/functions/orders/invocations?Qualifier=1";
    let (_, request) = exchange(path, "HTTP/1.1 200 OK\r\n\r\n").await;
    let request = request.to_lowercase();
    let (head, body) = request.split_once("\r\n\r\n").expect("a whole request");
    let lines: Vec<&str> = head.split("\r\n").collect();
    assert_eq!(lines[0], format!("post {} http/1.1", path.to_lowercase()));
    assert!(lines.contains(&"content-length: 14"), "{head}");
    assert!(lines.contains(&"content-type: application/json"), "{head}");
    assert!(lines.contains(&"x-amz-invocation-type: requestresponse"), "{head}");
    assert!(lines.iter().any(|line| line.starts_with("host: 127.0.0.1:")), "{head}");
    assert_eq!(body, EVENT.to_lowercase());
}

#[tokio::test]
async fn nobody_there_is_no_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    drop(listener);
    let function = UrlFunction::new(&url, Duration::from_secs(20)).expect("a URL");
    assert_eq!(function.invoke(EVENT.into()).await, Answer::Throttled);
}

#[tokio::test]
async fn silence_is_a_timeout_after_one_more_second() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let function = UrlFunction::new(&url, Duration::from_millis(100)).expect("a URL");
    let started = std::time::Instant::now();
    let silent = async {
        let (mut connection, _) = listener.accept().await.expect("a connection");
        read_request(&mut connection).await;
        // Until the client hangs up.
        assert_eq!(connection.read(&mut [0]).await.unwrap_or(0), 0);
    };
    let (answer, ()) = tokio::join!(function.invoke(EVENT.into()), silent);
    assert_eq!(answer, TIMEOUT);
    assert!(started.elapsed() >= Duration::from_millis(1_100), "{:?}", started.elapsed());
}

#[track_caller]
fn check_url(url: &str, expected: &str) {
    let error = UrlFunction::new(url, Duration::ZERO).map(drop).expect_err("no such URL");
    assert_eq!(error.to_string(), expected);
}

#[test]
fn other_urls_are_refused() {
    check_url(
        "https://abc.lambda-url.eu-west-1.on.aws/",
        "\"https://abc.lambda-url.eu-west-1.on.aws/\" starts with https://, but only http:// can be invoked",
    );
    check_url("localhost", "\"localhost\" is not a URL with scheme and host, such as http://127.0.0.1:9000/");
    check_url(
        "/lambda-url",
        "\"/lambda-url\" is not a URL with scheme and host, such as http://127.0.0.1:9000/",
    );
    check_url("", "\"\" is not a URL with scheme and host, such as http://127.0.0.1:9000/");
    check_url("http://me:secret@host/", "\"host\" has user information, which is not supported");
}
