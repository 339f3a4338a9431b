//! A stored body: whole or one contiguous part of a whole, in chunks that share no memory with anything else.

use std::sync::Arc;

use bytes::Bytes;

use crate::message::{Body, StoredSlice};
use crate::semantics::partial::Span;

/// Bodies up to this size are kept in one piece.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// What is kept of a response's body.
#[derive(Clone, Debug)]
pub struct StoredBody {
    pieces: Pieces,
    /// The place of the first byte in the whole representation; zero unless this is a part.
    first: u64,
    len: u64,
    /// Which part of the representation it is, where it is not the whole.
    part: Option<Span>,
}

#[derive(Clone, Debug)]
enum Pieces {
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl StoredBody {
    /// A whole body from what arrived. Small bodies are put together in one piece.
    pub fn whole(chunks: Vec<Bytes>) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        StoredBody { pieces: Pieces::from(chunks, len), first: 0, len, part: None }
    }

    /// The part `span` of a representation (RFC 9111 §3.3).
    pub fn part(chunks: Vec<Bytes>, span: Span) -> Self {
        let len = chunks.iter().map(|chunk| chunk.len() as u64).sum();
        StoredBody { pieces: Pieces::from(chunks, len), first: span.start, len, part: Some(span) }
    }

    /// Which part of the representation is kept; the whole is one too.
    pub fn span(&self) -> Span {
        let whole = Span { start: 0, end: self.len, complete: Some(self.len), exact: true };
        self.part.unwrap_or(whole)
    }

    /// How many bytes are kept.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether no byte is kept.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether this is only a part of the representation.
    pub fn is_partial(&self) -> bool {
        self.part.is_some()
    }

    /// The length of the whole representation, as far as it is known.
    pub fn complete_length(&self) -> Option<u64> {
        self.span().complete
    }

    /// The bytes of the representation that are kept: `first..end`.
    pub fn extent(&self) -> std::ops::Range<u64> {
        self.first..self.first + self.len
    }

    /// All that is kept, for a client.
    pub fn all(&self) -> Body {
        match &self.pieces {
            Pieces::One(bytes) if bytes.is_empty() => Body::Empty,
            Pieces::One(bytes) => Body::Full(bytes.clone()),
            Pieces::Many(chunks) => Body::Stored(StoredSlice::new(chunks.clone(), 0, self.len)),
        }
    }

    /// Bytes `start..end` of the representation, for a client; clipped to what is kept.
    pub fn slice(&self, start: u64, end: u64) -> Body {
        let start = start.clamp(self.first, self.first + self.len) - self.first;
        let end = end.clamp(self.first, self.first + self.len) - self.first;
        if start >= end {
            return Body::Empty;
        }
        match &self.pieces {
            Pieces::One(bytes) => Body::Full(bytes.slice(start as usize..end as usize)),
            Pieces::Many(chunks) => Body::Stored(StoredSlice::new(chunks.clone(), start, end)),
        }
    }

    /// The chunks, for putting parts together.
    pub fn chunks(&self) -> Vec<Bytes> {
        match &self.pieces {
            Pieces::One(bytes) => vec![bytes.clone()],
            Pieces::Many(chunks) => chunks.to_vec(),
        }
    }

    /// Bytes this body takes in memory beyond the struct itself.
    pub fn weight(&self) -> u64 {
        /// A chunk's handle, its reference count, and the allocator's rounding.
        const PER_CHUNK: u64 = 32 + 24 + 16;
        match &self.pieces {
            Pieces::One(bytes) if bytes.is_empty() => 0,
            Pieces::One(_) => self.len + 40,
            Pieces::Many(chunks) => self.len + chunks.len() as u64 * PER_CHUNK + 16,
        }
    }
}

impl Pieces {
    /// Puts chunks together to few large ones: large writes are cheap, and each chunk costs memory.
    fn from(mut chunks: Vec<Bytes>, len: u64) -> Self {
        if chunks.len() == 1 && len <= CHUNK_BYTES as u64 {
            return Pieces::One(chunks.pop().unwrap_or_default());
        }
        if len <= CHUNK_BYTES as u64 {
            let mut all = Vec::with_capacity(len as usize);
            chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
            return Pieces::One(Bytes::from(all));
        }
        let mut large = Vec::with_capacity(len as usize / CHUNK_BYTES + 1);
        let mut left = len as usize;
        let mut gathered = Vec::new();
        for chunk in chunks {
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                if gathered.capacity() == 0 {
                    gathered.reserve_exact(left.min(CHUNK_BYTES));
                }
                let take = rest.len().min(CHUNK_BYTES - gathered.len());
                gathered.extend_from_slice(&rest[..take]);
                rest = &rest[take..];
                left -= take;
                if gathered.len() == CHUNK_BYTES {
                    large.push(Bytes::from(std::mem::take(&mut gathered)));
                }
            }
        }
        if !gathered.is_empty() {
            large.push(Bytes::from(gathered));
        }
        Pieces::Many(Arc::from(large))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

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
            assert_eq!(read(body.all()).await, want);
            let (start, end) = (want.len() / 3, want.len() * 2 / 3);
            assert_eq!(read(body.slice(start as u64, end as u64)).await, want[start..end]);
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
        assert_eq!(read(part.slice(3, 5)).await, "de");
        assert_eq!(read(part.slice(0, 3)).await, "c");
    }
}
