//! Part of a body that is still arriving: for a range request that joins a running fetch.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;

use crate::message::BodyError;

/// Bytes `start..end` of another body; ends as soon as it has them. A body that ends before it has reached
/// `end` is broken.
#[derive(Debug)]
pub struct Sliced<B> {
    body: B,
    skip: u64,
    left: u64,
}

impl<B> Sliced<B> {
    /// Bytes `start..end` of `body`.
    pub fn new(body: B, start: u64, end: u64) -> Self {
        Sliced { body, skip: start, left: end.saturating_sub(start) }
    }
}

impl<B> http_body::Body for Sliced<B>
where
    B: http_body::Body<Data = Bytes, Error = BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        while self.left > 0 {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Some(Err(error))),
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(None) => {
                    self.left = 0;
                    return Poll::Ready(Some(Err(BodyError::Abandoned(
                        "the body is shorter than its range",
                    ))));
                }
            };
            let Ok(mut data) = frame.into_data() else { continue };
            let skipped = self.skip.min(data.len() as u64);
            self.skip -= skipped;
            let data_from = data.split_off(skipped as usize);
            let taken = self.left.min(data_from.len() as u64);
            if taken > 0 {
                self.left -= taken;
                return Poll::Ready(Some(Ok(Frame::data(data_from.slice(..taken as usize)))));
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::tape::Tape;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn a_slice_of_an_arriving_body_is_what_the_whole_would_hold_there() {
        for start in 0..8 {
            for end in start + 1..=8 {
                let tape = Tape::kept();
                let reader = tape.reader().unwrap();
                for chunk in [&b"abc"[..], b"d", b"efgh"] {
                    tape.push(Bytes::from_static(chunk));
                }
                let slice = Sliced::new(reader, start, end).collect().await.unwrap().to_bytes();
                assert_eq!(slice, &b"abcdefgh"[start as usize..end as usize]);
            }
        }
    }

    #[tokio::test]
    async fn a_body_that_ends_before_its_range_is_broken() {
        let tape = Tape::kept();
        let reader = tape.reader().unwrap();
        tape.push(Bytes::from_static(b"abc"));
        tape.finish(None);
        assert!(Sliced::new(reader, 1, 9).collect().await.is_err());
    }
}
