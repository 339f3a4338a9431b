//! Addresses: where Larder listens, and where origins do.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::problem::Fault;
use super::value::Text;

/// An address to listen on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    Tcp(SocketAddr),
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl ListenAddress {
    /// Whether only this host can reach it.
    pub fn is_local(&self) -> bool {
        match self {
            ListenAddress::Tcp(address) => address.ip().is_loopback(),
            ListenAddress::Unix(_) => true,
        }
    }

    /// Whether a socket bound to one of the two is in the way of the other.
    pub fn collides(&self, other: &ListenAddress) -> bool {
        match (self, other) {
            (ListenAddress::Tcp(one), ListenAddress::Tcp(other)) => {
                let overlap = one.ip() == other.ip()
                    || (one.is_ipv4() == other.is_ipv4()
                        && (one.ip().is_unspecified() || other.ip().is_unspecified()));
                one.port() == other.port() && one.port() != 0 && overlap
            }
            (one, other) => one == other,
        }
    }
}

impl std::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ListenAddress::Tcp(address) => address.fmt(f),
            ListenAddress::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl ListenAddress {
    fn read(text: &str) -> Result<Self, Fault> {
        if let Some(path) = unix_path(text)? {
            return Ok(ListenAddress::Unix(path));
        }
        if let Ok(address) = text.parse() {
            return Ok(ListenAddress::Tcp(address));
        }
        if let Some(port) = text.strip_prefix(':').filter(|port| !port.starts_with(':')) {
            let port = port_of(port)?;
            return Ok(ListenAddress::Tcp(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)));
        }
        Err(not_an_address(text))
    }
}

impl Text for ListenAddress {
    const KIND: &'static str = "address";
    const EXAMPLE: &'static str = "0.0.0.0:8080";

    fn parse(text: &str) -> Result<Self, Fault> {
        ListenAddress::read(text).map_err(|fault| without_false_help(fault, ListenAddress::read))
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn of_number(number: &str) -> Option<String> {
        number.parse::<u16>().ok().map(|port| format!(":{port}"))
    }
}

/// Takes away a proposal that would be refused in its turn.
fn without_false_help<T>(mut fault: Fault, read: impl FnOnce(&str) -> Result<T, Fault>) -> Fault {
    let proposed = fault.help.as_deref().and_then(|help| help.strip_prefix("write \"")?.split('"').next());
    if proposed.is_some_and(|proposed| read(proposed).is_err()) {
        fault.help = None;
    }
    fault
}

fn not_an_address(text: &str) -> Fault {
    if let Some((_, rest)) = text.split_once("://") {
        let rest = rest.trim_end_matches('/');
        return Fault::new("an address to listen on has no scheme").help(format!("write \"{rest}\""));
    }
    if text.parse::<u16>().is_ok() {
        return Fault::new("an address to listen on is more than a port").help(format!("write \":{text}\""));
    }
    if let Ok(address) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        let address = SocketAddr::new(address, 8080);
        return Fault::new("the address has no port").help(format!("write \"{address}\""));
    }
    if text.starts_with('/') {
        return Fault::new("a Unix socket is written with `unix:`").help(format!("write \"unix:{text}\""));
    }
    match text.rsplit_once(':') {
        Some(("localhost", port)) => Fault::new("an address to listen on is an IP address, not a name")
            .help(format!("write \"127.0.0.1:{port}\"")),
        Some(("*", port)) => {
            Fault::new("all addresses are written without `*`").help(format!("write \":{port}\""))
        }
        Some((host, port)) if host.parse::<IpAddr>().is_ok_and(|address| address.is_ipv4()) => {
            port_of(port).err().unwrap_or_else(|| Fault::new("not an address"))
        }
        Some((host, port)) if host.parse::<IpAddr>().is_ok() || text.parse::<IpAddr>().is_ok() => {
            Fault::new("an IPv6 address stands in brackets").help(format!("write \"[{host}]:{port}\""))
        }
        _ => Fault::new(format!("\"{text}\" is not an address to listen on"))
            .help("write \"192.0.2.7:8080\", \":8080\", \"[::]:8080\" or \"unix:/run/larder.sock\""),
    }
}

fn port_of(text: &str) -> Result<u16, Fault> {
    text.parse().map_err(|_| Fault::new(format!("\"{text}\" is not a port (0 to 65535)")))
}

/// The path behind `unix:`, where `text` begins so.
fn unix_path(text: &str) -> Result<Option<PathBuf>, Fault> {
    /// What fits in a socket address, with the zero at its end.
    const LONGEST: usize = 107;
    let Some(path) = text.strip_prefix("unix:") else { return Ok(None) };
    if path.is_empty() {
        return Err(
            Fault::new("the path of the Unix socket is missing").help("write \"unix:/run/larder.sock\"")
        );
    }
    if let Some(rest) = path.strip_prefix("//") {
        let rest = rest.trim_start_matches('/');
        return Err(Fault::new("a Unix socket is written without slashes before its path")
            .help(format!("write \"unix:/{rest}\"")));
    }
    if path.len() > LONGEST {
        return Err(Fault::new(format!("the path of a Unix socket has at most {LONGEST} bytes")));
    }
    Ok(Some(PathBuf::from(path)))
}

/// Where the admin interface listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AdminAddress {
    /// Nowhere.
    Off,
    At(ListenAddress),
}

impl Text for AdminAddress {
    const KIND: &'static str = "address, or \"off\"";
    const EXAMPLE: &'static str = "127.0.0.1:8081";

    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "off" => Ok(AdminAddress::Off),
            "none" | "false" | "no" => {
                Err(Fault::new(format!("\"{text}\" is not an address")).help("write \"off\""))
            }
            text => ListenAddress::parse(text).map(AdminAddress::At),
        }
    }

    fn show(&self) -> String {
        match self {
            AdminAddress::Off => "off".to_string(),
            AdminAddress::At(address) => address.to_string(),
        }
    }

    fn of_number(number: &str) -> Option<String> {
        number.parse::<u16>().ok().map(|port| format!("127.0.0.1:{port}"))
    }
}

/// One address of an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    Http {
        /// A name or an IP address, in lower case; an IPv6 address without brackets.
        host: String,
        port: u16,
    },
    /// The path of a Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Endpoint::Http { host, port } if host.contains(':') => write!(f, "http://[{host}]:{port}"),
            Endpoint::Http { host, port } => write!(f, "http://{host}:{port}"),
            Endpoint::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Endpoint {
    fn read(text: &str) -> Result<Self, Fault> {
        if let Some(path) = unix_path(text)? {
            return Ok(Endpoint::Unix(path));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(without_scheme(text));
        };
        match scheme.to_ascii_lowercase().as_str() {
            "http" => authority(text, rest),
            // Its port is one for TLS: plain HTTP to it would only fail later, and less clearly.
            "https" => Err(Fault::new("https towards an origin is not supported yet").help(format!(
                "name the port on which the origin speaks plain HTTP, such as \"http://{}:80\", where the way to it is trusted",
                host_of(rest)
            ))),
            _ => {
                Err(Fault::new(format!("unknown scheme \"{scheme}\""))
                    .help(format!("write \"http://{rest}\"")))
            }
        }
    }
}

impl Text for Endpoint {
    const KIND: &'static str = "endpoint";
    const EXAMPLE: &'static str = "http://127.0.0.1:8000";

    fn parse(text: &str) -> Result<Self, Fault> {
        Endpoint::read(text).map_err(|fault| without_false_help(fault, Endpoint::read))
    }

    fn show(&self) -> String {
        self.to_string()
    }

    fn of_number(number: &str) -> Option<String> {
        number.parse::<u16>().ok().map(|port| format!("http://127.0.0.1:{port}"))
    }
}

/// The host of `host:port/path`, as it was written.
fn host_of(rest: &str) -> &str {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

fn without_scheme(text: &str) -> Fault {
    if text.parse::<u16>().is_ok() {
        return Fault::new("an endpoint is more than a port")
            .help(format!("write \"http://127.0.0.1:{text}\""));
    }
    if text.starts_with('/') || text.starts_with("./") {
        return Fault::new("a Unix socket is written with `unix:`").help(format!("write \"unix:{text}\""));
    }
    let fault = Fault::new("the endpoint has no scheme");
    match authority(text, text) {
        Ok(endpoint) => fault.help(format!("write \"{endpoint}\"")),
        Err(_) => fault.help("write \"http://host:port\" or \"unix:/path\""),
    }
}

/// `host[:port]`, with nothing behind it but a slash.
fn authority(text: &str, rest: &str) -> Result<Endpoint, Fault> {
    let (authority, path) = match rest.find(['/', '?', '#']) {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    if authority.contains('@') {
        return Err(Fault::new("an endpoint holds no user name or password"));
    }
    if !path.is_empty() && path != "/" {
        let only = text.strip_suffix(path).unwrap_or(text);
        return Err(Fault::new("an endpoint has no path: each request brings its own")
            .help(format!("write \"{only}\"")));
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => {
            let (host, port) =
                bracketed.split_once(']').ok_or_else(|| Fault::new("the closing bracket is missing"))?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err(Fault::new(format!("\"{host}\" is not an IPv6 address")));
            }
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':').unwrap_or(port)) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if authority.parse::<std::net::Ipv6Addr>().is_ok() {
        // `::1:8000` is an address, too; who writes that many digits last most likely means a port.
        let meant = match authority.rsplit_once(':') {
            Some((host, port)) if port.len() >= 4 && port.parse::<u16>().is_ok() && is_ipv6(host) => {
                format!("[{host}]:{port}")
            }
            _ => format!("[{authority}]"),
        };
        return Err(
            Fault::new("an IPv6 address stands in brackets").help(format!("write \"http://{meant}\""))
        );
    }
    let sound = |letter: char| letter.is_ascii_alphanumeric() || "-._:".contains(letter);
    if host.is_empty() || !host.chars().all(sound) {
        return Err(Fault::new(format!("\"{host}\" is not a host")).help("write \"http://host:port\""));
    }
    let port = match port.map(port_of).transpose()? {
        Some(0) => return Err(Fault::new("an origin does not listen on port 0")),
        port => port.unwrap_or(80),
    };
    Ok(Endpoint::Http { host: host.to_ascii_lowercase(), port })
}

fn is_ipv6(text: &str) -> bool {
    text.parse::<std::net::Ipv6Addr>().is_ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_to_listen_on_read_as_written() {
        for (text, shown) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            (":8080", "0.0.0.0:8080"),
            ("[::]:8080", "[::]:8080"),
            ("unix:/run/larder.sock", "unix:/run/larder.sock"),
            ("unix:larder.sock", "unix:larder.sock"),
        ] {
            assert_eq!(ListenAddress::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn endpoints_read_as_written() {
        for (text, shown) in [
            ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("http://App.Internal", "http://app.internal:80"),
            ("HTTP://a:1/", "http://a:1"),
            ("http://[::1]:8000", "http://[::1]:8000"),
            ("http://[::1]", "http://[::1]:80"),
            ("http://my_app:5000", "http://my_app:5000"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_wrong_address_comes_with_the_right_one() {
        for (text, help) in [
            ("localhost:8080", "write \"127.0.0.1:8080\""),
            ("8080", "write \":8080\""),
            ("*:80", "write \":80\""),
            ("127.0.0.1", "write \"127.0.0.1:8080\""),
            ("::1", "write \"[::1]:8080\""),
            ("http://0.0.0.0:80/", "write \"0.0.0.0:80\""),
            ("/run/x.sock", "write \"unix:/run/x.sock\""),
            ("unix:///run/x.sock", "write \"unix:/run/x.sock\""),
        ] {
            assert_eq!(ListenAddress::parse(text).unwrap_err().help.as_deref(), Some(help), "{text}");
        }
        for (text, help) in [
            ("127.0.0.1:8000", "write \"http://127.0.0.1:8000\""),
            ("app", "write \"http://app:80\""),
            ("ftp://app", "write \"http://app\""),
            (
                "https://app:8443",
                "name the port on which the origin speaks plain HTTP, such as \"http://app:80\", where the way to it is trusted",
            ),
            ("22012", "write \"http://127.0.0.1:22012\""),
            ("http://::1:8000", "write \"http://[::1]:8000\""),
            ("http://fe80::1:2", "write \"http://[fe80::1:2]\""),
            ("http://app/base", "write \"http://app\""),
            ("http://::1", "write \"http://[::1]\""),
            ("/run/x.sock", "write \"unix:/run/x.sock\""),
        ] {
            assert_eq!(Endpoint::parse(text).unwrap_err().help.as_deref(), Some(help), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_an_address_is_refused() {
        for text in ["", ":", ":65536", ":-1", "unix:", "1.2.3.4:x", "[::1", "a b:80"] {
            assert!(ListenAddress::parse(text).is_err(), "{text}");
        }
        for text in [
            "",
            "http://",
            "http://a:0",
            "http://a:65536",
            "http://u:p@a",
            "http://[x]",
            "http://a?b",
            "http://a:",
        ] {
            assert!(Endpoint::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_wildcard_address_collides_with_a_narrower_one() {
        let at = |text| ListenAddress::parse(text).unwrap();
        assert!(at(":80").collides(&at("127.0.0.1:80")));
        assert!(!at(":80").collides(&at("127.0.0.1:81")));
        assert!(!at("127.0.0.1:0").collides(&at("127.0.0.1:0")));
        assert!(!at("10.0.0.1:80").collides(&at("127.0.0.1:80")));
        assert!(at("unix:/a").collides(&at("unix:/a")));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_readers_panic(text in "(unix:|http://|:|\\[)?[a-z0-9:./\\[\\]@?-]{0,20}") {
            let _ = (ListenAddress::parse(&text), Endpoint::parse(&text), AdminAddress::parse(&text));
        }

        /// Help that would be refused in its turn is none.
        #[test]
        fn what_is_proposed_can_be_written(
            text in "(unix:|http://|https://|:|\\[)?([a-z0-9:./\\[\\]@?-]{0,12}|[0-9:a-f]{0,12}:[0-9]{1,6}|[0-9]{1,6})",
        ) {
            let proposed = |fault: Fault| {
                let help = fault.help?;
                Some(help.strip_prefix("write \"")?.split('"').next()?.to_owned())
            };
            if let Some(listen) = ListenAddress::parse(&text).err().and_then(proposed) {
                prop_assert!(ListenAddress::parse(&listen).is_ok(), "{text}: {listen}");
            }
            if let Some(endpoint) = Endpoint::parse(&text).err().and_then(proposed) {
                prop_assert!(Endpoint::parse(&endpoint).is_ok(), "{text}: {endpoint}");
            }
        }
    }
}
