//! What is to be fetched, from whom, and what for.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use crate::backend::Backend;
use crate::message::InterimSender;
use crate::semantics::{Policy, RequestFacts};
use crate::store::{Place, StoredResponse};

/// One fetch. It owns everything it needs: it outlives the client's request.
#[derive(Clone)]
pub struct Errand {
    pub place: Place,
    pub backend: Arc<Backend>,
    pub policy: Arc<Policy>,
    pub method: Method,
    /// Path and query as the origin is asked for them.
    pub target: Bytes,
    /// The fields for the origin, without the conditions that the client set; those of `purpose` are added.
    pub fields: HeaderMap,
    /// The request's content: empty but for QUERY.
    pub content: Bytes,
    /// What was stored under the key when the store was asked: anything else there is news.
    pub seen: Vec<Arc<StoredResponse>>,
    /// Whether responses are kept apart by the scheme that a trusted proxy tells of (`X-Forwarded-Proto`).
    pub by_scheme: bool,
    /// What the client's request asked of a cache.
    pub facts: RequestFacts,
    pub purpose: Purpose,
    /// Takes the origin's interim responses, for the client that began the fetch.
    pub interim: InterimSender,
}

/// What a fetch is for.
#[derive(Clone)]
pub enum Purpose {
    /// Nothing usable is stored.
    Fill,
    /// These are stored, and stale or not usable without the origin's word (RFC 9111 §4.3).
    Validate(Vec<Arc<StoredResponse>>),
    /// The first part of this is stored (RFC 9111 §3.3): the rest is wanted.
    Complete(Arc<StoredResponse>),
}
