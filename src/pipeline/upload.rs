//! Reads the content of a request that is passed before a place at the origin is taken: a client that takes its
//! time must not take the origin's.
//!
//! A small body is read whole. Of a large one so much is read that a client which sends next to nothing never
//! gets a place; the rest streams, and the backend bounds how many places such requests hold.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::Version;
use http::header::EXPECT;
use http_body::Frame;
use http_body_util::BodyExt;

use super::{Journey, Pipeline};
use crate::message::{Body, BodyError, Length};
use crate::store::{Holder, Reservation};

impl Pipeline {
    /// Reads ahead what fits. Content that an `Expect` holds back stays where it is: whether it is wanted is the
    /// origin's to say (RFC 9110 §10.1.1).
    pub(super) async fn read_ahead(&self, journey: &mut Journey) -> Result<(), BodyError> {
        let request = &mut journey.admitted.request;
        if !matches!(request.body, Body::Stream(_)) {
            return Ok(());
        }
        if request.version == Version::HTTP_11 && request.headers.contains_key(EXPECT) {
            return Ok(());
        }
        let body = std::mem::take(&mut request.body);
        match read(body, self.upload_ahead, self.store.budget().open(Holder::RequestBodies)).await? {
            Ahead::Whole(body, length) => (request.body, request.length) = (body, Length::Known(length)),
            Ahead::Begun(body) => request.body = body,
        }
        Ok(())
    }
}

enum Ahead {
    /// All of it, and how long it is.
    Whole(Body, u64),
    /// Its beginning is at hand, the rest to come.
    Begun(Body),
}

/// Reads `body` to its end, or until `most` bytes are there or there is no memory for more.
async fn read(mut body: Body, most: u64, mut charge: Reservation) -> Result<Ahead, BodyError> {
    let (mut pieces, mut bytes) = (VecDeque::new(), 0);
    // At least something, however little may be read: a client that sends nothing gets no place.
    while bytes == 0 || bytes < most {
        let data = match body.frame().await {
            None => return Ok(whole(pieces, bytes, charge)),
            // Trailers go no further.
            Some(frame) => match frame?.into_data() {
                Ok(data) => data,
                Err(_) => continue,
            },
        };
        bytes += data.len() as u64;
        let has_room = charge.grow(data.len() as u64).is_ok();
        push(&mut pieces, data);
        if !has_room {
            break;
        }
    }
    Ok(Ahead::Begun(Body::stream(Begun { pieces, rest: body, _charge: charge })))
}

/// What comes in small pieces is put together: each would pin the buffer that it was read into.
fn push(pieces: &mut VecDeque<Vec<u8>>, data: Bytes) {
    const PIECE: usize = 16 * 1024;
    match pieces.back_mut() {
        Some(last) if last.len() + data.len() <= PIECE => last.extend_from_slice(&data),
        _ => pieces.push_back(data.to_vec()),
    }
}

fn whole(mut pieces: VecDeque<Vec<u8>>, length: u64, charge: Reservation) -> Ahead {
    let bytes: Vec<u8> = match pieces.len() {
        0 => return Ahead::Whole(Body::Empty, 0),
        1 => pieces.pop_front().unwrap_or_default(),
        _ => pieces.into_iter().flatten().collect(),
    };
    Ahead::Whole(Body::Full(charge.hold(bytes)), length)
}

/// A body whose beginning was read already.
struct Begun {
    pieces: VecDeque<Vec<u8>>,
    rest: Body,
    _charge: Reservation,
}

impl http_body::Body for Begun {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.pieces.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece.into())))),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Budget;
    use std::sync::Arc;

    /// What comes, one piece after the other.
    struct Pieces(VecDeque<&'static str>);

    impl http_body::Body for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
        }
    }

    #[tokio::test]
    async fn whatever_is_read_ahead_nothing_of_a_body_is_lost_and_all_is_paid_for() {
        for pieces in [&["abc", "d", "efgh"][..], &["abcdefgh"], &["a", "b", "c", "d", "e", "f", "g", "h"]] {
            for (most, budget) in (0..10).flat_map(|most| [(most, 100), (most, 3)]) {
                // None may have more than half of what may be on its way.
                let budget = Budget::new(u64::MAX, 2 * budget, Arc::default());
                let body = Body::stream(Pieces(pieces.iter().copied().collect()));
                let body = match read(body, most, budget.open(Holder::RequestBodies)).await.unwrap() {
                    Ahead::Whole(body, length) => {
                        assert!(most > 8 || pieces.len() == 1, "all of it was read for a bound of {most}");
                        assert_eq!((length, budget.in_transit()), (8, 8));
                        body
                    }
                    Ahead::Begun(body) => body,
                };
                assert_eq!(body.collect().await.unwrap().to_bytes(), "abcdefgh", "{pieces:?}, {most}");
                assert_eq!(budget.in_transit(), 0);
            }
        }
    }

    #[tokio::test]
    async fn an_empty_body_is_whole() {
        let body = Body::stream(Pieces(VecDeque::new()));
        let read = read(body, 10, Budget::endless().open(Holder::RequestBodies)).await;
        assert!(matches!(read, Ok(Ahead::Whole(Body::Empty, 0))));
    }
}
