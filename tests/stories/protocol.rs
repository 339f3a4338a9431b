//! HTTP/1.1 and HTTP/1.0 as clients really speak them.

use crate::common::*;
use std::process::Command;

fn pages() -> Origin {
    Origin::scripted(|asked, wire| {
        let body = format!("{} {}", asked.method, asked.target);
        wire.answer("Cache-Control: max-age=600\r\nContent-Type: text/plain\r\n", body)
    })
}

#[test]
fn a_connection_carries_request_after_request() {
    let origin = pages();
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    for number in 0..20 {
        client.ask_get(&format!("/{}", number % 4));
        let answer = client.answer("GET").unwrap().expect_status(200).expect_whole();
        assert_eq!(answer.text(), format!("GET /{}", number % 4));
    }
    assert_eq!(origin.request_count(), 4);
}

/// RFC 9112 §9.3.2: in the order of the requests, misses and hits mixed.
#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = pages();
    let larder = Larder::before(&origin.url());
    larder.get("/2").expect_status(200);
    let mut client = larder.connect();
    let mut all = String::new();
    for number in 0..6 {
        all.push_str(&format!("GET /{number} HTTP/1.1\r\nHost: x\r\n\r\n"));
    }
    all.push_str(
        "POST /6 HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbodyHEAD /7 HTTP/1.1\r\nHost: x\r\n\r\n",
    );
    client.send(all.as_bytes()).unwrap();
    for number in 0..6 {
        assert_eq!(client.answer("GET").unwrap().expect_status(200).text(), format!("GET /{number}"));
    }
    assert_eq!(client.answer("POST").unwrap().expect_status(200).text(), "POST /6");
    client.answer("HEAD").unwrap().expect_status(200);
}

#[test]
fn an_http_1_0_client_is_answered_and_closed() {
    let origin = pages();
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    client.send(b"GET /old HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let answer = client.answer("GET").unwrap().expect_status(200).expect_whole();
    assert_eq!(answer.text(), "GET /old");
    assert!(client.is_closed());

    let mut kept = larder.connect();
    kept.send(b"GET /old HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\n\r\n").unwrap();
    let answer = kept.answer("GET").unwrap().expect_status(200).expect_hit();
    if answer.field("Connection").is_some_and(|value| value.eq_ignore_ascii_case("keep-alive")) {
        kept.send(b"GET /old HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
        kept.answer("GET").unwrap().expect_status(200);
    }
}

/// RFC 9112 §7.1: an HTTP/1.0 client does not know chunks.
#[test]
fn an_http_1_0_client_is_never_sent_chunks() {
    let origin =
        Origin::saying("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    client.send(b"GET /chunked HTTP/1.0\r\nHost: x\r\n\r\n").unwrap();
    let answer = client.answer("GET").unwrap().expect_status(200).expect_whole();
    assert_eq!((answer.field("Transfer-Encoding"), answer.text().as_str()), (None, "hello"));
}

#[test]
fn connection_close_is_obeyed() {
    let origin = pages();
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    client.ask("GET", "/last", &[("Connection", "close")], b"");
    let answer = client.answer("GET").unwrap().expect_status(200).expect_whole();
    assert_eq!(answer.field("Connection"), Some("close"));
    assert!(client.is_closed());
}

/// RFC 9110 §7.6.1, in both directions; and the origin learns who asked.
#[test]
fn hop_by_hop_fields_go_no_further() {
    let origin = Origin::scripted(|_, wire| {
        wire.answer(
            "Connection: X-Private\r\nX-Private: origin\r\nKeep-Alive: timeout=5\r\nX-Public: yes\r\n",
            "page",
        )
    });
    let larder = Larder::before(&origin.url());
    let fields = [
        ("Connection", "keep-alive, X-Secret"),
        ("X-Secret", "client"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("TE", "gzip"),
        ("X-Known", "yes"),
    ];
    let answer = larder.get_with("/page", &fields).expect_status(200);
    assert_eq!((answer.field("X-Private"), answer.field("Keep-Alive")), (None, None), "{answer}");
    assert_eq!(answer.field("X-Public"), Some("yes"));
    assert!(answer.field("Via").is_some(), "RFC 9110 §7.6.3: {answer}");

    let asked = &origin.requests()[0];
    for name in ["X-Secret", "Keep-Alive", "Proxy-Connection", "TE"] {
        assert_eq!(asked.field(name), None, "{name} reached the origin");
    }
    assert_eq!(asked.field("X-Known"), Some("yes"));
    assert!(asked.field("Via").is_some());
    assert_eq!(asked.field("X-Forwarded-For"), Some("127.0.0.1"));
    assert_eq!(asked.field("X-Forwarded-Proto"), Some("http"));
    assert_eq!(asked.field("Host"), Some(larder.address().to_string().as_str()), "the client's own Host");
}

#[test]
fn a_chunked_request_body_arrives_whole() {
    let origin = Origin::scripted(|asked, wire| wire.answer("", &asked.body));
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    client.send(b"5\r\nhello\r\n").unwrap();
    client.send(b"6;name=value\r\n world\r\n0\r\n\r\n").unwrap();
    assert_eq!(client.answer("POST").unwrap().expect_status(200).text(), "hello world");
    // And the connection is in step for the next.
    client.ask("POST", "/echo", &[], b"next");
    assert_eq!(client.answer("POST").unwrap().expect_status(200).text(), "next");
}

/// RFC 9110 §10.1.1.
#[test]
fn a_client_that_expects_100_continue_is_answered() {
    let origin = Origin::scripted(|asked, wire| wire.answer("", &asked.body));
    let larder = Larder::before(&origin.url());
    let mut client = larder.connect();
    client
        .send(b"POST /echo HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
        .unwrap();
    client.wait_for(b"HTTP/1.1 100").expect("it is told to go on before it sends");
    client.send(b"body").unwrap();
    let answer = client.answer("POST").unwrap().expect_status(200);
    assert_eq!((answer.text().as_str(), answer.interim.len()), ("body", 1));
}

/// curl, as people use it: compressed, following, with a range, resuming.
#[test]
fn curl_is_content() {
    let server = Server::gunicorn(App::Plain, 2);
    let larder = Larder::before(&server.backend());
    let curl = |arguments: &[&str], path: &str| {
        let url = format!("http://{}{path}", larder.address());
        let done = Command::new("curl")
            .args(["-sS", "--max-time", "60"])
            .args(arguments)
            .arg(&url)
            .output()
            .unwrap();
        assert!(done.status.success(), "curl {url}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8_lossy(&done.stdout).into_owned()
    };
    let first = curl(&[], "/page");
    assert!(first.starts_with("page /page stamp "), "{first}");
    assert_eq!(curl(&["--http1.0"], "/page"), first);
    assert_eq!(curl(&["--compressed"], "/page"), first);
    assert!(curl(&["-I"], "/page").starts_with("HTTP/1.1 200"));
    assert_eq!(curl(&["-r", "0-3"], "/page"), "page");
    assert_eq!(curl(&["-d", "posted"], "/echo"), "posted");
    assert_eq!(curl(&["-T", "/dev/null", "-w", "%{http_code}", "-o", "/dev/null"], "/echo"), "405");
    assert_eq!(server.runs("GET", "/page"), 1);
}

/// A large streaming page: the first line is there before the application has written the last.
#[test]
fn a_streamed_page_streams_through() {
    for server in [Server::gunicorn(App::WebOb, 2), Server::uvicorn(), Server::wsgiref(App::Plain)] {
        let larder = Larder::before(&server.backend());
        let mut client = larder.connect();
        client.ask_get("/stream/gate");
        client.wait_for(b"first line\n").expect("the first line comes while the gate is shut");
        let mut second = larder.connect();
        second.ask_get("/stream/gate");
        second.wait_for(b"first line\n").expect("and for a second client, from the same run");
        server.open_gate("gate");
        for client in [&mut client, &mut second] {
            let streamed = client.answer("GET").unwrap().expect_whole();
            assert_eq!(streamed.text(), "first line\nlast line\n");
        }
        larder.get("/stream/gate").expect_hit();
        assert_eq!(server.runs("GET", "/stream/gate"), 1);
    }
}

/// RFC 9110 §10.1.1: the origin decides whether it wants the body, and the client is told once.
#[test]
fn an_expectation_is_the_origins_to_meet() {
    let origin = Origin::scripted(|asked, wire| {
        assert_eq!(asked.field("Expect"), Some("100-continue"));
        wire.answer("", "not read")
    });
    let larder = Larder::before(&origin.url());
    // The double reads the whole body before it answers, so the patience of the backend is what lets it go.
    let mut client = larder.connect();
    client.send(b"PUT /f HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").unwrap();
    client.wait_for(b"HTTP/1.1 100").unwrap();
    client.send(b"body").unwrap();
    let answer = client.answer("PUT").unwrap().expect_status(200);
    assert_eq!(answer.interim.len(), 1);
}

/// An origin that does not want the body says so before any of it was sent.
#[test]
fn a_refused_expectation_costs_no_upload() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let origin = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 417 Expectation Failed\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        (String::from_utf8_lossy(&head).to_ascii_lowercase(), rest)
    });
    let larder = Larder::before(&format!("http://{address}"));
    let mut client = larder.connect();
    client.send(b"PUT /f HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n").unwrap();
    let answer = client.answer("PUT").unwrap().expect_status(417);
    assert!(answer.interim.is_empty(), "no 100 before a refusal");
    assert!(client.is_closed(), "nobody can tell whether the body comes");
    let (head, rest) = origin.join().unwrap();
    assert!(head.contains("expect: 100-continue") && rest.is_empty(), "{head}");
}

/// RFC 9110 §7.8: after the 101 the bytes are the two ends' own.
#[test]
fn a_websocket_is_tunnelled() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let origin = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let mut heard = Vec::new();
        while !heard.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            heard.push(byte[0]);
        }
        let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(format!("{switch}hello client").as_bytes()).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        (String::from_utf8_lossy(&heard).to_ascii_lowercase(), String::from_utf8_lossy(&rest).into_owned())
    });
    let larder = Larder::before(&format!("http://{address}"));
    let mut client = larder.connect();
    client.ask("GET", "/chat", &[("Connection", "Upgrade"), ("Upgrade", "websocket")], b"");
    let switch = client.answer("GET").unwrap().expect_status(101);
    assert_eq!((switch.all("Connection").len(), switch.field("Upgrade")), (1, Some("websocket")), "{switch}");
    client.wait_for(b"hello client").unwrap();
    client.send(b"hello origin").unwrap();
    client.finish_sending();
    let (head, heard) = origin.join().unwrap();
    assert!(head.contains("\r\nupgrade: websocket\r\n"), "{head}");
    assert_eq!(heard, "hello origin");
}

/// RFC 9112 §3.2: what Larder asks in HTTP/1.1 names a host, though an HTTP/1.0 client need not.
#[test]
fn a_client_that_names_no_host_is_served_by_the_backends_own() {
    let origin = pages();
    let larder = Larder::before(&origin.url());
    for _ in 0..2 {
        let answer = larder.exchange_raw(b"GET /old HTTP/1.0\r\n\r\n");
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"), "{}", String::from_utf8_lossy(&answer));
    }
    let asked = origin.requests();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].field("Host"), origin.url().strip_prefix("http://"));
    assert!(asked[0].field("X-Forwarded-Host").is_none_or(|host| !host.is_empty()));
}

/// What anybody may say of any page does not make the origin hear of each of its requests. The table is the
/// documentation's own.
#[test]
fn what_leads_past_a_stored_page_is_what_the_documentation_says() {
    let origin = Origin::scripted(|asked, wire| {
        if asked.method == "OPTIONS" || asked.method == "POST" {
            return wire.answer("", "the origin");
        }
        wire.answer("Cache-Control: max-age=600\r\nETag: \"page\"\r\n", "a page")
    });
    let larder = Larder::before(&origin.url());
    let page = std::fs::read_to_string(repository().join("docs/life-of-a-request.md")).unwrap();
    let table =
        page.split("### Past a stored page").nth(1).unwrap().split("\n## ").next().unwrap().to_owned();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let mut tried = 0;
    for row in rows {
        let mut cells = row.trim_matches('|').split('|').map(str::trim);
        let (has, by) = (cells.next().unwrap(), cells.next().unwrap());
        // What was asked before may have taken it away.
        larder.get("/page").expect_status(200);
        larder.get("/page").expect_hit();
        let before = origin.request_count();
        let (mut method, mut version, mut fields, mut content) = ("GET", "HTTP/1.1", String::new(), "");
        for said in has.split("`, `").map(|said| said.trim_matches('`')) {
            match said {
                "content" => content = "x",
                "HTTP/1.0" => version = said,
                _ if said.contains(':') => fields += &format!("{said}\r\n"),
                _ => method = said,
            }
        }
        if !content.is_empty() {
            fields += "Content-Length: 1\r\n";
        }
        let target = if method == "CONNECT" { "host:1" } else { "/page" };
        // As `larder.get` names it: the same page.
        let host = if method == "CONNECT" { "host:1".to_owned() } else { larder.client().host() };
        let mut client = larder.connect();
        client
            .send(format!("{method} {target} {version}\r\nHost: {host}\r\n{fields}\r\n{content}").as_bytes())
            .unwrap();
        let answer = client.answer(method).unwrap();
        let asked = origin.request_count() - before;
        match by {
            "memory" => {
                assert!(answer.is_hit() && answer.status == 200 && asked == 0, "{has}: {answer}");
                assert!(method == "HEAD" || answer.text() == "a page", "{has}: {answer}");
            }
            "the origin" => assert_eq!((answer.status, asked), (200, 1), "{has}: {answer}"),
            status => assert_eq!((answer.status.to_string().as_str(), asked), (status, 0), "{has}: {answer}"),
        }
        tried += 1;
    }
    assert!(tried > 30, "{tried} rows were found");
}

/// What a route says of itself holds there.
#[test]
fn a_route_may_let_a_switch_of_protocols_and_content_past_what_is_stored() {
    let origin = Origin::scripted(|asked, wire| match asked.field("Upgrade") {
        Some(protocols) => {
            let switch = "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade:";
            let _ = wire.send(format!("{switch} {protocols}\r\n\r\n"));
            Next::Close
        }
        None => {
            let content = String::from_utf8_lossy(&asked.body).into_owned();
            wire.answer("Cache-Control: max-age=600\r\n", format!("content {content}"))
        }
    });
    let larder = Larder::before_with(
        &origin.url(),
        "[[route]]\nmatch = { path = \"/open\" }\nupgrade = [\"chat\", \"WebSocket\"]\ncache = { request_content = \"pass\" }\n\
         [[route]]\nmatch = { path = \"/shut\" }\nupgrade = []\n",
    );
    for path in ["/open", "/shut", "/other"] {
        larder.get(path).expect_status(200);
        let switch = |protocols: &str| {
            let fields = [("Connection", "upgrade"), ("Upgrade", protocols)];
            let answer = larder.get_with(path, &fields);
            (answer.status, answer.field("Upgrade").map(str::to_owned))
        };
        let stored = (200, None);
        assert_eq!(switch("x, y"), stored, "{path}");
        let open = path == "/open";
        let named = |protocols: &str| if open { (101, Some(protocols.to_owned())) } else { stored.clone() };
        assert_eq!(switch("websocket"), named("websocket"), "{path}");
        assert_eq!(switch("x, chat/2"), named("chat/2"), "{path}: only what the route names is asked for");
        let answer = larder.request("GET", path, &[], b"sent").expect_status(200);
        assert_eq!(answer.text(), if open { "content sent" } else { "content " }, "{path}");
        // What was made of the content is nobody else's.
        assert_eq!(larder.get(path).expect_hit().text(), "content ");
    }
    // Where nothing is stored, WebSocket is what it is everywhere.
    let fields = [("Connection", "upgrade"), ("Upgrade", "websocket")];
    larder.get_with("/socket", &fields).expect_status(101);
    larder.get_with("/shut?socket", &fields).expect_status(200);
}
