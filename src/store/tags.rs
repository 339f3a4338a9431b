//! The tags that an origin gives its responses: read from their fields, kept as digests.

use std::hash::Hasher;

use siphasher::sip::SipHasher13;

/// Sixty-four bits that stand for a tag.
///
/// The hash has no secret, so a tag has the same digest on every node and after every start. Somebody who
/// searches long enough can find two tags with one digest; what that buys is that purging the one also
/// purges the other. It never keeps anything from being purged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagDigest(u64);

impl TagDigest {
    /// Stands for every tag: a response that has more tags than are kept falls with any of them.
    pub const ANY: TagDigest = TagDigest(0);

    /// The digest of a tag as operators name it.
    pub fn of(tag: &[u8]) -> Self {
        TagDigest(digest_of(&[b"tag", tag]).max(1))
    }

    /// The digest of a cache group of one origin (RFC 9875 §2.1): `origin` as in `https://example.com`.
    pub fn of_group(origin: &str, group: &str) -> Self {
        TagDigest(digest_of(&[b"group", origin.as_bytes(), group.as_bytes()]).max(1))
    }

    /// Stands for every cache group of one origin: each response that is in any has it.
    pub fn of_any_group(origin: &str) -> Self {
        TagDigest(digest_of(&[b"any group", origin.as_bytes()]).max(1))
    }

    /// The bits.
    pub const fn get(self) -> u64 {
        self.0
    }
}

/// A digest of a list of byte strings; each is followed by its length, so no two lists run together.
pub(in crate::store) fn digest_of(parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new();
    for part in parts {
        hasher.write(part);
        hasher.write_u64(part.len() as u64);
    }
    hasher.finish()
}

/// How the tags in a field's value are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Separator {
    /// Spaces, as in `Surrogate-Key`.
    Space,
    /// Commas, as in `Cache-Tag`; space around a tag does not belong to it, space within does.
    Comma,
    /// Spaces and commas, as in `xkey` (varnish-modules since 0.18).
    SpaceOrComma,
    /// A List of Strings (RFC 9651 §3.1), as in `Cache-Groups` (RFC 9875 §2). A value that is not one is
    /// ignored as a whole.
    StructuredList,
}

/// A response field that carries tags.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TagField {
    /// The field's name in lower case.
    pub name: Box<str>,
    pub separator: Separator,
}

/// RFC 9875's field. Groups count whether or not the field is in the settings: there it is for operators,
/// who may then purge a group by its name as a tag.
const CACHE_GROUPS: &str = "cache-groups";

/// Which response fields carry tags, and how many are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagSettings {
    pub fields: Vec<TagField>,
    /// How many different tags are kept for one response. Of a response with more, it is only remembered
    /// that there are more: it falls with any tag that is purged. Eight bytes each.
    pub most: usize,
    /// Whether these fields are taken out of what clients get; see [`strips`](TagSettings::strips).
    pub strip: bool,
}

impl Default for TagSettings {
    fn default() -> Self {
        let field = |name: &str, separator| TagField { name: name.into(), separator };
        TagSettings {
            fields: vec![
                field("surrogate-key", Separator::Space),
                field("xkey", Separator::SpaceOrComma),
                field("cache-tag", Separator::Comma),
                field("cache-tags", Separator::Comma),
                field("x-cache-tags", Separator::Comma),
                field("x-magento-tags", Separator::Comma),
                field("edge-cache-tag", Separator::Comma),
                field(CACHE_GROUPS, Separator::StructuredList),
            ],
            most: 1_000,
            strip: true,
        }
    }
}

impl TagSettings {
    /// The setting for a field of this name, in any case.
    pub fn field(&self, name: &[u8]) -> Option<&TagField> {
        self.fields.iter().find(|field| name.eq_ignore_ascii_case(field.name.as_bytes()))
    }

    /// Whether a field of this name, in lower case, has to do with tags or groups.
    pub fn concerns(&self, name: &[u8]) -> bool {
        name == CACHE_GROUPS.as_bytes() || self.field(name).is_some()
    }

    /// Whether a field of this name is taken out of what clients get. It stays in the store all the same:
    /// expressions may ask for it. `Cache-Groups` is meant for every cache on the way, and stays.
    pub fn strips(&self, name: &[u8]) -> bool {
        self.strip && self.field(name).is_some_and(|field| &*field.name != CACHE_GROUPS)
    }

    /// The digests of a response's tags, sorted, each once. Its cache groups belong to the origin of `host`.
    pub fn extract<'a>(
        &self,
        host: &str,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
    ) -> Box<[TagDigest]> {
        let mut digests = Vec::new();
        for (name, value) in fields {
            if let Some(field) = self.field(name) {
                field.separator.any(value, &mut |tag| {
                    digests.push(TagDigest::of(tag));
                    false
                });
            }
            if name.eq_ignore_ascii_case(CACHE_GROUPS.as_bytes()) {
                let origin = format!("http://{host}");
                let groups = list_of_strings(value);
                digests.extend(groups.iter().map(|group| TagDigest::of_group(&origin, group)));
                if !groups.is_empty() {
                    digests.push(TagDigest::of_any_group(&origin));
                }
            }
        }
        digests.sort_unstable();
        digests.dedup();
        if digests.len() > self.most {
            return Box::new([TagDigest::ANY]);
        }
        digests.into_boxed_slice()
    }

    /// Whether `test` holds for the text of any tag in these fields.
    pub fn any_name<'a>(
        &self,
        fields: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
        test: &mut dyn FnMut(&[u8]) -> bool,
    ) -> bool {
        fields
            .into_iter()
            .any(|(name, value)| self.field(name).is_some_and(|field| field.separator.any(value, test)))
    }
}

impl Separator {
    /// The tags in a value. For a value that clients sent, in a purge, as well as for a response field's.
    pub fn split(self, value: &[u8]) -> Vec<Box<[u8]>> {
        let mut tags = Vec::new();
        self.any(value, &mut |tag| {
            tags.push(tag.into());
            false
        });
        tags
    }

    /// Whether `test` holds for any tag in the value; stops at the first.
    fn any(self, value: &[u8], test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
        let mut tags: Box<dyn Iterator<Item = &[u8]>> = match self {
            Separator::Space => Box::new(value.split(is_space)),
            Separator::Comma => Box::new(value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)),
            Separator::SpaceOrComma => Box::new(value.split(move |byte| *byte == b',' || is_space(byte))),
            Separator::StructuredList => {
                return list_of_strings(value).iter().any(|tag| test(tag.as_bytes()));
            }
        };
        tags.any(|tag| !tag.is_empty() && test(tag))
    }
}

/// The members of a List of Strings (RFC 9651 §3.1, §3.3.3), parameters ignored (RFC 9875 §2). Empty where
/// the value is anything else.
///
/// Several field lines are one List; each is parsed by itself here, which differs only for a value that is
/// broken in one line and not in another: then the other's groups still count.
pub fn list_of_strings(value: &[u8]) -> Vec<String> {
    let Ok(list) = sfv::Parser::new(value).parse::<sfv::List>() else { return Vec::new() };
    let strings = list.into_iter().map(|member| match member {
        sfv::ListEntry::Item(sfv::Item { bare_item: sfv::BareItem::String(text), .. }) => {
            Some(text.as_str().to_owned())
        }
        _ => None,
    });
    strings.collect::<Option<Vec<_>>>().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digests(fields: &[(&str, &str)]) -> Box<[TagDigest]> {
        TagSettings::default()
            .extract("a.example", fields.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())))
    }

    fn tags(tags: &[&str]) -> Box<[TagDigest]> {
        let mut digests: Vec<_> = tags.iter().map(|tag| TagDigest::of(tag.as_bytes())).collect();
        digests.sort_unstable();
        digests.into()
    }

    #[test]
    fn each_field_has_its_own_separator() {
        assert_eq!(digests(&[("Surrogate-Key", " a b,c  d ")]), tags(&["a", "b,c", "d"]));
        assert_eq!(digests(&[("xkey", "a b,c, d")]), tags(&["a", "b", "c", "d"]));
        assert_eq!(digests(&[("cache-tag", "a b , c,,d")]), tags(&["a b", "c", "d"]));
        assert_eq!(digests(&[("X-Magento-Tags", "cat_p_1,cat_p,FPC")]), tags(&["cat_p_1", "cat_p", "FPC"]));
        assert_eq!(digests(&[("content-type", "a")]), tags(&[]));
    }

    #[test]
    fn lines_and_fields_add_up_and_each_tag_counts_once() {
        assert_eq!(
            digests(&[("xkey", "8155054"), ("xkey", "166412 8155054"), ("cache-tag", "a")]),
            tags(&["8155054", "166412", "a"])
        );
    }

    #[test]
    fn a_cache_group_belongs_to_its_origin() {
        let found = digests(&[("cache-groups", r#""scripts", "a,b";x=1"#)]);
        for group in ["scripts", "a,b"] {
            assert!(found.contains(&TagDigest::of_group("http://a.example", group)));
            assert!(!found.contains(&TagDigest::of_group("http://b.example", group)));
            assert!(found.contains(&TagDigest::of(group.as_bytes())));
        }
        assert!(found.contains(&TagDigest::of_any_group("http://a.example")));
        assert_eq!(found.len(), 5);
    }

    #[test]
    fn cache_groups_count_even_where_they_are_no_tags() {
        let settings = TagSettings { fields: Vec::new(), ..TagSettings::default() };
        let fields: [(&[u8], &[u8]); 1] = [(b"Cache-Groups", br#""a""#)];
        let mut groups = [TagDigest::of_group("http://o", "a"), TagDigest::of_any_group("http://o")];
        groups.sort_unstable();
        assert_eq!(&*settings.extract("o", fields), groups);
    }

    #[test]
    fn tags_are_kept_from_clients_but_cache_groups_are_not() {
        let settings = TagSettings::default();
        assert!(settings.strips(b"Surrogate-Key"));
        assert!(!settings.strips(b"Cache-Groups"));
        assert!(!TagSettings { strip: false, ..settings }.strips(b"Surrogate-Key"));
    }

    #[test]
    fn cache_groups_that_are_no_list_of_strings_are_ignored() {
        for value in ["scripts", r#""a", b"#, r#""a" "b""#, r#"("a" "b")"#, r#""a"#] {
            assert!(digests(&[("cache-groups", value)]).is_empty(), "{value}");
        }
    }

    #[test]
    fn more_tags_than_are_kept_stand_for_every_tag() {
        let many: Vec<String> = (0..1001).map(|number| number.to_string()).collect();
        assert_eq!(&*digests(&[("xkey", &many.join(" "))]), [TagDigest::ANY]);
        assert_eq!(digests(&[("xkey", &many[..1000].join(" "))]).len(), 1000);
    }

    #[test]
    fn tags_are_told_apart_by_case_and_kind() {
        assert_ne!(TagDigest::of(b"a"), TagDigest::of(b"A"));
        assert_ne!(TagDigest::of(b"ab"), TagDigest::of_group("a", "b"));
        assert_ne!(TagDigest::of_group("ab", "c"), TagDigest::of_group("a", "bc"));
    }

    #[test]
    fn names_are_found_by_their_text() {
        let settings = TagSettings::default();
        let fields: [(&[u8], &[u8]); 2] = [(b"content-type", b"zz"), (b"xkey", b"one two")];
        assert!(settings.any_name(fields, &mut |tag| tag == b"two"));
        assert!(!settings.any_name(fields, &mut |tag| tag == b"zz"));
    }
}
