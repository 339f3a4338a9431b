//! Why a request was not admitted: one name per reason, with the status the client is told.

use http::StatusCode;

use super::limits::Limits;
use crate::message::BodyError;

macro_rules! refusals {
    ($($(#[$doc:meta])* $name:ident = $status:ident, $word:literal;)+) => {
        /// Why a request was refused at the door. After the answer to it the connection closes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Refusal {
            $($(#[$doc])* $name,)+
        }

        impl Refusal {
            /// All reasons, for metrics that are declared once.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)+];

            /// The status that tells the client.
            pub const fn status(self) -> StatusCode {
                match self {
                    $(Refusal::$name => StatusCode::$status,)+
                }
            }

            /// The name used in logs, metric labels and `Cache-Status`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Refusal::$name => $word,)+
                }
            }
        }
    };
}

refusals! {
    /// The head was not complete within its deadline.
    HeadTimeout = REQUEST_TIMEOUT, "head-timeout";
    /// No part of the body came for too long.
    BodyTimeout = REQUEST_TIMEOUT, "body-timeout";
    /// There is no memory for the head, or for one more request with so large a head that waits for its answer.
    NoMemory = SERVICE_UNAVAILABLE, "no-memory";
    /// The request line is longer than the limit.
    RequestLineTooLong = URI_TOO_LONG, "request-line-too-long";
    /// The head has more bytes than the limit.
    HeadTooLarge = REQUEST_HEADER_FIELDS_TOO_LARGE, "head-too-large";
    /// The head has more fields than the limit.
    TooManyFields = REQUEST_HEADER_FIELDS_TOO_LARGE, "too-many-fields";
    /// The body is, or was announced to be, larger than the limit.
    BodyTooLarge = PAYLOAD_TOO_LARGE, "body-too-large";
    /// An expectation other than `100-continue` (RFC 9110 §10.1.1).
    UnknownExpectation = EXPECTATION_FAILED, "unknown-expectation";
    /// An HTTP version that is not spoken here, HTTP/2's preface included (RFC 9110 §15.6.6).
    UnsupportedVersion = HTTP_VERSION_NOT_SUPPORTED, "unsupported-version";
    /// A TLS handshake on a port for plain HTTP.
    TlsOnPlainPort = BAD_REQUEST, "tls-on-plain-port";
    /// The connection ended inside a head.
    HeadTruncated = BAD_REQUEST, "head-truncated";
    /// The connection ended inside a body.
    BodyTruncated = BAD_REQUEST, "body-truncated";
    /// The request line is not `method SP target SP version`; HTTP/0.9's is one such.
    MalformedRequestLine = BAD_REQUEST, "malformed-request-line";
    /// The method is not a token.
    InvalidMethod = BAD_REQUEST, "invalid-method";
    /// The target holds a character that no URI may hold, or a fragment.
    InvalidTarget = BAD_REQUEST, "invalid-target";
    /// The target's form does not fit the method (RFC 9112 §3.2).
    WrongTargetForm = BAD_REQUEST, "wrong-target-form";
    /// The authority carries user information (RFC 9110 §4.2.4).
    Userinfo = BAD_REQUEST, "userinfo";
    /// A CR without LF, or an LF without CR.
    BareLineEnd = BAD_REQUEST, "bare-line-end";
    /// A field line continued on the next (obs-fold, RFC 9112 §5.2), or begun with whitespace.
    ObsoleteFolding = BAD_REQUEST, "obsolete-folding";
    /// A field line whose name is not a token, or is followed by whitespace before the colon.
    InvalidFieldName = BAD_REQUEST, "invalid-field-name";
    /// A field value with a control character.
    InvalidFieldValue = BAD_REQUEST, "invalid-field-value";
    /// HTTP/1.1 without `Host` (RFC 9112 §3.2).
    MissingHost = BAD_REQUEST, "missing-host";
    /// More than one `Host` (RFC 9112 §3.2).
    RepeatedHost = BAD_REQUEST, "repeated-host";
    /// `Host`, or the target's authority, is not `host [":" port]`.
    InvalidHost = BAD_REQUEST, "invalid-host";
    /// The target's authority is not what `Host` says.
    ConflictingHost = BAD_REQUEST, "conflicting-host";
    /// More than one `Content-Length`, be they equal.
    RepeatedContentLength = BAD_REQUEST, "repeated-content-length";
    /// `Content-Length` is not a plain decimal number that fits 64 bits.
    InvalidContentLength = BAD_REQUEST, "invalid-content-length";
    /// `Content-Length` beside `Transfer-Encoding` (RFC 9112 §6.3): how requests are smuggled.
    ConflictingLengths = BAD_REQUEST, "conflicting-lengths";
    /// `Transfer-Encoding` is not exactly one `chunked`.
    InvalidTransferEncoding = BAD_REQUEST, "invalid-transfer-encoding";
    /// `Transfer-Encoding` in HTTP/1.0 (RFC 9112 §6.1).
    TransferEncodingInHttp10 = BAD_REQUEST, "transfer-encoding-in-http10";
    /// A chunk's size is not a hexadecimal number of at most 16 digits.
    InvalidChunkSize = BAD_REQUEST, "invalid-chunk-size";
    /// A chunk extension with a control character.
    InvalidChunkExtension = BAD_REQUEST, "invalid-chunk-extension";
    /// A chunk's size line, or the extensions of all chunks, are longer than the limit.
    ChunkExtensionTooLong = BAD_REQUEST, "chunk-extension-too-long";
    /// A chunk is not followed by CRLF.
    MissingChunkEnd = BAD_REQUEST, "missing-chunk-end";
    /// A trailer line is malformed.
    InvalidTrailer = BAD_REQUEST, "invalid-trailer";
    /// A trailer carries framing or routing (RFC 9110 §6.5.1).
    ForbiddenTrailer = BAD_REQUEST, "forbidden-trailer";
    /// The trailer section is larger than the limit.
    TrailersTooLarge = BAD_REQUEST, "trailers-too-large";
}

impl Refusal {
    /// What the reader of a request body is told when the body was refused half-way.
    pub(super) fn body_error(self, limits: &Limits) -> BodyError {
        match self {
            Refusal::BodyTruncated => BodyError::ClientGone,
            Refusal::BodyTooLarge => BodyError::ClientTooLarge(limits.body_bytes),
            Refusal::BodyTimeout => BodyError::ClientTimeout(limits.body_idle),
            other => BodyError::ClientMalformed(other.as_str()),
        }
    }
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
