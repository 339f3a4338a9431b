//! The demo's origin over real sockets: each page says about caching what the demo claims it says.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test says so when something is not as it should be"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use larder::cli::demo::DemoOrigin;

/// One response, read until the connection's end.
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| field == name).map(|(_, value)| value.as_str())
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn ask_now(address: SocketAddr, method: &str, target: &str, fields: &str, body: &str) -> Answer {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let length = if body.is_empty() { String::new() } else { format!("Content-Length: {}\r\n", body.len()) };
    write!(
        connection,
        "{method} {target} HTTP/1.1\r\nHost: demo.test\r\nConnection: close\r\n{fields}{length}\r\n{body}"
    )
    .unwrap();
    let mut bytes = Vec::new();
    connection.read_to_end(&mut bytes).unwrap();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("a complete head");
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let fields: Vec<(String, String)> = lines
        .map(|line| line.split_once(": ").unwrap())
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    assert!(fields.iter().all(|(name, _)| name != "transfer-encoding"), "every page knows its length");
    Answer { status, fields, body: bytes[end + 4..].to_vec() }
}

async fn ask(origin: &DemoOrigin, method: &str, target: &str, fields: &str, body: &str) -> Answer {
    let address = origin.address;
    let [method, target, fields, body] = [method, target, fields, body].map(str::to_owned);
    tokio::task::spawn_blocking(move || ask_now(address, &method, &target, &fields, &body)).await.unwrap()
}

async fn get(origin: &DemoOrigin, target: &str, fields: &str) -> Answer {
    ask(origin, "GET", target, fields, "").await
}

async fn quick() -> DemoOrigin {
    DemoOrigin::start(Duration::ZERO).await.unwrap()
}

#[tokio::test]
async fn every_page_says_how_it_may_be_kept() {
    let origin = quick().await;
    for (target, content_type, cache_control) in [
        ("/", "text/html; charset=utf-8", "public, max-age=10, stale-while-revalidate=60"),
        ("/article", "text/html; charset=utf-8", "public, max-age=60"),
        ("/news.json", "application/json", "public, max-age=2, stale-while-revalidate=30"),
        ("/shelf.svg", "image/svg+xml", "public, max-age=3600"),
        ("/jars.png", "image/png", "public, max-age=3600, immutable"),
        ("/large.bin", "application/octet-stream", "public, max-age=600"),
        ("/tips", "text/plain; charset=utf-8", "public"),
        ("/dice.json", "application/json", "no-store"),
        ("/account", "application/json", "private, max-age=60"),
        ("/greeting", "text/plain; charset=utf-8", "public, max-age=60"),
        ("/words.txt", "text/plain; charset=utf-8", "public, max-age=60"),
        ("/stock.json", "application/json", "public, no-cache"),
        ("/fragile", "application/json", "public, max-age=0, stale-if-error=600"),
        ("/guestbook", "text/html; charset=utf-8", "public, max-age=300"),
        ("/counter", "application/json", "no-store"),
    ] {
        let answer = ask(&origin, "HEAD", target, "", "").await;
        assert_eq!(answer.status, 200, "{target}");
        assert_eq!(answer.field("content-type"), Some(content_type), "{target}");
        assert_eq!(answer.field("cache-control"), Some(cache_control), "{target}");
        assert!(answer.body.is_empty(), "{target}");
    }
    assert_eq!(get(&origin, "/nowhere", "").await.status, 404);
}

#[tokio::test]
async fn a_page_is_late_and_its_validation_is_not() {
    let delay = Duration::from_millis(250);
    let origin = DemoOrigin::start(delay).await.unwrap();
    let started = Instant::now();
    let answer = get(&origin, "/article", "").await;
    assert!(started.elapsed() >= delay);
    let etag = answer.field("etag").unwrap();
    let unchanged = get(&origin, "/article", &format!("If-None-Match: \"other\", {etag}\r\n")).await;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));
    assert_eq!(unchanged.field("etag"), Some(etag));
    assert_eq!(unchanged.field("cache-control"), Some("public, max-age=60"));
    assert_eq!(unchanged.field("content-type"), None);
    let counted = get(&origin, "/counter", "").await.json();
    assert_eq!(counted["not_modified"], 1);
    assert_eq!(counted["pages"]["/article"], 2);
}

#[tokio::test]
async fn the_pictures_are_validated_by_date() {
    let origin = quick().await;
    let picture = get(&origin, "/jars.png", "").await;
    assert!(picture.body.starts_with(b"\x89PNG"));
    let fields = format!("If-Modified-Since: {}\r\n", picture.field("last-modified").unwrap());
    assert_eq!(get(&origin, "/jars.png", &fields).await.status, 304);
    assert_eq!(get(&origin, "/shelf.svg", &fields).await.status, 304);
}

#[tokio::test]
async fn the_large_file_comes_whole_and_without_ranges() {
    let origin = quick().await;
    let file = get(&origin, "/large.bin", "Range: bytes=0-99\r\n").await;
    assert_eq!((file.status, file.body.len()), (200, 16 << 20));
    assert_eq!(file.field("content-length"), Some("16777216"));
    assert!(file.body.ends_with(b"sixteen bytes.\r\n"));
}

#[tokio::test]
async fn what_changes_does_so_at_every_request() {
    let origin = quick().await;
    for target in ["/news.json", "/dice.json"] {
        let (first, second) = (get(&origin, target, "").await, get(&origin, target, "").await);
        assert_ne!(first.text(), second.text(), "{target}");
    }
}

#[tokio::test]
async fn variants_follow_the_fields_that_vary_names() {
    let origin = quick().await;
    let german = get(&origin, "/greeting", "Accept-Language: de-CH, en;q=0.5\r\n").await;
    let english = get(&origin, "/greeting", "").await;
    assert_eq!(
        (german.field("content-language"), english.field("content-language")),
        (Some("de"), Some("en"))
    );
    assert_eq!(german.field("vary"), Some("Accept-Language"));
    assert_ne!(german.field("etag"), english.field("etag"));

    let packed = get(&origin, "/words.txt", "Accept-Encoding: gzip\r\n").await;
    let plain = get(&origin, "/words.txt", "").await;
    assert_eq!((packed.field("content-encoding"), plain.field("content-encoding")), (Some("gzip"), None));
    assert_eq!(
        (packed.field("vary"), plain.field("vary")),
        (Some("Accept-Encoding"), Some("Accept-Encoding"))
    );
    assert_ne!(packed.field("etag"), plain.field("etag"));
    assert!(packed.body.len() < plain.body.len() / 2);
    assert_eq!(unpacked(&packed.body), plain.body);
}

/// What the system's own gzip makes of `packed`.
fn unpacked(packed: &[u8]) -> Vec<u8> {
    use std::process::{Command, Stdio};
    let mut gzip =
        Command::new("gzip").arg("-dc").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    // The whole fits into a pipe's buffer, so that writing before reading cannot block.
    gzip.stdin.take().unwrap().write_all(packed).unwrap();
    gzip.wait_with_output().unwrap().stdout
}

#[tokio::test]
async fn an_account_belongs_to_its_cookie() {
    let origin = quick().await;
    let first = get(&origin, "/account", "").await;
    assert_eq!(first.json()["new"], true);
    let cookie = first.field("set-cookie").unwrap().split(';').next().unwrap().to_owned();
    let again = get(&origin, "/account", &format!("Cookie: other=1; {cookie}\r\n")).await;
    assert_eq!(again.json()["new"], false);
    assert_eq!(again.json()["visitor"], first.json()["visitor"]);
    assert_ne!(get(&origin, "/account", "").await.json()["visitor"], first.json()["visitor"]);
}

#[tokio::test]
async fn the_fragile_page_breaks_and_mends_on_demand() {
    let origin = quick().await;
    assert_eq!(get(&origin, "/fragile/break", "").await.status, 405);
    assert_eq!(get(&origin, "/fragile", "").await.status, 200);
    assert_eq!(ask(&origin, "POST", "/fragile/break", "", "").await.status, 200);
    assert_eq!(get(&origin, "/fragile", "").await.status, 503);
    assert_eq!(ask(&origin, "POST", "/fragile/mend", "", "").await.status, 200);
    assert_eq!(get(&origin, "/fragile", "").await.status, 200);
}

#[tokio::test]
async fn a_signed_guestbook_shows_the_line_and_stays_small() {
    let origin = quick().await;
    let signed = ask(&origin, "POST", "/guestbook", "", "other=1&line=%3Cb%3E+hello").await;
    assert_eq!((signed.status, signed.field("location")), (303, Some("/guestbook")));
    assert!(get(&origin, "/guestbook", "").await.text().contains("<li>&lt;b&gt; hello</li>"));
    assert_eq!(ask(&origin, "POST", "/guestbook", "", "line=").await.status, 422);
    assert_eq!(
        ask(&origin, "POST", "/guestbook", "", &format!("line={}", "x".repeat(5000))).await.status,
        413
    );
    for _ in 0..30 {
        ask(&origin, "POST", "/guestbook", "", "line=again").await;
    }
    assert_eq!(get(&origin, "/guestbook", "").await.text().matches("<li>").count(), 20);
}

#[tokio::test]
async fn requests_are_counted_by_page_and_whatever_the_query() {
    let origin = quick().await;
    get(&origin, "/tips", "").await;
    get(&origin, "/tips?crowd=1", "").await;
    get(&origin, "/counter", "").await;
    let counted = get(&origin, "/counter", "").await.json();
    assert_eq!(counted["pages"]["/tips"], 2);
    assert_eq!(counted["total"], 2);
}

#[tokio::test]
async fn a_dropped_origin_stops_listening() {
    let origin = quick().await;
    let address = origin.address;
    assert_eq!(origin.endpoint(), format!("http://{address}"));
    drop(origin);
    // The abort is carried out by the runtime; each turn gives it the chance to.
    while TcpStream::connect(address).is_ok() {
        tokio::task::yield_now().await;
    }
}
