//! The patterns of rules: of hosts, of paths, and of query parameter names.
//!
//! What can be compared without a pattern engine is: a literal by equality, `/static/**` by its prefix.

use std::fmt;
use std::net::Ipv6Addr;

use globset::{GlobBuilder, GlobMatcher};

use crate::semantics::authority::{check, host_of, normal_authority};
use crate::semantics::key::normal_path;

/// Why a pattern cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("the pattern is empty")]
    Empty,
    #[error("a path begins with `/`")]
    PathWithoutSlash,
    #[error("a path pattern does not look at the query")]
    PathWithQuery,
    #[error("a host pattern has neither scheme, nor path, nor port")]
    NotAHost,
    #[error("this is a pattern with `*`, not a regular expression")]
    RegularExpression,
    #[error("clients send a host name in ASCII: write it as they do, `xn--…`")]
    NotAscii,
    #[error("the pattern cannot be read: {0}")]
    Unreadable(String),
}

/// A pattern of hosts: `example.com`, or `*.example.com` for all below it.
///
/// `*` stands for any characters but a dot, `**` for any characters. Case does not matter.
#[derive(Clone, Debug)]
pub struct HostPattern {
    written: String,
    kind: HostKind,
}

#[derive(Clone, Debug)]
enum HostKind {
    Any,
    Exact,
    /// `*.example.com`: the part from the dot on, with exactly one label, not empty, before it.
    OneLabelBefore(String),
    Glob(Box<GlobMatcher>),
}

impl HostPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty, is no host (a URL, a host with a port), or has unbalanced brackets.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if !text.is_ascii() {
            return Err(PatternError::NotAscii);
        }
        let literal_ip6 = text.contains(':') && text.starts_with('[') || text.parse::<Ipv6Addr>().is_ok();
        let normal = match literal_ip6 || !is_glob(text) {
            true => normal_authority(text.as_bytes(), false).into_owned(),
            false => text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase().into_bytes(),
        };
        let written = String::from_utf8(normal).unwrap_or_default();
        let names_port = !literal_ip6 && text.rsplit_once(':').is_some_and(|(_, port)| is_number(port));
        if text.contains('/')
            || names_port
            || host_of(&written) != written
            || text.contains(char::is_whitespace)
        {
            return Err(PatternError::NotAHost);
        }
        if !is_glob(&written) && check(written.as_bytes()).is_err() {
            return Err(PatternError::NotAHost);
        }
        let kind = if written == "*" || written == "**" {
            HostKind::Any
        } else if literal_ip6 || !is_glob(&written) {
            HostKind::Exact
        } else if let Some(rest) =
            written.strip_prefix('*').filter(|rest| rest.starts_with('.') && !is_glob(rest))
        {
            HostKind::OneLabelBefore(rest.to_string())
        } else {
            // globset's separator is the slash; in a host it is the dot.
            HostKind::Glob(Box::new(glob(&written.replace('.', "/"), false)?))
        };
        Ok(HostPattern { written, kind })
    }

    /// Whether `host`, in lower case and without a port, is one of those meant.
    pub fn matches(&self, host: &str) -> bool {
        match &self.kind {
            HostKind::Any => true,
            HostKind::Exact => self.written == host,
            HostKind::OneLabelBefore(rest) => host
                .strip_suffix(rest.as_str())
                .is_some_and(|label| !label.is_empty() && !label.contains('.')),
            HostKind::Glob(glob) => glob.is_match(host.replace('.', "/")),
        }
    }

    /// The one host meant, where it is exactly one.
    pub(super) fn literal(&self) -> Option<&str> {
        matches!(self.kind, HostKind::Exact).then_some(self.written.as_str())
    }

    /// Whether every host that `other` matches is surely matched by this one too.
    pub(super) fn covers(&self, other: &HostPattern) -> bool {
        matches!(self.kind, HostKind::Any)
            || self.written == other.written
            || other.literal().is_some_and(|host| self.matches(host))
    }
}

impl PartialEq for HostPattern {
    fn eq(&self, other: &Self) -> bool {
        self.written == other.written
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// A pattern of paths: `/about`, `/static/**`, `/*/feed.{xml,json}`.
///
/// `?` and `*` stand for characters but the slash, `**` for whole segments, `[ab]` for one of the
/// characters, `{a,b}` for one of the alternatives. Case matters. Compared is the normal form of both: `/café` and
/// `/caf%C3%A9` are one pattern.
#[derive(Clone, Debug)]
pub struct PathPattern {
    written: String,
    normal: PathForm,
    /// With what it encodes decoded, where that is something else: `/@me/**` of `/%40me/**`.
    decoded: Option<PathForm>,
}

/// One spelling of a pattern.
#[derive(Clone, Debug)]
struct PathForm {
    text: String,
    kind: PathKind,
}

#[derive(Clone, Debug)]
enum PathKind {
    Exact,
    /// All that begins so; `/` alone is every path.
    Prefix(String),
    Glob {
        exact: Box<GlobMatcher>,
        /// Whatever the case of its letters.
        folded: Box<GlobMatcher>,
    },
}

impl PathForm {
    fn new(text: String) -> Result<Self, PatternError> {
        let kind = match text.strip_suffix("**").filter(|start| start.ends_with('/')) {
            Some(start) if !is_glob(start) => PathKind::Prefix(start.to_string()),
            _ if is_glob(&text) => {
                PathKind::Glob { exact: Box::new(glob(&text, false)?), folded: Box::new(glob(&text, true)?) }
            }
            _ => PathKind::Exact,
        };
        Ok(PathForm { text, kind })
    }

    fn matches(&self, path: &str) -> bool {
        match &self.kind {
            PathKind::Exact => self.text == path,
            PathKind::Prefix(start) => path.starts_with(start.as_str()),
            PathKind::Glob { exact, .. } => exact.is_match(path),
        }
    }

    fn matches_folded(&self, path: &str) -> bool {
        match &self.kind {
            PathKind::Exact => self.text.eq_ignore_ascii_case(path),
            PathKind::Prefix(start) => path
                .as_bytes()
                .get(..start.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes())),
            PathKind::Glob { folded, .. } => folded.is_match(path),
        }
    }
}

impl PathPattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty, does not begin with a slash, holds a `?query`, or has unbalanced brackets.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        if is_regular_expression(text) {
            return Err(PatternError::RegularExpression);
        }
        let written = if text == "**" { "/**".to_string() } else { text.to_string() };
        if !written.starts_with('/') {
            return Err(PatternError::PathWithoutSlash);
        }
        if written.split_once('?').is_some_and(|(_, query)| query.contains('=')) {
            return Err(PatternError::PathWithQuery);
        }
        let normal = normal_text(&written);
        let decoded = decoded_text(&normal).map(PathForm::new).transpose()?;
        Ok(PathPattern { normal: PathForm::new(normal)?, decoded, written })
    }

    /// Whether `path`, without a query, is one of those meant.
    pub fn matches(&self, path: &str) -> bool {
        self.normal.matches(path) || self.decoded.as_ref().is_some_and(|form| form.matches(path))
    }

    /// The same, whatever the case of the letters.
    pub(super) fn matches_folded(&self, path: &str) -> bool {
        self.normal.matches_folded(path)
            || self.decoded.as_ref().is_some_and(|form| form.matches_folded(path))
    }

    /// Whether it is written with capitals.
    pub(super) fn has_capitals(&self) -> bool {
        self.written.bytes().any(|byte| byte.is_ascii_uppercase())
    }

    /// Whether every path that `other` matches is surely matched by this one too.
    pub(super) fn covers(&self, other: &PathPattern) -> bool {
        let (ours, theirs) = (&self.normal, &other.normal);
        if ours.text == theirs.text {
            return true;
        }
        match (&ours.kind, &theirs.kind) {
            (_, PathKind::Exact) => self.matches(&theirs.text),
            (PathKind::Prefix(start), PathKind::Prefix(other)) => other.starts_with(start.as_str()),
            (PathKind::Prefix(start), PathKind::Glob { .. }) => {
                let fixed = theirs.text.find(GLOB_CHARACTERS).unwrap_or(theirs.text.len());
                theirs.text[..fixed].starts_with(start.as_str())
            }
            (PathKind::Exact | PathKind::Glob { .. }, _) => false,
        }
    }
}

/// A pattern in the form that paths have once they are admitted.
fn normal_text(written: &str) -> String {
    let mut encoded = Vec::with_capacity(written.len());
    for byte in written.bytes() {
        match byte {
            b'!'..=b'~' if byte != b'#' => encoded.push(byte),
            _ => encoded.extend_from_slice(format!("%{byte:02X}").as_bytes()),
        }
    }
    // All of it is ASCII.
    String::from_utf8(normal_path(&encoded)).unwrap_or_else(|_| written.to_owned())
}

/// The same with the ASCII that it encodes decoded, but for what means something else then; `None` where that is
/// nothing.
fn decoded_text(normal: &str) -> Option<String> {
    let mut text = String::with_capacity(normal.len());
    let mut pieces = normal.split('%');
    text.push_str(pieces.next()?);
    for piece in pieces {
        let byte = piece.get(..2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        match byte.filter(u8::is_ascii_graphic).map(char::from) {
            Some(char) if !GLOB_CHARACTERS.contains(&char) && !"/%,".contains(char) => {
                text.push(char);
                text.push_str(&piece[2..]);
            }
            _ => {
                text.push('%');
                text.push_str(piece);
            }
        }
    }
    (text != normal).then_some(text)
}

impl PartialEq for PathPattern {
    fn eq(&self, other: &Self) -> bool {
        self.normal.text == other.normal.text
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

/// A pattern of names of query parameters or cookies: `gclid`, `utm_*`. `*` stands for any characters; case matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match text {
            "" => Err(PatternError::Empty),
            _ if is_regular_expression(text) => Err(PatternError::RegularExpression),
            _ => Ok(NamePattern(text.to_string())),
        }
    }

    /// Whether every name that `other` matches is surely matched by this one too.
    pub(super) fn covers(&self, other: &NamePattern) -> bool {
        self == other || (!other.0.contains('*') && self.matches(other.0.as_bytes()))
    }

    /// Whether `name` is one of those meant. Takes time linear in both, times the number of stars.
    pub fn matches(&self, name: &[u8]) -> bool {
        let mut pieces = self.0.as_bytes().split(|byte| *byte == b'*');
        let Some(mut rest) = pieces.next().and_then(|first| name.strip_prefix(first)) else { return false };
        let Some(mut last) = pieces.next() else { return rest.is_empty() };
        for next in pieces {
            match memchr::memmem::find(rest, last) {
                Some(at) => rest = &rest[at + last.len()..],
                None => return false,
            }
            last = next;
        }
        rest.ends_with(last)
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What other proxies take for a path or a name, and would match nothing here: anchors, which no sensible path or
/// name begins or ends with.
fn is_regular_expression(text: &str) -> bool {
    text.starts_with('^') || text.ends_with('$') || text.starts_with("~ ") || text.contains("(?")
}

/// A pattern that a regular expression of the simple sort most likely means: `^/static/.*` is `/static/**`. None
/// where it says more than a pattern can.
pub fn pattern_for(expression: &str, any: &str) -> Option<String> {
    let bare = expression.trim_start_matches(['~', '*', ' ']).trim_start_matches('^');
    let (bare, open_end) = match bare.strip_suffix('$') {
        Some(bare) => (bare, false),
        None => (bare, true),
    };
    let plain = bare.replace(".*", "\0").replace("\\.", "\u{1}");
    if plain.contains(['[', ']', '(', ')', '|', '+', '?', '{', '}', '\\', '$', '.', '*']) {
        return None;
    }
    let ends_open = open_end && !plain.ends_with('\0');
    let mut pattern = plain.replace('\0', any).replace('\u{1}', ".");
    if ends_open {
        pattern.push_str(any);
    }
    Some(pattern)
}

const GLOB_CHARACTERS: [char; 8] = ['*', '?', '[', ']', '{', '}', '\\', '!'];

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_glob(text: &str) -> bool {
    // `!` means something only within brackets.
    text.contains(&GLOB_CHARACTERS[..7])
}

fn glob(text: &str, folded: bool) -> Result<GlobMatcher, PatternError> {
    GlobBuilder::new(text)
        .literal_separator(true)
        .case_insensitive(folded)
        .build()
        .map(|glob| glob.compile_matcher())
        .map_err(|error| PatternError::Unreadable(error.kind().to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_patterns_match_what_they_say() {
        for (pattern, host, matches) in [
            ("example.com", "example.com", true),
            ("Example.COM", "example.com", true),
            ("example.com", "www.example.com", false),
            ("*.example.com", "www.example.com", true),
            ("*.example.com", "a.b.example.com", false),
            ("**.example.com", "a.b.example.com", true),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("shop-{de,fr}.example.com", "shop-fr.example.com", true),
            ("shop-{de,fr}.example.com", "shop-it.example.com", false),
            ("*", "anything.at.all", true),
            ("[::1]", "[::1]", true),
            ("::1", "[::1]", true),
            ("[0:0::0001]", "[::1]", true),
            ("Example.com.", "example.com", true),
            ("*.example.com.", "www.example.com", true),
            ("10.0.0.1", "10.0.0.1", true),
        ] {
            let read = HostPattern::parse(pattern).unwrap();
            assert_eq!(read.matches(host), matches, "{pattern} on {host}");
        }
    }

    #[test]
    fn path_patterns_match_what_they_say() {
        for (pattern, path, matches) in [
            ("/about", "/about", true),
            ("/about", "/about/", false),
            ("/static/**", "/static/a/b.css", true),
            ("/static/**", "/static/", true),
            ("/static/**", "/static", false),
            ("/static/**", "/staticky", false),
            ("/**", "/", true),
            ("**", "/any/thing", true),
            ("/*/feed.xml", "/blog/feed.xml", true),
            ("/*/feed.xml", "/blog/old/feed.xml", false),
            ("/**/feed.xml", "/blog/old/feed.xml", true),
            ("/**/*.{css,js}", "/a/b/main.js", true),
            ("/**/*.{css,js}", "/a/b/main.jsx", false),
            ("/a b", "/a%20b", true),
            ("/hello!", "/hello!", true),
            ("/caf\u{e9}/**", "/caf%C3%A9/x", true),
            ("/caf%c3%a9/*", "/caf%C3%A9/x", true),
            ("/%7Eal/**", "/~al/x", true),
            ("/%40me/**", "/@me/x", true),
            ("/%40me/**", "/%40me/x", true),
            ("/a/./b/../c", "/a/c", true),
        ] {
            let read = PathPattern::parse(pattern).unwrap();
            assert_eq!(read.matches(path), matches, "{pattern} on {path}");
        }
    }

    #[test]
    fn unusable_patterns_are_refused_with_their_reason() {
        assert_eq!(PathPattern::parse("static/**"), Err(PatternError::PathWithoutSlash));
        assert_eq!(PathPattern::parse("/a?b=1"), Err(PatternError::PathWithQuery));
        assert!(matches!(PathPattern::parse("/a{b"), Err(PatternError::Unreadable(_))));
        assert_eq!(HostPattern::parse(""), Err(PatternError::Empty));
        assert_eq!(HostPattern::parse("http://example.com"), Err(PatternError::NotAHost));
        assert_eq!(HostPattern::parse("example.com:8080"), Err(PatternError::NotAHost));
        assert_eq!(HostPattern::parse("example.com:80"), Err(PatternError::NotAHost));
        assert_eq!(HostPattern::parse("[::1]:8080"), Err(PatternError::NotAHost));
        assert_eq!(HostPattern::parse("caf\u{e9}.example"), Err(PatternError::NotAscii));
    }

    #[test]
    fn name_patterns_match_what_they_say() {
        for (pattern, name, matches) in [
            ("gclid", "gclid", true),
            ("gclid", "gclid2", false),
            ("utm_*", "utm_source", true),
            ("utm_*", "utm_", true),
            ("utm_*", "utm", false),
            ("*_id", "session_id", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "abc", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("*", "", true),
        ] {
            let read = NamePattern::parse(pattern).unwrap();
            assert_eq!(read.matches(name.as_bytes()), matches, "{pattern} on {name}");
        }
    }
}
