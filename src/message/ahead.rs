//! A body that is read ahead of whoever takes it slowly, so that its source is free early.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame};
use http_body_util::combinators::UnsyncBoxBody;

use super::BodyError;

/// Gives room for what is read ahead, or not. Dropped, it takes all of it back.
pub trait Room: Send {
    /// Asks for so many bytes more.
    fn extend(&mut self, bytes: u64) -> bool;
}

/// A body, and what of it was read ahead.
pub(super) struct ReadAhead {
    body: UnsyncBoxBody<Bytes, BodyError>,
    /// What was read and not taken yet: large pieces as they came, and small ones put together behind them.
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    bytes: u64,
    end: Option<End>,
    /// So far it is read ahead.
    window: u64,
    room: Box<dyn Room>,
    /// What was given room to so far; it is kept for what comes later.
    given: u64,
}

enum End {
    Whole(Option<HeaderMap>),
    Broken(BodyError),
    /// It was told.
    Told,
}

/// Smaller pieces are copied: each would pin the buffer that it was read into.
const SMALL: usize = 8 * 1024;
/// What is put together of them.
const TOGETHER: usize = 32 * 1024;

impl ReadAhead {
    pub(super) fn new(body: UnsyncBoxBody<Bytes, BodyError>, window: u64, room: Box<dyn Room>) -> Self {
        let (pieces, tail) = (VecDeque::new(), BytesMut::new());
        ReadAhead { body, pieces, tail, bytes: 0, end: None, window, room, given: 0 }
    }

    /// Reads what has come, as far as the window and the room go. The task is woken when there is more.
    pub(super) fn poll_ahead(&mut self, cx: &mut Context<'_>) {
        while self.end.is_none() && self.bytes < self.window && self.has_room() {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return,
                Poll::Ready(None) => self.end = Some(End::Whole(None)),
                Poll::Ready(Some(Err(error))) => self.end = Some(End::Broken(error)),
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) => self.keep(data),
                    Err(frame) => self.end = Some(End::Whole(frame.into_trailers().ok())),
                },
            }
        }
    }

    /// Whether anything is kept for its reader.
    pub(super) fn is_kept(&self) -> bool {
        self.given > 0
    }

    /// Room is asked for in steps, before anything is read.
    fn has_room(&mut self) -> bool {
        // No piece is larger.
        const STEP: u64 = 128 * 1024;
        if self.bytes + STEP <= self.given {
            return true;
        }
        let has_room = self.room.extend(STEP);
        if has_room {
            self.given += STEP;
        }
        has_room
    }

    fn keep(&mut self, data: Bytes) {
        self.bytes += data.len() as u64;
        if data.len() >= SMALL {
            self.close_tail();
            self.pieces.push_back(data);
            return;
        }
        self.tail.extend_from_slice(&data);
        if self.tail.len() >= TOGETHER {
            self.close_tail();
        }
    }

    fn close_tail(&mut self) {
        if !self.tail.is_empty() {
            self.pieces.push_back(self.tail.split().freeze());
        }
    }

    pub(super) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.pieces.is_empty() {
            self.close_tail();
        }
        if let Some(piece) = self.pieces.pop_front() {
            self.bytes -= piece.len() as u64;
            return Poll::Ready(Some(Ok(Frame::data(piece))));
        }
        match self.end.replace(End::Told) {
            None => {
                self.end = None;
                Pin::new(&mut self.body).poll_frame(cx)
            }
            Some(End::Whole(Some(trailers))) => Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
            Some(End::Broken(error)) => Poll::Ready(Some(Err(error))),
            Some(End::Whole(None) | End::Told) => Poll::Ready(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes, one piece after the other, with a look at nothing in between.
    struct Pieces(VecDeque<Result<Frame<Bytes>, BodyError>>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front())
        }
    }

    struct Bounded(u64);

    impl Room for Bounded {
        fn extend(&mut self, bytes: u64) -> bool {
            let has_room = self.0 >= bytes;
            self.0 -= if has_room { bytes } else { 0 };
            has_room
        }
    }

    /// Read ahead at any moment, with any window and room: the body is the same, and so is its end.
    #[test]
    fn what_is_read_ahead_comes_out_as_it_went_in() {
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        for (size, count) in [(1, 40), (100, 400), (10_000, 50), (20_000, 20)] {
            for window in [0, 1, 50_000, 1 << 20] {
                for room in [0, 64 * 1024, 1 << 20] {
                    for (every, breaks) in [(1, false), (3, true), (1000, false)] {
                        let piece = |number: usize| Bytes::from(vec![number as u8; size]);
                        let mut frames: VecDeque<_> =
                            (0..count).map(|number| Ok(Frame::data(piece(number)))).collect();
                        frames.push_back(match breaks {
                            true => Err(BodyError::Abandoned("test")),
                            false => Ok(Frame::trailers(HeaderMap::new())),
                        });
                        let body = UnsyncBoxBody::new(Pieces(frames));
                        let mut ahead = ReadAhead::new(body, window, Box::new(Bounded(room)));
                        let (mut read, mut turn, mut end) = (Vec::new(), 0, None);
                        while end.is_none() {
                            if turn % every == 0 {
                                ahead.poll_ahead(cx);
                                assert!(ahead.bytes <= room, "no more than there is room for");
                                assert!(ahead.bytes < window + size as u64 || window == 0);
                            }
                            turn += 1;
                            match ahead.poll_frame(cx) {
                                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                                    Ok(data) => read.extend_from_slice(&data),
                                    Err(_) => end = Some("trailers"),
                                },
                                Poll::Ready(Some(Err(_))) => end = Some("broken"),
                                Poll::Ready(None) => end = Some("none"),
                                Poll::Pending => unreachable!(),
                            }
                        }
                        assert_eq!(end, Some(if breaks { "broken" } else { "trailers" }));
                        assert!(matches!(ahead.poll_frame(cx), Poll::Ready(None)));
                        let want: Vec<u8> = (0..count).flat_map(|number| piece(number).to_vec()).collect();
                        assert!(read == want, "{size} {window} {room} {every}");
                    }
                }
            }
        }
    }
}
