//! What a fetch brings home: for the one who began it, and for those who waited for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;

use super::flight::Deserted;
use super::sliced::Sliced;
use super::tape::{Reader, Tape};
use crate::backend::{OriginError, OriginResponse};
use crate::clock::Moment;
use crate::message::{Body, Length};
use crate::semantics::Facts;
use crate::semantics::partial::Span;
use crate::semantics::storability::NotStored;
use crate::semantics::validation::NotSelected;
use crate::semantics::variant::Selecting;
use crate::store::ledger::Sequence;
use crate::store::tags::{TagDigest, TagSettings};
use crate::store::{Described, Place, StoredResponse};

/// A storable response whose body is still arriving.
#[derive(Debug)]
pub struct Arrival {
    pub status: StatusCode,
    /// What the origin answered: 206 where it sent the rest of a response that is now whole.
    pub origin_status: StatusCode,
    /// Why a 304 that came before it confirmed nothing.
    pub unconfirmed: Option<NotSelected>,
    /// It came with a valid `Age`.
    pub aged: bool,
    /// The fields for clients, serialised, as they will be stored.
    pub lines: Bytes,
    /// Fields of this exchange alone, serialised: `no-cache="…"` and `private="…"` bar them from being stored.
    /// They go to the one who began the fetch.
    pub once: Vec<u8>,
    /// The origin's own `Content-Range`, for the same one: it may say otherwise than `span`.
    pub content_range: Option<Box<[u8]>>,
    pub facts: Facts,
    pub selecting: Selecting,
    /// Which part of the whole it is, where it is a 206.
    pub span: Option<Span>,
    pub length: Length,
    pub body: Incoming,
    /// Why it is not to be stored, as far as that is known.
    pub not_stored: Option<Unshared>,
    /// The ledger's head when the origin request was sent.
    pub born: Sequence,
    /// Where it belongs, its hidden fields and its tags: what the ledger judges it by.
    pub place: Place,
    pub hidden: Bytes,
    pub tags: Box<[TagDigest]>,
    pub answered: Moment,
    /// From the origin being asked until its head came.
    pub wait: Duration,
}

/// The body of a response that is being stored.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// It came along with the head.
    AtHand(Bytes),
    /// It is still arriving.
    OnTape(Arc<Tape>),
    /// It is still arriving, and kept for those alone who waited for its head: a place at its beginning for each.
    ForThose(Arc<Mutex<Vec<Reader>>>),
}

/// The body of a response that is being stored, as one of those who asked for it reads it.
#[derive(Debug)]
pub enum Content {
    Whole(Bytes),
    Growing(Reader),
}

impl Incoming {
    /// All of it, for one more reader; `None` if its beginning is not kept any more.
    pub fn copy(&self) -> Option<Content> {
        match self {
            Incoming::AtHand(bytes) => Some(Content::Whole(bytes.clone())),
            Incoming::OnTape(tape) => tape.reader().map(Content::Growing),
            Incoming::ForThose(places) => places.lock().pop().map(Content::Growing),
        }
    }
}

impl Content {
    /// As the body of a message.
    pub fn all(self) -> Body {
        match self {
            Content::Whole(bytes) => Body::Full(bytes),
            Content::Growing(reader) => Body::kept_stream(reader),
        }
    }

    /// Bytes `start..end` of it.
    pub fn slice(self, start: u64, end: u64) -> Body {
        match self {
            Content::Whole(bytes) => {
                let clipped = |at: u64| usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
                Body::Full(bytes.slice(clipped(start)..clipped(end)))
            }
            Content::Growing(reader) => Body::kept_stream(Sliced::new(reader, start, end)),
        }
    }
}

impl Arrival {
    /// This response as the ledger judges it. Its size is what the origin says of it; a body of unknown
    /// length counts as empty until it is there.
    pub fn described<'a>(&'a self, settings: &'a TagSettings) -> Described<'a> {
        Described {
            place: &self.place,
            status: self.status,
            lines: &self.lines,
            hidden: &self.hidden,
            facts: &self.facts,
            size: match self.length {
                Length::Known(length) => length,
                Length::Unknown => 0,
            },
            tags: &self.tags,
            settings,
        }
    }
}

/// What a fetch brought for one request.
#[derive(Debug)]
pub enum Fetched {
    /// A stored response, that a 304 has confirmed; and why what the 304 made of it is for this request alone,
    /// where that is so.
    Confirmed {
        response: Arc<StoredResponse>,
        collapsed: bool,
        not_kept: Option<NoUpdate>,
        /// The 304 came with a valid `Age`.
        aged: bool,
        wait: Duration,
    },
    /// A response that is being stored, and its body.
    Arriving { arrival: Arc<Arrival>, body: Content, collapsed: bool },
    /// A response for this request alone, and why it is not stored.
    Own {
        response: Box<OriginResponse>,
        reason: Unshared,
        /// Why a 304 that came before it confirmed nothing.
        unconfirmed: Option<NotSelected>,
        wait: Duration,
    },
    /// The origin did not answer.
    Failed { error: Arc<OriginError>, collapsed: bool },
    /// Another fetch has ended since the store was asked: what it brought is there by now.
    LookAgain,
    /// Nothing to share: the request goes on by itself.
    Retry(Deserted),
    /// The leader's response is for the leader alone: the request goes on by itself.
    Released(Unshared),
}

/// Why what a 304 says changes nothing in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoUpdate {
    /// What the 304 made of the stored response may not be stored.
    NotStored(NotStored),
    /// The 304 does not name what it confirms: the stored response answers those who asked, and is as it was.
    Unnamed(NotSelected),
}

impl NoUpdate {
    /// The name used in logs, metrics and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            NoUpdate::NotStored(reason) => reason.as_str(),
            NoUpdate::Unnamed(reason) => reason.as_str(),
        }
    }
}

/// Why a response is for one request only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unshared {
    /// The rules of caching forbid it, or make it useless.
    NotStored(NotStored),
    /// It is larger than what may be stored.
    TooLarge,
    /// The origin reports this error (5xx); something stored may be better.
    ServerError(StatusCode),
    /// There is no memory for one more arriving body.
    NoMemory,
    /// It is not what was asked for: a part that does not fit, a 304 that matches nothing.
    Mismatch,
}

impl Unshared {
    /// The name used in logs, metrics and `Cache-Status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Unshared::NotStored(reason) => reason.as_str(),
            Unshared::TooLarge => "too-large",
            Unshared::ServerError(_) => "server-error",
            Unshared::NoMemory => "no-memory",
            Unshared::Mismatch => "mismatch",
        }
    }

    /// The names of the cases that `semantics` does not name, for metrics that are declared once.
    pub const OWN_NAMES: [&'static str; 4] = ["too-large", "server-error", "no-memory", "mismatch"];
}

/// What a flight brings for its followers.
#[derive(Clone, Debug)]
pub enum Landing {
    Confirmed {
        response: Arc<StoredResponse>,
        /// It is as it was: nothing but this very asking vouches for it.
        unnamed: Option<NotSelected>,
        wait: Duration,
    },
    Arriving(Arc<Arrival>),
    Failed(Arc<OriginError>),
    /// The one who was to fetch found that another fetch has ended since.
    LookAgain,
    Released(Unshared),
}

impl Landing {
    /// Whether each of those who ask for the same can do something with it.
    pub(super) fn is_for_all(&self) -> bool {
        matches!(self, Landing::Confirmed { .. } | Landing::Arriving(_) | Landing::LookAgain)
    }

    /// What a follower has of it.
    pub(super) fn for_follower(self) -> Fetched {
        match self {
            Landing::Confirmed { response, unnamed, wait } => Fetched::Confirmed {
                response,
                collapsed: true,
                not_kept: unnamed.map(NoUpdate::Unnamed),
                aged: false,
                wait,
            },
            Landing::Arriving(arrival) => match arrival.body.copy() {
                Some(body) => Fetched::Arriving { arrival, body, collapsed: true },
                // It outgrew the store meanwhile, and its beginning is gone.
                None => Fetched::Released(arrival.not_stored.unwrap_or(Unshared::TooLarge)),
            },
            Landing::Failed(error) => Fetched::Failed { error, collapsed: true },
            Landing::LookAgain => Fetched::LookAgain,
            Landing::Released(reason) => Fetched::Released(reason),
        }
    }
}
