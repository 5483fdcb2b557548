use std::{io, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::{
    Method, Request, StatusCode, Uri,
    client::conn::http1,
    header::{CONTENT_TYPE, HOST},
};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use crate::{
    Answer, FunctionError,
    runtime_api::{MAX_RESPONSE_BYTES, reported_error},
};

/// The time that the server gets on top of the function's timeout, to report that timeout by itself.
const GRACE: Duration = Duration::from_secs(1);

/// Longest wait for a connection in [`UrlFunction::check`].
const CHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// A function behind a URL that takes events: that of an emulator such as `cargo lambda watch`
/// (`http://127.0.0.1:9000/2015-03-31/functions/NAME/invocations`) or the Runtime Interface Emulator.
///
/// It works in real time only: while the time of the caller's tokio runtime is paused, requests time out at once.
#[derive(Debug, Clone)]
pub struct UrlFunction {
    url: Uri,
    host: String,
    port: u16,
    timeout: Duration,
}

/// A URL that cannot be invoked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// It is no absolute URL.
    #[error("{url:?} is not a URL with scheme and host, such as http://127.0.0.1:9000/")]
    NotAbsolute {
        /// URL as it was given.
        url: String,
    },
    /// Its scheme is another one.
    #[error("{url:?} starts with {scheme}://, but only http:// can be invoked")]
    Scheme {
        /// URL as it was given.
        url: String,
        /// Scheme of the URL.
        scheme: String,
    },
    /// It has a user name or a password.
    #[error("{host:?} has user information, which is not supported")]
    UserInformation {
        /// The host of what was given: the rest is not to be shown.
        host: String,
    },
}

impl UrlFunction {
    /// The function at this URL, with this timeout.
    ///
    /// # Errors
    ///
    /// Any [`UrlError`].
    pub fn new(url: &str, timeout: Duration) -> Result<Self, UrlError> {
        let not_absolute = || UrlError::NotAbsolute { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| not_absolute())?;
        let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(not_absolute());
        };
        if scheme != "http" {
            return Err(UrlError::Scheme { url: url.to_owned(), scheme: scheme.to_owned() });
        }
        if authority.as_str().contains('@') {
            return Err(UrlError::UserInformation { host: authority.host().to_owned() });
        }
        // IPv6 addresses have brackets in URLs only.
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let port = authority.port_u16().unwrap_or(80);
        Ok(UrlFunction { url: uri, host, port, timeout })
    }

    /// Connects to the URL's host, and hangs up.
    ///
    /// # Errors
    ///
    /// The connection is refused, or does not come about within three seconds.
    pub async fn check(&self) -> io::Result<()> {
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let connected = tokio::time::timeout(CHECK_TIMEOUT, connect).await;
        connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(drop)
    }

    /// Invokes the function with this event.
    ///
    /// | what happens | answer |
    /// |---|---|
    /// | 200 | the body |
    /// | 200 with `X-Amz-Function-Error` or more than 6 MB, or any status not listed here, such as 202 (not waited for), 204 (not invoked) or 500 | [`FunctionError::Thrown`], from the body if it is an error report |
    /// | 408, or nothing until one second after the timeout | [`FunctionError::Timeout`] |
    /// | 429, or no request could be sent | [`Answer::Throttled`] |
    /// | the connection breaks after that | [`FunctionError::LostResponse`] |
    pub async fn invoke(&self, event: Bytes) -> Answer {
        let give_up = Instant::now() + self.timeout + GRACE;
        let connect = TcpStream::connect((self.host.as_str(), self.port));
        let Ok(Ok(connection)) = timeout_at(give_up, connect).await else {
            return Answer::Throttled;
        };
        timeout_at(give_up, self.exchange(connection, event))
            .await
            .unwrap_or(Answer::Error(FunctionError::Timeout))
    }

    async fn exchange(&self, connection: TcpStream, event: Bytes) -> Answer {
        let Ok((mut sender, connection)) = http1::handshake(TokioIo::new(connection)).await else {
            return Answer::Throttled;
        };
        let exchange = async {
            let response = match sender.try_send_request(self.request(event)).await {
                Ok(response) => response,
                Err(mut error) => {
                    return match error.take_message() {
                        Some(_unsent) => Answer::Throttled,
                        None => Answer::Error(FunctionError::LostResponse),
                    };
                }
            };
            let (head, body) = response.into_parts();
            let body = match Limited::new(body, MAX_RESPONSE_BYTES).collect().await {
                Ok(body) => body,
                Err(error) if error.is::<LengthLimitError>() => {
                    let error_type = "Function.ResponseSizeTooLarge".to_owned();
                    let message = format!("the response has more than {MAX_RESPONSE_BYTES} bytes");
                    return Answer::Error(FunctionError::Thrown { error_type, message });
                }
                Err(_) => return Answer::Error(FunctionError::LostResponse),
            };
            answer(head.status, head.headers.contains_key("x-amz-function-error"), body.to_bytes())
        };
        // The connection moves the bytes. It may end before the exchange has seen all of them.
        let connection = async {
            let _ = connection.await;
            std::future::pending().await
        };
        tokio::select! {
            answer = exchange => answer,
            never = connection => never,
        }
    }

    fn request(&self, event: Bytes) -> Request<Full<Bytes>> {
        let target = self.url.path_and_query().map_or("/", |target| target.as_str());
        let authority = self.url.authority().map_or("", |authority| authority.as_str());
        Request::builder()
            .method(Method::POST)
            .uri(target)
            .header(HOST, authority)
            .header(CONTENT_TYPE, "application/json")
            .header("X-Amz-Invocation-Type", "RequestResponse")
            .body(Full::new(event))
            .expect("parts of a valid URL are valid")
    }
}

fn answer(status: StatusCode, is_function_error: bool, body: Bytes) -> Answer {
    match status {
        StatusCode::REQUEST_TIMEOUT => Answer::Error(FunctionError::Timeout),
        StatusCode::TOO_MANY_REQUESTS => Answer::Throttled,
        StatusCode::OK if !is_function_error => Answer::Response(body),
        StatusCode::OK => Answer::Error(reported_error(&body, None)),
        _ => Answer::Error(reported_error(&body, Some(&format!("HTTP {}", status.as_u16())))),
    }
}
