//! Values of other libraries' types that are written as strings.

use std::time::Duration;

use http::{HeaderName, Method};
use ipnet::IpNet;

use super::problem::Fault;
use super::value::Text;

impl Text for String {
    const KIND: &'static str = "string";
    const EXAMPLE: &'static str = "text";

    fn parse(text: &str) -> Result<Self, Fault> {
        if text.is_empty() {
            return Err(Fault::new("this is empty").help("leave the setting out to have none"));
        }
        Ok(text.to_string())
    }

    fn show(&self) -> String {
        self.clone()
    }
}

impl Text for std::path::PathBuf {
    const KIND: &'static str = "path";
    const EXAMPLE: &'static str = "/var/lib/larder/file";

    fn parse(text: &str) -> Result<Self, Fault> {
        String::parse(text).map(Into::into)
    }

    fn show(&self) -> String {
        self.to_string_lossy().into_owned()
    }
}

impl Text for Duration {
    const KIND: &'static str = "duration";
    const EXAMPLE: &'static str = "10s";

    fn parse(text: &str) -> Result<Self, Fault> {
        const LONGEST: Duration = Duration::from_secs(100 * 366 * 86_400);
        let trimmed = text.trim();
        if trimmed.starts_with('-') {
            return Err(Fault::new("a duration is not negative"));
        }
        if trimmed != "0" && trimmed.parse::<f64>().is_ok() {
            return Err(Fault::new("a duration needs a unit").help(format!("write \"{trimmed}s\"")));
        }
        let units = "the units are ms, s, m, h, d and w, as in \"1h 30m\"";
        let span = humantime::parse_duration(trimmed)
            .map_err(|error| Fault::new(format!("not a duration: {error}")).help(units))?;
        if span > LONGEST {
            return Err(Fault::new("a duration is at most 100 years"));
        }
        Ok(span)
    }

    /// In the largest units that lose nothing: `1d`, `1h 30m`, `1500ms`.
    fn show(&self) -> String {
        if self.subsec_nanos() != 0 {
            return match self.subsec_nanos() % 1_000_000 {
                0 => format!("{}ms", self.as_millis()),
                _ => format!("{}ns", self.as_nanos()),
            };
        }
        let mut rest = self.as_secs();
        let mut parts = Vec::new();
        for (unit, seconds) in [("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)] {
            if rest >= seconds {
                parts.push(format!("{}{unit}", rest / seconds));
                rest %= seconds;
            }
        }
        if parts.is_empty() { "0s".to_string() } else { parts.join(" ") }
    }

    fn of_number(number: &str) -> Option<String> {
        (!number.starts_with('-')).then(|| format!("{number}s"))
    }
}

impl Text for IpNet {
    const KIND: &'static str = "address or network";
    const EXAMPLE: &'static str = "10.0.0.0/8";

    fn parse(text: &str) -> Result<Self, Fault> {
        if let Ok(address) = text.parse::<std::net::IpAddr>() {
            return Ok(IpNet::from(address));
        }
        let Ok(network) = text.parse::<IpNet>() else {
            let fault = Fault::new(format!("\"{text}\" is neither an address nor a network"));
            return Err(match text {
                "localhost" => fault.help("write \"127.0.0.1\" or \"::1\""),
                _ => fault.help("write \"192.0.2.7\", \"10.0.0.0/8\" or \"fd00::/8\""),
            });
        };
        if network.trunc() != network {
            let fault = Fault::new("the address has bits set behind the network's prefix");
            return Err(fault.help(format!("write \"{}\" or \"{}\"", network.trunc(), network.addr())));
        }
        Ok(network)
    }

    fn show(&self) -> String {
        if self.prefix_len() == self.max_prefix_len() { self.addr().to_string() } else { self.to_string() }
    }
}

impl Text for HeaderName {
    const KIND: &'static str = "field name";
    const EXAMPLE: &'static str = "Cache-Tag";

    fn parse(text: &str) -> Result<Self, Fault> {
        let sound = HeaderName::from_bytes(text.as_bytes());
        sound.map_err(|_| Fault::new(format!("\"{text}\" is not the name of a header field")))
    }

    fn show(&self) -> String {
        self.as_str().to_string()
    }
}

impl Text for Method {
    const KIND: &'static str = "method";
    const EXAMPLE: &'static str = "GET";

    fn parse(text: &str) -> Result<Self, Fault> {
        let upper = text.to_ascii_uppercase();
        let known = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "TRACE", "CONNECT"];
        if upper != text && known.contains(&upper.as_str()) {
            // RFC 9110 §9.1: the method token is case-sensitive.
            let fault = Fault::new("methods are written in capitals");
            return Err(fault.help(format!("write \"{upper}\"")));
        }
        text.parse().map_err(|_| Fault::new(format!("\"{text}\" is not a method")))
    }

    fn show(&self) -> String {
        self.as_str().to_string()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn durations_read_as_written() {
        for (text, millis) in [
            ("10s", 10_000),
            ("1h 30m", 5_400_000),
            ("250ms", 250),
            ("0s", 0),
            ("1.5s", 1500),
            ("2d", 172_800_000),
        ] {
            assert_eq!(Duration::parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_its_reason() {
        for (text, message) in [
            ("10", "a duration needs a unit"),
            ("1e9", "a duration needs a unit"),
            ("-10s", "a duration is not negative"),
            ("200years", "a duration is at most 100 years"),
            ("", "not a duration: value was empty"),
            (
                "99999999999999999999s",
                "not a duration: number is too large or cannot be represented without a lack of precision (values below 1ns are not supported)",
            ),
        ] {
            assert_eq!(Duration::parse(text).unwrap_err().message, message, "{text}");
        }
    }

    #[test]
    fn networks_are_exact() {
        assert_eq!(Text::show(&IpNet::parse("10.0.0.0/8").unwrap()), "10.0.0.0/8");
        assert_eq!(Text::show(&IpNet::parse("::1").unwrap()), "::1");
        assert_eq!(
            IpNet::parse("10.1.0.0/8").unwrap_err().help.unwrap(),
            "write \"10.0.0.0/8\" or \"10.1.0.0\""
        );
        assert!(IpNet::parse("10.0.0.0/33").is_err());
    }

    #[test]
    fn a_method_is_case_sensitive() {
        assert_eq!(Method::parse("GET"), Ok(Method::GET));
        assert_eq!(Method::parse("get").unwrap_err().help.unwrap(), "write \"GET\"");
        assert!(Method::parse("PURGE").is_ok());
        assert!(Method::parse("A B").is_err());
    }

    proptest! {
        #[test]
        fn durations_read_back_as_shown(seconds in 0..3_000_000_000u64, millis in 0..3u32) {
            let span = Duration::new(seconds, millis * 250_000_000);
            prop_assert_eq!(Duration::parse(&Text::show(&span)), Ok(span));
        }

        #[test]
        fn no_text_makes_the_readers_panic(text in "\\PC{0,24}") {
            let _ = (Duration::parse(&text), IpNet::parse(&text), HeaderName::parse(&text), Method::parse(&text));
        }
    }
}
