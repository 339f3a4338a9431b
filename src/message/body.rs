//! Message bodies: whole, stored, or on their way.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use sync_wrapper::SyncWrapper;

use super::ahead::{ReadAhead, Room};

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
        Body::Stream(Streamed::new(Source::Plain(UnsyncBoxBody::new(body)), false))
    }

    /// The same, where what the reader has not taken yet is kept in memory for it.
    pub fn kept_stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Body::Stream(Streamed::new(Source::Plain(UnsyncBoxBody::new(body)), true))
    }

    /// The same body, to be read up to `window` bytes ahead of a reader that is slower than its source, as far as
    /// `room` has any.
    pub fn read_ahead(self, window: u64, room: impl FnOnce() -> Box<dyn Room>) -> Self {
        match self {
            Body::Stream(Streamed { body, is_kept }) => {
                let body = match body.into_inner() {
                    Source::Plain(body) => Source::Ahead(Box::new(ReadAhead::new(body, window, room()))),
                    ahead => ahead,
                };
                Body::Stream(Streamed::new(body, is_kept))
            }
            at_hand => at_hand,
        }
    }

    /// Bytes `start..end` of what `holder` has.
    pub fn stored(holder: Arc<dyn Chunks>, start: u64, end: u64) -> Self {
        if start >= end { Body::Empty } else { Body::Stored(StoredSlice::new(holder, start, end)) }
    }
}

/// A body that is still on its way. It can be read through `&mut` only, so what holds it may be shared
/// between threads whatever it consists of.
pub struct Streamed {
    body: SyncWrapper<Source>,
    is_kept: bool,
}

enum Source {
    Plain(UnsyncBoxBody<Bytes, BodyError>),
    Ahead(Box<ReadAhead>),
}

impl Streamed {
    fn new(body: Source, is_kept: bool) -> Self {
        Streamed { body: SyncWrapper::new(body), is_kept }
    }

    /// Whether what its reader has not taken yet is kept in memory for it.
    pub fn is_kept(&mut self) -> bool {
        match self.body.get_mut() {
            Source::Plain(_) => self.is_kept,
            Source::Ahead(ahead) => ahead.is_kept(),
        }
    }

    /// While whoever reads it takes nothing: reads on, where it is to be read ahead.
    pub fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        if let Source::Ahead(ahead) = self.body.get_mut() {
            ahead.poll_ahead(cx);
        }
    }
}

impl http_body::Body for Streamed {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut().body.get_mut() {
            Source::Plain(body) => Pin::new(body).poll_frame(cx),
            Source::Ahead(ahead) => ahead.poll_frame(cx),
        }
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
    holder: Arc<dyn Chunks>,
    index: usize,
    offset: usize,
    left: u64,
}

/// Whoever holds a body in memory, in pieces. A slice of it holds on to the holder and not to its pieces: all
/// that a hit takes of what is stored is one reference, since each costs the cores that share it.
pub trait Chunks: Send + Sync {
    /// The pieces, in order.
    fn chunks(&self) -> &[Bytes];

    /// Whether nobody but those who read it has use for it any more: it is stored no longer.
    fn is_held_by_readers_alone(&self) -> bool {
        true
    }
}

impl Chunks for Vec<Bytes> {
    fn chunks(&self) -> &[Bytes] {
        self
    }
}

impl StoredSlice {
    /// Bytes `start..end` of the body that `holder` has; clipped to what is there.
    pub fn new(holder: Arc<dyn Chunks>, start: u64, end: u64) -> Self {
        let chunks = holder.chunks();
        let total: u64 = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        let (end, mut skip) = (end.min(total), start.min(total));
        let left = end.saturating_sub(start);
        let mut index = 0;
        while index < chunks.len() && skip >= chunks[index].len() as u64 {
            skip -= chunks[index].len() as u64;
            index += 1;
        }
        StoredSlice { holder, index, offset: skip as usize, left }
    }

    /// How many bytes are left to read.
    pub fn len(&self) -> u64 {
        self.left
    }

    /// Whether the memory comes back when this is dropped, and other readers' slices of the same: the body is not
    /// stored any more.
    pub fn is_held_by_readers_alone(&self) -> bool {
        self.holder.is_held_by_readers_alone()
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.left == 0
    }

    /// The bytes at the front that lie together, without consuming them; empty at the end.
    pub fn front(&self) -> &[u8] {
        match self.holder.chunks().get(self.index) {
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
        let chunks = self.holder.chunks();
        while filled < into.len() && left > 0 && index < chunks.len() {
            let chunk = &chunks[index];
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
        let chunks = self.holder.chunks();
        while count > 0 {
            let here = (chunks[self.index].len() - self.offset) as u64;
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
        let chunks = self.holder.chunks();
        while self.left > 0 && self.index < chunks.len() && chunks[self.index].is_empty() {
            self.index += 1;
        }
        let len = self.front().len();
        if len == 0 {
            return None;
        }
        let piece = self.holder.chunks()[self.index].slice(self.offset..self.offset + len);
        self.advance(len as u64);
        Some(piece)
    }
}

impl std::fmt::Debug for StoredSlice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredSlice({} bytes left)", self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_slice_reads_exactly_its_range_across_chunks() {
        let chunks =
            Arc::new(vec![Bytes::from_static(b"abc"), Bytes::from_static(b"defg"), Bytes::from_static(b"h")]);
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
}
