//! Asks a running Larder through its admin interface: one request on one connection.

use std::io;
use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::Value as Json;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::config::ListenAddress;

/// Where the admin interface is, and how to be let in.
#[derive(Clone, Debug)]
pub(super) struct Client {
    pub address: ListenAddress,
    pub token: Option<String>,
    /// For the whole exchange.
    pub timeout: Duration,
}

/// Why there is no answer to show.
#[derive(Debug, thiserror::Error)]
pub(super) enum ClientError {
    #[error(
        "no Larder answers at {address}: {error}\n\
         Is it running, and is this its admin address? Another one is given with --admin or $LARDER_ADMIN."
    )]
    Unreachable { address: ListenAddress, error: io::Error },
    #[error("no answer from {address} within {timeout:?} (--timeout)")]
    TooSlow { address: ListenAddress, timeout: Duration },
    #[error("{0} broke off: {1}")]
    BrokeOff(ListenAddress, String),
    #[error("the admin interface wants a token: give --token or set $LARDER_TOKEN")]
    TokenMissing,
    #[error("the admin interface does not know this token")]
    TokenWrong,
    #[error("the admin interface refuses this{0}")]
    Forbidden(String),
    #[error("{0} knows no {1}: is it Larder's admin interface, of the same version?")]
    NotFound(ListenAddress, String),
    #[error("the admin interface answered {status}{detail}")]
    Refused { status: StatusCode, detail: String },
    #[error("the answer is not JSON: is {0} Larder's admin interface?")]
    NotJson(ListenAddress),
    #[error("this token cannot be sent in a header field")]
    TokenUnsendable,
}

/// The largest answer that is read: a list of many variants, and then some.
const LARGEST_ANSWER: usize = 64 << 20;

impl Client {
    /// Sends one request and reads its JSON answer. Dropping the future abandons the exchange; what was
    /// asked for may have happened even so.
    ///
    /// # Errors
    /// When there is no connection, no answer in time, or another answer than a good one.
    pub(super) async fn ask(
        &self,
        method: Method,
        target: &str,
        body: Option<&Json>,
    ) -> Result<Json, ClientError> {
        let exchange = self.exchange(method, target, body);
        match tokio::time::timeout(self.timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(ClientError::TooSlow { address: self.address.clone(), timeout: self.timeout }),
        }
    }

    async fn exchange(&self, method: Method, target: &str, body: Option<&Json>) -> Result<Json, ClientError> {
        let unreachable = |error| ClientError::Unreachable { address: self.address.clone(), error };
        let request = self.request(method, target, body)?;
        match &self.address {
            ListenAddress::Tcp(address) => {
                let stream = tokio::net::TcpStream::connect(address).await.map_err(unreachable)?;
                self.over(stream, target, request).await
            }
            ListenAddress::Unix(path) => {
                let stream = tokio::net::UnixStream::connect(path).await.map_err(unreachable)?;
                self.over(stream, target, request).await
            }
        }
    }

    fn request(
        &self,
        method: Method,
        target: &str,
        body: Option<&Json>,
    ) -> Result<Request<Full<Bytes>>, ClientError> {
        let host = match &self.address {
            ListenAddress::Tcp(address) => address.to_string(),
            ListenAddress::Unix(_) => "localhost".to_string(),
        };
        let mut request = Request::builder().method(method).uri(target).header(header::HOST, host);
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        if body.is_some() {
            request = request.header(header::CONTENT_TYPE, "application/json");
        }
        let body = body.map(|json| Bytes::from(json.to_string())).unwrap_or_default();
        // All but the token is made of sound parts.
        request.body(Full::new(body)).map_err(|_| ClientError::TokenUnsendable)
    }

    async fn over<S>(
        &self,
        stream: S,
        target: &str,
        request: Request<Full<Bytes>>,
    ) -> Result<Json, ClientError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let broke = |error: hyper::Error| ClientError::BrokeOff(self.address.clone(), error.to_string());
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke)?;
        // Drives the connection; ends by itself once `sender` and the answer are gone.
        let driver = tokio::spawn(connection);
        let response = sender.send_request(request).await.map_err(broke)?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER)
            .collect()
            .await
            .map_err(|error| ClientError::BrokeOff(self.address.clone(), error.to_string()))?
            .to_bytes();
        driver.abort();
        self.judge(status, target, &body)
    }

    fn judge(&self, status: StatusCode, target: &str, body: &[u8]) -> Result<Json, ClientError> {
        let json: Option<Json> = serde_json::from_slice(body).ok();
        if status.is_success() {
            return json.ok_or_else(|| ClientError::NotJson(self.address.clone()));
        }
        let detail = detail_of(json.as_ref(), body);
        Err(match status {
            StatusCode::UNAUTHORIZED if self.token.is_none() => ClientError::TokenMissing,
            StatusCode::UNAUTHORIZED => ClientError::TokenWrong,
            StatusCode::FORBIDDEN => ClientError::Forbidden(detail),
            StatusCode::NOT_FOUND if json.is_none() => {
                let path = target.split('?').next().unwrap_or_default();
                ClientError::NotFound(self.address.clone(), path.to_string())
            }
            _ => ClientError::Refused { status, detail },
        })
    }
}

/// What an answer says went wrong: its `error` and `hint`, or its text as far as that is a short one.
fn detail_of(json: Option<&Json>, body: &[u8]) -> String {
    let said = match json {
        Some(json) => {
            let said = |key: &str| json.get(key).and_then(Json::as_str);
            match (said("error"), said("hint")) {
                (Some(error), Some(hint)) if error.contains('\n') => format!("{error}\n{hint}"),
                (Some(error), Some(hint)) => format!("{error} ({hint})"),
                (Some(error), None) => error.to_string(),
                _ => json.to_string(),
            }
        }
        None => String::from_utf8_lossy(body).trim().to_string(),
    };
    // What comes from the network goes to a terminal: no control characters, and not pages of it.
    // Lines stay lines: a caret points at what stands above it.
    let said: String =
        said.chars().filter(|letter| *letter == '\n' || !letter.is_control()).take(1_000).collect();
    if said.is_empty() { said } else { format!(": {said}") }
}
