//! Which cookies of a request count.
//!
//! What is ignored is taken out of the request itself, before its fields are read for anything else: so what
//! the origin is sent, what `Vary` selects by and what makes a request personal are one and the same text,
//! however oddly it is written. Where Larder and an origin cut a `Cookie` at other places, the origin still
//! sees nothing but what was kept.

use std::borrow::Cow;

use http::header::COOKIE;
use percent_encoding::percent_decode;

use super::NamePattern;
use crate::message::Fields;

/// What of the cookies counts on one route.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CookieRule {
    /// Cookies taken out, whatever their value.
    pub ignore: Vec<NamePattern>,
    /// Where present, all cookies but these are taken out.
    pub keep: Option<Vec<NamePattern>>,
    /// Requests with one of these go past the cache.
    pub bypass: Vec<NamePattern>,
}

/// What a rule leaves of the cookies of one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All, as it is written.
    All,
    Nothing,
    /// These, as one field.
    Some(Vec<u8>),
}

impl CookieRule {
    /// Whether all cookies count.
    pub fn keeps_all(&self) -> bool {
        self.ignore.is_empty() && self.keep.is_none()
    }

    /// What is left of the lines of a request's `Cookie`. Several lines become one: it is not for the origin
    /// to choose which of them it reads (RFC 6265 §5.4 allows one; RFC 9113 §8.2.3 joins them so).
    ///
    /// Takes time linear in the lines for each pattern, and allocates only where something is left out.
    pub fn kept<'l>(&self, lines: impl Iterator<Item = &'l [u8]> + Clone) -> Kept {
        if self.keeps_all() {
            return Kept::All;
        }
        let is_one_line = lines.clone().nth(1).is_none();
        if is_one_line && pieces(lines.clone()).all(|piece| self.counts(piece)) {
            return Kept::All;
        }
        let mut kept = Vec::new();
        // RFC 2965 §3.3.4: `$Version` comes first, `$Path` and its kin behind the cookie that they are about.
        let mut first = Vec::new();
        let mut counts = None;
        for piece in pieces(lines) {
            match (piece.starts_with(b"$"), counts) {
                (true, None) => add(&mut first, piece),
                (true, Some(false)) => {}
                (true, Some(true)) => add(&mut kept, piece),
                (false, _) => {
                    let this = self.counts(piece);
                    counts = Some(this);
                    if this {
                        add(&mut kept, piece);
                    }
                }
            }
        }
        match (kept.is_empty(), first.is_empty()) {
            (true, _) => Kept::Nothing,
            (false, true) => Kept::Some(kept),
            (false, false) => Kept::Some([&first[..], b"; ", &kept].concat()),
        }
    }

    /// Whether the cookie in `piece` counts, by its name as it is written.
    fn counts(&self, piece: &[u8]) -> bool {
        let name = name_of(piece);
        let among = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(name));
        !among(&self.ignore) && self.keep.as_deref().is_none_or(among)
    }
}

/// Whether a request has a cookie of one of these names. Where this leads past the cache, one that is
/// written so that only the application recognises it must not slip through: names are compared as they are
/// written and as PHP and its like read them, decoded and with `_` for what cannot stand in a variable's name.
pub fn has_cookie(fields: &Fields, names: &[NamePattern]) -> bool {
    if names.is_empty() || !fields.contains_key(COOKIE) {
        return false;
    }
    pieces(fields.get_all(COOKIE).map(|line| line.as_bytes())).any(|piece| {
        let name = name_of(piece);
        let read = as_read(name);
        names.iter().any(|pattern| pattern.matches(name) || pattern.matches(&read))
    })
}

/// A name as an application may read it.
fn as_read(name: &[u8]) -> Cow<'_, [u8]> {
    let is_odd = |byte: &u8| matches!(byte, b'%' | b'.' | b' ' | b'[' | b'+' | b'"');
    if !name.iter().any(is_odd) {
        return Cow::Borrowed(name);
    }
    let decoded = percent_decode(name).filter(|byte| *byte != b'"');
    Cow::Owned(
        decoded.map(|byte| if matches!(byte, b'.' | b' ' | b'[' | b'+') { b'_' } else { byte }).collect(),
    )
}

/// The cookies of all lines, without the blanks around them; empty ones are none.
fn pieces<'l>(lines: impl Iterator<Item = &'l [u8]>) -> impl Iterator<Item = &'l [u8]> {
    lines
        .flat_map(|line| line.split(|byte| *byte == b';'))
        .map(<[u8]>::trim_ascii)
        .filter(|piece| !piece.is_empty())
}

/// The name of a cookie; one without `=` is all name.
fn name_of(piece: &[u8]) -> &[u8] {
    piece[..memchr::memchr(b'=', piece).unwrap_or(piece.len())].trim_ascii()
}

fn add(to: &mut Vec<u8>, piece: &[u8]) {
    if !to.is_empty() {
        to.extend_from_slice(b"; ");
    }
    to.extend_from_slice(piece);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(names: &[&str]) -> Vec<NamePattern> {
        names.iter().map(|name| NamePattern::parse(name).unwrap()).collect()
    }

    fn kept(rule: &CookieRule, lines: &[&str]) -> Kept {
        rule.kept(lines.iter().map(|line| line.as_bytes()))
    }

    #[test]
    fn cookies_are_kept_and_ignored_by_name_however_they_are_written() {
        let ignore = CookieRule { ignore: patterns(&["_ga*", "utm*"]), ..CookieRule::default() };
        let keep = CookieRule { keep: Some(patterns(&["sessionid", "lang"])), ..CookieRule::default() };
        let both = CookieRule { ignore: patterns(&["lang"]), ..keep.clone() };
        let none = CookieRule { keep: Some(Vec::new()), ..CookieRule::default() };
        let some = |text: &str| Kept::Some(text.into());
        for (rule, lines, want) in [
            (&ignore, &["a=1"][..], Kept::All),
            (&ignore, &["a=1;b=2"], Kept::All),
            (&ignore, &["_ga=GA1.1; _gat"], Kept::Nothing),
            (&ignore, &["_ga=GA1.1;a=1 ;utm_x=2"], some("a=1")),
            (&ignore, &["a=1; _ga=\"x; b=2\""], some("a=1; b=2\"")),
            (&ignore, &["_ga = 1; a"], some("a")),
            (&ignore, &["a", "_ga=1", "b=2"], some("a; b=2")),
            (&ignore, &["a=1", "a=2"], some("a=1; a=2")),
            (&ignore, &["_GA=1"], Kept::All),
            (&ignore, &["a=_ga=1"], Kept::All),
            (&ignore, &["=_ga"], Kept::All),
            (&ignore, &["", ";; ;"], Kept::Nothing),
            (&ignore, &["$Version=1; _ga=1; $Path=/; a=1; $Path=/x"], some("$Version=1; a=1; $Path=/x")),
            (&ignore, &["$Version=1; _ga=1; $Path=/"], Kept::Nothing),
            (&keep, &["sessionid=1"], Kept::All),
            (&keep, &["x=1; sessionid=1; y"], some("sessionid=1")),
            (&keep, &["sessionid=1; sessionid=2; x=3"], some("sessionid=1; sessionid=2")),
            (&keep, &["SESSIONID=1"], Kept::Nothing),
            (&keep, &["session%69d=1"], Kept::Nothing),
            (&keep, &["$Version=1; sessionid=1"], some("$Version=1; sessionid=1")),
            (&both, &["lang=de"], Kept::Nothing),
            (&none, &["a=1"], Kept::Nothing),
            (&CookieRule::default(), &["a=1", "b=2"], Kept::All),
        ] {
            assert_eq!(kept(rule, lines), want, "{lines:?}");
        }
    }

    #[test]
    fn a_cookie_that_leads_past_the_cache_is_recognised_in_every_spelling() {
        let names = patterns(&["wordpress_logged_in_*", "sid"]);
        for (line, has) in [
            ("wordpress_logged_in_1=x", true),
            ("a=1;wordpress_logged_in_=", true),
            ("wordpress%5Flogged_in_1=x", true),
            ("wordpress.logged.in.1=x", true),
            ("wordpress logged_in_1=x", true),
            ("\"sid\"=x", true),
            ("sid", true),
            ("x=\"; sid=1\"", true),
            ("a=wordpress_logged_in_1", false),
            ("sid2=1", false),
            ("", false),
        ] {
            let mut fields = Fields::new();
            fields.append(COOKIE, http::HeaderValue::from_str(line).unwrap());
            assert_eq!(has_cookie(&fields, &names), has, "{line}");
        }
        assert!(!has_cookie(&Fields::new(), &names));
    }

    proptest! {
        /// What is kept needs no second going over, holds nothing that is ignored, and nothing that was not
        /// there.
        #[test]
        fn what_is_kept_is_a_normal_form(
            lines in prop::collection::vec("(\\$?[ab_]{0,2}=?[a\"; ]{0,3};?){0,5}", 0..3),
        ) {
            let rule = CookieRule { ignore: patterns(&["a*"]), ..CookieRule::default() };
            let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
            if let Kept::Some(text) = kept(&rule, &lines) {
                let text = String::from_utf8(text).unwrap();
                prop_assert_eq!(kept(&rule, &[&text]), Kept::All, "{:?}", lines);
                for piece in text.split("; ") {
                    prop_assert!(!piece.starts_with('a'), "{}", piece);
                    prop_assert!(lines.iter().any(|line| line.contains(piece)), "{} of {:?}", piece, lines);
                }
            }
        }
    }
}
