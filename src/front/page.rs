//! Larder's own pages: short, the same in every case, with the request id that the log knows.

use bytes::Bytes;
use http::StatusCode;

use crate::message::{Body, FieldLines, Length, Outcome, Response};

/// A page of Larder's own: what went wrong, and the number under which the log tells more. It says nothing
/// about the inside: addresses and causes are for the log.
pub fn page(status: StatusCode, explanation: &str, outcome: Box<Outcome>) -> Response {
    let reason = status.canonical_reason().unwrap_or("Error");
    let id = outcome.request_id;
    let code = status.as_u16();
    let html = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{code} {reason}</title>\n\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:15vh auto;padding:0 1rem;\
         color-scheme:light dark}}code{{font-size:.9rem}}</style>\n\
         <h1>{code} {reason}</h1>\n<p>{explanation}</p>\n<p><code>request {id}</code></p>\n</html>\n"
    );
    let mut response = plain(status, "text/html; charset=utf-8", Bytes::from(html), outcome);
    if status == StatusCode::SERVICE_UNAVAILABLE {
        // RFC 9110 §10.2.3. What is full here, or down, may not be so in a moment.
        response.fields.push("Retry-After", b"1");
    }
    response
}

/// A response of Larder's own with a body.
pub fn plain(status: StatusCode, content_type: &str, body: Bytes, outcome: Box<Outcome>) -> Response {
    let mut fields = FieldLines::new();
    if !body.is_empty() {
        fields.push("Content-Type", content_type.as_bytes());
    }
    fields.push("Cache-Control", b"no-store");
    let length = Length::Known(body.len() as u64);
    Response { status, fields, body: Body::Full(body), length, close: false, tunnel: None, outcome }
}
