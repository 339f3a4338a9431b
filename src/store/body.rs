//! A stored body: whole or one contiguous part of a whole, in chunks that share no memory with anything else.

use std::sync::Arc;

use bytes::Bytes;

use super::budget::{Budget, HANDLE_BYTES, chunk_weight};
use crate::message::Chunks;
use crate::semantics::partial::Span;

/// Bodies up to this size are kept in one piece.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Bodies up to this size are copied to be kept, if somebody else holds them too: to the one who asked for it
/// they are on their way. They carry no charge of their own: a client is sent a copy of them, and holds nothing
/// of what is stored.
pub const COPIED_BYTES: u64 = 4096;

/// What is kept of a response's body. As large as one `Bytes`: most bodies are small and whole.
#[derive(Clone, Debug)]
pub struct StoredBody(Shape);

#[derive(Clone, Debug)]
enum Shape {
    /// A whole body in one piece.
    One(Bytes),
    Other(Arc<Pieced>),
}

/// A body in several pieces, or a part of one.
#[derive(Debug)]
struct Pieced {
    chunks: Box<[Bytes]>,
    len: u64,
    /// Which part of the representation it is, where it is not the whole.
    part: Option<Span>,
}

impl StoredBody {
    /// A whole body from what arrived. Small bodies are put together in one piece.
    pub fn whole(chunks: Vec<Bytes>) -> Self {
        Self::of(chunks, None)
    }

    /// The part `span` of a representation (RFC 9111 §3.3).
    pub fn part(chunks: Vec<Bytes>, span: Span) -> Self {
        Self::of(chunks, Some(span))
    }

    fn of(chunks: Vec<Bytes>, part: Option<Span>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        Self::shaped(gather(chunks, len), len, part)
    }

    /// A body whose chunks are charged to `budget` for as long as anybody holds them.
    pub(super) fn charged(chunks: &[Bytes], part: Option<Span>, budget: &Arc<Budget>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        if len <= COPIED_BYTES {
            return Self::shaped(gather(chunks.to_vec(), len), len, part);
        }
        let mut pieces = Vec::with_capacity(len as usize / CHUNK_BYTES + 1);
        cut(chunks, len, |piece| pieces.push(budget.stored(piece)));
        Self::shaped(pieces, len, part)
    }

    fn shaped(mut chunks: Vec<Bytes>, len: u64, part: Option<Span>) -> Self {
        if part.is_none() && chunks.len() <= 1 {
            return StoredBody(Shape::One(chunks.pop().unwrap_or_default()));
        }
        StoredBody(Shape::Other(Arc::new(Pieced { chunks: chunks.into_boxed_slice(), len, part })))
    }

    fn declared_part(&self) -> Option<Span> {
        match &self.0 {
            Shape::One(_) => None,
            Shape::Other(pieced) => pieced.part,
        }
    }

    /// Which part of the representation is kept; the whole is one too.
    pub fn span(&self) -> Span {
        let len = self.len();
        self.declared_part().unwrap_or(Span { start: 0, end: len, complete: Some(len), exact: true })
    }

    /// How many bytes are kept.
    pub fn len(&self) -> u64 {
        match &self.0 {
            Shape::One(bytes) => bytes.len() as u64,
            Shape::Other(pieced) => pieced.len,
        }
    }

    /// Whether no byte is kept.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether this is only a part of the representation.
    pub fn is_partial(&self) -> bool {
        self.declared_part().is_some()
    }

    /// The length of the whole representation, as far as it is known.
    pub fn complete_length(&self) -> Option<u64> {
        self.span().complete
    }

    /// The bytes of the representation that are kept: `first..end`.
    pub fn extent(&self) -> std::ops::Range<u64> {
        let first = self.declared_part().map_or(0, |span| span.start);
        first..first + self.len()
    }

    /// Bytes `start..end` of the representation, clipped to what is kept, as bytes of what is kept.
    pub fn clip(&self, start: u64, end: u64) -> std::ops::Range<u64> {
        let kept = self.extent();
        start.clamp(kept.start, kept.end) - kept.start..end.clamp(kept.start, kept.end) - kept.start
    }

    /// What is kept, piece by piece, to be kept with more.
    pub fn pieces(&self) -> Vec<Bytes> {
        match &self.0 {
            Shape::One(bytes) if bytes.is_empty() => Vec::new(),
            Shape::One(bytes) => vec![bytes.clone()],
            Shape::Other(pieced) => pieced.chunks.to_vec(),
        }
    }

    /// What its chunks are charged with wherever they are held.
    pub(super) fn charged_bytes(&self) -> u64 {
        match self.len() {
            0..=COPIED_BYTES => 0,
            _ => self.chunks().iter().map(|chunk| chunk_weight(chunk.len())).sum(),
        }
    }

    /// Whether it has the very bytes that `other` has.
    pub(super) fn is_shared_with(&self, other: &StoredBody) -> bool {
        let first = |body: &StoredBody| body.chunks().first().map(|chunk| chunk.as_ptr());
        self.len() == other.len() && first(self).is_some_and(|bytes| Some(bytes) == first(other))
    }

    /// Bytes this body takes in memory beyond the struct itself, the allocator's rounding included.
    pub fn weight(&self) -> u64 {
        /// A chunk's handle, and its reference count once it was handed out.
        const PER_CHUNK: u64 = 32 + HANDLE_BYTES;
        const PIECED: u64 = 112;
        match &self.0 {
            Shape::One(bytes) if bytes.is_empty() => 0,
            Shape::One(bytes) if bytes.len() as u64 > COPIED_BYTES => chunk_weight(bytes.len()),
            Shape::One(bytes) => rounded(bytes.len() as u64) + 32,
            Shape::Other(pieced) => {
                let bytes: u64 = pieced.chunks.iter().map(|chunk| rounded(chunk.len() as u64)).sum();
                bytes + pieced.chunks.len() as u64 * PER_CHUNK + PIECED
            }
        }
    }
}

impl Chunks for StoredBody {
    fn chunks(&self) -> &[Bytes] {
        match &self.0 {
            Shape::One(bytes) => std::slice::from_ref(bytes),
            Shape::Other(pieced) => &pieced.chunks,
        }
    }
}

/// What jemalloc takes for so many bytes: its classes are a quarter of a power of two apart, and not less
/// than 16 bytes; from 16 KiB on each begins on a page of its own.
pub(super) fn rounded(bytes: u64) -> u64 {
    match bytes {
        0 => 0,
        1..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of((bytes.next_power_of_two() / 8).max(16)),
    }
}

/// Puts chunks together to few large ones: large writes are cheap, and each chunk costs memory.
fn gather(chunks: Vec<Bytes>, len: u64) -> Vec<Bytes> {
    if len == 0 {
        return Vec::new();
    }
    if chunks.len() == 1 && len <= CHUNK_BYTES as u64 {
        // A handle that is shared has a count of its own for as long as it is stored. A copy has none until it is
        // asked for, and most are never asked for.
        let is_shared = len <= COPIED_BYTES && !chunks[0].is_unique();
        return if is_shared { vec![Bytes::copy_from_slice(&chunks[0])] } else { chunks };
    }
    if len <= CHUNK_BYTES as u64 {
        let mut all = Vec::with_capacity(len as usize);
        chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
        return vec![Bytes::from(all)];
    }
    let mut large = Vec::with_capacity(len as usize / CHUNK_BYTES + 1);
    cut(&chunks, len, |piece| large.push(Bytes::from(piece)));
    large
}

/// Cuts what is in `chunks` into pieces of [`CHUNK_BYTES`], and a smaller last one.
fn cut(chunks: &[Bytes], len: u64, mut take: impl FnMut(Vec<u8>)) {
    let mut left = len as usize;
    let mut gathered = Vec::new();
    for chunk in chunks {
        let mut rest = &chunk[..];
        while !rest.is_empty() {
            if gathered.capacity() == 0 {
                gathered.reserve_exact(left.min(CHUNK_BYTES));
            }
            let part = rest.len().min(CHUNK_BYTES - gathered.len());
            gathered.extend_from_slice(&rest[..part]);
            rest = &rest[part..];
            left -= part;
            if gathered.len() == CHUNK_BYTES {
                take(std::mem::take(&mut gathered));
            }
        }
    }
    if !gathered.is_empty() {
        take(gathered);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Body;
    use http_body_util::BodyExt;

    fn all(body: &StoredBody) -> Body {
        Body::stored(Arc::new(body.clone()), 0, body.len())
    }

    fn slice(body: &StoredBody, start: u64, end: u64) -> Body {
        let range = body.clip(start, end);
        Body::stored(Arc::new(body.clone()), range.start, range.end)
    }

    async fn read(body: Body) -> Bytes {
        body.collect().await.unwrap().to_bytes()
    }

    #[tokio::test]
    async fn a_body_is_read_back_as_it_came_in_whatever_its_chunks() {
        for (count, size) in [(0, 1), (1, 10), (7, 100), (3, CHUNK_BYTES), (5, CHUNK_BYTES / 3 + 1)] {
            let chunks: Vec<Bytes> = (0..count).map(|i| Bytes::from(vec![i as u8; size])).collect();
            let want: Vec<u8> = chunks.concat();
            let body = StoredBody::whole(chunks);
            assert_eq!(body.len(), want.len() as u64);
            assert_eq!(read(all(&body)).await, want);
            let (start, end) = (want.len() / 3, want.len() * 2 / 3);
            assert_eq!(read(slice(&body, start as u64, end as u64)).await, want[start..end]);
        }
    }

    #[test]
    fn a_body_is_no_larger_than_its_handle_and_weighs_what_the_allocator_takes() {
        assert_eq!(size_of::<StoredBody>(), size_of::<Bytes>());
        for (bytes, class) in [(1, 16), (100, 112), (129, 160), (1024, 1024), (1025, 1280), (70_000, 81_920)]
        {
            assert_eq!(rounded(bytes), class);
        }
    }

    #[tokio::test]
    async fn a_part_knows_its_place() {
        let part = StoredBody::part(
            vec![Bytes::from_static(b"cdef")],
            Span { start: 2, end: 6, complete: Some(10), exact: true },
        );
        assert_eq!(part.extent(), 2..6);
        assert_eq!(part.complete_length(), Some(10));
        assert_eq!(read(slice(&part, 3, 5)).await, "de");
        assert_eq!(read(slice(&part, 0, 3)).await, "c");
    }
}
