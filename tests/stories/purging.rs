//! Purging, as operators and applications do it: what falls, what stays, and who may.

use std::process::Command;

use serde_json::{Value as Json, json};

use crate::common::*;

/// Pages by tags: every page carries its last path segment and `all` as tags, and says which request it answers.
fn shop() -> Origin {
    Origin::scripted(|asked, wire| {
        let path = asked.target.split('?').next().unwrap_or_default();
        let name = path.rsplit('/').next().unwrap_or_default();
        let kind = if path.starts_with("/style") { "text/css" } else { "text/html" };
        let fields = format!(
            "Cache-Control: max-age=600, stale-while-revalidate=600\r\nContent-Type: {kind}\r\n\
             Surrogate-Key: {name} all\r\nX-Cache-Tags: tag-{name},all\r\nX-Magento-Tags: cat_{name},FPC\r\n"
        );
        wire.answer(&fields, format!("answer {}", asked.number))
    })
}

const OPEN: &str = "[purge]\nallow = [\"127.0.0.1\"]\n";

/// Runs `larder` against the admin interface of `larder`; its standard output.
fn command(larder: &Larder, arguments: &[&str]) -> Result<String, String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
    command.args(arguments).env_remove("LARDER_TOKEN");
    command.env("LARDER_ADMIN", larder.admin().host());
    let output = command.output().expect("larder runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

#[track_caller]
fn purge(larder: &Larder, arguments: &[&str]) -> Json {
    let all = [&["purge", "--json", "--wait", "30s"], arguments].concat();
    let answer = command(larder, &all).unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
    let answer: Json = serde_json::from_str(&answer).expect("JSON");
    assert_eq!(answer["complete"], true, "{answer}");
    answer
}

/// Asks for each page once, so that it is stored and fresh.
fn prime(larder: &Larder, pages: &[&str]) {
    for page in pages {
        eventually(&format!("{page} is stored and fresh"), || {
            let answer = larder.get(page).expect_status(200);
            answer.is_hit() && answer.cache_parameter("detail").is_none()
        });
    }
}

/// Which of these pages are not answered from memory any more.
fn gone(larder: &Larder, pages: &[&str]) -> Vec<String> {
    let is_gone = |page: &&&str| !larder.get(page).expect_status(200).is_hit();
    pages.iter().filter(is_gone).map(|page| page.to_string()).collect()
}

const PAGES: [&str; 5] = ["/blog/one", "/blog/two?a=1", "/blog/two?a=2", "/style/red", "/about"];

#[test]
fn each_kind_of_purge_takes_what_it_names_and_nothing_else() {
    let origin = shop();
    let larder = Larder::before(&origin.url());
    let host = larder.client().host();
    let url = |path: &str| format!("http://{host}{path}");
    let by_host = format!("host == \"{host}\" && path ~ \"^/blog/\" && !(tag == \"one\")");
    let cases: [(Vec<String>, &[&str]); 13] = [
        (vec![url("/about")], &["/about"]),
        (vec![url("/blog/two?a=1")], &["/blog/two?a=1"]),
        (vec![url("/blog/two"), "--any-query".into()], &["/blog/two?a=1", "/blog/two?a=2"]),
        (vec!["--tag".into(), "two".into()], &["/blog/two?a=1", "/blog/two?a=2"]),
        (vec!["--prefix".into(), url("/blog/")], &["/blog/one", "/blog/two?a=1", "/blog/two?a=2"]),
        (vec!["--prefix".into(), "/style/".into()], &["/style/red"]),
        (vec![format!("{host}/about")], &["/about"]),
        (vec!["--prefix".into(), format!("{host}/style/")], &["/style/red"]),
        (vec!["--host".into(), host.clone()], &PAGES),
        (vec!["--host".into(), "other.example".into()], &[]),
        (vec!["--expression".into(), by_host], &["/blog/two?a=1", "/blog/two?a=2"]),
        (
            vec!["--expression".into(), "resp.field(\"content-type\") ~ \"css\" && size < 1KiB".into()],
            &["/style/red"],
        ),
        (vec!["--everything".into()], &PAGES),
    ];
    for (arguments, expected) in cases {
        prime(&larder, &PAGES);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let answer = purge(&larder, &arguments);
        assert_eq!(answer["matched"], expected.len(), "{arguments:?}: {answer}");
        assert_eq!(gone(&larder, &PAGES), expected, "{arguments:?}");

        // Softly, the same are served as they were while they are fetched anew.
        prime(&larder, &PAGES);
        let before = larder.get("/about").text();
        let answer = purge(&larder, &[&arguments[..], &["--soft"]].concat());
        assert_eq!(answer["matched"], expected.len(), "softly {arguments:?}: {answer}");
        let stale = larder.get("/about").expect_status(200);
        let is_stale = stale.cache_parameter("detail").as_deref() == Some("stale-while-revalidate");
        assert_eq!(is_stale, expected.contains(&"/about"), "softly {arguments:?}: {stale}");
        assert!(stale.is_hit() && stale.text() == before, "softly {arguments:?}: {stale}");
    }
    assert!(command(&larder, &["purge", "--expression", "host =="]).is_err_and(|error| !error.is_empty()));
}

/// A purge means what it names in whatever spelling: what is stored is known by one.
#[test]
fn a_purge_finds_what_it_names_however_it_is_spelled() {
    let origin = shop();
    let larder = Larder::before_with(&origin.url(), OPEN);
    let (authority, port) = (larder.address().to_string(), larder.address().port());
    let pages = ["/~al/e20", "/b/x", "/.well-known/y", "/caf%C3%A9", "/about"];
    let host = |spelling: &str| format!("http://{spelling}:0{port}");
    // Written with a zero before the port where that still is one.
    let zero = if port < 10_000 { host("127.0.0.1") } else { format!("http://{authority}") };
    for (arguments, fallen) in [
        (vec!["--prefix", "/%7Eal/"], &pages[..1]),
        (vec!["--prefix", &format!("//{authority}/b/")], &pages[1..2]),
        (vec!["--prefix", &format!("{zero}/x/../b/")], &pages[1..2]),
        (vec!["--prefix", &format!("http://{authority}/.")], &pages[2..3]),
        (vec!["--prefix", "/b/.."], &[]),
        (vec!["--prefix", "/caf\u{e9}"], &pages[3..4]),
        (vec!["--expression", "path == \"/%7Eal/%6520\""], &pages[..1]),
        (vec!["--expression", "path ~ \"^/%7eal/\""], &pages[..1]),
        (vec!["--expression", "url == \"/caf\u{e9}\""], &pages[3..4]),
        (vec!["--expression", "path ~ \"^/caf\u{e9}$\""], &pages[3..4]),
        (vec!["--host", "127.0.0.1"], &pages[..]),
        (vec!["--host", &authority], &pages[..]),
        (vec![&format!("http://{authority}/caf\u{e9}")], &pages[3..4]),
        (vec![&format!("{authority}/%/../%61bout#part")], &pages[4..]),
    ] {
        prime(&larder, &pages);
        purge(&larder, &arguments);
        assert_eq!(gone(&larder, &pages), fallen, "{arguments:?}");
    }
}

#[test]
fn a_purge_that_can_match_nothing_is_refused_with_what_was_meant() {
    let origin = shop();
    let larder = Larder::before_with(&origin.url(), OPEN);
    for (arguments, hint) in [
        (vec!["/caf\u{e9}"], "http://example.com"),
        (vec!["http://caf\u{e9}.example/"], "xn--"),
        (vec!["http://h:abc/"], "h:abc"),
        (vec!["ftp://h/"], "not an absolute http URL"),
        (vec!["http://h/a\tb"], "control character"),
        (vec!["--host", "http://example.com/"], "write example.com;"),
        (vec!["--host", "example.com/blog"], "name a prefix"),
        (vec!["--host", "caf\u{e9}.example"], "xn--"),
        (vec!["--host", "h:abc"], "example.com:8080"),
        (vec!["--host", "a b"], "example.com:8080"),
        (vec!["--host", "*.example.com"], "host ~"),
        (vec!["--prefix", "h:abc/b/"], "example.com:8080"),
        (vec!["--prefix", "/b#c"], "fragment"),
        (vec!["--expression", "path == \"b\""], "begins with /"),
        (vec!["--expression", "path == \"/b?c=d\""], "url =="),
        (vec!["--expression", "host == \"http://h\""], "without scheme"),
    ] {
        let refused = command(&larder, &[&["purge"], &arguments[..]].concat()).unwrap_err();
        assert!(refused.contains(hint), "{arguments:?}: {refused}");
    }
    let purges: Json = serde_json::from_str(&command(&larder, &["purges", "--json"]).unwrap()).unwrap();
    assert_eq!(purges["purges"], json!([]));
}

/// As written down from the clients' own documentation and source.
#[test]
fn purges_of_real_clients_take_what_they_mean() {
    let origin = shop();
    let larder = Larder::before_with(&origin.url(), OPEN);
    let host = larder.client().host();
    let pattern = format!("^{}$", host.replace('.', "\\."));
    let blog = ["/blog/one", "/blog/two?a=1", "/blog/two?a=2"];
    let two = ["/blog/two?a=1", "/blog/two?a=2"];
    type Fields<'a> = Vec<(&'a str, &'a str)>;
    let cases: [(&str, &str, &str, Fields, &[&str]); 17] = [
        ("FOSHttpCache purge", "PURGE", "/about", vec![], &["/about"]),
        (
            "FOSHttpCache ban",
            "BAN",
            "/",
            vec![("X-Host", &pattern), ("X-Url", "^/blog/.*"), ("X-Content-Type", "text/html")],
            &blog,
        ),
        (
            "FOSHttpCache tags",
            "BAN",
            "/",
            vec![
                ("X-Host", ".*"),
                ("X-Url", ".*"),
                ("X-Content-Type", ".*"),
                ("X-Cache-Tags", "(^|,)(tag\\-two|x)(,|$)"),
            ],
            &two,
        ),
        ("FOSHttpCache xkey", "PURGEKEYS", "/", vec![("xkey-purge", "two nothing")], &two),
        ("Symfony's cache, tags", "PURGETAGS", "/", vec![("X-Cache-Tags", "tag-two,x")], &two),
        ("Symfony's cache, clear", "PURGE", "/", vec![("Clear-Cache", "true")], &PAGES),
        (
            "Magento",
            "PURGE",
            "/",
            vec![("X-Magento-Tags-Pattern", "((^|,)cat_two(,|$))|((^|,)cat_x(,|$))")],
            &two,
        ),
        ("Magento's flush", "PURGE", "/", vec![("X-Magento-Tags-Pattern", ".*")], &PAGES),
        ("WP Rocket, a page", "PURGE", "/blog/two", vec![("X-Purge-Method", "default")], &two),
        ("Proxy Cache Purge, a site", "PURGE", "/.*", vec![("X-Purge-Method", "regex")], &PAGES),
        ("Proxy Cache Purge, a folder", "PURGE", "/blog/.*", vec![("X-Purge-Method", "regex")], &blog),
        ("W3 Total Cache", "PURGE", "/blog/two?a=1", vec![], &["/blog/two?a=1"]),
        ("Fastly, a URL", "PURGE", "/about", vec![("Accept", "application/json")], &["/about"]),
        ("Fastly, keys", "PURGE", "/", vec![("Surrogate-Key", "two nothing")], &two),
        ("Drupal's Purge", "PURGE", "/", vec![("Cache-Tag", "two")], &two),
        ("API Platform", "PURGE", "/", vec![("xkey", "one"), ("Surrogate-Key", "")], &["/blog/one"]),
        ("Varnish's own example", "BAN", "/about", vec![], &["/about"]),
    ];
    for (client, method, target, fields, expected) in cases {
        prime(&larder, &PAGES);
        let answer = larder.request(method, target, &fields, b"").expect_status(200);
        assert!(answer.text().contains("\"sequence\":"), "{client}: {answer}");
        assert_eq!(gone(&larder, &PAGES), expected, "{client}");
    }

    for fields in
        [[("Fastly-Soft-Purge", "1"), ("Surrogate-Key", "about")], [("xkey-softpurge", "about"), ("A", "")]]
    {
        prime(&larder, &PAGES);
        let method = if fields[0].0 == "xkey-softpurge" { "PURGEKEYS" } else { "PURGE" };
        larder.request(method, "/", &fields, b"").expect_status(200);
        let answer = larder.get("/about").expect_hit();
        assert_eq!(answer.cache_parameter("detail").as_deref(), Some("stale-while-revalidate"), "{answer}");
    }
}

#[test]
fn by_default_nobody_may_purge_and_the_attempt_is_logged_and_counted() {
    let origin = shop();
    let larder = Larder::before(&origin.url());
    prime(&larder, &["/about"]);
    for method in ["PURGE", "BAN", "PURGEKEYS", "PURGETAGS"] {
        let answer = larder.request(method, "/about", &[("Surrogate-Key", "about")], b"").expect_status(405);
        assert!(answer.field("Allow").is_some(), "{answer}");
    }
    larder.get("/about").expect_hit();
    assert_eq!(larder.metric("larder_refused_requests_total", "purge-disabled"), 4.0);
    assert_eq!(larder.metric("larder_purges_total", ""), 0.0);
    larder.expect_printed("a purge was refused");
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn a_token_or_an_address_lets_one_purge_and_nothing_else_does() {
    let origin = shop();
    let tokens = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(tokens.path(), "deploy:a-long-secret-of-the-deployment\n").unwrap();
    let larder = Larder::before_with(
        &origin.url(),
        &format!("[purge]\nallow = [\"192.0.2.0/24\"]\ntokens_file = \"{}\"\n", tokens.path().display()),
    );
    prime(&larder, &["/about"]);
    let with = |fields: &[(&str, &str)]| larder.request("PURGE", "/about", fields, b"");
    with(&[]).expect_status(403);
    with(&[("Authorization", "Bearer a-long-secret-of-the-deploymen")]).expect_status(403);
    with(&[("X-Forwarded-For", "192.0.2.1")]).expect_status(403);
    larder.get("/about").expect_hit();
    for field in [
        ("Authorization", "Bearer a-long-secret-of-the-deployment"),
        ("Fastly-Key", "a-long-secret-of-the-deployment"),
    ] {
        prime(&larder, &["/about"]);
        with(&[field]).expect_status(200);
        assert!(!larder.get("/about").is_hit());
    }
    larder.expect_printed("token deploy");
    assert!(!larder.printed().contains("a-long-secret"), "a secret is in the log");
}

#[test]
fn an_address_is_no_proof_for_what_came_through_a_proxy() {
    let origin = shop();
    let larder = Larder::before_with(&origin.url(), OPEN);
    prime(&larder, &["/about"]);
    larder.request("PURGE", "/about", &[("X-Forwarded-For", "127.0.0.1")], b"").expect_status(403);
    larder.get("/about").expect_hit();
}

/// A URL that is not text is not taken for the front page.
#[test]
fn a_purge_of_a_url_that_is_no_text_purges_nothing() {
    let origin = shop();
    let larder = Larder::before_with(&origin.url(), OPEN);
    prime(&larder, &["/"]);
    let answer = larder.exchange_raw(b"PURGE /\xff HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
    assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    larder.get("/").expect_hit();
}

/// The ways in which one page can be purged.
fn ways<'a>(url: &'a str, host: &'a str) -> Vec<Vec<&'a str>> {
    vec![
        vec![url],
        vec!["--any-query", url],
        vec!["--tag", "slow"],
        vec!["--prefix", url],
        vec!["--host", host],
        vec!["--expression", "tag == \"slow\" && size < 1KiB && status == 200"],
        vec!["--expression", "resp.field(\"surrogate-key\") ~ \"slow\""],
        vec!["--everything"],
    ]
}

/// Without waiting for the sweeper, which a held fetch may hold up.
fn purge_now(larder: &Larder, arguments: &[&str]) {
    command(larder, &[&["purge"], arguments].concat())
        .unwrap_or_else(|error| panic!("{arguments:?}: {error}"));
}

/// Whoever asks after the purge gets what the origin says after the purge; who asked before may get the old, and
/// it is not kept.
#[test]
fn a_purge_beats_a_fetch_whose_body_is_still_coming() {
    let gate = Gate::default();
    let origin = held_pages(gate.clone(), Held::Body);
    let larder = Larder::before(&origin.url());
    let host = larder.client().host();
    let mut early = Vec::new();
    let url_of = |number: usize| format!("http://{host}/page/{number}");
    let count = ways("", "").len();
    for number in 0..count {
        let mut client = larder.connect();
        client.ask_get(&format!("/page/{number}"));
        client.wait_for(b"old ").unwrap();
        early.push(client);
        let url = url_of(number);
        purge_now(&larder, &ways(&url, &host)[number]);
        let late = larder.get(&format!("/page/{number}"));
        assert_eq!(late.text(), "new", "way {number}: {late}");
        larder.get(&format!("/page/{number}")).expect_hit();
    }
    gate.open();
    for (number, mut client) in early.into_iter().enumerate() {
        assert_eq!(client.answer("GET").unwrap().expect_whole().text(), "old page", "way {number}");
    }
    // What came too late did not take the place of what is newer; the last purges took the earlier pages.
    assert_eq!(larder.get(&format!("/page/{}", count - 1)).expect_hit().text(), "new");
}

/// What to hold back of the first answer to each page.
#[derive(Clone, Copy, PartialEq)]
enum Held {
    Head,
    Body,
}

/// The first answer to each page is "old page", held back until the gate opens; later ones are "new".
fn held_pages(gate: Gate, held: Held) -> Origin {
    let seen = std::sync::Mutex::new(std::collections::HashSet::new());
    Origin::scripted(move |asked, wire| {
        let fields = "Cache-Control: max-age=600\r\nSurrogate-Key: slow\r\n";
        if !seen.lock().unwrap().insert(asked.target.clone()) {
            return wire.answer(fields, "new");
        }
        if held == Held::Head {
            gate.wait();
            return wire.answer(fields, "old page");
        }
        let _ = wire.send(format!("HTTP/1.1 200 OK\r\n{fields}Content-Length: 8\r\n\r\nold "));
        gate.wait();
        match wire.send("page") {
            Ok(()) => Next::Keep,
            Err(_) => Next::Close,
        }
    })
}

/// Tags are known only when the head is: who joined a fetch after the purge has not joined for long.
#[test]
fn who_asks_after_a_purge_does_not_get_what_was_fetched_before_it() {
    let gate = Gate::default();
    let origin = held_pages(gate.clone(), Held::Head);
    let larder = Larder::before(&origin.url());
    let mut before = larder.connect();
    before.ask_get("/page");
    origin.wait_for_requests(1);
    purge_now(&larder, &["--tag", "slow"]);
    let mut after: Vec<Connection> = (0..20).map(|_| larder.connect()).collect();
    for client in &mut after {
        client.ask_get("/page");
    }
    // All of them wait for the one fetch: as far as is known, no purge concerns it.
    eventually("they are all there", || larder.metric("larder_connections", "") >= 21.0);
    gate.open();
    assert_eq!(before.answer("GET").unwrap().text(), "old page");
    for client in &mut after {
        assert_eq!(client.answer("GET").unwrap().text(), "new");
    }
    assert_eq!(origin.request_count(), 2, "they shared one new fetch");
    larder.get("/page").expect_hit();
}

#[test]
fn a_purge_beats_a_validation_that_is_under_way() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.field("If-None-Match").is_some() {
                gate.wait();
                let _ = wire
                    .send("HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nCache-Control: max-age=600\r\n\r\n");
                return Next::Keep;
            }
            let fields = "Cache-Control: max-age=0\r\nETag: \"a\"\r\nSurrogate-Key: slow\r\n";
            wire.answer(fields, format!("answer {}", asked.number))
        })
    };
    let larder = Larder::before_with(&origin.url(), "[cache]\nstale_while_revalidate = \"0s\"\n");
    assert_eq!(larder.get("/page").text(), "answer 1");
    let mut client = larder.connect();
    client.ask_get("/page");
    origin.wait_for_requests(2);
    purge_now(&larder, &["--tag", "slow"]);
    gate.open();
    assert_eq!(client.answer("GET").unwrap().expect_status(200).text(), "answer 3");
}

#[test]
fn what_was_purged_while_the_origin_was_asked_is_not_served_for_its_error() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| {
            if asked.number > 1 {
                gate.wait();
                let _ = wire.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
                return Next::Keep;
            }
            wire.answer("Cache-Control: max-age=0, stale-if-error=600\r\nSurrogate-Key: slow\r\n", "personal")
        })
    };
    let larder = Larder::before_with(&origin.url(), "[cache]\nstale_while_revalidate = \"0s\"\n");
    larder.get("/page").expect_status(200);
    let mut client = larder.connect();
    client.ask_get("/page");
    origin.wait_for_requests(2);
    purge_now(&larder, &["--tag", "slow"]);
    gate.open();
    client.answer("GET").unwrap().expect_status(500);
}

#[test]
fn a_soft_purge_serves_stale_and_a_hard_one_after_it_is_the_end() {
    let mut server = Some(shop());
    let origin = server.as_ref().unwrap();
    let larder = Larder::before(&origin.url());
    prime(&larder, &["/about"]);
    let stored = larder.get("/about").text();
    server.take();
    purge_now(&larder, &["--tag", "about", "--soft"]);
    for _ in 0..3 {
        assert_eq!(larder.get("/about").expect_status(200).expect_hit().text(), stored);
    }
    purge_now(&larder, &["--tag", "about"]);
    for _ in 0..3 {
        larder.get("/about").expect_status(502);
    }
}

#[test]
fn a_write_takes_what_is_stored_of_it_and_of_what_it_names() {
    let origin = Origin::scripted(|asked, wire| match (asked.method.as_str(), asked.target.as_str()) {
        ("GET", target) => {
            let group = if target == "/group" { "Cache-Groups: \"menu\"\r\n" } else { "" };
            wire.answer(&format!("Cache-Control: max-age=600\r\n{group}"), "page")
        }
        ("POST", "/fails") => {
            let _ = wire.send("HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n");
            Next::Keep
        }
        _ => {
            let host = asked.field("Host").unwrap_or_default();
            wire.answer(
                &format!(
                    "Location: /named\r\nContent-Location: http://{host}/also\r\n\
                     Cache-Group-Invalidation: \"menu\"\r\n"
                ),
                "written",
            )
        }
    });
    let larder = Larder::before(&origin.url());
    let pages = ["/written", "/named", "/also", "/group", "/other", "/fails"];
    prime(&larder, &pages);
    larder.post("/fails", b"x").expect_status(500);
    larder.get("/fails").expect_hit();
    larder.post("/written", b"x").expect_status(200);
    assert_eq!(gone(&larder, &pages), ["/written", "/named", "/also", "/group"]);
    assert_eq!(larder.metric("larder_purges_total", "unsafe-method"), 1.0);
    assert_eq!(larder.metric("larder_purged_responses_total", ""), 4.0);
    assert_eq!(larder.metric("larder_evictions_total", "purged"), 4.0);
}

#[test]
fn all_variants_of_a_url_go_together() {
    let origin = Origin::scripted(|asked, wire| {
        let language = asked.field("Accept-Language").unwrap_or("none").to_owned();
        wire.answer("Cache-Control: max-age=600\r\nVary: Accept-Language\r\n", language)
    });
    let larder = Larder::before(&origin.url());
    let ask = |language: &str| larder.get_with("/page", &[("Accept-Language", language)]);
    for language in ["en", "de", "fr"] {
        ask(language);
        ask(language).expect_hit();
    }
    let url = format!("http://{}/page", larder.client().host());
    assert_eq!(purge(&larder, &[&url])["matched"], 3);
    for language in ["en", "de", "fr"] {
        assert!(!ask(language).is_hit());
    }
}

#[test]
fn the_rules_for_queries_hold_for_purges_too() {
    let origin = shop();
    let larder = Larder::configured(&format!(
        "[backend.app]\nendpoints = [\"{}\"]\n[[route]]\nbackend = \"app\"\n\
         cache = {{ query = {{ drop = [\"utm_*\"], sort = true }} }}\n[purge]\nallow = [\"127.0.0.1\"]\n",
        origin.url()
    ));
    prime(&larder, &["/page?a=1&b=2"]);
    larder.get("/page?b=2&utm_source=mail&a=1").expect_hit();
    larder.request("PURGE", "/page?utm_campaign=x&b=2&a=1", &[], b"").expect_status(200);
    assert!(!larder.get("/page?a=1&b=2").is_hit());
    let url = format!("http://{}/page?b=2&a=1&utm_x=1", larder.client().host());
    assert_eq!(purge(&larder, &[&url])["matched"], 1);
}

/// A QUERY's answers are stored under its content; who purges the URL means them too.
#[test]
fn a_purged_url_takes_the_answers_to_its_queries_along() {
    let origin = shop();
    let larder = Larder::before(&origin.url());
    let ask = || larder.request("QUERY", "/search", &[("Content-Type", "text/plain")], b"red shoes");
    ask().expect_status(200);
    ask().expect_hit();
    let url = format!("http://{}/search", larder.client().host());
    purge(&larder, &[&url]);
    assert!(!ask().is_hit());
}

#[test]
fn tags_are_for_larder_and_cache_groups_are_for_everybody() {
    let origin = Origin::scripted(|asked, wire| {
        let fields = "Surrogate-Key: a\r\nX-My-Tags: p-1 p-2\r\nCache-Groups: \"menu\"\r\n";
        let control = if asked.target == "/passed" { "no-store" } else { "max-age=600" };
        wire.answer(&format!("{fields}Cache-Control: {control}\r\n"), "page")
    });
    let larder = Larder::before_with(
        &origin.url(),
        "[cache]\ntag_fields = [\"surrogate-key\", \"x-my-tags\", \"cache-groups\"]\n",
    );
    prime(&larder, &["/page"]);
    for answer in [larder.get("/page").expect_hit(), larder.get("/passed")] {
        assert_eq!(answer.field("Surrogate-Key"), None, "{answer}");
        assert_eq!(answer.field("X-My-Tags"), None, "{answer}");
        assert_eq!(answer.field("Cache-Groups"), Some("\"menu\""), "{answer}");
    }
    // An expression asks for tags by the fields that are configured.
    assert_eq!(purge(&larder, &["--expression", "tag ~ \"^p-2$\" && status == 200"])["matched"], 1);
    prime(&larder, &["/page"]);
    assert_eq!(purge(&larder, &["--tag", "p-1"])["matched"], 1);
    prime(&larder, &["/page"]);
    assert_eq!(purge(&larder, &["--tag", "menu"])["matched"], 1);
}

#[test]
fn a_purge_can_have_what_was_hot_fetched_again() {
    let origin = shop();
    let larder = Larder::before_with(&origin.url(), "[purge]\nrefetch = 2\n");
    let pages = ["/blog/hot", "/blog/warm", "/blog/luke", "/blog/cold"];
    for (page, hits) in pages.iter().zip([5, 3, 1, 0]) {
        for _ in 0..=hits {
            larder.get(page).expect_status(200);
        }
    }
    assert_eq!(origin.request_count(), 4);
    let prefix = format!("http://{}/blog/", larder.client().host());
    assert_eq!(purge(&larder, &["--prefix", &prefix, "--refetch"])["matched"], 4);
    origin.wait_for_requests(6);
    eventually("both are counted", || larder.metric("larder_refetched_responses_total", "") == 2.0);
    let mut targets: Vec<String> = origin.requests()[4..].iter().map(|asked| asked.target.clone()).collect();
    targets.sort();
    assert_eq!(targets, ["/blog/hot", "/blog/warm"]);
    larder.get("/blog/hot").expect_hit();
    larder.get("/blog/warm").expect_hit();
    assert!(!larder.get("/blog/luke").is_hit());
    assert_eq!(origin.requests()[4].field("Host"), Some(larder.client().host().as_str()));
}

#[test]
fn what_was_purged_and_what_is_stored_can_be_seen() {
    let origin = shop();
    let larder = Larder::before(&origin.url());
    prime(&larder, &["/about"]);
    let url = format!("http://{}/about", larder.client().host());
    let seen: Json = serde_json::from_str(&command(&larder, &["inspect", "--json", &url]).unwrap()).unwrap();
    let variant = &seen["variants"][0];
    assert_eq!(
        (variant["status"].as_u64(), variant["now"]["served"].as_bool()),
        (Some(200), Some(true)),
        "{seen}"
    );
    assert!(variant["tags"].to_string().contains("about all"), "{seen}");
    assert!(
        variant["hits"].as_u64() >= Some(1) && variant["fresh_for_seconds"].as_i64() > Some(500),
        "{seen}"
    );

    purge(&larder, &["--tag", "about", "--soft"]);
    purge(&larder, &[&url, "--any-query"]);
    let list: Json = serde_json::from_str(&command(&larder, &["purges", "--json"]).unwrap()).unwrap();
    let (last, first) = (&list["purges"][0], &list["purges"][1]);
    assert_eq!(
        (last["sequence"].as_u64(), last["kind"].as_str(), last["soft"].as_bool()),
        (Some(2), Some("url"), Some(false))
    );
    assert_eq!(
        (first["kind"].as_str(), first["what"].as_str(), first["soft"].as_bool()),
        (Some("tag"), Some("about"), Some(true))
    );
    assert_eq!((first["matched"].as_u64(), last["matched"].as_u64()), (Some(1), Some(1)), "{list}");
    assert!(command(&larder, &["purges", "--limit", "1"]).unwrap().contains("url"));
    let seen: Json = serde_json::from_str(&command(&larder, &["inspect", "--json", &url]).unwrap()).unwrap();
    assert_eq!(seen["variants"], json!([]));
    assert!(command(&larder, &["inspect", &url]).unwrap().contains("variants"));
    assert!(command(&larder, &["stat"]).unwrap().contains("head"));
    larder.expect_printed("audit");

    assert_eq!(larder.metric("larder_purges_total", "kind=\"tag\",mode=\"soft\""), 1.0);
    assert_eq!(larder.metric("larder_ledger_head", ""), 2.0);
    assert_eq!(larder.metric("larder_ledger_swept", ""), 2.0);
    eventually("nothing is left", || larder.metric("larder_stored_responses", "") == 0.0);
    assert!(larder.metric("larder_sweep_passes_total", "") >= 2.0);
    assert!(larder.metric("larder_swept_responses_total", "") >= 1.0);
    assert_eq!(larder.metric("larder_purged_responses_total", ""), 1.0);
}

/// A hundred thousand URLs, ten thousand tags, a thousand expressions, and no hit is wrong meanwhile.
#[test]
fn a_storm_of_purges_takes_what_it_names_and_neither_memory_nor_hits() {
    const CEILING: u64 = 64 << 20;
    let origin = shop();
    let larder = Larder::before_with(&origin.url(), "[cache]\nmemory = \"64MiB\"\n");
    let host = larder.client().host();
    prime(&larder, &PAGES);
    let before = larder.resident_bytes();
    let send = |body: Json| {
        let body = body.to_string();
        let fields = [("Content-Type", "application/json")];
        larder.admin().request("POST", "/v1/purge", &fields, body.as_bytes()).expect_status(200)
    };
    for batch in 0..20 {
        let urls: Vec<String> = (0..5_000).map(|n| format!("http://{host}/storm/{batch}/{n}")).collect();
        send(json!({"urls": urls}));
        let tags: Vec<String> = (0..500).map(|n| format!("storm-{batch}-{n}")).collect();
        send(json!({"tags": tags}));
        for n in 0..50 {
            send(json!({"expression": format!("path ~ \"^/storm/{batch}/{n}$\" && status == 404")}));
        }
        for page in PAGES {
            larder.get(page).expect_hit();
        }
    }
    assert!(larder.resident_bytes() < before + CEILING, "{} bytes", larder.resident_bytes());
    send(json!({"tags": ["about"]}));
    assert_eq!(gone(&larder, &PAGES), ["/about"]);
    eventually("the ledger has forgotten the storm", || larder.metric("larder_ledger_entries", "") == 0.0);
}

/// The larder must not grow, nor work without end, for one client that takes its time.
#[test]
fn a_slow_upload_and_a_trickling_body_keep_no_purge_from_being_forgotten() {
    let gate = Gate::default();
    let origin = {
        let gate = gate.clone();
        Origin::scripted(move |asked, wire| match asked.target.as_str() {
            "/slow" => {
                let head = "HTTP/1.1 200 OK\r\nCache-Control: max-age=600\r\nContent-Length: 8\r\n\r\n";
                let _ = wire.send(format!("{head}half"));
                gate.wait();
                let _ = wire.send("half");
                Next::Keep
            }
            _ => wire.answer("Cache-Control: max-age=600\r\n", "page"),
        })
    };
    let configuration =
        "[cache]\nledger_patience = \"100ms\"\nsweep_every = \"50ms\"\nsweep_pause = \"10ms\"\n";
    let larder = Larder::before_with(&origin.url(), configuration);
    let mut upload = larder.connect();
    upload.send(b"POST /form HTTP/1.1\r\nHost: a\r\nContent-Length: 8\r\n\r\nhalf").unwrap();
    let mut download = larder.connect();
    download.ask_get("/slow");
    download.wait_for(b"half").unwrap();
    purge_now(&larder, &["--tag", "something"]);
    eventually("the purge is forgotten", || larder.metric("larder_ledger_entries", "") == 0.0);
    assert!(larder.metric("larder_ledger_given_up_total", "") >= 1.0);
    gate.open();
    assert_eq!(download.answer("GET").expect("an answer").text(), "halfhalf");
    upload.send(b"half").unwrap();
    upload.answer("POST").expect("an answer").expect_status(200);
    // Nobody knows any more whether it was purged: it is not kept.
    assert!(!larder.get("/slow").expect_status(200).is_hit());
    larder.get("/slow").expect_hit();
}

#[test]
fn after_a_purge_of_something_else_a_page_still_answers_for_queries_that_do_not_matter() {
    let origin = Origin::scripted(|_, wire| {
        wire.answer("Cache-Control: max-age=600\r\nNo-Vary-Search: params=(\"utm\")\r\n", "page")
    });
    let larder = Larder::before(&origin.url());
    let host = larder.client().host();
    prime(&larder, &["/page?a=1", "/other?a=1"]);
    larder.get("/page?a=1&utm=mail").expect_hit();
    let other = format!("http://{host}/other?a=1");
    let ways: [&[&str]; 5] = [
        &["--tag", "nothing"],
        &["--prefix", "/nothing/"],
        &["--expression", "status == 404 && path ~ \"x$\""],
        &["--host", "nothing.example"],
        &[&other],
    ];
    for way in ways {
        // Until everything was judged, and the purge forgotten.
        purge(&larder, way);
        eventually("it is forgotten", || larder.metric("larder_ledger_entries", "") == 0.0);
        larder.get("/page?a=1&utm=paper").expect_hit();
    }
    // What is purged of such a query falls, though it was never stored by itself.
    let alias = format!("http://{host}/page?a=1&utm=paper");
    purge(&larder, &[&alias]);
    assert!(!larder.get("/page?a=1&utm=paper").is_hit());
    larder.get("/page?a=1&utm=third").expect_hit();
}

#[test]
fn a_write_makes_one_entry_however_often_it_names_its_page() {
    let origin = Origin::scripted(|asked, wire| match asked.method.as_str() {
        "GET" => wire.answer("Cache-Control: max-age=600\r\n", "page"),
        _ => {
            let host = asked.field("Host").unwrap_or_default();
            let names = format!("Location: {}\r\nContent-Location: http://{host}{0}\r\n", asked.target);
            wire.answer(&names, "written")
        }
    });
    let larder = Larder::before(&origin.url());
    prime(&larder, &["/page"]);
    larder.post("/page", b"x").expect_status(200);
    assert_eq!(larder.metric("larder_ledger_head", ""), 1.0);
    assert_eq!(gone(&larder, &["/page"]), ["/page"]);
}

/// An origin that answers anybody's POST with success would lose a page with each.
#[test]
fn where_the_route_says_so_a_strangers_post_takes_nothing() {
    let origin = Origin::scripted(|asked, wire| match asked.method.as_str() {
        "GET" => wire.answer("Cache-Control: max-age=600\r\nCache-Groups: \"menu\"\r\n", "page"),
        _ if asked.target == "/blog/group" => {
            wire.answer("Cache-Group-Invalidation: \"menu\"\r\n", "written")
        }
        _ if asked.target == "/shop" => wire.answer("", "written"),
        _ => wire.answer("Location: /blog/two\r\n", "written"),
    });
    let larder = Larder::configured(&format!(
        "[backend.app]\nendpoints = [\"{}\"]\n[[route]]\nmatch = {{ path = \"/blog/**\" }}\n\
         cache = {{ unsafe_methods = \"ignore\" }}\n",
        origin.url()
    ));
    let pages = ["/blog/one", "/blog/two", "/shop"];
    prime(&larder, &pages);
    let answer = larder.post("/blog/one", b"x").expect_status(200);
    assert_eq!(answer.cache_parameter("detail").as_deref(), Some("unsafe-method-ignored"), "{answer}");
    larder.post("/shop", b"x").expect_status(200);
    assert_eq!(gone(&larder, &pages), ["/shop"]);
    assert_eq!(larder.metric("larder_invalidations_ignored_total", ""), 1.0);
    // What the origin names itself it wants to go.
    prime(&larder, &pages);
    larder.post("/blog/group", b"x").expect_status(200);
    assert_eq!(gone(&larder, &pages), pages);
}

/// Three thousand bans that match nothing once emptied the whole cache: there was no room for them.
#[test]
fn a_burst_of_bans_that_match_nothing_waits_for_the_sweeper_and_empties_nothing() {
    let origin = shop();
    let configuration = "[cache]\nledger_expressions = 20\nledger_wait = \"1m\"\nsweep_pause = \"10ms\"\n";
    let larder = Larder::before_with(&origin.url(), &format!("{configuration}{OPEN}"));
    prime(&larder, &PAGES);
    for number in 0..100 {
        let url = format!("nothing-{number}-[a-z]+$");
        larder.request("BAN", "/", &[("X-Host", ".*"), ("X-Url", &url)], b"").expect_status(200);
        let exactly = format!("^/nothing/{number}$");
        larder.request("BAN", "/", &[("X-Url", &exactly)], b"").expect_status(200);
    }
    for page in PAGES {
        larder.get(page).expect_hit();
    }
    assert_eq!(larder.metric("larder_ledger_widened_total", ""), 0.0);
    // And none of them was lost.
    larder.request("BAN", "/", &[("X-Url", "^/abou[t]$")], b"").expect_status(200);
    assert_eq!(gone(&larder, &PAGES), ["/about"]);
}

/// Once such an expression was taken, and made one of everything.
#[test]
fn a_purge_that_is_too_large_is_refused_with_the_limit_and_takes_nothing() {
    let origin = shop();
    let larder = Larder::before_with(&origin.url(), &format!("{OPEN}names = 3\nname_bytes = \"100B\"\n"));
    prime(&larder, &PAGES);
    let tests: Vec<String> = (0..100).map(|n| format!("url ~ \"(x{{30}}y{{30}}){{9}}{n}\"")).collect();
    let expression = tests.join(" || ");
    let long = "x".repeat(200);
    let many = ["--tag", "a", "--tag", "b", "--tag", "c", "--tag", "d"];
    let cases: [(&[&str], Json, &str); 3] = [
        (&["--expression", &expression], json!({"expression": expression}), "bytes are allowed"),
        (&["--tag", &long], json!({"tags": [long]}), "100 are allowed"),
        (&many, json!({"tags": ["a", "b", "c", "d"]}), "3 are allowed"),
    ];
    for (arguments, body, words) in cases {
        let error = command(&larder, &[&["purge"], arguments].concat()).unwrap_err();
        assert!(error.contains(words), "{error}");
        let fields = [("Content-Type", "application/json")];
        let answer = larder.admin().request("POST", "/v1/purge", &fields, body.to_string().as_bytes());
        assert_eq!(answer.status, 413, "{answer}");
        assert!(answer.text().contains(words), "{}", answer.text());
    }
    let answer = larder.request("BAN", "/", &[("X-Url", &format!("{}z", "(x{90}y{90}){90}"))], b"");
    assert!(answer.status == 413 && answer.text().contains("allowed"), "{answer}: {}", answer.text());
    let answer = larder.request("PURGE", "/", &[("Surrogate-Key", "a b c d")], b"").expect_status(413);
    assert!(answer.text().contains("3 are allowed"), "{}", answer.text());
    assert!(larder.metric("larder_refused_requests_total", "purge-too-large") >= 2.0);
    assert_eq!(larder.metric("larder_ledger_head", ""), 0.0);
    for page in PAGES {
        larder.get(page).expect_hit();
    }
}

/// One site's answers that name thousands of cache groups cost another site nothing.
#[test]
fn a_site_whose_answers_invalidate_thousands_of_groups_empties_no_other() {
    let origin = Origin::scripted(|asked, wire| match asked.method.as_str() {
        "GET" => wire.answer("Cache-Control: max-age=600\r\nCache-Groups: \"menu\"\r\n", "page"),
        _ => {
            let groups: Vec<String> = (0..2_000).map(|n| format!("\"g{}-{n}\"", asked.number)).collect();
            wire.answer(&format!("Cache-Group-Invalidation: {}\r\n", groups.join(", ")), "written")
        }
    });
    for most in ["100", "100000"] {
        let configuration =
            format!("[cache]\nmax_groups = {most}\nledger_entries = 500\nledger_wait = \"0s\"\n");
        let larder = Larder::before_with(&origin.url(), &configuration);
        prime(&larder, &["/page"]);
        let of_the_other = |request: &str| {
            let head = format!("{request} HTTP/1.1\r\nHost: other.example\r\nContent-Length: 0\r\n");
            let answer = larder.exchange_raw(format!("{head}Connection: close\r\n\r\n").as_bytes());
            String::from_utf8_lossy(&answer).into_owned()
        };
        of_the_other("GET /page");
        for _ in 0..10 {
            assert!(of_the_other("POST /write").starts_with("HTTP/1.1 200"));
        }
        larder.get("/page").expect_hit();
        // Of its own, more than it named: it named too many.
        assert!(!of_the_other("GET /page").contains("hit"), "{most}");
    }
}
