//! From an endpoint's name to its addresses, kept for a few seconds.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;

use super::settings::EndpointAddress;
use crate::clock::{Clock, Moment};

/// How long an answer is used before the name is looked up again.
const FRESH: Duration = Duration::from_secs(5);
/// How long an answer is used when looking up fails: a name server's outage should not be the site's.
const STALE: Duration = Duration::from_secs(300);
/// More addresses than this are not tried.
const ADDRESSES: usize = 16;

/// The addresses of one endpoint. Looks a name up once, however many connections wait for it.
#[derive(Debug)]
pub(super) struct Resolver {
    known: Known,
}

#[derive(Debug)]
enum Known {
    /// A literal address: nothing to look up.
    Always(Arc<[SocketAddr]>),
    /// Held across the look-up on purpose: those who wait for it all want its answer.
    Name { host: String, port: u16, answer: Mutex<Option<Answer>> },
}

#[derive(Clone, Debug)]
struct Answer {
    addresses: Arc<[SocketAddr]>,
    at: Moment,
}

impl Resolver {
    /// `None` for an endpoint that has no name: a unix socket.
    pub(super) fn new(address: &EndpointAddress) -> Option<Self> {
        let EndpointAddress::Tcp { host, port } = address else { return None };
        let known = match host.parse::<IpAddr>() {
            Ok(ip) => Known::Always(Arc::from([SocketAddr::new(ip, *port)])),
            Err(_) => Known::Name { host: host.clone(), port: *port, answer: Mutex::new(None) },
        };
        Some(Resolver { known })
    }

    /// The addresses to try, in order; never empty. Cancel safe.
    ///
    /// # Errors
    /// In words, why the name has no address.
    pub(super) async fn addresses(&self, clock: &Clock) -> Result<Arc<[SocketAddr]>, String> {
        let (host, port, answer) = match &self.known {
            Known::Always(addresses) => return Ok(Arc::clone(addresses)),
            Known::Name { host, port, answer } => (host, *port, answer),
        };
        let mut answer = answer.lock().await;
        let now = clock.now();
        if let Some(answer) = &*answer
            && now.since(answer.at) < FRESH
        {
            return Ok(Arc::clone(&answer.addresses));
        }
        let failure = match tokio::net::lookup_host((host.as_str(), port)).await {
            Ok(found) => {
                let addresses: Arc<[SocketAddr]> = found.take(ADDRESSES).collect();
                if !addresses.is_empty() {
                    *answer = Some(Answer { addresses: Arc::clone(&addresses), at: now });
                    return Ok(addresses);
                }
                "the answer is empty".to_owned()
            }
            Err(error) => error.to_string(),
        };
        match &*answer {
            Some(answer) if now.since(answer.at) < STALE => Ok(Arc::clone(&answer.addresses)),
            _ => Err(failure),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_name_is_looked_up_once_while_its_answer_is_fresh() {
        let clock = Clock::manual(Moment::from_unix_secs(1));
        let resolver = Resolver::new(&"http://localhost:7".parse().unwrap()).unwrap();
        let first = resolver.addresses(&clock).await.unwrap();
        assert!(first.iter().all(|address| address.ip().is_loopback() && address.port() == 7));
        clock.advance(FRESH - Duration::from_millis(1));
        let second = resolver.addresses(&clock).await.unwrap();
        assert!(Arc::ptr_eq(&first, &second), "the kept answer is used");
        clock.advance(Duration::from_millis(1));
        let third = resolver.addresses(&clock).await.unwrap();
        assert!(!Arc::ptr_eq(&first, &third), "an old answer is not");
    }

    #[tokio::test]
    async fn a_name_without_an_address_is_an_error() {
        let clock = Clock::manual(Moment::from_unix_secs(1));
        let resolver = Resolver::new(&"http://no-such-name.invalid:7".parse().unwrap()).unwrap();
        assert!(resolver.addresses(&clock).await.is_err());
    }
}
