//! One page on its way to one request: validators, negotiation, and the body that is too large to hold.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use http_body::{Frame, SizeHint};

/// A page as the site would give it to anyone who asks: fields, validators and the body.
pub(super) struct Page {
    fields: HeaderMap,
    etag: Option<String>,
    body: Body,
}

impl Page {
    pub(super) fn new(
        content_type: &'static str,
        cache_control: &'static str,
        body: impl Into<Body>,
    ) -> Page {
        let mut fields = HeaderMap::new();
        fields.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        fields.insert(header::CACHE_CONTROL, HeaderValue::from_static(cache_control));
        Page { fields, etag: None, body: body.into() }
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Page {
        self.fields.append(name, HeaderValue::from_static(value));
        self
    }

    /// The page carries a strong validator (RFC 9110 §8.8.3); `version` is what goes between the quotes.
    pub(super) fn version(mut self, version: &str) -> Page {
        let etag = format!("\"{version}\"");
        if let Ok(value) = HeaderValue::from_str(&etag) {
            self.fields.insert(header::ETAG, value);
            self.etag = Some(etag);
        }
        self
    }

    /// Whether the client holds this very page already: RFC 9110 §13.1.2, weak comparison; and §13.1.3,
    /// where a page with `Last-Modified` and no entity tag is asked for with the date it was given.
    pub(super) fn held_by(&self, request: &HeaderMap) -> bool {
        let mut tags = request.get_all(header::IF_NONE_MATCH).iter().peekable();
        if tags.peek().is_some() {
            return tags
                .filter_map(|line| line.to_str().ok())
                .flat_map(|line| line.split(','))
                .map(|tag| tag.trim().trim_start_matches("W/"))
                .any(|tag| tag == "*" || Some(tag) == self.etag.as_deref());
        }
        // The dates here never move, so that being equal is all there is to compare.
        let modified = self.fields.get(header::LAST_MODIFIED);
        modified.is_some() && modified == request.get(header::IF_MODIFIED_SINCE)
    }

    /// 200 with the whole page.
    pub(super) fn whole(self) -> Response<Body> {
        self.answer(StatusCode::OK)
    }

    /// The page under another status.
    pub(super) fn answer(self, status: StatusCode) -> Response<Body> {
        let mut response = Response::new(self.body);
        *response.status_mut() = status;
        *response.headers_mut() = self.fields;
        response
    }

    /// 304 with the fields that RFC 9110 §15.4.5 asks for and no body.
    pub(super) fn unchanged(mut self) -> Response<Body> {
        self.fields.remove(header::CONTENT_TYPE);
        self.fields.remove(header::CONTENT_ENCODING);
        self.body = Body::empty();
        self.answer(StatusCode::NOT_MODIFIED)
    }
}

/// Whether `Accept-Encoding` takes gzip (RFC 9110 §12.5.3): named, or by `*`, and not with a weight of zero.
pub(super) fn takes_gzip(request: &HeaderMap) -> bool {
    let mut by_star = false;
    for (coding, weight) in weighted(request, header::ACCEPT_ENCODING) {
        match coding.as_str() {
            "gzip" | "x-gzip" => return weight > 0.0,
            "*" => by_star = weight > 0.0,
            _ => {}
        }
    }
    by_star
}

/// The first of `offered` languages that the client likes best (RFC 9110 §12.5.4); the first one if it likes none.
pub(super) fn language<'a>(request: &HeaderMap, offered: &[&'a str]) -> &'a str {
    let mut wanted: Vec<_> =
        weighted(request, header::ACCEPT_LANGUAGE).filter(|(_, weight)| *weight > 0.0).collect();
    // The sort is stable: of two languages with one weight, the one named first is preferred.
    wanted.sort_by(|a, b| b.1.total_cmp(&a.1));
    wanted
        .iter()
        .find_map(|(range, _)| {
            let primary = range.split('-').next().unwrap_or_default();
            offered.iter().find(|language| **language == primary)
        })
        .or(offered.first())
        .copied()
        .unwrap_or_default()
}

/// The members of a list with `;q=` weights, in lower case; what cannot be read weighs 1.
fn weighted(request: &HeaderMap, name: HeaderName) -> impl Iterator<Item = (String, f32)> {
    request
        .get_all(name)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(|member| {
            let (value, parameters) = member.split_once(';').unwrap_or((member, ""));
            let weight = parameters
                .split(';')
                .filter_map(|parameter| {
                    parameter.trim().to_ascii_lowercase().strip_prefix("q=")?.parse().ok()
                })
                .next();
            (value.trim().to_ascii_lowercase(), weight.unwrap_or(1.0))
        })
}

/// A body of repeated blocks that is never in memory as a whole.
pub(super) struct Repeated {
    block: Bytes,
    left: u64,
}

impl Repeated {
    /// `total` bytes: `block` over and over, the last one cut to fit.
    pub(super) fn new(block: Bytes, total: u64) -> Repeated {
        Repeated { left: if block.is_empty() { 0 } else { total }, block }
    }
}

impl http_body::Body for Repeated {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let len = self.block.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        self.left -= len as u64;
        Poll::Ready(Some(Ok(Frame::data(self.block.slice(..len)))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        values.iter().map(|value| (name.clone(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn gzip_is_given_only_to_those_who_take_it() {
        for (asked, gzip) in [
            (&["gzip"][..], true),
            (&["br, GZIP;q=0.5"], true),
            (&["br", "gzip"], true),
            (&["*"], true),
            (&["gzip;q=0"], false),
            (&["*, gzip; q=0.000"], false),
            (&["br"], false),
            (&["identity"], false),
            (&[], false),
        ] {
            assert_eq!(takes_gzip(&fields(header::ACCEPT_ENCODING, asked)), gzip, "{asked:?}");
        }
    }

    #[test]
    fn the_best_liked_language_wins() {
        for (asked, got) in [
            (&["de"][..], "de"),
            (&["fr;q=0.2, de-AT;q=0.9"], "de"),
            (&["pt, fr"], "fr"),
            (&["de;q=0"], "en"),
            (&[], "en"),
        ] {
            assert_eq!(
                language(&fields(header::ACCEPT_LANGUAGE, asked), &["en", "de", "fr"]),
                got,
                "{asked:?}"
            );
        }
    }

    #[test]
    fn a_page_is_held_by_who_names_its_tag_or_its_date() {
        let page = || Page::new("text/plain", "no-cache", "x").version("v1");
        for (asked, held) in
            [("\"v1\"", true), ("W/\"v1\"", true), ("\"v0\", \"v1\"", true), ("*", true), ("\"v2\"", false)]
        {
            assert_eq!(page().held_by(&fields(header::IF_NONE_MATCH, &[asked])), held, "{asked}");
        }
        let date = "Mon, 03 Jun 2024 09:00:00 GMT";
        let dated = Page::new("text/plain", "no-cache", "x").with(header::LAST_MODIFIED, date);
        assert!(dated.held_by(&fields(header::IF_MODIFIED_SINCE, &[date])));
        assert!(!dated.held_by(&fields(header::IF_MODIFIED_SINCE, &["Mon, 03 Jun 2024 08:59:59 GMT"])));
        assert!(!page().held_by(&fields(header::IF_MODIFIED_SINCE, &[date])));
    }
}
