//! What can go wrong between Larder and an origin: every failure has a name, a blame and a status.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::message::BodyError;

/// Why there is no response from the origin.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OriginError {
    /// Nobody listens at the endpoint.
    #[error("{endpoint} refused the connection")]
    Refused { endpoint: Arc<str> },
    /// The endpoint cannot be reached: no route, no permission …
    #[error("{endpoint} cannot be reached: {cause}")]
    Unreachable { endpoint: Arc<str>, cause: Arc<str> },
    /// This host has no descriptor, or no memory, for one more connection.
    #[error("this host has nothing left for one more connection: {cause}")]
    NoDescriptors { cause: Arc<str> },
    /// The endpoint's host name has no address.
    #[error("the name of {endpoint} has no address: {cause}")]
    NameNotFound { endpoint: Arc<str>, cause: Arc<str> },
    #[error("{endpoint} did not accept a connection in {timeout:?}")]
    ConnectTimeout { endpoint: Arc<str>, timeout: Duration },
    /// The connection was reset before the response's head was complete.
    #[error("{endpoint} reset the connection before it answered")]
    Reset { endpoint: Arc<str> },
    /// The connection was closed before the response's head was complete.
    #[error("{endpoint} closed the connection before its response's head was complete")]
    BrokenBeforeHead { endpoint: Arc<str> },
    #[error("{endpoint} sent no response in {timeout:?}")]
    FirstByteTimeout { endpoint: Arc<str>, timeout: Duration },
    #[error("{endpoint} sent a malformed response: {what}")]
    Malformed { endpoint: Arc<str>, what: Malformed },
    #[error("{endpoint} sent a response head over the limit of {bytes} bytes or {fields} fields")]
    HeadTooLarge { endpoint: Arc<str>, bytes: usize, fields: usize },
    #[error("{endpoint} sent more than {limit} interim responses")]
    TooManyInterim { endpoint: Arc<str>, limit: u32 },
    /// All connections are in use, and the queue for one is full.
    #[error("{limit} requests wait for a connection already")]
    QueueFull { limit: usize },
    #[error("no connection became free in {timeout:?}")]
    QueueTimeout { timeout: Duration },
    /// Each endpoint has as many tunnels as it may have.
    #[error("there are {limit} tunnels already")]
    TunnelsFull { limit: usize },
    /// The backend has no endpoint to ask. (One that is merely down is asked all the same when no other is
    /// up.)
    #[error("the backend has no endpoint")]
    NoHealthyEndpoint,
    /// The client's request body did not arrive whole; the connection to the origin was closed.
    #[error("the request's body did not arrive whole: {0}")]
    RequestBody(BodyError),
    /// The request cannot be put on the wire.
    #[error("the request cannot be sent: {0}")]
    Unsendable(&'static str),
}

/// In what way a response is malformed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The head does not follow RFC 9112 §4 and §5.
    #[error("{0}")]
    Head(Arc<str>),
    /// RFC 9112 §6.1: any transfer coding but one single `chunked`; we asked for no other.
    #[error("a Transfer-Encoding other than chunked")]
    TransferEncoding,
    /// RFC 9112 §6.3: both framing fields, the mark of response splitting.
    #[error("both Transfer-Encoding and Content-Length")]
    LengthAndEncoding,
    /// 101 without an upgrade that was asked for (RFC 9110 §15.2.2).
    #[error("a protocol switch that nobody asked for")]
    UnaskedSwitch,
    /// Content-Lengths that are numbers, and differ.
    #[error("two Content-Length fields that differ")]
    ContentLengths,
    /// Content-Length that is not one number.
    #[error("an invalid Content-Length")]
    ContentLength,
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    Client,
    Origin,
    /// Our own limits.
    Larder,
}

impl OriginError {
    /// The failure's name: the label of metrics and of the log.
    pub const fn as_str(&self) -> &'static str {
        match self {
            OriginError::Refused { .. } => "refused",
            OriginError::Unreachable { .. } => "unreachable",
            OriginError::NoDescriptors { .. } => "no-descriptors",
            OriginError::NameNotFound { .. } => "name-not-found",
            OriginError::ConnectTimeout { .. } => "connect-timeout",
            OriginError::Reset { .. } => "reset",
            OriginError::BrokenBeforeHead { .. } => "broken-before-head",
            OriginError::FirstByteTimeout { .. } => "first-byte-timeout",
            OriginError::Malformed { .. } => "malformed",
            OriginError::HeadTooLarge { .. } => "head-too-large",
            OriginError::TooManyInterim { .. } => "too-many-interim",
            OriginError::QueueFull { .. } => "queue-full",
            OriginError::QueueTimeout { .. } => "queue-timeout",
            OriginError::TunnelsFull { .. } => "tunnels-full",
            OriginError::NoHealthyEndpoint => "no-healthy-endpoint",
            OriginError::RequestBody(_) => "request-body",
            OriginError::Unsendable(_) => "unsendable",
        }
    }

    /// All names that [`as_str`](Self::as_str) answers, for metrics that are declared once.
    pub const NAMES: [&'static str; 17] = [
        "refused",
        "unreachable",
        "no-descriptors",
        "name-not-found",
        "connect-timeout",
        "reset",
        "broken-before-head",
        "first-byte-timeout",
        "malformed",
        "head-too-large",
        "too-many-interim",
        "queue-full",
        "queue-timeout",
        "tunnels-full",
        "no-healthy-endpoint",
        "request-body",
        "unsendable",
    ];

    /// The status for a client that gets no better answer: 502, 503 or 504 for a gateway's own failures
    /// (RFC 9110 §15.6.3 to §15.6.5), 4xx where the client's request body is at fault.
    pub const fn status(&self) -> StatusCode {
        match self {
            OriginError::Refused { .. }
            | OriginError::Unreachable { .. }
            | OriginError::NameNotFound { .. }
            | OriginError::Reset { .. }
            | OriginError::BrokenBeforeHead { .. }
            | OriginError::Malformed { .. }
            | OriginError::HeadTooLarge { .. }
            | OriginError::TooManyInterim { .. } => StatusCode::BAD_GATEWAY,
            OriginError::ConnectTimeout { .. } | OriginError::FirstByteTimeout { .. } => {
                StatusCode::GATEWAY_TIMEOUT
            }
            OriginError::QueueFull { .. }
            | OriginError::NoDescriptors { .. }
            | OriginError::QueueTimeout { .. }
            | OriginError::TunnelsFull { .. }
            | OriginError::NoHealthyEndpoint => StatusCode::SERVICE_UNAVAILABLE,
            OriginError::RequestBody(BodyError::ClientTimeout(_)) => StatusCode::REQUEST_TIMEOUT,
            OriginError::RequestBody(BodyError::ClientTooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            OriginError::RequestBody(_) | OriginError::Unsendable(_) => StatusCode::BAD_REQUEST,
        }
    }

    /// Whose fault it is.
    pub const fn blame(&self) -> Blame {
        match self {
            OriginError::Refused { .. }
            | OriginError::Unreachable { .. }
            | OriginError::NameNotFound { .. }
            | OriginError::ConnectTimeout { .. }
            | OriginError::Reset { .. }
            | OriginError::BrokenBeforeHead { .. }
            | OriginError::FirstByteTimeout { .. }
            | OriginError::Malformed { .. }
            | OriginError::HeadTooLarge { .. }
            | OriginError::TooManyInterim { .. } => Blame::Origin,
            OriginError::QueueFull { .. }
            | OriginError::NoDescriptors { .. }
            | OriginError::QueueTimeout { .. }
            | OriginError::TunnelsFull { .. }
            | OriginError::NoHealthyEndpoint => Blame::Larder,
            OriginError::RequestBody(_) | OriginError::Unsendable(_) => Blame::Client,
        }
    }

    /// Whether the request certainly was not processed, because no byte of it was sent.
    pub const fn retriable(&self) -> bool {
        match self {
            OriginError::Refused { .. }
            | OriginError::Unreachable { .. }
            | OriginError::NameNotFound { .. }
            | OriginError::ConnectTimeout { .. }
            | OriginError::QueueFull { .. }
            | OriginError::NoDescriptors { .. }
            | OriginError::QueueTimeout { .. }
            | OriginError::TunnelsFull { .. }
            | OriginError::NoHealthyEndpoint => true,
            OriginError::Reset { .. }
            | OriginError::BrokenBeforeHead { .. }
            | OriginError::FirstByteTimeout { .. }
            | OriginError::Malformed { .. }
            | OriginError::HeadTooLarge { .. }
            | OriginError::TooManyInterim { .. }
            | OriginError::RequestBody(_)
            | OriginError::Unsendable(_) => false,
        }
    }
}
