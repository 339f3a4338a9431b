//! A request is called the same wherever it is told of: on its page, in both logs, by the proxies before Larder and by the
//! origin behind it; and the log has the real reason.

use serde_json::Value;

use crate::common::*;

const TRUST: &str = "[server.forwarded]\ntrust = [\"127.0.0.0/8\"]";

/// The id that an error page shows.
fn shown_id(page: &Answer) -> String {
    let text = page.text();
    let (_, rest) = text.split_once("request ").unwrap_or_else(|| panic!("no id in {text}"));
    rest.chars().take_while(char::is_ascii_hexdigit).collect()
}

/// The line of the operations log about the request of this id.
fn line_of(larder: &Larder, id: &str) -> String {
    larder.expect_printed(&format!("id={id}"));
    larder.printed().lines().find(|line| line.contains(&format!("id={id}"))).unwrap().to_owned()
}

#[test]
fn the_line_with_the_id_of_an_error_page_names_host_path_and_the_real_reason() {
    for (answer, reason, said) in [
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 2\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            "malformed",
            "Content-Length",
        ),
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
            "malformed",
            "two Content-Length fields",
        ),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", "malformed", "Transfer-Encoding"),
        (
            "HTTP/1.1 200 OK\r\nX-A: a\r\n b\r\nContent-Length: 2\r\n\r\nok",
            "malformed",
            "a folded field line",
        ),
        ("", "broken-before-head", "closed the connection"),
    ] {
        let origin = Origin::scripted(move |_, wire| {
            let _ = wire.send(answer);
            Next::Close
        });
        let larder = Larder::before(&origin.url());
        let page = larder.get("/a/b?c=1").expect_status(502);
        let line = line_of(&larder, &shown_id(&page));
        for part in
            [&format!("host={} ", larder.address()), "path=/a/b?c=1 ", &format!("reason=\"{reason}\""), said]
        {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}

#[test]
fn an_origin_that_nobody_can_reach_is_named_with_the_request() {
    let port = Port::reserve();
    let larder = Larder::before(&format!("http://{}", port.address()));
    let page = larder.get("/page").expect_status(502);
    let line = line_of(&larder, &shown_id(&page));
    assert!(line.contains("reason=\"refused\"") && line.contains("path=/page"), "{line}");
    let page = larder.post("/form", b"sent").expect_status(502);
    assert!(line_of(&larder, &shown_id(&page)).contains("path=/form"));
}

#[test]
fn each_of_those_who_waited_for_a_fetch_that_failed_has_a_line() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = Origin::scripted(move |_, wire| {
        wait.wait();
        let _ = wire.send("SSH-2.0-OpenSSH_9.2\r\n");
        Next::Close
    });
    let larder = Larder::before(&origin.url());
    let mut clients: Vec<Connection> = (0..3).map(|_| larder.connect()).collect();
    clients.iter_mut().for_each(|client| client.ask_get("/page"));
    origin.wait_for_requests(1);
    gate.open();
    for client in &mut clients {
        let page = client.answer("GET").unwrap().expect_status(502);
        let line = line_of(&larder, &shown_id(&page));
        assert!(line.contains("reason=\"malformed\"") && line.contains("path=/page"), "{line}");
    }
}

#[test]
fn a_queue_that_is_full_is_told_with_the_request() {
    let gate = Gate::default();
    let wait = gate.clone();
    let origin = Origin::scripted(move |_, wire| {
        wait.wait();
        wire.answer("Cache-Control: no-store\r\n", "late")
    });
    let backend = format!(
        "[backend.app]\nendpoints = [\"{}\"]\nmax_connections = 1\nqueue_timeout = \"10ms\"\n",
        origin.url()
    );
    let larder = Larder::configured(&backend);
    let mut first = larder.connect();
    first.ask_get("/first");
    origin.wait_for_requests(1);
    let page = larder.get("/second").expect_status(503);
    let line = line_of(&larder, &shown_id(&page));
    assert!(line.contains("reason=\"queue-timeout\"") && line.contains("path=/second"), "{line}");
    assert_eq!(larder.metric("larder_origin_failures_total", "queue-timeout"), 1.0);
    gate.open();
    first.answer("GET").unwrap().expect_status(200);
}

#[test]
fn a_body_that_breaks_off_is_told_with_the_request() {
    let origin = Origin::scripted(|_, wire| {
        let _ = wire.send("HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 100\r\n\r\nhalf");
        Next::Close
    });
    let larder = Larder::before(&origin.url());
    let mut connection = larder.connect();
    connection.ask_get("/film");
    connection.read_to_end();
    larder.expect_printed("an origin's answer broke off");
    let printed = larder.printed();
    let line = printed.lines().find(|line| line.contains("broke off")).unwrap();
    for part in ["path=/film ", "host=", "id=", "closed before the body's end"] {
        assert!(line.contains(part), "{part} in {line}");
    }
}

/// Larder with an access log, before an origin that tells what id it was given.
fn logged(configuration: &str) -> (Origin, Larder, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let origin = Origin::scripted(|asked, wire| {
        let fields = match asked.target.as_str() {
            "/page" => "Cache-Control: max-age=600\r\nX-Request-Id: of-the-origin\r\n",
            _ => "Cache-Control: no-store\r\n",
        };
        wire.answer(fields, asked.field("x-request-id").unwrap_or("none"))
    });
    let log = directory.path().join("access.log");
    let configuration = configuration.replace("LOG", &format!("[log]\naccess = \"{}\"", log.display()));
    let larder = Larder::before_with(&origin.url(), &configuration);
    (origin, larder, directory)
}

/// The lines of the access log, once there are so many.
fn lines(directory: &tempfile::TempDir, count: usize) -> Vec<String> {
    let mut lines = Vec::new();
    eventually("the access log has its lines", || {
        let text = std::fs::read_to_string(directory.path().join("access.log")).unwrap_or_default();
        lines = text.lines().map(str::to_owned).collect();
        lines.len() >= count
    });
    lines
}

#[test]
fn the_access_log_tells_who_asked_behind_a_proxy_that_is_believed() {
    let (_origin, larder, directory) = logged(&format!("LOG\n{TRUST}"));
    let fields = [
        ("X-Forwarded-For", "192.0.2.1, 198.51.100.7, 127.0.0.9"),
        ("X-Forwarded-Proto", "https"),
        ("User-Agent", "Mozilla/5.0 \"odd\\"),
        ("Referer", "https://a.example/?q=\u{e9}"),
        ("X-Request-Id", "edge-42"),
    ];
    larder.get_with("/own", &fields).expect_status(200);
    larder.get_with("/own", &[("User-Agent", &"a".repeat(2000))]).expect_status(200);
    let lines = lines(&directory, 2);
    let line: Value = serde_json::from_str(&lines[0]).unwrap();
    for (name, value) in [
        ("client", "198.51.100.7"),
        ("scheme", "https"),
        ("user_agent", "Mozilla/5.0 \"odd\\"),
        ("referer", "https://a.example/?q=\u{e9}"),
        ("given_id", "edge-42"),
    ] {
        assert_eq!(line[name], value, "{name} in {line}");
    }
    let (wait, duration) = (line["origin_wait_us"].as_u64().unwrap(), line["duration_us"].as_u64().unwrap());
    assert!(0 < wait && wait <= duration, "{line}");
    let line: Value = serde_json::from_str(&lines[1]).unwrap();
    assert_eq!((&line["client"], &line["scheme"]), (&"127.0.0.1".into(), &"http".into()));
    assert_eq!(line["user_agent"].as_str().unwrap().len(), 512);
    assert!(line.get("referer").is_none());
}

#[test]
fn nobody_else_chooses_what_the_access_log_says_of_it() {
    let (_origin, larder, directory) = logged("LOG");
    let fields = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https"), ("X-Request-Id", "mine")];
    larder.get_with("/own", &fields).expect_status(200);
    let line: Value = serde_json::from_str(&lines(&directory, 1)[0]).unwrap();
    assert_eq!((&line["client"], &line["scheme"]), (&"127.0.0.1".into(), &"http".into()));
    assert!(line.get("given_id").is_none());
}

#[test]
fn the_format_of_apache_and_nginx_is_one_to_choose() {
    let (_origin, larder, directory) = logged(&format!("LOG\naccess_format = \"combined\"\n{TRUST}"));
    let fields = [("X-Forwarded-For", "198.51.100.7"), ("User-Agent", "curl/8"), ("Referer", "http://a/\"b")];
    larder.get_with("/own?a=1", &fields).expect_status(200);
    let line = &lines(&directory, 1)[0];
    assert!(line.starts_with("198.51.100.7 - - ["), "{line}");
    assert!(
        line.ends_with("+0000] \"GET /own?a=1 HTTP/1.1\" 200 4 \"http://a/\\x22b\" \"curl/8\""),
        "{line}"
    );
}

#[test]
fn every_response_bears_the_id_of_its_request_where_that_is_wanted() {
    let (_origin, larder, directory) = logged("LOG\n[server]\nrequest_id = \"response\"");
    let mut ids = Vec::new();
    let mut note = |answer: Answer| {
        let named = answer.all("X-Request-Id");
        assert_eq!(named.len(), 1, "{answer}");
        ids.push(named[0].to_owned());
    };
    note(larder.get("/page").expect_status(200));
    note(larder.get_with("/page", &[("X-Request-Id", "mine")]).expect_hit());
    note(larder.get_with("/page", &[("Range", "bytes=0-1")]).expect_status(206));
    note(larder.head("/page").expect_status(200));
    note(larder.post("/own", b"sent").expect_status(200));
    note(larder.request("PURGE", "/page", &[], b"").expect_status(405));
    let mut refused = larder.connect();
    refused.send(b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").unwrap();
    note(refused.answer("GET").unwrap().expect_status(400));
    let mut about_server = larder.connect();
    about_server.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").unwrap();
    note(about_server.answer("OPTIONS").unwrap().expect_status(204));
    // They are those of the log, in its order but for what came side by side.
    let mut logged: Vec<String> = lines(&directory, ids.len())
        .iter()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["id"].as_str().unwrap().to_owned())
        .collect();
    logged.sort();
    ids.sort();
    assert_eq!(ids, logged);
    assert!(ids.windows(2).all(|pair| pair[0] != pair[1]), "{ids:?}");
}

#[test]
fn the_origin_is_told_the_id_and_only_a_proxy_that_is_believed_may_give_one() {
    let told = |configuration: &str, fields: &[(&str, &str)]| {
        let (_origin, larder, _directory) = logged(configuration);
        let answer = larder.get_with("/own", fields).expect_status(200);
        (answer.text(), answer.field("X-Request-Id").map(str::to_owned))
    };
    let mine = [("X-Request-Id", "mine")];
    assert_eq!(told("", &mine), ("mine".into(), None));
    assert_eq!(told("", &[]), ("none".into(), None));
    let both = "[server]\nrequest_id = \"both\"";
    let (to_origin, to_client) = told(both, &mine);
    assert_eq!((to_origin.len(), Some(&to_origin)), (16, to_client.as_ref()));
    let trusting = format!("{both}\n{TRUST}");
    assert_eq!(told(&trusting, &mine), ("mine".into(), Some("mine".into())));
    let (to_origin, to_client) = told(&trusting, &[("X-Request-Id", "not one")]);
    assert_eq!((to_origin.len(), Some(&to_origin)), (16, to_client.as_ref()));
    let (to_origin, to_client) = told("[server]\nrequest_id = \"origin\"", &[]);
    assert_eq!((to_origin.len(), to_client), (16, None));
}
