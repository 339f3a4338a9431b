//! The demo site's pages: one of each kind that a cache has to tell apart.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Response, StatusCode};
use axum::middleware::{self, Next};
use axum::routing::{get, post};
use parking_lot::Mutex;
use serde_json::json;

use super::exchange::{Page, Repeated, language, takes_gzip};
use super::picture;
use crate::clock::Clock;

/// Every page of the site; requests are counted by these.
pub(super) const PATHS: [&str; 17] = [
    "/",
    "/article",
    "/news.json",
    "/shelf.svg",
    "/jars.png",
    "/large.bin",
    "/tips",
    "/dice.json",
    "/account",
    "/greeting",
    "/words.txt",
    "/stock.json",
    "/fragile",
    "/fragile/break",
    "/fragile/mend",
    "/guestbook",
    "/counter",
];

/// The text that is also there as gzip.
pub(super) const WORDS: &str = include_str!("words.txt");
/// The same text, packed beforehand with `gzip -9n`.
pub(super) const WORDS_GZIP: &[u8] = include_bytes!("words.txt.gz");

const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
const TEXT: &str = "text/plain; charset=utf-8";
const TAGS: HeaderName = HeaderName::from_static("surrogate-key");

/// The large file's length in bytes: 16 MiB.
const LARGE: u64 = 16 << 20;
const LARGE_BLOCK: usize = 64 << 10;
/// The pictures never change; this is when they were made.
const MADE: &str = "Mon, 03 Jun 2024 09:00:00 GMT";
/// Lines that the guestbook keeps, and characters it keeps of each.
const GUESTBOOK_LINES: usize = 20;
const GUESTBOOK_CHARACTERS: usize = 120;
const FORM_BYTES: usize = 4 << 10;

/// What the site remembers.
struct Site {
    delay: Duration,
    clock: Clock,
    /// How often each of [`PATHS`] was asked for.
    asked: [AtomicU64; PATHS.len()],
    /// How many validations ended with 304.
    confirmed: AtomicU64,
    /// The number of the next news, throw of dice and visitor.
    next: AtomicU64,
    broken: AtomicBool,
    guestbook: Mutex<VecDeque<String>>,
    large_block: Bytes,
    jars: Bytes,
}

type Here = State<Arc<Site>>;

/// The whole site, each page `delay` late.
pub(super) fn site(delay: Duration) -> Router {
    let shelf = b"sixteen bytes.\r\n".iter().copied().cycle().take(LARGE_BLOCK).collect::<Vec<u8>>();
    let site = Arc::new(Site {
        delay,
        clock: Clock::system(),
        asked: Default::default(),
        confirmed: AtomicU64::new(0),
        next: AtomicU64::new(1),
        broken: AtomicBool::new(false),
        guestbook: Mutex::new(VecDeque::from(["The first line was here already.".to_owned()])),
        large_block: shelf.into(),
        jars: picture::png().into(),
    });
    Router::new()
        .route("/", get(front))
        .route("/article", get(article))
        .route("/news.json", get(news))
        .route("/shelf.svg", get(shelf_picture))
        .route("/jars.png", get(jars))
        .route("/large.bin", get(large))
        .route("/tips", get(tips))
        .route("/dice.json", get(dice))
        .route("/account", get(account))
        .route("/greeting", get(greeting))
        .route("/words.txt", get(words))
        .route("/stock.json", get(stock))
        .route("/fragile", get(fragile))
        .route("/fragile/break", post(break_it))
        .route("/fragile/mend", post(mend_it))
        .route("/guestbook", get(guestbook).post(sign_guestbook))
        .route("/counter", get(counter))
        .layer(DefaultBodyLimit::max(FORM_BYTES))
        .layer(middleware::from_fn_with_state(site.clone(), count))
        .with_state(site)
}

/// Counts what the origin was asked, by page and whatever the query.
async fn count(State(site): Here, request: Request, next: Next) -> Response<Body> {
    if let Some(index) = PATHS.iter().position(|path| *path == request.uri().path()) {
        site.asked[index].fetch_add(1, Relaxed);
    }
    next.run(request).await
}

impl Site {
    /// Gives a page to a request: 304 at once to who holds it, else the whole after the delay.
    async fn give(&self, request: &HeaderMap, page: Page) -> Response<Body> {
        if page.held_by(request) {
            self.confirmed.fetch_add(1, Relaxed);
            return page.unchanged();
        }
        tokio::time::sleep(self.delay).await;
        page.whole()
    }

    fn next(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }
}

async fn front(State(site): Here, request: HeaderMap) -> Response<Body> {
    let page = Page::new(HTML, "public, max-age=10, stale-while-revalidate=60", include_str!("page.html"))
        .with(
            header::CONTENT_SECURITY_POLICY,
            "default-src 'none'; connect-src 'self'; img-src data: blob:; style-src 'unsafe-inline'; \
             script-src 'unsafe-inline'; form-action 'self'; base-uri 'none'",
        )
        .with(TAGS, "demo front");
    site.give(&request, page.version(concat!("front-", env!("CARGO_PKG_VERSION")))).await
}

async fn article(State(site): Here, request: HeaderMap) -> Response<Body> {
    let page = Page::new(HTML, "public, max-age=60", include_str!("article.html")).with(TAGS, "demo article");
    site.give(&request, page.version("article-1")).await
}

/// Changes with every look at it; kept for 2 s, and served stale for 30 more while it is fetched anew.
async fn news(State(site): Here, request: HeaderMap) -> Response<Body> {
    let serial = site.next();
    let body =
        json!({ "serial": serial, "written_unix_millis": site.clock.date(site.clock.now()).unix_millis() });
    let page = Page::new(JSON, "public, max-age=2, stale-while-revalidate=30", body.to_string())
        .with(TAGS, "demo news");
    site.give(&request, page.version(&format!("news-{serial}"))).await
}

async fn shelf_picture(State(site): Here, request: HeaderMap) -> Response<Body> {
    let page = Page::new("image/svg+xml", "public, max-age=3600", include_str!("shelf.svg"));
    site.give(&request, page.with(header::LAST_MODIFIED, MADE)).await
}

async fn jars(State(site): Here, request: HeaderMap) -> Response<Body> {
    let page = Page::new("image/png", "public, max-age=3600, immutable", site.jars.clone());
    site.give(&request, page.with(header::LAST_MODIFIED, MADE)).await
}

/// Streamed, never whole in memory; the origin does not understand `Range`, and need not (RFC 9110 §14.2).
async fn large(State(site): Here, request: HeaderMap) -> Response<Body> {
    let body = Body::new(Repeated::new(site.large_block.clone(), LARGE));
    site.give(&request, Page::new("application/octet-stream", "public, max-age=600", body).version("large-1"))
        .await
}

/// Says nothing about caching but when it was last changed: a cache may guess (RFC 9111 §4.2.2).
async fn tips(State(site): Here, request: HeaderMap) -> Response<Body> {
    let page = Page::new(TEXT, "public", "Keep honey closed. It draws water.\n");
    site.give(&request, page.with(header::LAST_MODIFIED, MADE)).await
}

async fn dice(State(site): Here, request: HeaderMap) -> Response<Body> {
    // Not chance, but never the same twice in a row, which is what can be seen.
    let throw = site.next();
    let body = json!({ "throw": throw, "eyes": 1 + throw.wrapping_mul(5) % 6 });
    site.give(&request, Page::new(JSON, "no-store", body.to_string())).await
}

/// Knows its visitor by a cookie; nobody else may be given this page.
async fn account(State(site): Here, request: HeaderMap) -> Response<Body> {
    let known = request
        .get_all(header::COOKIE)
        .into_iter()
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(';'))
        .find_map(|pair| pair.trim().strip_prefix("visitor=")?.parse::<u64>().ok());
    let visitor = known.unwrap_or_else(|| site.next());
    let page = Page::new(
        JSON,
        "private, max-age=60",
        json!({ "visitor": visitor, "new": known.is_none() }).to_string(),
    );
    let mut response = site.give(&request, page).await;
    // The path keeps the cookie away from the other pages, as a careful site would.
    let cookie = format!("visitor={visitor}; Path=/account; HttpOnly; SameSite=Lax");
    if let Ok(cookie) = HeaderValue::from_str(&cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

async fn greeting(State(site): Here, request: HeaderMap) -> Response<Body> {
    let (tag, words) = match language(&request, &["en", "de", "fr"]) {
        "de" => ("de", "Guten Tag. Es ist angerichtet.\n"),
        "fr" => ("fr", "Bonjour. Le repas est servi.\n"),
        _ => ("en", "Good day. Dinner is served.\n"),
    };
    let page = Page::new(TEXT, "public, max-age=60", words)
        .with(header::CONTENT_LANGUAGE, tag)
        .with(header::VARY, "Accept-Language")
        .version(&format!("greeting-{tag}"));
    site.give(&request, page).await
}

async fn words(State(site): Here, request: HeaderMap) -> Response<Body> {
    let page = if takes_gzip(&request) {
        Page::new(TEXT, "public, max-age=60", WORDS_GZIP)
            .with(header::CONTENT_ENCODING, "gzip")
            .version("words-gzip")
    } else {
        Page::new(TEXT, "public, max-age=60", WORDS).version("words")
    };
    site.give(&request, page.with(header::VARY, "Accept-Encoding")).await
}

/// May be kept, but not used without asking: every request is a validation, and a cheap one.
async fn stock(State(site): Here, request: HeaderMap) -> Response<Body> {
    let body = json!({ "jam": 12, "honey": 3, "note": "asked about every time, sent only once" });
    site.give(&request, Page::new(JSON, "public, no-cache", body.to_string()).version("stock-1")).await
}

/// Works until it is broken; a cache may serve what it has for ten minutes then (RFC 5861 §4).
async fn fragile(State(site): Here, request: HeaderMap) -> Response<Body> {
    if site.broken.load(Relaxed) {
        tokio::time::sleep(site.delay).await;
        return Page::new(TEXT, "no-store", "The origin is broken.\n")
            .answer(StatusCode::SERVICE_UNAVAILABLE);
    }
    let made = site.clock.date(site.clock.now()).unix_millis();
    let body = json!({ "made_unix_millis": made, "state": "in good order" });
    site.give(&request, Page::new(JSON, "public, max-age=0, stale-if-error=600", body.to_string())).await
}

async fn break_it(State(site): Here) -> Response<Body> {
    site.broken.store(true, Relaxed);
    Page::new(TEXT, "no-store", "/fragile now fails.\n").whole()
}

async fn mend_it(State(site): Here) -> Response<Body> {
    site.broken.store(false, Relaxed);
    Page::new(TEXT, "no-store", "/fragile works again.\n").whole()
}

async fn guestbook(State(site): Here, request: HeaderMap) -> Response<Body> {
    let lines: String =
        site.guestbook.lock().iter().map(|line| format!("<li>{}</li>\n", escaped(line))).collect();
    let body = format!(
        "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><title>Guestbook</title>\n\
         <style>:root {{ color-scheme: light dark }} body {{ font: 1rem/1.5 sans-serif; max-width: 34rem; \
         margin: 3rem auto; padding: 0 1rem }}</style>\n<h1>Guestbook</h1>\n<ul>\n{lines}</ul>\n\
         <form method=\"post\"><label>A line <input name=\"line\" required maxlength=\"{GUESTBOOK_CHARACTERS}\">\
         </label> <button>Sign</button></form>\n<p><a href=\"/\">Back to the demo</a></p></html>\n"
    );
    site.give(&request, Page::new(HTML, "public, max-age=300", body)).await
}

/// Takes a line and sends the browser to the page; caches drop what they held of it (RFC 9111 §4.4).
async fn sign_guestbook(State(site): Here, form: Bytes) -> Response<Body> {
    let line = form.split(|byte| *byte == b'&').find_map(|pair| pair.strip_prefix(b"line=")).map(decoded);
    let Some(line) = line.filter(|line| !line.is_empty()) else {
        return Page::new(TEXT, "no-store", "The form has no line.\n")
            .answer(StatusCode::UNPROCESSABLE_ENTITY);
    };
    {
        let mut lines = site.guestbook.lock();
        lines.truncate(GUESTBOOK_LINES - 1);
        lines.push_front(line);
    }
    Page::new(TEXT, "no-store", "Thank you.\n")
        .with(header::LOCATION, "/guestbook")
        .answer(StatusCode::SEE_OTHER)
}

/// What the origin was asked, so that a visitor can see what it was not asked. Never kept, never late.
async fn counter(State(site): Here) -> Response<Body> {
    let mut pages = serde_json::Map::new();
    let mut total = 0;
    for (path, asked) in PATHS.iter().zip(&site.asked).filter(|(path, _)| **path != "/counter") {
        let asked = asked.load(Relaxed);
        total += asked;
        pages.insert((*path).to_owned(), asked.into());
    }
    let body = json!({ "total": total, "not_modified": site.confirmed.load(Relaxed), "pages": pages });
    Page::new(JSON, "no-store", body.to_string()).whole()
}

/// A value of a form (`application/x-www-form-urlencoded`), cut to what the guestbook keeps.
fn decoded(value: &[u8]) -> String {
    let spaced: Vec<u8> = value.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let text = percent_encoding::percent_decode(&spaced).decode_utf8_lossy().trim().to_owned();
    text.chars().filter(|c| !c.is_control()).take(GUESTBOOK_CHARACTERS).collect()
}

/// Text as HTML shows it.
fn escaped(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut html, c| {
        match c {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            c => html.push(c),
        }
        html
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signed_line_cannot_become_markup() {
        assert_eq!(escaped(&decoded(b"%3Cscript%3E+%26+%22hi%22")), "&lt;script&gt; &amp; &quot;hi&quot;");
        assert_eq!(decoded(b"a%0d%0ab"), "ab");
        assert_eq!(decoded(&[b'x'; 4000]).len(), GUESTBOOK_CHARACTERS);
    }
}
