//! `No-Vary-Search` (draft-ietf-httpbis-no-vary-search): which differences between queries do not matter.

use std::borrow::Cow;

use http::HeaderName;
use sfv::{BareItem, Dictionary, ListEntry, Parser};

use crate::message::Fields;

/// The field's name.
pub const NO_VARY_SEARCH: HeaderName = HeaderName::from_static("no-vary-search");

/// What a response says about the queries for which it would have been the same.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NoVarySearch {
    /// The order of different keys does not matter (`key-order`).
    any_order: bool,
    ignored: Ignored,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Ignored {
    /// These parameters do not matter (`params=("a" "b")`); none by default.
    These(Vec<String>),
    /// No parameters matter but these (`params, except=("c")`).
    AllBut(Vec<String>),
}

impl Default for Ignored {
    fn default() -> Self {
        Ignored::These(Vec::new())
    }
}

impl NoVarySearch {
    /// Reads the field; `None` where it is absent, or invalid, or says nothing: every difference matters.
    pub fn read(headers: &Fields) -> Option<NoVarySearch> {
        let lines: Vec<&[u8]> = headers.get_all(NO_VARY_SEARCH).map(|line| line.as_bytes()).collect();
        if lines.is_empty() {
            return None;
        }
        let members: Dictionary = Parser::new(&lines.join(&b", "[..])).parse().ok()?;
        let any_order = match members.get("key-order") {
            None => false,
            Some(entry) => boolean(entry)?,
        };
        let except = members.get("except").map(strings).map_or(Some(None), |list| list.map(Some))?;
        let ignored = match members.get("params") {
            None if except.is_some() => return None,
            None => Ignored::default(),
            Some(entry) => match (boolean(entry), strings(entry), except) {
                (Some(true), _, except) => Ignored::AllBut(except.unwrap_or_default()),
                (Some(false), _, None) => Ignored::default(),
                (None, Some(these), None) => Ignored::These(these),
                // "except" beside anything but `params` alone is an error.
                _ => return None,
            },
        };
        let read = NoVarySearch { any_order, ignored };
        (read != NoVarySearch::default()).then_some(read)
    }

    /// Bytes it takes in memory beyond the struct itself.
    pub fn weight(&self) -> u64 {
        let (Ignored::These(names) | Ignored::AllBut(names)) = &self.ignored;
        names.iter().map(|name| (size_of::<String>() + name.capacity()) as u64).sum()
    }

    /// The query (without `?`) in the form that is the same for all queries that this response answers.
    pub fn normal_query(&self, query: &str) -> String {
        let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = query
            .split('&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
            .map(|(key, value)| (decode(key), decode(value)))
            .filter(|(key, _)| self.matters(key))
            .collect();
        if self.any_order {
            // Stable: the order of the values of one key matters still.
            pairs.sort_by(|one, two| one.0.cmp(&two.0));
        }
        let mut normal = String::with_capacity(query.len());
        for (key, value) in &pairs {
            if !normal.is_empty() {
                normal.push('&');
            }
            encode(key, &mut normal);
            normal.push('=');
            encode(value, &mut normal);
        }
        normal
    }

    /// Whether two queries differ only in what does not matter.
    pub fn equivalent(&self, one: &str, two: &str) -> bool {
        self.normal_query(one) == self.normal_query(two)
    }

    fn matters(&self, key: &str) -> bool {
        match &self.ignored {
            Ignored::These(names) => !names.iter().any(|name| name == key),
            Ignored::AllBut(names) => names.iter().any(|name| name == key),
        }
    }
}

fn boolean(entry: &ListEntry) -> Option<bool> {
    match entry {
        ListEntry::Item(item) => item.bare_item.as_boolean(),
        ListEntry::InnerList(_) => None,
    }
}

fn strings(entry: &ListEntry) -> Option<Vec<String>> {
    let ListEntry::InnerList(list) = entry else { return None };
    list.items
        .iter()
        .map(|item| match &item.bare_item {
            BareItem::String(text) => Some(decode(text.as_str()).into_owned()),
            _ => None,
        })
        .collect()
}

/// Decodes a key or value as application/x-www-form-urlencoded does.
fn decode(text: &str) -> Cow<'_, str> {
    if !text.contains(['+', '%']) {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

fn encode(text: &str, into: &mut String) {
    into.extend(percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC));
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn read(value: &'static str) -> Option<NoVarySearch> {
        let mut headers = Fields::new();
        headers.insert(NO_VARY_SEARCH, HeaderValue::from_static(value));
        NoVarySearch::read(&headers)
    }

    #[test]
    fn the_drafts_forms_are_read_and_the_broken_ones_are_not() {
        assert_eq!(NoVarySearch::read(&Fields::new()), None);
        for none in [
            "",
            "key-order=?0",
            "params=?0",
            "params=()",
            "params=1",
            "except=(\"a\")",
            "params=(a)",
            "params=(\"a\"), except=(\"b\")",
            "key-order=1",
            "unknown",
            "params, except=\"a\"",
            "((",
        ] {
            assert_eq!(read(none), None, "{none}");
        }
        for some in
            ["key-order", "params", "params=(\"a\")", "params, except=(\"b\")", "key-order, params=(\"a\")"]
        {
            assert!(read(some).is_some(), "{some}");
        }
    }

    #[test]
    fn queries_are_equivalent_exactly_as_the_field_says() {
        for (field, one, two, same) in [
            ("key-order", "a=1&b=2", "b=2&a=1", true),
            ("key-order", "a=1&b=2&a=3", "b=2&a=3&a=1", false),
            ("key-order", "a=1", "a=2", false),
            ("params=(\"a\")", "a=1&b=2", "b=2&a=9", true),
            ("params=(\"a\")", "b=2&c=3", "c=3&b=2", false),
            ("params", "a=1", "", true),
            ("params, except=(\"b\")", "a=1&b=2", "b=2", true),
            ("params, except=(\"b\")", "b=1", "b=2", false),
            ("params=(\"a+b\")", "a%20b=1&c=2", "c=2", true),
            ("key-order", "a=%41&b", "b=&a=A", true),
            ("params=(\"x\")", "a&&b", "a=&b", true),
        ] {
            let field = read(field).unwrap();
            assert_eq!(field.equivalent(one, two), same, "{field:?} {one} {two}");
        }
    }
}
