//! The values passed along the journey: [`Request`], [`Response`], [`Body`], [`Outcome`].
//!
//! They belong to no room; every room may use them. They decide nothing.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, Version};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use sync_wrapper::SyncWrapper;

use crate::clock::Moment;

/// Where a request came from: the other end of the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// A TCP client.
    Tcp(SocketAddr),
    /// A client of a Unix socket; it has no address.
    Unix,
}

impl Peer {
    /// The client's address, where it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
            Peer::Unix => None,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Tcp(address) => address.fmt(f),
            Peer::Unix => f.write_str("unix"),
        }
    }
}

/// One request as the listener read it: its framing is sound, nothing else about it has been judged.
#[derive(Debug)]
pub struct Request {
    pub method: Method,
    /// The request target exactly as it was sent (RFC 9112 §3.2): origin, absolute, authority or asterisk form.
    pub target: Bytes,
    /// HTTP/1.0 or HTTP/1.1.
    pub version: Version,
    /// All fields, hop-by-hop ones included, in the order in which they came.
    pub headers: HeaderMap,
    pub body: Body,
    /// What the client said about the body's length.
    pub length: Length,
    pub peer: Peer,
    /// When the request's head was complete.
    pub received: Moment,
    /// Takes interim (1xx) responses for the client; they are written before the final one.
    pub interim: InterimSender,
}

/// How long a body is, as far as its sender has said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// Exactly so many bytes: `Content-Length`.
    Known(u64),
    /// As many as come: chunked, or until the connection closes.
    Unknown,
}

/// A sender of interim responses (RFC 9110 §15.2) to one client. Cheap to clone.
///
/// Sending never waits: past the listener's bound, or when the client is an HTTP/1.0 one or gone,
/// the interim response is dropped, which the standard allows.
#[derive(Clone, Default)]
pub struct InterimSender(Option<Arc<dyn InterimSink>>);

/// Whoever takes interim responses from an [`InterimSender`]. Taking never waits, and may drop.
pub trait InterimSink: Send + Sync {
    /// Takes one interim response, or drops it.
    fn take(&self, interim: Interim);
}

impl InterimSink for tokio::sync::mpsc::Sender<Interim> {
    fn take(&self, interim: Interim) {
        // Full or closed: an interim response may always be left out.
        let _ = self.try_send(interim);
    }
}

/// An interim response: 103 and the other 1xx but 101.
#[derive(Clone, Debug)]
pub struct Interim {
    pub status: StatusCode,
    pub fields: FieldLines,
}

impl InterimSender {
    /// A sender whose interim responses go to `listener`.
    pub fn new(listener: tokio::sync::mpsc::Sender<Interim>) -> Self {
        InterimSender(Some(Arc::new(listener)))
    }

    /// A sender whose interim responses go to `sink`: for a listener that reuses one sink per connection.
    pub fn to(sink: Arc<dyn InterimSink>) -> Self {
        InterimSender(Some(sink))
    }

    /// A sender that drops all it is given.
    pub fn none() -> Self {
        InterimSender(None)
    }

    /// Hands over one interim response; drops it if there is no room or nobody to take it.
    pub fn send(&self, interim: Interim) {
        if let Some(sink) = &self.0 {
            sink.take(interim);
        }
    }
}

impl std::fmt::Debug for InterimSender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "InterimSender" } else { "InterimSender(none)" })
    }
}

/// One response on its way to a client. The listener adds only the framing: `Content-Length`,
/// `Transfer-Encoding`, `Connection` and, where it is absent, `Date`.
#[derive(Debug)]
pub struct Response {
    pub status: StatusCode,
    /// End-to-end fields without the framing ones.
    pub fields: FieldLines,
    pub body: Body,
    /// The length of the body that a GET would get. For a HEAD or a 304 the body is [`Body::Empty`]
    /// while this may still be known. `Unknown` with an empty body means: send no `Content-Length`.
    pub length: Length,
    /// The connection must end after this response.
    pub close: bool,
    /// For a 101: the tunnel to splice the connection to after the head was written.
    pub tunnel: Option<Tunnel>,
    pub outcome: Box<Outcome>,
}

/// Serialised field lines, each `name: value\r\n`: ready to be written to an HTTP/1.1 connection.
///
/// `shared` is a stored response's block, written as it is; `own` holds what was added for this response.
#[derive(Clone, Debug, Default)]
pub struct FieldLines {
    pub shared: Bytes,
    pub own: Vec<u8>,
}

impl FieldLines {
    /// No lines.
    pub fn new() -> Self {
        Self::default()
    }

    /// The lines of a header map, in its order.
    pub fn from_map(map: &HeaderMap) -> Self {
        let mut lines = FieldLines::new();
        lines.own.reserve(map.iter().map(|(n, v)| n.as_str().len() + v.len() + 4).sum());
        for (name, value) in map {
            lines.push(name.as_str(), value.as_bytes());
        }
        lines
    }

    /// Adds one line. `name` and `value` must be a valid field name and value: they are not checked.
    pub fn push(&mut self, name: &str, value: &[u8]) {
        self.own.extend_from_slice(name.as_bytes());
        self.own.extend_from_slice(b": ");
        self.own.extend_from_slice(value);
        self.own.extend_from_slice(b"\r\n");
    }

    /// All lines as name and value, the shared ones first.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        lines_of(&self.shared).chain(lines_of(&self.own))
    }
}

/// The lines of a serialised block as name and value.
pub fn lines_of(block: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut rest = block;
    std::iter::from_fn(move || {
        let colon = memchr::memchr(b':', rest)?;
        let end = memchr::memchr(b'\r', rest)?;
        let (name, value) = (&rest[..colon], &rest[(colon + 2).min(end)..end]);
        rest = rest.get(end + 2..).unwrap_or_default();
        Some((name, value))
    })
}

/// Two byte streams to copy between until both ends are done.
pub struct Tunnel {
    pub origin: Pin<Box<dyn Duplex>>,
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tunnel")
    }
}

/// A byte stream both ways.
pub trait Duplex: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send {}
impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send> Duplex for T {}

/// A message body, whole or still arriving.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Full(Bytes),
    /// A part of a stored body, shared with the store.
    Stored(StoredSlice),
    /// Bytes that are still on their way. An error, or an end before the announced length, means that
    /// the body did not arrive whole: whoever passes it on must break off, never end it cleanly.
    Stream(Streamed),
}

impl Body {
    /// A body that streams from `body`.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Body::Stream(Streamed(SyncWrapper::new(UnsyncBoxBody::new(body))))
    }
}

/// A body that is still on its way. It can be read through `&mut` only, so what holds it may be shared
/// between threads whatever it consists of.
pub struct Streamed(SyncWrapper<UnsyncBoxBody<Bytes, BodyError>>);

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        Pin::new(self.get_mut().0.get_mut()).poll_frame(cx)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Body::Empty => f.write_str("Empty"),
            Body::Full(bytes) => write!(f, "Full({} bytes)", bytes.len()),
            Body::Stored(slice) => write!(f, "Stored({} bytes)", slice.len()),
            Body::Stream(_) => f.write_str("Stream"),
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            Body::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Body::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Body::Stored(slice) => Poll::Ready(slice.next_chunk().map(|bytes| Ok(Frame::data(bytes)))),
            Body::Stream(stream) => Pin::new(stream).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(bytes) => bytes.is_empty(),
            Body::Stored(slice) => slice.is_empty(),
            Body::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> http_body::SizeHint {
        match self {
            Body::Empty => http_body::SizeHint::with_exact(0),
            Body::Full(bytes) => http_body::SizeHint::with_exact(bytes.len() as u64),
            Body::Stored(slice) => http_body::SizeHint::with_exact(slice.len()),
            Body::Stream(_) => http_body::SizeHint::default(),
        }
    }
}

/// Why a body did not arrive whole.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the client broke off its request body")]
    ClientGone,
    #[error("the client's body is malformed: {0}")]
    ClientMalformed(&'static str),
    #[error("the client sent no part of its body for {0:?}")]
    ClientTimeout(Duration),
    #[error("the client's body is larger than the limit of {0} bytes")]
    ClientTooLarge(u64),
    #[error("the origin broke off its response body: {0}")]
    OriginBroke(Arc<str>),
    #[error("the origin sent no part of its body for {0:?}")]
    OriginTimeout(Duration),
    #[error("this reader fell behind the part of the body that is kept")]
    FellBehind,
    #[error("Larder gave the body up: {0}")]
    Abandoned(&'static str),
}

/// A contiguous part of a stored body: cheap to clone, and read without copying.
#[derive(Clone)]
pub struct StoredSlice {
    chunks: Arc<[Bytes]>,
    index: usize,
    offset: usize,
    left: u64,
}

impl StoredSlice {
    /// Bytes `start..end` of the body that `chunks` hold; clipped to what is there.
    pub fn new(chunks: Arc<[Bytes]>, start: u64, end: u64) -> Self {
        let total: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let (end, mut skip) = (end.min(total), start.min(total));
        let left = end.saturating_sub(start);
        let mut index = 0;
        while index < chunks.len() && skip >= chunks[index].len() as u64 {
            skip -= chunks[index].len() as u64;
            index += 1;
        }
        StoredSlice { chunks, index, offset: skip as usize, left }
    }

    /// How many bytes are left to read.
    pub fn len(&self) -> u64 {
        self.left
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The bytes at the front that lie together, without consuming them; empty at the end.
    pub fn front(&self) -> &[u8] {
        match self.chunks.get(self.index) {
            Some(chunk) if self.left > 0 => {
                let len = (chunk.len() - self.offset).min(usize::try_from(self.left).unwrap_or(usize::MAX));
                &chunk[self.offset..self.offset + len]
            }
            _ => &[],
        }
    }

    /// Fills `into` with the next pieces, in order, for a vectored write; answers how many it filled.
    pub fn fill<'a>(&'a self, into: &mut [std::io::IoSlice<'a>]) -> usize {
        let (mut index, mut offset, mut left, mut filled) = (self.index, self.offset, self.left, 0);
        while filled < into.len() && left > 0 && index < self.chunks.len() {
            let chunk = &self.chunks[index];
            let len = (chunk.len() - offset).min(usize::try_from(left).unwrap_or(usize::MAX));
            into[filled] = std::io::IoSlice::new(&chunk[offset..offset + len]);
            filled += 1;
            left -= len as u64;
            index += 1;
            offset = 0;
        }
        filled
    }

    /// Consumes `count` bytes from the front.
    pub fn advance(&mut self, count: u64) {
        let mut count = count.min(self.left);
        self.left -= count;
        while count > 0 {
            let here = (self.chunks[self.index].len() - self.offset) as u64;
            if count < here {
                self.offset += count as usize;
                return;
            }
            count -= here;
            self.index += 1;
            self.offset = 0;
        }
    }

    /// Takes the next contiguous piece.
    pub fn next_chunk(&mut self) -> Option<Bytes> {
        while self.left > 0 && self.index < self.chunks.len() && self.chunks[self.index].is_empty() {
            self.index += 1;
        }
        let len = self.front().len();
        if len == 0 {
            return None;
        }
        let piece = self.chunks[self.index].slice(self.offset..self.offset + len);
        self.advance(len as u64);
        Some(piece)
    }
}

impl std::fmt::Debug for StoredSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredSlice({} bytes left)", self.left)
    }
}

/// What became of a request: what the access log, the metrics and `Cache-Status` tell.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// A number unique in this process, shown to clients on error pages and in the log.
    pub request_id: RequestId,
    pub result: CacheResult,
    /// The named reason behind the result, such as `no-store` or `uri-miss`; from the verdicts' own names.
    pub detail: &'static str,
    /// Which backend was asked, if any was.
    pub backend: Option<Arc<str>>,
    pub method: Method,
    /// Host in normal form; empty where the request had none that was valid.
    pub host: Box<str>,
    /// Path and query as asked for.
    pub target: Bytes,
    pub version: Version,
    pub peer: Peer,
    pub received: Moment,
    /// From the request being sent to the origin until its head came.
    pub origin_wait: Option<Duration>,
    /// The failure that the response tells of, in words for the operator.
    pub error: Option<String>,
}

/// The one-word answer to "was it a hit?": the label of the request metrics and the access log's `cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CacheResult {
    /// Served from memory, fresh.
    Hit,
    /// Served from memory, stale, as the rules for stale responses allow.
    Stale,
    /// Served from memory after the origin confirmed it (304).
    Revalidated,
    /// Fetched from the origin for this request.
    Miss,
    /// Waited for, and shared, a fetch that another request had begun.
    Collapsed,
    /// Handed to the origin without looking into the cache.
    Pass,
    /// Answered by Larder itself: purge, `only-if-cached`, OPTIONS * …
    Synthetic,
    /// The request was refused: malformed, too large, too slow, not allowed.
    Refused,
    /// The origin failed and there was nothing to serve instead.
    Failed,
    /// A protocol switch that was tunnelled.
    Tunnel,
}

impl CacheResult {
    /// All results, for metrics that are declared once.
    pub const ALL: [CacheResult; 10] = [
        CacheResult::Hit,
        CacheResult::Stale,
        CacheResult::Revalidated,
        CacheResult::Miss,
        CacheResult::Collapsed,
        CacheResult::Pass,
        CacheResult::Synthetic,
        CacheResult::Refused,
        CacheResult::Failed,
        CacheResult::Tunnel,
    ];

    /// The word used in logs and metric labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            CacheResult::Hit => "hit",
            CacheResult::Stale => "stale",
            CacheResult::Revalidated => "revalidated",
            CacheResult::Miss => "miss",
            CacheResult::Collapsed => "collapsed",
            CacheResult::Pass => "pass",
            CacheResult::Synthetic => "synthetic",
            CacheResult::Refused => "refused",
            CacheResult::Failed => "failed",
            CacheResult::Tunnel => "tunnel",
        }
    }
}

/// Ties what a client was shown to what the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(pub u64);

impl std::fmt::Display for RequestId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_slice_reads_exactly_its_range_across_chunks() {
        let chunks: Arc<[Bytes]> = Arc::from(vec![
            Bytes::from_static(b"abc"),
            Bytes::from_static(b"defg"),
            Bytes::from_static(b"h"),
        ]);
        for start in 0..=8u64 {
            for end in start..=9u64 {
                let mut slice = StoredSlice::new(chunks.clone(), start, end);
                let mut read = Vec::new();
                while let Some(piece) = slice.next_chunk() {
                    read.extend_from_slice(&piece);
                }
                let want = &b"abcdefgh"[start as usize..(end as usize).min(8)];
                assert_eq!(read, want, "{start}..{end}");
                let slice = StoredSlice::new(chunks.clone(), start, end);
                let mut pieces = [std::io::IoSlice::new(&[]); 4];
                let filled = slice.fill(&mut pieces);
                assert_eq!(
                    pieces[..filled].iter().flat_map(|piece| piece.iter().copied()).collect::<Vec<_>>(),
                    want
                );
            }
        }
    }

    #[test]
    fn field_lines_read_back_as_written() {
        let mut lines = FieldLines::new();
        lines.push("a", b"1");
        lines.push("b", b"");
        lines.push("c", b"x: y");
        let read: Vec<_> = lines.iter().collect();
        assert_eq!(read, [(&b"a"[..], &b"1"[..]), (b"b", b""), (b"c", b"x: y")]);
    }
}
