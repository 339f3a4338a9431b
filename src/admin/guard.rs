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
    match admit(&room.settings, &peer, request.method(), request.headers()) {
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

fn admit(
    settings: &AdminSettings,
    peer: &AdminPeer,
    method: &Method,
    headers: &HeaderMap,
) -> Result<Caller, Problem> {
    let caller = match settings.tokens.is_empty() {
        true => {
            from_this_host(settings, peer, headers)?;
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

fn from_this_host(settings: &AdminSettings, peer: &AdminPeer, headers: &HeaderMap) -> Result<(), Problem> {
    let AdminPeer::Tcp(address) = peer else { return Ok(()) };
    if !address.ip().to_canonical().is_loopback() {
        return Err(Problem::new(
            StatusCode::FORBIDDEN,
            "without tokens in the configuration only this host may use /v1/",
            "configure admin.tokens and send one, or ask from this host",
        ));
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_name_of_ours(settings, host) {
        return Err(Problem::new(
            StatusCode::MISDIRECTED_REQUEST,
            format!("this interface is not known by the name {host:?}"),
            "ask by address or as localhost, or add the name to admin.hosts",
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
        match admit(settings, &peer, &Method::GET, headers) {
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
            admit(&settings, &peer, &Method::GET, &headers(&[(header::AUTHORIZATION, "Bearer bbb")]));
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
            let admitted = admit(&AdminSettings::default(), &peer, &Method::POST, &headers).is_ok();
            assert_eq!(admitted, allowed, "{media_type}");
        }
    }
}
