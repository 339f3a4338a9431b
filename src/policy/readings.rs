//! What a path may mean to an origin: every path that some server or framework would take it for.
//!
//! A route is chosen by a path's letters. Origins decode it, once or twice, take a backslash for a slash, merge
//! slashes, cut off what stands behind a semicolon or an encoded question mark, and resolve dot segments after all
//! that. By a spelling of which the two think differently, a page of a route that passes everything would be
//! stored under the rules of another one (web cache deception), so a route counts only if all readings take it.

use crate::semantics::key::without_dot_segments;

/// So many readings of one path are looked at. A path that has more was made to have them.
const MOST: usize = 64;

/// So many bytes are written to find them: the work is bounded by this, whatever a client sends.
const MOST_BYTES: usize = 64 * 1024;

/// What one look at a path tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// There is one way to read it, but for the case of its letters.
    pub(super) is_plain: bool,
    pub(super) has_capitals: bool,
}

/// Looks at a path in normal form, once over its bytes.
pub(super) fn look(path: &[u8]) -> Look {
    let (mut special, mut escapes, mut capitals, mut before) = (false, false, false, 0);
    for &byte in path {
        special |= matches!(byte, b'\\' | b';') | ((byte == b'/') & matches!(before, b'/' | b'.'));
        escapes |= byte == b'%';
        capitals |= byte.is_ascii_uppercase();
        before = byte;
    }
    let is_plain = !special && before != b'.' && (!escapes || has_plain_escapes(path));
    Look { is_plain, has_capitals: capitals }
}

/// Whether all that is encoded is beyond ASCII, and of UTF-8 that could not be meant for ASCII either.
fn has_plain_escapes(path: &[u8]) -> bool {
    memchr::memchr_iter(b'%', path).all(|at| match path[at + 1..] {
        [b'8' | b'9' | b'A' | b'B' | b'D', low, ..] => low.is_ascii_hexdigit(),
        [b'C', low, ..] => low.is_ascii_hexdigit() && !matches!(low, b'0' | b'1'),
        [b'E', low, ..] => low.is_ascii_hexdigit() && !matches!(low, b'0' | b'F'),
        [b'F', low, ..] => low.is_ascii_hexdigit() && low != b'0',
        _ => false,
    })
}

/// All readings of a path in normal form, itself first. `None` where there are too many.
pub(super) fn readings(path: &str) -> Option<Vec<String>> {
    let mut found = vec![path.to_owned()];
    let (mut at, mut written) = (0, 0);
    while at < found.len() {
        for step in STEPS {
            let Some(other) = step(found[at].as_bytes()) else { continue };
            written += other.len();
            if written > MOST_BYTES {
                return None;
            }
            // Nothing but ASCII is written for what was ASCII.
            let Ok(other) = String::from_utf8(other) else { continue };
            if !found.contains(&other) {
                if found.len() == MOST {
                    return None;
                }
                found.push(other);
            }
        }
        at += 1;
    }
    Some(found)
}

type Step = fn(&[u8]) -> Option<Vec<u8>>;

/// What origins do to a path, one at a time; `None` where it changes nothing. Each order of them is some origin's.
const STEPS: [Step; 11] = [
    decoded,
    decoded_but_slashes,
    with_slashes_only,
    with_single_slashes,
    without_parameters,
    cut_at_parameters,
    cut_at_its_end,
    without_controls,
    trimmed,
    behind_a_host,
    resolved,
];

/// Percent-decoded once, as far as it comes to ASCII.
fn decoded(path: &[u8]) -> Option<Vec<u8>> {
    decode(path, |_| true)
}

/// The same by those who leave an encoded slash alone.
fn decoded_but_slashes(path: &[u8]) -> Option<Vec<u8>> {
    decode(path, |byte| byte != b'/')
}

fn decode(path: &[u8], wanted: impl Fn(u8) -> bool) -> Option<Vec<u8>> {
    let mut other = Vec::new();
    let mut copied = 0;
    let mut at = memchr::memchr(b'%', path)?;
    loop {
        let length = match escaped(&path[at..]) {
            Some((byte, length)) if wanted(byte) => {
                other.extend_from_slice(&path[copied..at]);
                other.push(byte);
                copied = at + length;
                length
            }
            _ => 1,
        };
        match memchr::memchr(b'%', &path[at + length..]) {
            Some(next) => at += length + next,
            None => break,
        }
    }
    if copied == 0 {
        return None;
    }
    other.extend_from_slice(&path[copied..]);
    Some(other)
}

/// The ASCII character that `text` begins with an encoding of, and how long that is: of one byte, of several that
/// are UTF-8 for it though longer than need be, of its full-width form, or in the form `%u002F`.
fn escaped(text: &[u8]) -> Option<(u8, usize)> {
    let ascii = |code: u32| match code {
        0..=0x7F => Some(code as u8),
        // U+FF01 to U+FF5E, which some bring to what they look like.
        0xFF01..=0xFF5E => Some((code - 0xFF01) as u8 + b'!'),
        _ => None,
    };
    if let [b'%', b'u' | b'U', digits @ ..] = text {
        let digits = digits.first_chunk::<4>()?;
        let code = digits.iter().try_fold(0, |code, digit| Some(code * 16 + hex(*digit)?))?;
        return Some((ascii(code)?, 6));
    }
    let byte = |at: usize| match text.get(at..at + 3)? {
        [b'%', high, low] => Some(hex(*high)? * 16 + hex(*low)?),
        _ => None,
    };
    let more = |at: usize| byte(at).filter(|byte| byte & 0xC0 == 0x80).map(|byte| byte & 0x3F);
    let first = byte(0)?;
    let (code, length) = match first {
        0..=0x7F => (first, 3),
        0xC0 | 0xC1 => ((first & 0x1F) << 6 | more(3)?, 6),
        0xE0 | 0xEF => ((first & 0x0F) << 12 | more(3)? << 6 | more(6)?, 9),
        0xF0 => (more(3)? << 12 | more(6)? << 6 | more(9)?, 12),
        _ => return None,
    };
    Some((ascii(code)?, length))
}

fn hex(digit: u8) -> Option<u32> {
    char::from(digit).to_digit(16)
}

/// Backslashes are slashes.
fn with_slashes_only(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'\\', path)?;
    Some(path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect())
}

/// Slashes behind each other are one.
fn with_single_slashes(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memmem::find(path, b"//")?;
    let mut other = path.to_vec();
    other.dedup_by(|next, before| (*next, *before) == (b'/', b'/'));
    Some(other)
}

/// RFC 3986 §3.3: parameters of a segment, as Java's servers cut them off.
fn without_parameters(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b';', path)?;
    each_segment(path, |segment| &segment[..memchr::memchr(b';', segment).unwrap_or(segment.len())])
}

/// Parameters of the last segment that are taken for all that follows.
fn cut_at_parameters(path: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b';', path).map(|at| path[..at].to_vec())
}

/// A decoded query or fragment, and what ends a text in C or a line of a head.
fn cut_at_its_end(path: &[u8]) -> Option<Vec<u8>> {
    let is_end = |byte: &u8| matches!(byte, b'?' | b'#' | 0 | b'\r' | b'\n');
    path.iter().position(is_end).map(|at| path[..at].to_vec())
}

/// Control characters are left out.
fn without_controls(path: &[u8]) -> Option<Vec<u8>> {
    path.iter()
        .any(u8::is_ascii_control)
        .then(|| path.iter().copied().filter(|byte| !byte.is_ascii_control()).collect())
}

/// Without blanks around segments and dots behind them, as Windows opens files.
fn trimmed(path: &[u8]) -> Option<Vec<u8>> {
    let other = each_segment(path, |segment| {
        let segment = segment.trim_ascii();
        let end = segment.iter().rposition(|byte| !matches!(byte, b'.' | b' ')).map(|last| last + 1);
        &segment[..end.unwrap_or(segment.len())]
    })?;
    (other != path).then_some(other)
}

/// What follows two slashes at the beginning is taken for a host (RFC 3986 §4.2) by who resolves it as a reference.
fn behind_a_host(path: &[u8]) -> Option<Vec<u8>> {
    let rest = path.strip_prefix(b"//")?;
    Some(memchr::memchr(b'/', rest).map_or_else(|| b"/".to_vec(), |at| rest[at..].to_vec()))
}

fn resolved(path: &[u8]) -> Option<Vec<u8>> {
    let other = without_dot_segments(path);
    (other != path).then_some(other)
}

fn each_segment(path: &[u8], change: impl Fn(&[u8]) -> &[u8]) -> Option<Vec<u8>> {
    let mut other = Vec::with_capacity(path.len());
    for segment in path.strip_prefix(b"/")?.split(|byte| *byte == b'/') {
        other.push(b'/');
        other.extend_from_slice(change(segment));
    }
    Some(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_every_origin_reads_alike_is_plain() {
        for path in
            ["/", "/a/b.css", "/.well-known/x", "/a..b", "/caf%C3%A9", "/%E4%B8%AD", "/~al/", "/a/", "/A/b"]
        {
            assert!(look(path.as_bytes()).is_plain, "{path}");
            assert_eq!(readings(path), Some(vec![path.to_owned()]), "{path}");
        }
        assert!(look(b"/A").has_capitals && !look(b"/a").has_capitals);
    }

    #[test]
    fn an_origin_may_read_it_so() {
        for (path, reading) in [
            ("/static/..%2Faccount", "/account"),
            ("/static/..%2Faccount", "/static/../account"),
            ("/static/..%5Caccount", "/account"),
            ("/static/..\\account", "/account"),
            ("/static/%252E%252E%252Faccount", "/account"),
            ("/static/..;/account", "/account"),
            ("/static/..;a=b/account", "/account"),
            ("/static/.%00./account", "/account"),
            ("/static/..%00/account", "/account"),
            ("/static/..%20/account", "/account"),
            ("/static/%C0%AE%C0%AE%C0%AFaccount", "/account"),
            ("/static/%E0%80%AE%E0%80%AE/account", "/account"),
            ("/static/%F0%80%80%AE./account", "/account"),
            ("/static/..%EF%BC%8Faccount", "/account"),
            ("/static/%u002e%u002e/account", "/account"),
            ("/static/..%uFF0Faccount", "/account"),
            ("/account%3Fx.css", "/account"),
            ("/account%23x.css", "/account"),
            ("/account%00x.css", "/account"),
            ("/account%0Ax.css", "/account"),
            ("/account;x.css", "/account"),
            ("/account%3Bx.css", "/account"),
            ("/account;/x.css", "/account"),
            ("//account", "/account"),
            ("/%2Faccount", "/account"),
            ("/\\account", "/account"),
            ("//host/account", "/account"),
            ("/account.", "/account"),
            ("/account%20", "/account"),
            ("/acc%09ount", "/account"),
            ("/%zz/..%2Faccount", "/account"),
            ("/%40account%2Fx", "/@account%2Fx"),
        ] {
            assert!(!look(path.as_bytes()).is_plain, "{path}");
            let all = readings(path).unwrap();
            assert!(all.iter().any(|other| other == reading), "{path}: {all:?}");
        }
    }

    #[test]
    fn the_work_for_a_path_is_bounded() {
        assert_eq!(readings(&format!("/%{}2F", "25".repeat(100))), None);
        assert!(readings(&format!("/fetch/https%3A%2F%2Fa.example%2F{}", "b".repeat(1_000))).is_some());
    }
}
