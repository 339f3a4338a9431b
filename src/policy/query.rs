//! A query in its normal form: unwanted parameters gone, the rest in order.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::NamePattern;

/// What of a query distinguishes one response from another.
///
/// The result is both part of the key and what the origin is asked: a parameter that the key does not
/// hold must not reach the origin either, or one client could choose what another one gets.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct QueryRule {
    /// Parameters taken out, whatever their value.
    pub drop: Vec<NamePattern>,
    /// Where present, all parameters but these are taken out. An empty list takes out the whole query.
    pub keep: Option<Vec<NamePattern>>,
    /// Puts parameters in the order of their names. Those of one name keep their order: applications see it.
    pub sort: bool,
}

impl QueryRule {
    /// Whether every query is left as it is.
    pub fn is_empty(&self) -> bool {
        self.drop.is_empty() && self.keep.is_none() && !self.sort
    }

    /// Path and query with this rule applied to the query: what a response that is stored under the query's
    /// normal form must be asked for by.
    pub fn target<'t>(&self, target: &'t [u8]) -> Cow<'t, [u8]> {
        if self.is_empty() {
            return Cow::Borrowed(target);
        }
        let Some(at) = memchr::memchr(b'?', target) else { return Cow::Borrowed(target) };
        let Ok(query) = str::from_utf8(&target[at + 1..]) else { return Cow::Borrowed(target) };
        match self.normalise(query) {
            Cow::Borrowed(same) if same.len() == query.len() => Cow::Borrowed(target),
            normal if normal.is_empty() => Cow::Borrowed(&target[..at]),
            normal => Cow::Owned([&target[..=at], normal.as_bytes()].concat()),
        }
    }

    /// The normal form of `query` (what stands behind the `?`, without it). An empty result means that
    /// there is no query any more: the `?` goes as well.
    ///
    /// Names are compared as the application reads them (`utm%5Fsource` is `utm_source`), and kept as they
    /// were written. Under a rule that does anything, empty pieces (`a=1&&b=2`) go too.
    /// Allocates only when something changes, or a name is percent-encoded.
    pub fn normalise<'q>(&self, query: &'q str) -> Cow<'q, str> {
        if self.is_empty() || self.leaves_as_it_is(query) {
            return Cow::Borrowed(query);
        }
        let mut parameters: Vec<&str> = query.split('&').filter(|parameter| self.keeps(parameter)).collect();
        if self.sort {
            parameters.sort_by_key(|parameter| name_of(parameter));
        }
        Cow::Owned(parameters.join("&"))
    }

    fn leaves_as_it_is(&self, query: &str) -> bool {
        if query.is_empty() {
            return true;
        }
        let mut previous = "";
        query.split('&').all(|parameter| {
            let in_order = !self.sort || name_of(previous) <= name_of(parameter);
            previous = parameter;
            in_order && self.keeps(parameter)
        })
    }

    fn keeps(&self, parameter: &str) -> bool {
        if parameter.is_empty() {
            return false;
        }
        let raw = name_of(parameter).as_bytes();
        let name: Cow<'_, [u8]> = percent_decode(raw).into();
        let among = |patterns: &[NamePattern]| patterns.iter().any(|pattern| pattern.matches(&name));
        !among(&self.drop) && self.keep.as_deref().is_none_or(among)
    }
}

fn name_of(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn patterns(names: &[&str]) -> Vec<NamePattern> {
        names.iter().map(|name| NamePattern::parse(name).unwrap()).collect()
    }

    fn rule(drop: &[&str], keep: Option<&[&str]>, sort: bool) -> QueryRule {
        QueryRule { drop: patterns(drop), keep: keep.map(patterns), sort }
    }

    #[test]
    fn queries_come_out_as_the_rule_says() {
        let trackers = rule(&["utm_*", "gclid"], None, true);
        let only_page = rule(&[], Some(&["page"]), false);
        let nothing = rule(&[], Some(&[]), false);
        for (rule, query, want) in [
            (&trackers, "b=2&a=1", "a=1&b=2"),
            (&trackers, "utm_source=x&a=1", "a=1"),
            (&trackers, "utm%5Fsource=x&a=1", "a=1"),
            (&trackers, "gclid", ""),
            (&trackers, "a=2&a=1", "a=2&a=1"),
            (&trackers, "b&a[]=2&a[]=1", "a[]=2&a[]=1&b"),
            (&trackers, "a=1&&b=2&", "a=1&b=2"),
            (&trackers, "a=1=2", "a=1=2"),
            (&trackers, "", ""),
            (&only_page, "x=1&page=3&y", "page=3"),
            (&only_page, "p%61ge=3", "p%61ge=3"),
            (&nothing, "x=1&y=2", ""),
        ] {
            assert_eq!(rule.normalise(query), want, "{query}");
        }
    }

    #[test]
    fn what_does_not_change_is_not_copied() {
        let rule = rule(&["utm_*"], None, true);
        assert!(matches!(rule.normalise("a=1&b=2"), Cow::Borrowed(_)));
        assert!(matches!(QueryRule::default().normalise("b&a&&"), Cow::Borrowed("b&a&&")));
    }

    proptest! {
        #[test]
        fn normalising_twice_is_normalising_once(query in "[a-c%=&u]{0,24}", sort: bool, keep: bool) {
            let rule = rule(&["a*"], keep.then_some(&["b", "c*", "u*"][..]), sort);
            let once = rule.normalise(&query).into_owned();
            prop_assert_eq!(rule.normalise(&once), once.as_str());
        }

        #[test]
        fn no_parameter_is_invented_and_none_kept_is_lost(query in "[ab=&]{0,24}") {
            let rule = rule(&["a"], None, true);
            let mut kept: Vec<&str> =
                query.split('&').filter(|piece| !piece.is_empty() && name_of(piece) != "a").collect();
            let normal = rule.normalise(&query);
            let mut found: Vec<&str> = normal.split('&').filter(|piece| !piece.is_empty()).collect();
            kept.sort_unstable();
            found.sort_unstable();
            prop_assert_eq!(found, kept);
        }

        #[test]
        fn the_order_of_different_names_does_not_matter(values in proptest::collection::vec(0..9u8, 1..6)) {
            let rule = rule(&[], None, true);
            let pieces: Vec<String> =
                values.iter().enumerate().map(|(at, value)| format!("n{at}={value}")).collect();
            let mut reversed = pieces.clone();
            reversed.reverse();
            prop_assert_eq!(
                rule.normalise(&pieces.join("&")).into_owned(),
                rule.normalise(&reversed.join("&")).into_owned()
            );
        }
    }
}
