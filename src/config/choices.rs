//! The choices that settings offer, each with its meaning.

use std::path::PathBuf;

use serde_json::{Value as Json, json};
use toml::de::DeValue;

use super::check;
use super::problem::{Fault, Problems};
use super::section::{Setting, words};
use super::value::{Text, Value, Written};
use crate::policy::{ClientDirectives, RequestContent, UnsafeMethods};
use crate::semantics::policy::{Cookies, SetCookie};

words! {@text SetCookie as "choice" {
    /// it is for the client that asked, and not stored.
    Pass = "pass",
    /// it is stored without the cookie; only the client that asked gets the cookie.
    Strip = "strip",
    /// it is stored as it is (RFC 9111 §7.3): whoever gets it gets the cookie.
    Store = "store",
}}

words! {@text Cookies as "choice" {
    /// it never does.
    Pass = "pass",
    /// where the origin says itself that a response is for all: by a lifetime, or by `public`. Neither a guess
    /// nor `ttl` and `default_ttl` count.
    ExplicitOnly = "explicit-only",
    /// and where `ttl` or `default_ttl` gives the lifetime: these pages are the same for everybody, whatever
    /// the cookie.
    Share = "share",
    /// as any other request, guesses included: what the standard says.
    Standard = "standard",
}}

words! {
    /// Whether `s-maxage` forbids stale use where the response itself names a stale window.
    pub enum SharedMaxAge as "choice" {
        /// it means `proxy-revalidate` too (RFC 9111 §5.2.2.10).
        ForbidsStale = "forbids-stale",
        /// the stated window is obeyed, as many frameworks intend.
        AllowsStatedWindows = "allows-stated-windows",
    }
}

words! {
    /// What an `Age` that is not one number means.
    pub enum AgeErrors as "choice" {
        /// of a list the first member counts, an invalid field is ignored (RFC 9111 §5.1).
        Ignore = "ignore",
        /// the response is taken to be stale.
        Stale = "stale",
    }
}

words! {
    /// What a 304 means that does not name what it confirms.
    pub enum Contradicting304 as "choice" {
        /// nothing (RFC 9111 §4.3.4): without a validator, or with the strong form of the weak tag that was sent, what is
        /// stored answers this once; otherwise the response is fetched without conditions.
        Refetch = "refetch",
        /// it confirms what was asked about if it names no validator at all, the strong form (`"x"`) of the weak
        /// tag that was sent (`W/"x"`), or another date beside that tag. For origins that compress on the fly, or
        /// leave `ETag` out of a 304.
        Lenient = "lenient",
        /// and, where one entity tag was sent, if it names another. For origins whose filters rewrite tags.
        KeepStored = "keep-stored",
    }
}

words! {@text UnsafeMethods as "choice" {
    /// its own URL, and what `Location` and `Content-Location` name, falls (RFC 9111 §4.4).
    Invalidate = "invalidate",
    /// only the cache groups that the answer names: for origins that answer anybody's `POST` with success.
    Ignore = "ignore",
}}

words! {
    /// What is done about a path that an origin may read otherwise than the routes do.
    pub enum AmbiguousPaths as "choice" {
        /// its route counts only if every reading takes it. If not, it is passed without being stored; where
        /// the readings lead to different backends, it is refused (400). Where only the case of letters makes the
        /// difference, and nothing but lifetimes, it is stored by the origin's own word.
        Strictest = "strictest",
        /// it is refused (400).
        Refuse = "refuse",
        /// it is what its letters say. For origins that read paths just so.
        Literal = "literal",
    }
}

words! {
    /// What becomes of request fields whose names have an underscore.
    pub enum UnderscoreFields as "choice" {
        /// the origin is not told them, as nginx does it.
        Drop = "drop",
        /// they are passed on, but for other spellings of what clients may not say.
        Pass = "pass",
    }
}

words! {
    /// Whether responses say how the cache handled them.
    pub enum CacheStatus as "choice" {
        /// on every response, with the reason.
        Full = "full",
        /// never; members that an origin sent are passed on.
        Off = "off",
    }
}

words! {@text ClientDirectives as "choice" {
    /// they change nothing.
    Ignore = "ignore",
    /// they are obeyed (RFC 9111 §5.2.1).
    Honour = "honour",
}}

words! {@text RequestContent as "choice" {
    /// nothing, where a stored response answers (RFC 9110 §9.3.1); otherwise the origin is asked with it.
    Ignore = "ignore",
    /// the origin is asked with it, whatever is stored.
    Pass = "pass",
}}

words! {
    /// Which endpoint a request goes to.
    pub enum Balance as "choice" {
        /// the one with the fewest requests under way; in turn among equals.
        LeastInflight = "least-inflight",
        /// each in its turn.
        RoundRobin = "round-robin",
    }
}

words! {
    /// How much is logged.
    pub enum LogLevel as "choice" {
        /// only what needs someone.
        Error = "error",
        /// and what may soon.
        Warn = "warn",
        /// and what changed: started, reloaded, an endpoint went or came back, a purge.
        Info = "info",
        /// and what happens with single connections.
        Debug = "debug",
        /// everything.
        Trace = "trace",
    }
}

words! {
    /// How a log line looks.
    pub enum LogFormat as "choice" {
        /// for people.
        Text = "text",
        /// one JSON object a line.
        Json = "json",
    }
}

words! {
    /// How a line of the access log looks.
    pub enum AccessFormat as "choice" {
        /// one JSON object a line.
        Json = "json",
        /// columns, for people.
        Text = "text",
        /// what Apache and nginx call `combined`: for programs that read their logs.
        Combined = "combined",
    }
}

words! {
    /// Who is told the id of a request (`X-Request-Id`). An id that a trusted proxy gave is kept; all others are
    /// replaced.
    pub enum RequestIds as "choice" {
        /// nobody: it is in the log and on error pages. What clients send is passed on as any other field.
        Off = "off",
        /// the client, in every response.
        Response = "response",
        /// the origin, in every request.
        Origin = "origin",
        /// both.
        Both = "both",
    }
}

/// The `Host` field sent to an origin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostField {
    /// The client's.
    Pass,
    /// The endpoint's host and port, as written.
    Endpoint,
    Fixed(String),
}

impl Text for HostField {
    const KIND: &'static str = "\"pass\", \"endpoint\" or a host";
    const EXAMPLE: &'static str = "pass";

    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "pass" => Ok(HostField::Pass),
            "endpoint" => Ok(HostField::Endpoint),
            host => check::host_field(host).map(|()| HostField::Fixed(host.to_string())),
        }
    }

    fn show(&self) -> String {
        match self {
            HostField::Pass => "pass".to_string(),
            HostField::Endpoint => "endpoint".to_string(),
            HostField::Fixed(host) => host.clone(),
        }
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AccessLog {
    Off,
    Stdout,
    File(PathBuf),
}

impl Text for AccessLog {
    const KIND: &'static str = "\"off\", \"stdout\" or a path";
    const EXAMPLE: &'static str = "stdout";

    fn parse(text: &str) -> Result<Self, Fault> {
        match text {
            "" => Err(Fault::new("this is empty").help("write \"off\", \"stdout\" or a path")),
            "off" => Ok(AccessLog::Off),
            "stdout" => Ok(AccessLog::Stdout),
            "-" => Err(Fault::new("standard output is written out").help("write \"stdout\"")),
            "stderr" | "on" | "none" => Err(Fault::new(format!("unknown value \"{text}\""))
                .help(format!("write \"off\" or \"stdout\"; for a file of that name \"./{text}\""))),
            path => Ok(AccessLog::File(path.into())),
        }
    }

    fn show(&self) -> String {
        match self {
            AccessLog::Off => "off".to_string(),
            AccessLog::Stdout => "stdout".to_string(),
            AccessLog::File(path) => path.to_string_lossy().into_owned(),
        }
    }
}

/// Statuses from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusRange {
    pub first: u16,
    pub last: u16,
}

impl Text for StatusRange {
    const KIND: &'static str = "status or range";
    const EXAMPLE: &'static str = "200-399";

    fn parse(text: &str) -> Result<Self, Fault> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let status = |text: &str| {
            let status = text.trim().parse().map_err(|_| Fault::new(format!("\"{text}\" is not a status")));
            status.and_then(|status| check::status(&status).map(|()| status))
        };
        let (first, last) = (status(first)?, status(last)?);
        if first > last {
            return Err(
                Fault::new("the range ends before it begins").help(format!("write \"{last}-{first}\""))
            );
        }
        Ok(StatusRange { first, last })
    }

    fn show(&self) -> String {
        if self.first == self.last { self.first.to_string() } else { format!("{}-{}", self.first, self.last) }
    }

    fn of_number(number: &str) -> Option<String> {
        Some(number.to_string())
    }
}

/// A table of settings about cookies, or the one word that is most often all of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct WordOrTable<T>(pub T);

impl<T: Value + From<Cookies>> Value for WordOrTable<T> {
    fn kind() -> String {
        "choice, or table".to_string()
    }

    fn read(written: &Written<'_>, problems: &mut Problems) -> Option<Self> {
        match written.get_ref() {
            DeValue::Table(_) => T::read(written, problems).map(WordOrTable),
            _ => Cookies::read(written, problems).map(|word| WordOrTable(word.into())),
        }
    }

    fn show(&self) -> Option<String> {
        None
    }

    fn schema() -> Json {
        let mut schema = T::schema();
        if let Some(schema) = schema.as_object_mut() {
            // What is said of a table's settings holds where it is one.
            schema.remove("type");
            schema.insert("anyOf".to_string(), json!([Cookies::schema(), {"type": "object"}]));
        }
        schema
    }

    fn settings() -> Vec<Setting> {
        T::settings()
    }
}

/// The name of a host without a port, in lower case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostName(pub String);

impl Text for HostName {
    const KIND: &'static str = "host name";
    const EXAMPLE: &'static str = "larder.example.com";

    fn parse(text: &str) -> Result<Self, Fault> {
        let sound = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
        if text.is_empty() || !text.chars().all(sound) {
            return Err(Fault::new(format!("\"{text}\" is not the name of a host"))
                .help("write it without scheme, port and path, as in \"larder.example.com\""));
        }
        Ok(HostName(text.to_ascii_lowercase()))
    }

    fn show(&self) -> String {
        self.0.clone()
    }
}
