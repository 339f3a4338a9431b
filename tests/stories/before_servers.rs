//! Larder in front of every kind of server it will meet: a miss, a hit, a validation, a POST, a HEAD, a
//! range, and the server's death and return.

use crate::common::*;
use crate::harness::large_page;
use std::time::{Duration, SystemTime};

/// The story in front of a server of the story application.
fn before_an_application(mut server: Server) {
    let larder = Larder::before(&server.backend());
    answers_from_memory(&larder, &server);
    validates_and_passes(&larder, &server);

    server.kill();
    while_it_is_down(&larder, 502);
    server.come_back();
    once_it_is_back(&larder, &server);
}

fn answers_from_memory(larder: &Larder, application: &Server) {
    let miss = larder.get("/page").expect_status(200).expect_forwarded("uri-miss").expect_whole();
    assert!(miss.cache_parameter("stored").is_some(), "{miss}");
    let hit = larder.get("/page").expect_status(200).expect_hit().expect_whole();
    assert_eq!(hit.body, miss.body);
    assert!(hit.field("Age").is_some(), "{hit}");
    assert_eq!(application.runs("GET", "/page"), 1, "one run for both");

    // A client that has the page already is told so, from memory.
    let etag = miss.field("ETag").unwrap();
    let unchanged = larder.get_with("/page", &[("If-None-Match", etag)]).expect_status(304).expect_hit();
    assert!(unchanged.body.is_empty());

    let head = larder.head("/page").expect_status(200).expect_hit();
    assert!(head.body.is_empty());
    assert_eq!(head.field("Content-Length"), Some(miss.body.len().to_string().as_str()), "{head}");
    assert_eq!((application.runs("GET", "/page"), application.runs("HEAD", "/page")), (1, 0));

    assert_eq!(larder.get("/large").expect_status(200).expect_whole().body, large_page());
    let part = larder.get_with("/large", &[("Range", "bytes=100-199")]).expect_status(206).expect_hit();
    assert_eq!(part.body, large_page()[100..200]);
    assert_eq!(part.field("Content-Range"), Some("bytes 100-199/1048576"));
    let end = larder.get_with("/large", &[("Range", "bytes=-64")]).expect_status(206);
    assert_eq!(end.body, large_page()[1_048_512..]);
    assert_eq!(application.runs("GET", "/large"), 1);
}

fn validates_and_passes(larder: &Larder, application: &Server) {
    let first = larder.get("/validated").expect_status(200);
    let second = larder.get("/validated").expect_status(200).expect_whole();
    assert_eq!(second.body, first.body);
    assert_eq!(second.cache_parameter("fwd-status").as_deref(), Some("304"), "{second}");
    assert_eq!(application.runs_with("GET", "/validated", "200"), 1);
    assert_eq!(application.runs_with("GET", "/validated", "304"), 1);

    for sent in ["once", "twice"] {
        let echoed = larder.post("/echo", sent.as_bytes()).expect_status(200).expect_forwarded("method");
        assert_eq!(echoed.text(), sent);
    }
    assert_eq!(application.runs("POST", "/echo"), 2, "each POST reaches the application");

    larder.get("/uncacheable").expect_status(200);
    larder.get("/uncacheable").expect_status(200);
    assert_eq!(application.runs("GET", "/uncacheable"), 2);
    larder.get("/sturdy").expect_status(200);
}

/// What is kept is served; what is not is a clear failure with an id to find it by in the log.
fn while_it_is_down(larder: &Larder, failure: u16) {
    larder.get("/page").expect_status(200).expect_hit();
    let stale = larder.get("/sturdy").expect_status(200).expect_whole();
    assert_eq!(stale.text(), "sturdy /sturdy\n");
    let failed = larder.get("/page/unseen").expect_status(failure);
    assert!(failed.cache_parameter("stored").is_none(), "a failure is not kept: {failed}");
    let unvalidated = larder.get("/validated");
    assert!(unvalidated.status >= 500, "no-cache forbids use without validation: {unvalidated}");
    larder.post("/echo", b"lost").expect_status(failure);
}

fn once_it_is_back(larder: &Larder, application: &Server) {
    larder.get("/page/unseen").expect_status(200).expect_whole();
    larder.get("/validated").expect_status(200);
    let echoed = larder.post("/echo", b"again").expect_status(200);
    assert_eq!(echoed.text(), "again");
    assert_eq!(application.runs("GET", "/page"), 1, "and what was fresh still is");
}

#[test]
fn before_a_plain_application_on_wsgiref() {
    before_an_application(Server::wsgiref(App::Plain));
}

#[test]
fn before_a_webob_application_on_wsgiref() {
    before_an_application(Server::wsgiref(App::WebOb));
}

#[test]
fn before_a_werkzeug_application_on_its_own_server() {
    before_an_application(Server::werkzeug(App::Werkzeug));
}

#[test]
fn before_a_webob_application_on_gunicorn() {
    before_an_application(Server::gunicorn(App::WebOb, 2));
}

#[test]
fn before_a_werkzeug_application_on_gunicorns_unix_socket() {
    before_an_application(Server::gunicorn_on_a_unix_socket(App::Werkzeug, 2));
}

#[test]
fn before_cherrypy() {
    before_an_application(Server::cherrypy());
}

#[test]
fn before_uwsgis_http() {
    before_an_application(Server::uwsgi(App::Plain));
}

#[test]
fn before_tornado() {
    before_an_application(Server::tornado());
}

#[test]
fn before_uvicorn() {
    before_an_application(Server::uvicorn());
}

#[test]
fn before_apache_with_mod_wsgi() {
    before_an_application(Server::apache_with_mod_wsgi(App::Plain));
}

/// Three tiers: client, Larder, nginx, Gunicorn.
#[test]
fn before_nginx_before_gunicorn() {
    let mut gunicorn = Server::gunicorn(App::Plain, 2);
    let mut nginx = Server::nginx_before(&gunicorn);
    let larder = Larder::before(&nginx.backend());
    answers_from_memory(&larder, &gunicorn);
    validates_and_passes(&larder, &gunicorn);

    // The application dies: nginx says so with a 502 of its own, which is not kept.
    gunicorn.kill();
    while_it_is_down(&larder, 502);
    gunicorn.come_back();
    // nginx remembers a failed upstream for ten seconds, but asks its only one all the same.
    once_it_is_back(&larder, &gunicorn);

    nginx.kill();
    larder.get("/page").expect_status(200).expect_hit();
    larder.get("/page/while-nginx-is-down").expect_status(502);
    nginx.come_back();
    larder.get("/page/while-nginx-is-down").expect_status(200);
}

#[test]
fn before_nginx_serving_files() {
    let mut server = Server::nginx_serving_files();
    put_pages(&server);
    let larder = Larder::before(&server.backend());
    serves_files_from_memory(&larder, &server, 405);

    server.kill();
    larder.get("/page").expect_status(200).expect_hit();
    assert_eq!(larder.get("/sturdy").expect_status(200).text(), "sturdy\n");
    larder.get("/unseen").expect_status(502);
    server.come_back();
    assert_eq!(larder.get("/unseen").expect_status(200).text(), "unseen\n");
}

/// It says nothing about caching: old files are fresh by heuristics (RFC 9111 §4.2.2), new ones validated.
#[test]
fn before_pythons_http_server() {
    let mut server = Server::python_http_server();
    put_pages(&server);
    let larder = Larder::before_with(
        &server.backend(),
        "[cache]\nstale_while_revalidate = \"0s\"\nstale_if_error = \"1h\"",
    );
    serves_files_from_memory(&larder, &server, 501);

    server.kill();
    larder.get("/page").expect_status(200).expect_hit();
    // It never was fresh: `stale_if_error` is for what was.
    larder.get("/validated").expect_status(502);
    larder.get("/unseen").expect_status(502);
    server.come_back();
    assert_eq!(larder.get("/unseen").expect_status(200).text(), "unseen\n");
}

fn put_pages(server: &Server) {
    let long_ago = SystemTime::now() - Duration::from_secs(365 * 86_400);
    // Modified after it is asked for: no heuristic makes it fresh, however slow this machine is.
    let not_yet = SystemTime::now() + Duration::from_secs(3_600);
    server.put_file("page", b"a page\n", long_ago);
    server.put_file("large", &large_page(), long_ago);
    server.put_file("unseen", b"unseen\n", long_ago);
    server.put_file("validated", b"validated\n", not_yet);
    server.put_file("sturdy", b"sturdy\n", long_ago);
}

fn serves_files_from_memory(larder: &Larder, server: &Server, refused: u16) {
    let miss = larder.get("/page").expect_status(200).expect_forwarded("uri-miss").expect_whole();
    // The file changes, and the fresh response does not.
    server.put_file("page", b"another page\n", SystemTime::now());
    let hit = larder.get("/page").expect_status(200).expect_hit().expect_whole();
    assert_eq!((hit.text().as_str(), &hit.body), ("a page\n", &miss.body));
    let head = larder.head("/page").expect_status(200).expect_hit();
    assert_eq!(head.field("Content-Length"), Some("7"), "{head}");

    larder.get("/validated").expect_status(200);
    let again = larder.get("/validated").expect_status(200).expect_whole();
    assert_eq!(again.text(), "validated\n");
    assert_eq!(again.cache_parameter("fwd-status").as_deref(), Some("304"), "{again}");

    larder.post("/large", b"refused").expect_status(refused).expect_forwarded("method");
    assert_eq!(larder.get("/large").expect_status(200).expect_whole().body, large_page());
    let part = larder.get_with("/large", &[("Range", "bytes=1000-1999")]).expect_status(206).expect_hit();
    assert_eq!(part.body, large_page()[1000..2000]);
    larder.get("/sturdy").expect_status(200);
}
