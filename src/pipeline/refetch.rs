//! What a purge wants to have again: of what fell, the responses that were asked for most.
//!
//! A purge that says so leaves an [order](Refetching::order). While the sweeper judges everything stored, what
//! falls by that purge and has been asked for is noted, the most asked for first; once all has been judged, each
//! is asked for anew by a request of Larder's own, a few at a time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{AUTHORIZATION, COOKIE, HOST};
use http::{HeaderValue, Method, Version};
use http_body_util::BodyExt;
use parking_lot::Mutex;

use super::Pipeline;
use crate::front::obeyed::is_about_a_person;
use crate::message::{Body, Fields, InterimSender, Length, Peer, Request};
use crate::store::StoredResponse;
use crate::store::ledger::Sequence;

/// The bounds of fetching again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefetchSettings {
    /// How many responses one purge brings back at most.
    pub most: usize,
    /// How many of them are asked for at a time.
    pub at_once: usize,
}

impl Default for RefetchSettings {
    fn default() -> Self {
        RefetchSettings { most: 100, at_once: 4 }
    }
}

/// So many purges may wait for the sweeper with an order each; of further ones nothing is fetched again before
/// it is asked for.
const ORDERS_MAX: usize = 64;

/// One response to be asked for again.
#[derive(Clone, Debug)]
pub struct Wanted {
    hits: u32,
    host: Box<str>,
    target: Bytes,
    /// The fields that select it.
    fields: Fields,
}

/// What one purge wants to have again.
struct Order {
    first: Sequence,
    last: Sequence,
    wanted: Vec<Wanted>,
}

/// The orders of all purges that the sweeper is not through with.
pub struct Refetching {
    settings: RefetchSettings,
    orders: Mutex<Vec<Order>>,
    /// How many there are: what falls while there is none takes no lock.
    open: AtomicUsize,
}

impl Refetching {
    /// No orders yet.
    pub fn new(settings: RefetchSettings) -> Self {
        Refetching { settings, orders: Mutex::default(), open: AtomicUsize::new(0) }
    }

    /// The bounds.
    pub fn settings(&self) -> &RefetchSettings {
        &self.settings
    }

    /// Runs `append`, which enters a purge and answers its first and last number, and leaves an order for it.
    /// Nothing that falls by the purge is missed. Answers the last number.
    ///
    /// # Errors
    /// Those of `append`, which has entered nothing then.
    pub fn order<E>(&self, append: impl FnOnce() -> Result<(Sequence, Sequence), E>) -> Result<Sequence, E> {
        let mut orders = self.orders.lock();
        self.open.store(orders.len() + 1, Ordering::SeqCst);
        let (first, last) = append().inspect_err(|_| self.open.store(orders.len(), Ordering::SeqCst))?;
        if orders.len() < ORDERS_MAX {
            orders.push(Order { first, last, wanted: Vec::new() });
        } else {
            tracing::warn!(
                sequence = last.get(),
                "too many purges want something fetched again: this one gets nothing"
            );
        }
        self.open.store(orders.len(), Ordering::SeqCst);
        Ok(last)
    }

    /// `response` fell by the entry `by`.
    pub fn fell(&self, response: &Arc<StoredResponse>, by: Sequence) {
        if self.open.load(Ordering::SeqCst) == 0 || response.hits() == 0 {
            return;
        }
        let mut orders = self.orders.lock();
        let Some(order) = orders.iter_mut().find(|order| order.first <= by && by <= order.last) else {
            return;
        };
        let Some(wanted) = wanted(response) else { return };
        order.wanted.push(wanted);
        if order.wanted.len() >= self.settings.most.saturating_mul(2).max(64) {
            order.keep_best(self.settings.most);
        }
    }

    /// Takes what is to be asked for now that everything has been judged up to `judged_up_to`, the most asked
    /// for first.
    pub fn take_due(&self, judged_up_to: Sequence) -> Vec<Wanted> {
        let mut due = Vec::new();
        let mut orders = self.orders.lock();
        for mut order in orders.extract_if(.., |order| order.last <= judged_up_to) {
            order.keep_best(self.settings.most);
            due.append(&mut order.wanted);
        }
        self.open.store(orders.len(), Ordering::SeqCst);
        due
    }
}

impl Order {
    fn keep_best(&mut self, most: usize) {
        self.wanted.sort_by_key(|wanted| std::cmp::Reverse(wanted.hits));
        self.wanted.truncate(most);
    }
}

/// What to ask for to have this response again. `None` where Larder cannot ask in nobody's name: a QUERY's
/// content is not kept, nor are the cookies that led to a route, and a response that is selected by a cookie or by
/// credentials is somebody's.
fn wanted(response: &StoredResponse) -> Option<Wanted> {
    let fields = response.selecting().to_request_fields();
    let is_somebodys = fields.iter().any(|(name, _)| {
        let name = name.as_bytes();
        [COOKIE, AUTHORIZATION].iter().any(|other| other.as_str().as_bytes() == name)
            || is_about_a_person(name)
    });
    let place = response.place();
    (place.url.is_none() && !is_somebodys).then(|| Wanted {
        hits: response.hits(),
        host: (&*place.host).into(),
        target: place.target,
        fields,
    })
}

impl Pipeline {
    /// Asks for one response again, as a client would, and waits until it has come.
    pub async fn refetch(&self, wanted: Wanted) {
        let Wanted { host, target, fields: mut headers, .. } = wanted;
        if let Ok(host) = HeaderValue::from_str(&host) {
            headers.insert(HOST, host);
        }
        let request = Request {
            method: Method::GET,
            target,
            version: Version::HTTP_11,
            headers,
            body: Body::Empty,
            length: Length::Known(0),
            peer: Peer::Unix,
            received: self.clock.now(),
            interim: InterimSender::none(),
        };
        let response = self.answer(request).await;
        self.events.metrics().refetched();
        // One that is stored is there already; one that is arriving is waited for, so that no more arrive at a
        // time than the settings say.
        if let Body::Stream(_) = response.body {
            let mut body = response.body;
            while let Some(Ok(_)) = body.frame().await {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(hits: u32) -> Wanted {
        Wanted { hits, host: "a".into(), target: Bytes::from_static(b"/"), fields: Fields::new() }
    }

    #[test]
    fn what_was_asked_for_most_is_asked_for_first_and_not_more_than_the_bound() {
        let refetching = Refetching::new(RefetchSettings { most: 2, at_once: 1 });
        refetching.order(|| Ok::<_, ()>((Sequence::new(1), Sequence::new(2)))).unwrap();
        refetching.orders.lock()[0].wanted.extend([wanted(3), wanted(9), wanted(5)]);
        assert!(refetching.take_due(Sequence::new(1)).is_empty());
        let due: Vec<u32> = refetching.take_due(Sequence::new(2)).iter().map(|wanted| wanted.hits).collect();
        assert_eq!(due, [9, 5]);
        assert!(refetching.take_due(Sequence::new(2)).is_empty());
    }

    #[test]
    fn orders_that_wait_are_bounded() {
        let refetching = Refetching::new(RefetchSettings::default());
        for number in 1..1000 {
            refetching.order(|| Ok::<_, ()>((Sequence::new(number), Sequence::new(number)))).unwrap();
        }
        assert_eq!(refetching.orders.lock().len(), ORDERS_MAX);
    }
}
