//! Where Larder listens: on several addresses, on Unix sockets, on the port a platform hands out.

use crate::common::larder::serve;
use crate::common::*;
use std::process::Command;

fn pages() -> Origin {
    Origin::scripted(|asked, wire| wire.answer("Cache-Control: max-age=600\r\n", &asked.target))
}

#[test]
fn the_platforms_port_is_honoured() {
    let (origin, port) = (pages(), Port::reserve());
    let larder = Larder::launched(|command| {
        command.args(["--backend", &origin.url()]).env("PORT", port.number.to_string());
    });
    assert_eq!(larder.address(), port.address());
    assert_eq!(larder.get("/page").expect_status(200).text(), "/page");
}

/// One cache behind all of them.
#[test]
fn several_addresses_and_a_unix_socket_serve_the_same_cache() {
    let origin = pages();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("larder.sock");
    let listen = format!("listen = [\"127.0.0.1:0\", \"127.0.0.2:0\", \"unix:{}\"]", socket.display());
    let file = directory.path().join("larder.toml");
    std::fs::write(&file, format!("{listen}\n[backend.app]\nendpoints = [\"{}\"]\n", origin.url())).unwrap();
    let larder = Larder::launched(|command| {
        command.arg("--config").arg(&file);
    });

    let local = Client { address: Address::Unix(socket) };
    let ask = |client: &Client| {
        let mut connection = client.connect();
        connection.send(b"GET /page HTTP/1.1\r\nHost: example.com\r\n\r\n").unwrap();
        connection.answer("GET").unwrap().expect_status(200)
    };
    assert_eq!(ask(larder.client()).text(), "/page");
    ask(&local).expect_hit();
    eventually("both addresses are printed", || {
        larder.printed().lines().filter(|line| line.contains("listening on http://")).count() == 2
    });
    assert_eq!(origin.request_count(), 1);
}

#[test]
fn an_address_in_use_is_an_error_that_names_it() {
    let (origin, larder) = (pages(), Larder::before("http://127.0.0.1:1"));
    let taken = larder.address().to_string();
    let directory = tempfile::tempdir().unwrap();
    let mut command: Command = serve(&directory);
    let done = command.args(["--backend", &origin.url(), "--listen", &taken]).output().unwrap();
    assert!(!done.status.success());
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(said.contains(&taken), "{said}");
}
