//! Expressions that say no more than an indexed selector does: those need not be evaluated at all.

use super::{Node, Pattern, TextField};
use crate::store::tags::TagDigest;

/// A selector that holds for exactly the responses for which an expression holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lowered {
    Everything,
    Host(Box<str>),
    Prefix {
        host: Option<Box<str>>,
        path: Box<[u8]>,
    },
    /// One path and query exactly, on one host or on all.
    Url {
        host: Option<Box<str>>,
        url: Box<[u8]>,
    },
    /// One path exactly, with whatever query.
    Path {
        host: Option<Box<str>>,
        path: Box<[u8]>,
    },
    Tag(TagDigest),
}

pub(super) fn lower(root: &Node) -> Option<Lowered> {
    let mut host: Option<Box<str>> = None;
    let mut prefix: Option<Box<[u8]>> = None;
    let (mut tag, mut url, mut exact_path) = (None, None, None);
    for node in conjunction(root) {
        let Node::Text { field, is: true, pattern } = node else { return None };
        match (field, shape(field, pattern)) {
            (_, Shape::Always) => {}
            (TextField::Host, Shape::Exactly(text)) if host.is_none() => host = Some(text.into()),
            (TextField::Path | TextField::Url, Shape::Begins(text)) if prefix.is_none() => {
                prefix = Some(text.into_bytes().into());
            }
            (TextField::Url, Shape::Exactly(text)) if url.is_none() => url = Some(text.into_bytes().into()),
            (TextField::Path, Shape::Exactly(text)) if exact_path.is_none() => {
                exact_path = Some(text.into_bytes().into());
            }
            (TextField::Tag, Shape::Exactly(text)) if tag.is_none() => {
                tag = Some(TagDigest::of(text.as_bytes()))
            }
            _ => return None,
        }
    }
    match (host, prefix, url, exact_path, tag) {
        (None, None, None, None, None) => Some(Lowered::Everything),
        (Some(host), None, None, None, None) => Some(Lowered::Host(host)),
        (host, Some(path), None, None, None) => Some(Lowered::Prefix { host, path }),
        (host, None, Some(url), None, None) => Some(Lowered::Url { host, url }),
        (host, None, None, Some(path), None) => Some(Lowered::Path { host, path }),
        (None, None, None, None, Some(tag)) => Some(Lowered::Tag(tag)),
        _ => None,
    }
}

/// The host without which the expression cannot hold.
pub(super) fn required_host(root: &Node) -> Option<Box<str>> {
    conjunction(root).iter().find_map(|node| match node {
        Node::Text { field: TextField::Host, is: true, pattern } => match shape(&TextField::Host, pattern) {
            Shape::Exactly(host) => Some(host.into()),
            _ => None,
        },
        _ => None,
    })
}

/// Whether a pattern over the URL means a beginning of the path: it holds for all queries or none.
pub(super) fn is_of_the_path(pattern: &Pattern) -> bool {
    match shape(&TextField::Url, pattern) {
        Shape::Always => true,
        Shape::Begins(text) => !text.contains('?'),
        Shape::Exactly(_) | Shape::Other => false,
    }
}

fn conjunction(root: &Node) -> &[Node] {
    match root {
        Node::All(nodes) => nodes,
        node => std::slice::from_ref(node),
    }
}

enum Shape {
    /// Holds for every value that the field can have.
    Always,
    Exactly(String),
    Begins(String),
    Other,
}

fn shape(field: &TextField, pattern: &Pattern) -> Shape {
    match pattern {
        Pattern::Equal(text, _) => Shape::Exactly(text.to_string()),
        Pattern::Match { source, .. } => match (field, literal_shape(source)) {
            // Every target begins with a slash.
            (TextField::Path | TextField::Url, Shape::Other) if matches!(&**source, "/" | "/.*") => {
                Shape::Always
            }
            (TextField::Host | TextField::Path | TextField::Url, Shape::Always) => Shape::Always,
            // The pattern is matched without regard to case, and hosts are in lower case.
            (TextField::Host, Shape::Exactly(text)) => Shape::Exactly(text.to_ascii_lowercase()),
            // A path has no question mark, though the URL that it is the beginning of has.
            (TextField::Path, Shape::Begins(text)) if text.contains('?') => Shape::Other,
            (TextField::Path | TextField::Url, Shape::Begins(text)) => Shape::Begins(text),
            // `$` is the end of the text, and nothing else: the patterns are not of several lines.
            (TextField::Path | TextField::Url, Shape::Exactly(text)) => Shape::Exactly(text),
            _ => Shape::Other,
        },
    }
}

/// What a pattern without any real pattern in it means: `^text`, `^text.*`, `^text$`, `.*`.
fn literal_shape(source: &str) -> Shape {
    if matches!(source, "" | "^" | ".*" | "^.*" | ".*$" | "^.*$") {
        return Shape::Always;
    }
    let Some(mut rest) = source.strip_prefix('^') else { return Shape::Other };
    let mut text = String::new();
    loop {
        let mut chars = rest.chars();
        match chars.next() {
            None => return Shape::Begins(text),
            Some('.') if rest == ".*" => return Shape::Begins(text),
            Some('$') if rest == "$" => return Shape::Exactly(text),
            Some('\\') => match chars.next() {
                Some(escaped) if escaped.is_ascii_punctuation() && !matches!(escaped, '<' | '>') => {
                    text.push(escaped)
                }
                _ => return Shape::Other,
            },
            Some(plain) if plain.is_ascii_alphanumeric() || "/-_=,:;@%&~'! ".contains(plain) => {
                text.push(plain)
            }
            Some(_) => return Shape::Other,
        }
        rest = chars.as_str();
    }
}
