//! Who may use `/v1/…`.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::metrics::operations::Shown;

use super::answers::Problem;
use super::door::AdminPeer;
use super::serve::Room;
use super::settings::AdminSettings;

/// Who asked, as the audit log calls them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller(pub(super) String);

/// Lets in who may, and tells the handlers who it is.
pub(super) async fn guard(
    State(room): State<Arc<Room>>,
    ConnectInfo(peer): ConnectInfo<AdminPeer>,
    mut request: Request,
    next: Next,
) -> Response {
    let admitted = sound_name(&request)
        .and_then(|name| admit(&room.settings, &peer, &name, request.method(), request.headers()));
    match admitted {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            next.run(request).await
        }
        Err(problem) => {
            let (path, status) = (Shown(request.uri().path().as_bytes()), problem.status.as_u16());
            tracing::warn!(target: "audit", %peer, %path, status, error = problem.error, "not allowed");
            problem.into_response()
        }
    }
}

/// Lets in everybody but a page in a browser on this host that has given a name of its own this host's address: what
/// is open to all of a network is not open to every web site.
pub(super) async fn guard_open(
    State(room): State<Arc<Room>>,
    ConnectInfo(peer): ConnectInfo<AdminPeer>,
    request: Request,
    next: Next,
) -> Response {
    let named = sound_name(&request).and_then(|name| match is_local_tcp(&peer) && !name.is_empty() {
        true => by_a_name_of_ours(&room.settings, &name),
        false => Ok(()),
    });
    match named {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

/// By which name the interface is asked for: that of the target, where it has one (RFC 9112 §3.2.2), or of `Host`;
/// empty where there is none.
fn sound_name(request: &Request) -> Result<String, Problem> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok()).unwrap_or_default();
    // RFC 9112 §3.2.
    if hosts.next().is_some() {
        return Err(Problem::bad_request("there is more than one Host", "send one"));
    }
    Ok(request.uri().authority().map_or(host, |authority| authority.as_str()).to_owned())
}

fn admit(
    settings: &AdminSettings,
    peer: &AdminPeer,
    name: &str,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let caller = match settings.tokens.is_empty() {
        true => {
            from_this_host(settings, peer, name)?;
            Caller(peer.to_string())
        }
        false => by_token(settings, headers)?,
    };
    // A page in a browser may post forms and plain text anywhere, but JSON only where it is asked first.
    if method == Method::POST && !is_json(headers) {
        return Err(Problem::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "the body must be JSON, and say so",
            "send the field Content-Type: application/json",
        ));
    }
    if is_from_another_site(name, headers) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "a page of another site has sent this",
            "ask with larder, curl or another program, not from a web page",
        ));
    }
    Ok(caller)
}

fn by_token(settings: &AdminSettings, headers: &HeaderMap) -> Result<Caller, Problem> {
    let offered = headers.get(header::AUTHORIZATION).map(|value| value.as_bytes()).and_then(bearer);
    let Some(offered) = offered else {
        return Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "a token is needed",
            "send the field Authorization: Bearer <token>; the configuration's admin.tokens says which",
        ));
    };
    // All of them are compared, so that the time does not tell which one came close.
    let matching = settings.tokens.iter().fold(None, |found, token| {
        let matches = token.secret.matches(offered);
        if matches { Some(token) } else { found }
    });
    matching.map(|token| Caller(token.name.clone())).ok_or_else(|| {
        Problem::new(
            StatusCode::UNAUTHORIZED,
            "the token is not one of the configuration's",
            "check admin.tokens; a token from a file is used without the line end after it",
        )
    })
}

/// The token of `Authorization: Bearer …`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

/// Whether a browser says that this comes from a page of another site. Programs send neither field.
fn is_from_another_site(name: &str, headers: &HeaderMap) -> bool {
    let text = |field: &str| headers.get(field).map(|value| value.to_str().unwrap_or_default());
    let is_ours = |origin: &str| {
        origin.split_once("://").is_some_and(|(_, authority)| authority.eq_ignore_ascii_case(name))
    };
    text("origin").is_some_and(|origin| !is_ours(origin))
        || text("sec-fetch-site").is_some_and(|site| !matches!(site, "same-origin" | "none"))
}

fn is_local_tcp(peer: &AdminPeer) -> bool {
    matches!(peer, AdminPeer::Tcp(address) if address.ip().to_canonical().is_loopback())
}

fn from_this_host(settings: &AdminSettings, peer: &AdminPeer, name: &str) -> Result<(), Problem> {
    if matches!(peer, AdminPeer::Unix { .. }) {
        return Ok(());
    }
    if !is_local_tcp(peer) {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "without tokens in the configuration only this host may use /v1/",
            "configure admin.tokens and send one, or ask from this host",
        ));
    }
    by_a_name_of_ours(settings, name)
}

fn by_a_name_of_ours(settings: &AdminSettings, name: &str) -> Result<(), Problem> {
    if !is_name_of_ours(settings, name) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this interface is not known by the name {name:?}"),
            "ask by address or as localhost, or add the name to admin_hosts",
        ));
    }
    Ok(())
}

/// Whether a `Host` is one that no page in a browser can have made up: an address cannot be rebound.
fn is_name_of_ours(settings: &AdminSettings, host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || settings.hosts.iter().any(|known| known.eq_ignore_ascii_case(name))
}

fn is_json(headers: &HeaderMap) -> bool {
    let media_type =
        headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = media_type.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::{AdminToken, Secret};
    use axum::http::HeaderValue;

    fn headers(pairs: &[(header::HeaderName, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::from_str(value).unwrap())).collect()
    }

    fn status(settings: &AdminSettings, peer: &str, headers: &HeaderMap) -> u16 {
        let peer = AdminPeer::Tcp(peer.parse().unwrap());
        let name = headers.get(header::HOST).map_or("", |host| host.to_str().unwrap());
        match admit(settings, &peer, name, &Method::GET, headers) {
            Ok(_) => 200,
            Err(problem) => problem.status.as_u16(),
        }
    }

    #[test]
    fn without_tokens_only_this_host_is_let_in_and_only_by_a_name_of_its_own() {
        let settings = AdminSettings { hosts: vec!["larder.internal".into()], ..Default::default() };
        let hosts = ["localhost:8081", "127.0.0.1", "[::1]:8081", "LOCALHOST", "larder.internal:1"];
        for host in hosts {
            assert_eq!(status(&settings, "127.0.0.1:5", &headers(&[(header::HOST, host)])), 200, "{host}");
            assert_eq!(status(&settings, "[::ffff:127.0.0.1]:5", &headers(&[(header::HOST, host)])), 200);
            assert_eq!(status(&settings, "10.0.0.9:5", &headers(&[(header::HOST, host)])), 403);
        }
        for host in ["evil.example:8081", "", "localhost.evil.example", "[evil", "127.0.0.1.evil.example"] {
            assert_eq!(status(&settings, "127.0.0.1:5", &headers(&[(header::HOST, host)])), 421, "{host}");
        }
    }

    #[test]
    fn with_tokens_everyone_needs_one_from_wherever() {
        let token = |name: &str, secret: &str| AdminToken { name: name.into(), secret: Secret::new(secret) };
        let settings =
            AdminSettings { tokens: vec![token("ci", "aaa"), token("ops", "bbb")], ..Default::default() };
        for (value, expected) in
            [("Bearer aaa", 200), ("bearer bbb", 200), ("Bearer aab", 401), ("Basic aaa", 401), ("aaa", 401)]
        {
            let headers = headers(&[(header::AUTHORIZATION, value)]);
            assert_eq!(status(&settings, "10.0.0.9:5", &headers), expected, "{value}");
        }
        assert_eq!(status(&settings, "127.0.0.1:5", &headers(&[(header::HOST, "localhost")])), 401);
        let peer = AdminPeer::Tcp("10.0.0.9:5".parse().unwrap());
        let caller =
            admit(&settings, &peer, "a", &Method::GET, &headers(&[(header::AUTHORIZATION, "Bearer bbb")]));
        assert_eq!(caller.unwrap(), Caller("ops".into()));
    }

    #[test]
    fn a_post_that_a_page_could_send_unasked_is_refused() {
        let peer = AdminPeer::Unix { uid: Some(0) };
        for (media_type, allowed) in [
            ("application/json", true),
            ("Application/JSON; charset=utf-8", true),
            ("text/plain", false),
            ("application/x-www-form-urlencoded", false),
            ("text/plain; application/json", false),
        ] {
            let headers = headers(&[(header::CONTENT_TYPE, media_type)]);
            let admitted = admit(&AdminSettings::default(), &peer, "", &Method::POST, &headers).is_ok();
            assert_eq!(admitted, allowed, "{media_type}");
        }
    }

    #[test]
    fn what_a_page_of_another_site_sends_is_refused_whatever_its_type() {
        let peer = AdminPeer::Tcp("127.0.0.1:5".parse().unwrap());
        let site = header::HeaderName::from_static("sec-fetch-site");
        for (name, value, allowed) in [
            (header::ORIGIN, "http://localhost:8081", true),
            (header::ORIGIN, "http://evil.example", false),
            (header::ORIGIN, "http://localhost:3000", false),
            (header::ORIGIN, "null", false),
            (site.clone(), "same-origin", true),
            (site.clone(), "none", true),
            (site.clone(), "same-site", false),
            (site, "cross-site", false),
        ] {
            let headers = headers(&[(header::CONTENT_TYPE, "application/json"), (name, value)]);
            let settings = AdminSettings::default();
            let admitted = admit(&settings, &peer, "localhost:8081", &Method::POST, &headers);
            assert_eq!(admitted.is_ok(), allowed, "{value}");
        }
    }
}
