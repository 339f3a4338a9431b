//! Who asks: the client's address as proxies that are believed tell it, what it calls itself, and the id that its
//! request has been given.

use std::net::{IpAddr, SocketAddr};

use http::header::{FORWARDED, HeaderName, REFERER, USER_AGENT};

use super::forwarded::addresses;
use super::outbound::Identity;
use crate::message::{Caller, Fields, Request};

pub(super) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Elements of `X-Forwarded-For` that are looked at, from the last. Nobody has more proxies.
const HOPS: usize = 64;

/// So much of a text of the client's is kept.
const USER_AGENT_BYTES: usize = 512;
const REFERER_BYTES: usize = 1024;

/// The longest id that is taken over: twice a W3C trace id with its parent.
const ID_BYTES: usize = 128;

/// Who is told a request's id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RequestIds {
    /// Nobody but the log and error pages.
    #[default]
    Off,
    /// The client.
    Response,
    /// The origin.
    Origin,
    Both,
}

impl RequestIds {
    /// Whether the client is told.
    pub fn in_response(self) -> bool {
        matches!(self, RequestIds::Response | RequestIds::Both)
    }

    /// Whether the origin is told.
    pub fn to_origin(self) -> bool {
        matches!(self, RequestIds::Origin | RequestIds::Both)
    }
}

impl Identity {
    /// Who sent this.
    pub fn caller(&self, request: &Request) -> Caller {
        let headers = &request.headers;
        let trusted = self.trust.covers(&request.peer);
        let cut = |name: &HeaderName, most: usize| {
            let value = headers.get(name)?.as_bytes();
            (!value.is_empty()).then(|| value[..value.len().min(most)].into())
        };
        let proto = headers.get("x-forwarded-proto").filter(|_| trusted);
        Caller {
            client: if trusted { self.client_behind(request) } else { request.peer.ip() },
            is_https: proto.is_some_and(|proto| proto.as_bytes().eq_ignore_ascii_case(b"https")),
            user_agent: cut(&USER_AGENT, USER_AGENT_BYTES),
            referer: cut(&REFERER, REFERER_BYTES),
            given_id: self.given_id(request).map(Into::into),
        }
    }

    /// The address of who asked the first proxy that is believed: each one tells of the one before it, and the first
    /// that is not believed may have made up the rest. `X-Forwarded-For` goes before `Forwarded`: nearly all proxies
    /// write it, and one that does not write `Forwarded` passes on what its client said there.
    fn client_behind(&self, request: &Request) -> Option<IpAddr> {
        let mut client = request.peer.ip();
        for hop in hops(&request.headers).into_iter().rev().take(HOPS) {
            let Some(ip) = hop else { break };
            client = Some(ip);
            if !self.trust.covers_ip(ip) {
                break;
            }
        }
        client
    }

    /// The id that a proxy which is believed has given this request.
    pub(super) fn given_id<'r>(&self, request: &'r Request) -> Option<&'r str> {
        if !self.trust.covers(&request.peer) {
            return None;
        }
        let mut given = request.headers.get_all(&X_REQUEST_ID);
        let id = given.next().filter(|_| given.next().is_none())?.to_str().ok()?;
        let is_sound = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(&byte);
        ((1..=ID_BYTES).contains(&id.len()) && id.bytes().all(is_sound)).then_some(id)
    }
}

/// The addresses that proxies tell of, the farthest first; `None` for what is none.
fn hops(headers: &Fields) -> Vec<Option<IpAddr>> {
    const X_FORWARDED_FOR: &str = "x-forwarded-for";
    if headers.contains_key(X_FORWARDED_FOR) {
        let lines = headers.get_all(X_FORWARDED_FOR);
        return lines
            .flat_map(|line| line.as_bytes().split(|byte| *byte == b','))
            .map(|element| address(element.trim_ascii()))
            .collect();
    }
    headers
        .get_all(FORWARDED)
        .flat_map(|line| addresses(line.as_bytes()))
        .map(|element| element.and_then(address))
        .collect()
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = str::from_utf8(text).ok()?;
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let ip = bare.parse().ok().or_else(|| Some(text.parse::<SocketAddr>().ok()?.ip()));
    ip.map(|ip: IpAddr| ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::front::Trust;
    use crate::front::obeyed::Obeyed;
    use crate::message::{Body, InterimSender, Length, Peer};
    use http::{HeaderValue, Method, Version};
    use proptest::prelude::*;

    fn identity() -> Identity {
        let trust =
            Trust { proxies: vec!["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()], unix: true };
        Identity::new(HeaderValue::from_static("larder"), trust, Obeyed::default())
    }

    fn request(peer: &str, fields: &[(&str, &str)]) -> Request {
        let mut headers = Fields::new();
        for (name, value) in fields {
            headers.append(
                HeaderName::from_bytes(name.as_bytes()).unwrap(),
                HeaderValue::from_str(value).unwrap(),
            );
        }
        Request {
            method: Method::GET,
            target: "/".into(),
            version: Version::HTTP_11,
            headers,
            body: Body::Empty,
            length: Length::Known(0),
            peer: if peer == "unix" {
                Peer::Unix
            } else {
                Peer::Tcp(SocketAddr::new(peer.parse().unwrap(), 1))
            },
            received: Moment::EPOCH,
            interim: InterimSender::none(),
        }
    }

    #[test]
    fn the_client_is_who_asked_the_first_proxy_that_is_believed() {
        const XFF: &str = "x-forwarded-for";
        for (peer, fields, client) in [
            ("192.0.2.9", &[][..], Some("192.0.2.9")),
            ("192.0.2.9", &[(XFF, "198.51.100.1")], Some("192.0.2.9")),
            ("10.0.0.1", &[], Some("10.0.0.1")),
            ("10.0.0.1", &[(XFF, "198.51.100.1")], Some("198.51.100.1")),
            ("10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.1")], Some("198.51.100.1")),
            ("10.0.0.1", &[(XFF, "1.1.1.1, 198.51.100.1, 10.0.0.2")], Some("198.51.100.1")),
            ("10.0.0.1", &[(XFF, "1.1.1.1"), (XFF, "198.51.100.1,10.0.0.2")], Some("198.51.100.1")),
            ("10.0.0.1", &[(XFF, "10.0.0.3, 10.0.0.2")], Some("10.0.0.3")),
            ("10.0.0.1", &[(XFF, "198.51.100.1:4000")], Some("198.51.100.1")),
            ("10.0.0.1", &[(XFF, "[2001:db8::1]:80")], Some("2001:db8::1")),
            ("10.0.0.1", &[(XFF, "2001:db8::1, fd00::2")], Some("2001:db8::1")),
            ("10.0.0.1", &[(XFF, "::ffff:198.51.100.1")], Some("198.51.100.1")),
            ("10.0.0.1", &[(XFF, "198.51.100.1, unknown, 10.0.0.2")], Some("10.0.0.2")),
            ("10.0.0.1", &[(XFF, "198.51.100.1, ")], Some("10.0.0.1")),
            ("unix", &[(XFF, "198.51.100.1")], Some("198.51.100.1")),
            ("unix", &[], None),
            (
                "10.0.0.1",
                &[("forwarded", "for=198.51.100.1;proto=https, for=10.0.0.2")],
                Some("198.51.100.1"),
            ),
            ("10.0.0.1", &[("forwarded", "for=\"[2001:db8::1]:80\"")], Some("2001:db8::1")),
            ("10.0.0.1", &[("forwarded", "for=198.51.100.1, for=_hidden")], Some("10.0.0.1")),
            ("10.0.0.1", &[("forwarded", "for=1.1.1.1"), (XFF, "198.51.100.1")], Some("198.51.100.1")),
        ] {
            let caller = identity().caller(&request(peer, fields));
            assert_eq!(caller.client, client.map(|ip| ip.parse().unwrap()), "{peer} {fields:?}");
        }
    }

    #[test]
    fn an_id_is_taken_over_from_a_proxy_that_is_believed_and_only_if_it_is_one() {
        const ID: &str = "x-request-id";
        let long = "a".repeat(ID_BYTES + 1);
        for (peer, fields, given) in [
            ("10.0.0.1", &[(ID, "a-1.b:2/c")][..], Some("a-1.b:2/c")),
            ("192.0.2.9", &[(ID, "a-1")], None),
            ("10.0.0.1", &[], None),
            ("10.0.0.1", &[(ID, "")], None),
            ("10.0.0.1", &[(ID, "a b")], None),
            ("10.0.0.1", &[(ID, "a\"")], None),
            ("10.0.0.1", &[(ID, "a"), (ID, "b")], None),
            ("10.0.0.1", &[(ID, &long)], None),
        ] {
            assert_eq!(identity().given_id(&request(peer, fields)), given, "{peer} {fields:?}");
        }
    }

    proptest! {
        /// Whatever a client writes, it is not taken for somebody else.
        #[test]
        fn nobody_chooses_the_address_that_is_logged(made_up in "[ -~]{0,60}") {
            let told = format!("{made_up}, 198.51.100.1, 10.0.0.7");
            let caller = identity().caller(&request("10.0.0.1", &[("x-forwarded-for", &told)]));
            prop_assert_eq!(caller.client, Some("198.51.100.1".parse().unwrap()));
            let caller = identity().caller(&request("198.51.100.1", &[("x-forwarded-for", &made_up), ("forwarded", &made_up)]));
            prop_assert_eq!(caller.client, Some("198.51.100.1".parse().unwrap()));
        }
    }
}
