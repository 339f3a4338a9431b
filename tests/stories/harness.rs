//! The harness itself: every server serves the story application as the stories assume, without Larder.

use crate::common::*;
use std::time::{Duration, SystemTime};

/// What the stories rely on, asked of the server directly.
fn serves_the_application(server: &Server, conditional: bool) {
    let first = server.get("/page").expect_status(200).expect_whole();
    let second = server.get("/page").expect_status(200);
    assert_ne!(first.text(), second.text(), "each run has its own stamp");
    assert_eq!(first.field("Cache-Control"), Some("max-age=600"));
    assert!(first.field("ETag").is_some(), "{first}");
    assert_eq!(server.runs("GET", "/page"), 2);

    let validated = server.get("/validated").expect_status(200);
    let again = server.get_with("/validated", &[("If-None-Match", validated.field("ETag").unwrap())]);
    if conditional {
        let again = again.expect_status(304);
        assert!(again.body.is_empty());
        assert_eq!(server.runs_with("GET", "/validated", "304"), 1);
    }

    assert_eq!(server.post("/echo", b"sent").expect_status(200).text(), "sent");
    let large = server.get("/large").expect_status(200).expect_whole();
    assert_eq!(large.body, large_page());
    let head = server.head("/page/head").expect_status(200);
    assert!(head.body.is_empty());

    let named = server.get_with("/personal", &[("Cookie", "name=Ada")]);
    assert_eq!(named.text(), "hello Ada\n");
    assert_eq!(server.get("/personal").text(), "hello stranger\n");
    assert!(server.get("/login").field("Set-Cookie").is_some_and(|cookie| cookie.starts_with("session=")));
    let german = server.get_with("/vary", &[("Accept-Language", "de-AT")]);
    assert!(german.text().starts_with("in de "), "{german}");
    assert_eq!(german.field("Vary"), Some("Accept-Language"));
    assert_eq!(server.get("/sturdy").field("Cache-Control"), Some("max-age=0, stale-if-error=600"));
    server.get("/nowhere").expect_status(404);

    let mut streaming = server.connect();
    streaming.ask_get("/stream/gate");
    streaming.wait_for(b"first line\n").expect("the first line comes while the gate is shut");
    server.open_gate("gate");
    let streamed = streaming.answer("GET").expect("an answer").expect_whole();
    assert_eq!(streamed.text(), "first line\nlast line\n");
}

fn goes_and_comes_back(mut server: Server) {
    server.kill();
    assert!(Connection::open(server.client()).is_err(), "nothing listens any more");
    server.come_back();
    server.get("/page").expect_status(200);
}

/// The application's `/large`: 16,384 numbered lines of 64 bytes.
pub fn large_page() -> Vec<u8> {
    (0..16_384).flat_map(|line| format!("{line:063}\n").into_bytes()).collect()
}

#[test]
fn wsgiref_serves_the_plain_application() {
    let server = Server::wsgiref(App::Plain);
    serves_the_application(&server, true);
    goes_and_comes_back(server);
}

#[test]
fn wsgiref_serves_the_webob_application() {
    serves_the_application(&Server::wsgiref(App::WebOb), true);
}

#[test]
fn werkzeug_serves_its_application() {
    let server = Server::werkzeug(App::Werkzeug);
    serves_the_application(&server, true);
    goes_and_comes_back(server);
}

#[test]
fn gunicorn_serves_on_tcp_and_on_a_unix_socket() {
    serves_the_application(&Server::gunicorn(App::WebOb, 2), true);
    let server = Server::gunicorn_on_a_unix_socket(App::Werkzeug, 2);
    serves_the_application(&server, true);
    goes_and_comes_back(server);
}

#[test]
fn cherrypy_serves_its_application() {
    let server = Server::cherrypy();
    serves_the_application(&server, true);
    goes_and_comes_back(server);
}

#[test]
fn uwsgi_serves_the_plain_application() {
    let server = Server::uwsgi(App::Plain);
    serves_the_application(&server, true);
    goes_and_comes_back(server);
}

#[test]
fn asynchronous_servers_serve_theirs() {
    let server = Server::tornado();
    serves_the_application(&server, true);
    goes_and_comes_back(server);
    let server = Server::uvicorn();
    serves_the_application(&server, true);
    goes_and_comes_back(server);
}

#[test]
fn apache_serves_the_plain_application_through_mod_wsgi() {
    let server = Server::apache_with_mod_wsgi(App::Plain);
    serves_the_application(&server, true);
    goes_and_comes_back(server);
}

#[test]
fn nginx_serves_files_and_proxies() {
    let server = Server::nginx_serving_files();
    let yesterday = SystemTime::now() - Duration::from_secs(86_400);
    server.put_file("page", b"a page\n", yesterday);
    server.put_file("validated", b"validated\n", yesterday);
    let page = server.get("/page").expect_status(200);
    assert_eq!((page.text().as_str(), page.field("Cache-Control")), ("a page\n", Some("max-age=600")));
    let etag = server.get("/validated").field("ETag").unwrap().to_owned();
    server.get_with("/validated", &[("If-None-Match", &etag)]).expect_status(304);
    server.post("/page", b"sent").expect_status(405);
    goes_and_comes_back(server);

    let behind = Server::gunicorn(App::Plain, 2);
    let proxy = Server::nginx_before(&behind);
    let page = proxy.get("/page").expect_status(200);
    assert!(page.field("Server").is_some_and(|server| server.starts_with("nginx")), "{page}");
    assert_eq!(behind.runs("GET", "/page"), 1);
}

#[test]
fn python_serves_files() {
    let server = Server::python_http_server();
    let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    server.put_file("page", b"a page\n", modified);
    let page = server.get("/page").expect_status(200).expect_whole();
    assert_eq!(page.field("Last-Modified"), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
    server.get_with("/page", &[("If-Modified-Since", "Sun, 09 Sep 2001 01:46:40 GMT")]).expect_status(304);
    server.post("/page", b"sent").expect_status(501);
    goes_and_comes_back(server);
}

#[test]
fn the_origin_double_counts_and_breaks_off() {
    let origin = Origin::scripted(|asked, wire| match asked.target.as_str() {
        "/whole" => wire.answer("", "whole"),
        "/short" => {
            let _ = wire.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf");
            Next::Close
        }
        "/chunk" => {
            let _ = wire.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nwo");
            Next::Close
        }
        _ => Next::Reset,
    });
    let client = Client::tcp(origin.url().trim_start_matches("http://").parse().unwrap());
    assert_eq!(client.get("/whole").expect_whole().text(), "whole");
    assert!(matches!(client.get("/short").ending, Ending::CutOff(_)));
    let chunked = client.get("/chunk");
    assert!(matches!(chunked.ending, Ending::CutOff(_)), "{chunked}");
    let mut reset = client.connect();
    reset.ask_get("/reset");
    let error = reset.answer("GET").expect_err("no answer");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!((origin.request_count(), origin.connection_count()), (4, 4));
}
