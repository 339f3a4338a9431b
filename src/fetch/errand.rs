//! What is to be fetched, from whom, and what for.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{ETAG, IF_RANGE, RANGE};
use http::{HeaderName, HeaderValue, Method};

use super::confirm::validators_of;
use crate::backend::{About, Backend, OriginRequest};
use crate::message::{Body, Fields, InterimSender, Length, RequestId};
use crate::semantics::validation::Conditions;
use crate::semantics::{Policy, RequestFacts};
use crate::store::{Place, Sight, StoredResponse};

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
    pub fields: Fields,
    /// The request's content: empty but for QUERY.
    pub content: Bytes,
    /// What was stored under the key when the store was asked: anything else there is news.
    pub seen: Vec<Arc<StoredResponse>>,
    /// What spares a second look there, where nothing was stored since.
    pub sight: Option<Sight>,
    /// The fields by which responses are kept apart whatever their `Vary` says: those of trusted proxies.
    pub selecting: Arc<[HeaderName]>,
    /// What the client's request asked of a cache.
    pub facts: RequestFacts,
    pub purpose: Purpose,
    /// Takes the origin's interim responses, for the client that began the fetch.
    pub interim: InterimSender,
    /// The request that began it.
    pub id: RequestId,
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

impl Errand {
    /// The request for the origin: the client's fields, and the conditions of the purpose.
    pub(super) fn origin_request(&self) -> OriginRequest {
        let mut headers = self.fields.clone();
        match &self.purpose {
            Purpose::Fill => {}
            Purpose::Validate(stored) => {
                let fields: Vec<Fields> = stored.iter().map(|stored| stored.fields()).collect();
                Conditions::of(&validators_of(stored, &fields)).apply(&mut headers);
            }
            Purpose::Complete(part) => {
                if let Ok(rest) = HeaderValue::from_str(&format!("bytes={}-", part.body.extent().end)) {
                    headers.insert(RANGE, rest);
                }
                // Another representation by now? Then the whole of it, at once (RFC 9110 §13.1.5).
                if let Some(tag) = part.fields().get(ETAG).filter(|tag| !tag.as_bytes().starts_with(b"W/")) {
                    headers.insert(IF_RANGE, tag);
                }
            }
        }
        OriginRequest {
            method: self.method.clone(),
            target: self.target.clone(),
            headers,
            length: Length::Known(self.content.len() as u64),
            body: if self.content.is_empty() { Body::Empty } else { Body::Full(self.content.clone()) },
            interim: self.interim.clone(),
            upgrade: false,
            about: About { id: self.id, host: self.place.host.clone() },
        }
    }

    /// The absolute URI of the target.
    pub(super) fn uri(&self) -> String {
        format!("http://{}{}", self.place.host, String::from_utf8_lossy(&self.place.target))
    }
}
