//! Moves an origin's body onto a tape, as fast as the origin sends while it is to be stored, and at the
//! pace of the fastest reader once it is not.

use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame};
use tokio::time::Instant;

use super::tape::{Deserted, Tape};
use crate::message::{Body, BodyError};
use crate::store::budget::{HANDLE_BYTES, Reservation};
use crate::store::{Budget, Holder};

/// How far a body that is not stored may run ahead where memory is scarce.
const SCARCE_WINDOW: u64 = 64 * 1024;

/// What a chunk on the tape takes besides its bytes: its handle, its place on the tape, and the allocator's rounding.
const CHUNK_OVERHEAD: u64 = HANDLE_BYTES + 80;

/// What is read at a time takes no more than this.
const LARGEST_FRAME: u64 = 128 * 1024 + CHUNK_OVERHEAD;

/// How long a body waits for room in a window before slow clients are made to give some back.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far a body was brought.
#[derive(Debug)]
pub enum Pumped {
    /// It is whole, and all of it is on the tape; the tape is not ended yet.
    Kept { trailers: Option<HeaderMap> },
    /// It could not be kept to be stored: the tape holds its end only, and is ended; or nobody read it any more.
    NotKept(NotKept),
    /// It broke; the tape is ended.
    Broken(BodyError),
}

/// Why a body is not kept to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// It is larger than what may be stored.
    TooLarge,
    /// There is no memory for more of it.
    NoMemory,
}

/// The bounds of one body.
#[derive(Debug)]
pub struct Bounds {
    /// Why it is not kept from the start.
    pub not_kept: Option<NotKept>,
    /// More bytes than this are not stored.
    pub max_object: u64,
    /// How far ahead of the fastest reader a body that is not stored may run; bytes.
    pub window: u64,
}

/// Copies `body` onto `tape` until its end, each chunk with its charge to `budget`. Not cancel safe: dropped, it
/// leaves the tape without an end, and whoever drops it must fail the tape.
pub async fn pump(mut body: Body, tape: &Arc<Tape>, budget: &Arc<Budget>, bounds: &Bounds) -> Pumped {
    let (mut not_kept, mut total, mut trailers) = (bounds.not_kept, 0u64, None);
    let (mut waiting_since, mut starved) = (None, None);
    loop {
        if let Some(why) = not_kept
            && tape.room(|| window(budget, bounds)).await == Err(Deserted)
        {
            tape.fail(BodyError::Abandoned("nobody reads it any more"));
            return Pumped::NotKept(why);
        }
        let (frame, room) = match next(&mut body, budget, not_kept.is_none(), total).await {
            Ok(read) => read,
            Err(NoRoom) if not_kept.is_none() => {
                not_kept = Some(NotKept::NoMemory);
                tape.stop_keeping(bounds.window);
                continue;
            }
            Err(NoRoom) => {
                let since = *waiting_since.get_or_insert_with(Instant::now);
                if starved.is_none() && since.elapsed() >= PATIENCE {
                    starved = Some(budget.starve());
                }
                budget.window_freed().await;
                continue;
            }
        };
        (waiting_since, starved) = (None, None);
        let frame = match frame {
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
        let weight = data.len() as u64 + CHUNK_OVERHEAD;
        let mut charge = budget.open(Holder::Arriving);
        if not_kept.is_none() {
            not_kept = match total + data.len() as u64 {
                more if more > bounds.max_object => Some(NotKept::TooLarge),
                // What has come is charged, and not what was announced.
                _ => charge.grow_beside(total, weight).is_err().then_some(NotKept::NoMemory),
            };
            if not_kept.is_some() {
                tape.stop_keeping(bounds.window);
            }
        }
        if not_kept.is_some() {
            charge = room.unwrap_or_else(|| budget.open(Holder::Windows));
            charge.force_as(Holder::Windows, weight);
        }
        total += data.len() as u64;
        tape.push(charge.hold(data.to_vec()));
    }
    match not_kept {
        None => Pumped::Kept { trailers },
        Some(why) => {
            tape.finish(trailers);
            Pumped::NotKept(why)
        }
    }
}

/// There is no memory for what would be read.
struct NoRoom;

/// The next frame, and the room in a window that was found for it before it was read: what has been read is held,
/// whether there is memory for it or not. The room is held while it is read, and not while it is waited for. A body
/// that is to be stored may have its room among those instead.
async fn next(
    body: &mut Body,
    budget: &Arc<Budget>,
    is_kept: bool,
    total: u64,
) -> Result<(Option<Result<Frame<Bytes>, BodyError>>, Option<Reservation>), NoRoom> {
    std::future::poll_fn(|cx| {
        let room = budget.window(LARGEST_FRAME);
        let mut kept = budget.open(Holder::Arriving);
        if room.is_none() && !(is_kept && kept.grow_beside(total, LARGEST_FRAME).is_ok()) {
            return Poll::Ready(Err(NoRoom));
        }
        Pin::new(&mut *body).poll_frame(cx).map(|frame| Ok((frame, room)))
    })
    .await
}

fn window(budget: &Budget, bounds: &Bounds) -> u64 {
    if budget.is_tight() { bounds.window.min(SCARCE_WINDOW) } else { bounds.window }
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
