//! A body that one origin connection fills and any number of clients read while it grows.
//!
//! The writer copies what arrives (a frame from the origin's connection pins its whole read buffer) and
//! each reader keeps its own place, so a slow reader holds nobody up. There are two ways to keep it:
//!
//! - **kept**: every chunk stays, because the body is to be stored. The writer never waits; how large the
//!   body may become is the [`Budget`](crate::store::Budget)'s affair. Once it is stored, those who have not read
//!   all of it read what is stored ([`Tape::continue_with`]): it is in memory once.
//! - **windowed**: the body is not (any more) to be stored, or never was. The writer waits while it is a window ahead of
//!   the fastest reader. Chunks that all have read are dropped; a reader that is more than two windows
//!   behind the fastest, or more than had been kept until then, is cut off ([`BodyError::FellBehind`]), so
//!   memory stays bounded and nobody waits for the slowest. The fastest itself is never cut off: a single
//!   slow reader gets all of it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;
use parking_lot::Mutex;

use crate::message::BodyError;

/// The shared body. The lock is held for a few instructions only, never across an await.
#[derive(Debug)]
pub struct Tape {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// The chunks from number `dropped` on.
    chunks: std::collections::VecDeque<Bytes>,
    /// How many chunks, and how many bytes, were dropped from the front.
    dropped: usize,
    dropped_bytes: u64,
    written: u64,
    /// `None` keeps everything; otherwise the window in bytes.
    window: Option<u64>,
    /// How far behind the fastest reader another may be, in bytes, where there is a window.
    reach: u64,
    end: Option<End>,
    /// One slot per reader; a free slot is `None`.
    readers: Vec<Option<ReaderState>>,
    /// The writer, where it waits for readers to catch up.
    writer: Option<Waker>,
}

#[derive(Debug)]
struct ReaderState {
    /// The next chunk to read, counted from the start of the body.
    next: usize,
    /// How much of that chunk has been read.
    skip: usize,
    /// Bytes read so far.
    read: u64,
    waker: Option<Waker>,
}

#[derive(Clone, Debug)]
enum End {
    Whole(Option<HeaderMap>),
    Broken(BodyError),
}

impl Tape {
    /// An empty tape that keeps everything it is given.
    pub fn kept() -> Arc<Self> {
        Self::new(None)
    }

    /// An empty tape that keeps about `window` bytes.
    pub fn windowed(window: u64) -> Arc<Self> {
        Self::new(Some(window))
    }

    fn new(window: Option<u64>) -> Arc<Self> {
        Arc::new(Tape {
            state: Mutex::new(State {
                chunks: Default::default(),
                dropped: 0,
                dropped_bytes: 0,
                written: 0,
                window,
                reach: window.unwrap_or_default().saturating_mul(2),
                end: None,
                readers: Vec::new(),
                writer: None,
            }),
        })
    }

    /// Adds a chunk at the end and wakes the readers. The chunk must not share memory with a larger buffer.
    pub fn push(&self, chunk: Bytes) {
        if chunk.is_empty() {
            return;
        }
        let mut state = self.state.lock();
        state.written += chunk.len() as u64;
        state.chunks.push_back(chunk);
        state.trim();
        state.wake_readers();
    }

    /// Ends the body: it is whole.
    pub fn finish(&self, trailers: Option<HeaderMap>) {
        self.end(End::Whole(trailers));
    }

    /// Ends the body: it broke. Readers get the error after what did arrive.
    pub fn fail(&self, error: BodyError) {
        self.end(End::Broken(error));
    }

    fn end(&self, end: End) {
        let mut state = self.state.lock();
        if state.end.is_none() {
            state.end = Some(end);
        }
        state.wake_readers();
    }

    /// From now on the body is not to be stored: keep a window only. What was kept is paid for, and stays
    /// within reach of those who have not come so far yet.
    pub fn stop_keeping(&self, window: u64) {
        let mut state = self.state.lock();
        state.window = Some(window);
        state.reach = state.written.max(window.saturating_mul(2));
        state.trim();
    }

    /// From now on the chunks are `pieces`, of the same bytes: what a reader has not read yet it reads of these.
    pub fn continue_with(&self, pieces: Vec<Bytes>) {
        let mut state = self.state.lock();
        let bytes: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if state.dropped > 0 || bytes != state.written {
            return;
        }
        for reader in state.readers.iter_mut().flatten() {
            let mut left = reader.read;
            reader.next = 0;
            while let Some(piece) = pieces.get(reader.next).filter(|piece| piece.len() as u64 <= left) {
                left -= piece.len() as u64;
                reader.next += 1;
            }
            reader.skip = left as usize;
        }
        state.chunks = pieces.into();
    }

    /// Waits until there is room to write: at once for a kept tape. Cancel safe. `window` says how far the writer
    /// may be ahead now, if that is less than the tape's own window. `Err` when every reader of a windowed tape has
    /// gone, so that nobody is left to write for.
    pub async fn room(&self, window: impl Fn() -> u64) -> Result<(), Deserted> {
        std::future::poll_fn(|cx| {
            let mut state = self.state.lock();
            let Some(own) = state.window else { return Poll::Ready(Ok(())) };
            let window = own.min(window());
            match state.readers.iter().flatten().map(|reader| reader.read).max() {
                None => Poll::Ready(Err(Deserted)),
                Some(fastest) if state.written.saturating_sub(fastest) < window => Poll::Ready(Ok(())),
                Some(_) => {
                    state.writer = Some(cx.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await
    }

    /// A new reader at the start of the body; `None` if the start is no longer kept.
    pub fn reader(self: &Arc<Self>) -> Option<Reader> {
        let mut state = self.state.lock();
        if state.dropped > 0 {
            return None;
        }
        let reader = ReaderState { next: 0, skip: 0, read: 0, waker: None };
        let slot = match state.readers.iter().position(Option::is_none) {
            Some(free) => {
                state.readers[free] = Some(reader);
                free
            }
            None => {
                state.readers.push(Some(reader));
                state.readers.len() - 1
            }
        };
        Some(Reader { tape: self.clone(), slot, done: false })
    }

    /// How many bytes have been written.
    pub fn written(&self) -> u64 {
        self.state.lock().written
    }

    /// All that was written, if nothing of it was dropped.
    pub fn chunks(&self) -> Option<Vec<Bytes>> {
        let state = self.state.lock();
        (state.dropped == 0).then(|| state.chunks.iter().cloned().collect())
    }
}

/// Nobody reads this windowed tape any more.
#[derive(Debug, PartialEq, Eq)]
pub struct Deserted;

impl State {
    fn wake_readers(&mut self) {
        for reader in self.readers.iter_mut().flatten() {
            if let Some(waker) = reader.waker.take() {
                waker.wake();
            }
        }
    }

    /// Drops chunks that no reader needs, or that lie too far behind the fastest one.
    fn trim(&mut self) {
        if self.window.is_none() {
            return;
        }
        let needed_from = self.readers.iter().flatten().map(|reader| reader.next).min();
        let fastest = self.readers.iter().flatten().map(|reader| reader.read).max().unwrap_or(self.written);
        while let Some(front) = self.chunks.front() {
            let read_by_all = needed_from.is_some_and(|needed| self.dropped < needed);
            let too_far_back = fastest.saturating_sub(self.dropped_bytes + front.len() as u64) > self.reach;
            if !read_by_all && !too_far_back {
                break;
            }
            self.dropped += 1;
            self.dropped_bytes += front.len() as u64;
            self.chunks.pop_front();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

/// One reader's place on the tape: an [`http_body::Body`]. Dropping it frees its place.
#[derive(Debug)]
pub struct Reader {
    tape: Arc<Tape>,
    slot: usize,
    done: bool,
}

impl http_body::Body for Reader {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.done {
            return Poll::Ready(None);
        }
        let slot = self.slot;
        let tape = self.tape.clone();
        let mut guard = tape.state.lock();
        let state = &mut *guard;
        let Some(Some(reader)) = state.readers.get_mut(slot) else { return Poll::Ready(None) };
        if reader.next < state.dropped {
            self.done = true;
            return Poll::Ready(Some(Err(BodyError::FellBehind)));
        }
        if let Some(chunk) = state.chunks.get(reader.next - state.dropped) {
            let chunk = chunk.slice(std::mem::take(&mut reader.skip)..);
            reader.next += 1;
            reader.read += chunk.len() as u64;
            if state.window.is_some() {
                state.trim();
                state.wake_writer();
            }
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        match &state.end {
            Some(End::Whole(trailers)) => {
                self.done = true;
                Poll::Ready(trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))))
            }
            Some(End::Broken(error)) => {
                self.done = true;
                Poll::Ready(Some(Err(error.clone())))
            }
            None => {
                if !reader.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                    reader.waker = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.tape.state.lock();
        state.readers[self.slot] = None;
        if state.window.is_some() {
            state.trim();
            state.wake_writer();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn next(reader: &mut Reader) -> Result<Option<Bytes>, BodyError> {
        Ok(reader.frame().await.transpose()?.and_then(|frame| frame.into_data().ok()))
    }

    #[tokio::test]
    async fn every_reader_of_a_kept_tape_gets_every_byte_however_late_it_came() {
        let tape = Tape::kept();
        let mut early = tape.reader().unwrap();
        tape.push(Bytes::from_static(b"one"));
        assert_eq!(next(&mut early).await.unwrap().unwrap(), "one");
        tape.push(Bytes::from_static(b"two"));
        let late = tape.reader().unwrap();
        tape.finish(None);
        assert_eq!(late.collect().await.unwrap().to_bytes(), "onetwo");
        assert_eq!(next(&mut early).await.unwrap().unwrap(), "two");
        assert_eq!(next(&mut early).await.unwrap(), None);
        assert_eq!(tape.chunks().unwrap().concat(), b"onetwo");
    }

    #[tokio::test]
    async fn readers_go_on_where_they_were_when_the_body_is_stored_in_other_pieces() {
        let (chunks, pieces) = (["abc", "d", "efgh", "ij"], ["ab", "cdefg", "hij"]);
        for read_before in 0..=chunks.len() {
            let tape = Tape::kept();
            let mut reader = tape.reader().unwrap();
            chunks.iter().for_each(|chunk| tape.push(Bytes::from_static(chunk.as_bytes())));
            let mut all = Vec::new();
            for _ in 0..read_before {
                all.extend_from_slice(&next(&mut reader).await.unwrap().unwrap());
            }
            tape.continue_with(pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect());
            tape.finish(None);
            let late = tape.reader().unwrap();
            all.extend_from_slice(&reader.collect().await.unwrap().to_bytes());
            assert_eq!(String::from_utf8(all).unwrap(), "abcdefghij", "{read_before} chunks before");
            assert_eq!(late.collect().await.unwrap().to_bytes(), "abcdefghij");
        }
    }

    #[tokio::test]
    async fn a_broken_body_is_an_error_for_readers_after_what_did_arrive() {
        let tape = Tape::kept();
        let mut reader = tape.reader().unwrap();
        tape.push(Bytes::from_static(b"half"));
        tape.fail(BodyError::Abandoned("test"));
        assert_eq!(next(&mut reader).await.unwrap().unwrap(), "half");
        assert!(next(&mut reader).await.is_err());
    }

    #[tokio::test]
    async fn a_windowed_tape_waits_for_the_fastest_and_cuts_off_the_slowest() {
        let tape = Tape::windowed(4);
        let mut fast = tape.reader().unwrap();
        let mut slow = tape.reader().unwrap();
        for _ in 0..4 {
            tape.room(|| u64::MAX).await.unwrap();
            tape.push(Bytes::from_static(b"12345"));
            let mut room = std::pin::pin!(tape.room(|| u64::MAX));
            assert!(futures_pending(room.as_mut()), "the writer waits for the fastest reader");
            assert_eq!(next(&mut fast).await.unwrap().unwrap(), "12345");
        }
        assert!(matches!(next(&mut slow).await, Err(BodyError::FellBehind)));
        assert!(tape.state.lock().chunks.len() <= 3);
        drop((fast, slow));
        assert_eq!(tape.room(|| u64::MAX).await, Err(Deserted));
    }

    #[tokio::test]
    async fn the_only_reader_of_a_body_too_large_to_keep_gets_all_of_it_however_slow_it_is() {
        let tape = Tape::kept();
        let mut only = tape.reader().unwrap();
        for _ in 0..20 {
            tape.push(Bytes::from_static(b"0123456789"));
        }
        tape.stop_keeping(10);
        let mut room = std::pin::pin!(tape.room(|| u64::MAX));
        assert!(futures_pending(room.as_mut()), "the writer waits for it");
        for _ in 0..20 {
            assert_eq!(next(&mut only).await.unwrap().unwrap(), "0123456789");
        }
        assert_eq!(tape.room(|| u64::MAX).await, Ok(()));
        assert!(tape.state.lock().chunks.is_empty());
    }

    fn futures_pending<F: Future>(future: Pin<&mut F>) -> bool {
        future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
    }
}
