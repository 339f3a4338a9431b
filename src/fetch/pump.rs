//! Moves an origin's body onto a tape, as fast as the origin sends while it is to be stored, and at the
//! pace of the fastest reader once it is not.

use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use http_body_util::BodyExt;

use super::tape::{Deserted, Tape};
use crate::message::{Body, BodyError};
use crate::store::Charge;

/// How far a body was brought.
#[derive(Debug)]
pub enum Pumped {
    /// It is whole, and all of it is on the tape; the tape is not ended yet.
    Kept { trailers: Option<HeaderMap> },
    /// It is whole, but outgrew what may be stored: the tape holds its end only, and is ended.
    TooLarge,
    /// It broke, or nobody wanted it any more; the tape is ended.
    Broken(BodyError),
}

/// The bounds of one body.
#[derive(Debug)]
pub struct Bounds {
    /// More bytes than this are not stored.
    pub max_object: u64,
    /// How far ahead of the fastest reader a body that is not stored may run; bytes.
    pub window: u64,
}

/// Copies `body` onto `tape` until its end. Not cancel safe: dropped, it leaves the tape without an end,
/// and whoever drops it must fail the tape.
pub async fn pump(mut body: Body, tape: &Arc<Tape>, charge: &mut Charge, bounds: &Bounds) -> Pumped {
    let (mut kept, mut total, mut trailers) = (true, 0u64, None);
    loop {
        if !kept && tape.room().await == Err(Deserted) {
            return Pumped::Broken(BodyError::Abandoned("nobody reads it any more"));
        }
        let frame = match body.frame().await {
            None => break,
            Some(Ok(frame)) => frame,
            Some(Err(error)) => {
                tape.fail(error.clone());
                return Pumped::Broken(error);
            }
        };
        let data = match frame.into_data() {
            Ok(data) => data,
            Err(frame) => {
                trailers = frame.into_trailers().ok();
                continue;
            }
        };
        total += data.len() as u64;
        if kept && (total > bounds.max_object || charge.grow(data.len() as u64).is_err()) {
            kept = false;
            tape.stop_keeping(bounds.window);
        }
        tape.push(unpinned(&data));
    }
    if kept {
        return Pumped::Kept { trailers };
    }
    tape.finish(trailers);
    Pumped::TooLarge
}

/// A copy that is exactly as large as it needs to be: a frame pins the connection's whole read buffer.
pub fn unpinned(data: &Bytes) -> Bytes {
    Bytes::copy_from_slice(data)
}

/// Fails the tape when its writer is dropped before it has ended it.
#[derive(Debug)]
pub struct EndsTape(pub Arc<Tape>);

impl Drop for EndsTape {
    fn drop(&mut self) {
        // Does nothing to a tape that has ended.
        self.0.fail(BodyError::Abandoned("the fetch was given up"));
    }
}

/// The body, if all of it is there already, so that nothing has to be waited for.
pub fn at_hand(body: &Body) -> Option<&Bytes> {
    static NOTHING: Bytes = Bytes::new();
    match body {
        Body::Empty => Some(&NOTHING),
        Body::Full(bytes) => Some(bytes),
        Body::Stored(_) | Body::Stream(_) => None,
    }
}
