//! The origin behind `larder demo`: a small site that is slow on purpose and shows every kind of response.
//!
//! It is an ordinary HTTP server on a socket of its own: Larder reaches it as it reaches any other backend,
//! and nothing here knows that a cache stands before it. Every page takes the delay it was started with;
//! an answer of 304 takes none, as in an application that looks up a version number before it renders.

mod exchange;
mod pages;
mod picture;

use std::future::IntoFuture;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How long the demo's pages take to make, unless said otherwise.
pub const DELAY: Duration = Duration::from_millis(300);

/// A running demo origin. It ends when this is dropped.
#[derive(Debug)]
pub struct DemoOrigin {
    /// Where it listens: a free port of 127.0.0.1.
    pub address: SocketAddr,
    server: JoinHandle<io::Result<()>>,
}

impl DemoOrigin {
    /// Starts the origin on a free port of 127.0.0.1; it accepts connections once this returns.
    ///
    /// # Errors
    /// Where no port could be bound.
    pub async fn start(delay: Duration) -> io::Result<DemoOrigin> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        Ok(DemoOrigin { address, server: tokio::spawn(origin(listener, delay)) })
    }

    /// The address as a backend's endpoint is written: `http://127.0.0.1:port`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for DemoOrigin {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// Serves the demo site on `listener`, each page `delay` late.
///
/// It runs until it is dropped; connections that are open then end with their own tasks.
///
/// # Errors
/// None while it runs: a failed accept is tried again.
pub async fn origin(listener: TcpListener, delay: Duration) -> io::Result<()> {
    // Small answers go out at once: Nagle's delay would be measured as the origin's.
    let listener = listener.tap_io(|connection| {
        let _ = connection.set_nodelay(true);
    });
    axum::serve(listener, pages::site(delay)).into_future().await
}

/// What `larder demo` prints: where to look, and what to try. `listen` is Larder's public address, `admin`
/// that of the admin interface, where there is one.
pub fn banner(listen: SocketAddr, admin: Option<SocketAddr>) -> String {
    let site = format!("http://{}", reachable(listen));
    let admin = admin.map(|address| format!("http://{}", reachable(address)));
    let mut text =
        format!("Larder stands before a demo site whose pages take {} ms each.\n\n", DELAY.as_millis());
    text += &format!("  In a browser   {site}/\n");
    if let Some(admin) = &admin {
        text += &format!("  Admin          {admin}/\n");
    }
    text += &format!(
        "
Things to try:

  A miss, then a hit. Look at Cache-Status, Age and the time:
    curl -so /dev/null -D - -w '%{{time_total}} s\\n' {site}/article
    curl -so /dev/null -D - -w '%{{time_total}} s\\n' {site}/article
  Fifty at once for a page nobody has asked for, and what the origin saw of it:
    seq 50 | xargs -P 50 -I{{}} curl -so /dev/null '{site}/article?crowd=1'
    curl -s {site}/counter
  News that stay fresh for 2 s and are refreshed in the background:
    curl -si {site}/news.json
  The first 100 bytes of a 16 MiB file; the origin knows no ranges:
    curl -si -r 0-99 {site}/large.bin
  Two languages under one URL:
    curl -si -H 'Accept-Language: de' {site}/greeting
  A page that is asked about each time breaks, and what is stored is given in its place:
    curl -si {site}/fragile
    curl -s -X POST {site}/fragile/break
    curl -si {site}/fragile
    curl -s -X POST {site}/fragile/mend
  A form that is posted makes the stored page go: a hit, the form, and the page with the new line:
    curl -so /dev/null {site}/guestbook
    curl -so /dev/null -D - {site}/guestbook
    curl -s -d 'line=Hello' {site}/guestbook
    curl -si {site}/guestbook
"
    );
    if let Some(admin) = &admin {
        text += &format!(
            "  What is stored of the article, a purge by its tag, and what is stored then:
    curl -so /dev/null {site}/article
    curl -s '{admin}/v1/inspect?url={site}/article'
    curl -s {admin}/v1/purge -H 'Content-Type: application/json' -d '{{\"tags\": [\"article\"], \"wait\": \"5s\"}}'
    curl -s '{admin}/v1/inspect?url={site}/article'
"
        );
    }
    text + "\nCtrl-C ends it.\n"
}

/// `address` as a client on this machine can use it: the unspecified address becomes the loopback one.
fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_names_addresses_that_can_be_visited() {
        let text =
            banner(SocketAddr::from(([0, 0, 0, 0], 8080)), Some(SocketAddr::from(([127, 0, 0, 1], 8081))));
        assert!(text.contains("http://127.0.0.1:8080/\n"), "{text}");
        assert!(text.contains("http://127.0.0.1:8081/v1/purge"), "{text}");
        assert!(!text.contains("0.0.0.0"), "{text}");
        let six = banner("[::]:8080".parse().unwrap(), None);
        assert!(six.contains("http://[::1]:8080/article"), "{six}");
        assert!(!six.contains("purge"), "{six}");
    }

    #[test]
    fn the_banner_only_names_pages_that_exist() {
        let text = banner(SocketAddr::from(([127, 0, 0, 1], 8080)), None);
        for rest in text.split("http://127.0.0.1:8080").skip(1) {
            let path: String =
                rest.chars().take_while(|c| !c.is_whitespace() && !"'?".contains(*c)).collect();
            assert!(pages::PATHS.contains(&path.as_str()), "{path} is not a page of the site");
        }
    }
}
