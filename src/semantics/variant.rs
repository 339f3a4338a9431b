//! `Vary` (RFC 9111 §4.1): which stored responses a request's fields select.

use http::{HeaderName, header};
use smallvec::SmallVec;

use crate::clock::Moment;
use crate::message::Fields;

use super::lists;
use super::negotiation::{self, Buffer};

/// The request fields that select a response: what its `Vary` names, lower-case, sorted, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Vary(Spec);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
enum Spec {
    /// There is no `Vary`, or it names nothing.
    #[default]
    Nothing,
    /// `*` is among its members: nothing matches.
    Any,
    Fields(std::sync::Arc<[HeaderName]>),
}

/// A `Vary` that is not a list of field names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidVary;

impl Vary {
    /// Reads the `Vary` lines of a response.
    pub fn read(headers: &Fields) -> Result<Vary, InvalidVary> {
        let mut names = Vec::new();
        for line in headers.get_all(header::VARY) {
            for member in lists::members(line.as_bytes()) {
                if member == b"*" {
                    return Ok(Vary(Spec::Any));
                }
                names.push(HeaderName::from_bytes(member).map_err(|_| InvalidVary)?);
            }
        }
        names.sort_unstable_by(|one, two| one.as_str().cmp(two.as_str()));
        names.dedup();
        Ok(Vary(if names.is_empty() { Spec::Nothing } else { Spec::Fields(names.into()) }))
    }

    /// Whether it has `*` as a member: it then matches no request.
    pub fn is_any(&self) -> bool {
        self.0 == Spec::Any
    }

    /// Whether it names no field: every request matches.
    pub fn is_nothing(&self) -> bool {
        self.0 == Spec::Nothing
    }

    /// The same without the fields by which a request says who sends it.
    pub fn without_credentials(&self) -> Vary {
        let names = self.names().filter(|name| ![header::COOKIE, header::AUTHORIZATION].contains(name));
        let names: Vec<HeaderName> = names.cloned().collect();
        Vary(if names.is_empty() { Spec::Nothing } else { Spec::Fields(names.into()) })
    }

    /// The fields it names.
    pub fn names(&self) -> impl Iterator<Item = &HeaderName> {
        match &self.0 {
            Spec::Fields(names) => names.iter(),
            Spec::Nothing | Spec::Any => [].iter(),
        }
    }
}

/// The values of the selecting fields in the request that a stored response answered, in normal form, with
/// the language and coding of the response itself where those are negotiated. Compact: one small block, and
/// none at all where the response does not vary.
///
/// The block has one record per field: name, NUL, mark and value, NUL, what the response is in, LF. None of
/// NUL and LF can occur in a field.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Selecting(Box<[u8]>);

/// Says that the field was present; an absent field has no mark and no value.
const PRESENT: u8 = b'=';

/// How well a stored response fits a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Match {
    /// It does not vary, so it fits every request.
    NoVary,
    /// The selecting fields differ, but the request prefers just the language or coding that it is in.
    ByPreference,
    /// All selecting fields match.
    Exact,
}

impl Selecting {
    /// Takes down the selecting fields of `request`, and what `response` is in.
    pub fn read(vary: &Vary, request: &Fields, response: &Fields) -> Selecting {
        let mut block = Buffer::new();
        for name in vary.names() {
            write_record(name.as_str(), request, &mut block);
            block.extend_from_slice(&negotiated_content(name, response));
            block.push(b'\n');
        }
        Selecting(block.as_slice().into())
    }

    /// How the response that was stored with these values fits `request`; `None` where it does not. Where
    /// `by_preference`, one whose selecting fields differ may still fit by what it is in.
    ///
    /// Does not allocate for requests of ordinary size.
    pub fn matches(&self, request: &mut NormalFields<'_>, by_preference: bool) -> Option<Match> {
        if self.0.is_empty() {
            return Some(Match::NoVary);
        }
        let mut exact = true;
        for record in self.0.split(|&b| b == b'\n').filter(|record| !record.is_empty()) {
            let content = memchr::memrchr(0, record)?;
            let (stored, content) = (&record[..=content], &record[content + 1..]);
            let name = std::str::from_utf8(&record[..memchr::memchr(0, record)?]).ok()?;
            if request.record(name) == stored {
                continue;
            }
            // The request prefers, above all else, exactly what the response is in: an origin that has this
            // variant and negotiates by weight has no other choice (RFC 9110 §12.5). Whether an origin does is
            // for the operator to say: §4.1 knows only that the fields match.
            if !by_preference || content.is_empty() || !negotiation::prefers(request.fields, name, content) {
                return None;
            }
            exact = false;
        }
        Some(if exact { Match::Exact } else { Match::ByPreference })
    }

    /// The block itself, for the store to weigh.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The selecting fields and their values, for the operator to see: `None` where the field was absent.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0.split(|&b| b == b'\n').filter_map(|record| {
            let mut parts = record.split(|&b| b == 0);
            let name = std::str::from_utf8(parts.next()?).ok().filter(|name| !name.is_empty())?;
            Some((name, parts.next()?.strip_prefix(&[PRESENT])))
        })
    }

    /// Request fields that select this response again, to validate it without a client's request at hand
    /// (RFC 9111 §4.3.1: "copying the […] request header fields identified by the Vary header field").
    pub fn to_request_fields(&self) -> Fields {
        let mut fields = Fields::new();
        for (name, value) in self.entries() {
            if let (Ok(name), Some(value)) = (HeaderName::from_bytes(name.as_bytes()), value)
                && let Ok(value) = http::HeaderValue::from_bytes(value)
            {
                fields.append(name, value);
            }
        }
        fields
    }
}

/// The selecting fields of one request, each brought to its normal form once, however many stored responses it is
/// compared with: what a request costs must not depend on what others had stored.
#[derive(Debug)]
pub struct NormalFields<'r> {
    fields: &'r Fields,
    /// The records of the names that were asked for, one behind the other, as [`Selecting`] has them.
    text: Buffer,
    /// Where each of them ends in `text`.
    ends: SmallVec<[usize; 8]>,
}

/// So many names are remembered of one request. More than the responses of one key have in common, unless an
/// origin makes a point of it.
const NAMES_MAX: usize = 64;

impl<'r> NormalFields<'r> {
    /// Of these fields.
    pub fn of(fields: &'r Fields) -> Self {
        NormalFields { fields, text: Buffer::new(), ends: SmallVec::new() }
    }

    fn record(&mut self, name: &str) -> &[u8] {
        let mut start = 0;
        for (index, &end) in self.ends.iter().enumerate() {
            let is_it = self.text[start..end].strip_prefix(name.as_bytes()).is_some_and(|rest| rest[0] == 0);
            if is_it {
                // By its place, since the borrow of what is found must not outlive the search.
                let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
                return &self.text[start..end];
            }
            start = end;
        }
        if self.ends.len() == NAMES_MAX {
            self.ends.clear();
            self.text.clear();
        }
        let start = self.text.len();
        write_record(name, self.fields, &mut self.text);
        self.ends.push(self.text.len());
        &self.text[start..]
    }
}

fn write_record(name: &str, request: &Fields, into: &mut Buffer) {
    into.extend_from_slice(name.as_bytes());
    into.push(0);
    let mark = into.len();
    into.push(PRESENT);
    if !negotiation::write_normal_form(request, name, into) {
        into.truncate(mark);
    }
    into.push(0);
}

/// What a response is in, by the field that negotiates it: its one language, or its one coding.
fn negotiated_content(name: &HeaderName, response: &Fields) -> Vec<u8> {
    let (field, default): (_, &[u8]) = match *name {
        header::ACCEPT_LANGUAGE => (header::CONTENT_LANGUAGE, b""),
        header::ACCEPT_ENCODING => (header::CONTENT_ENCODING, b"identity"),
        _ => return Vec::new(),
    };
    let mut members = response.get_all(field).flat_map(|line| lists::members(line.as_bytes()));
    match (members.next(), members.next()) {
        (None, _) => default.to_vec(),
        (Some(one), None) => one.to_ascii_lowercase(),
        (Some(_), Some(_)) => Vec::new(),
    }
}

/// A stored response that a request may select.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    pub selecting: &'a Selecting,
    /// Its `Date` ([`super::Facts::date`]).
    pub date: Moment,
    /// When it was received: decides between those of one date.
    pub response_time: Moment,
}

/// Chooses, of the stored responses of one key, the one that fits `request` best; answers its place in
/// `candidates`.
///
/// RFC 9111 §4.1: one with a matching `Vary` goes before one without `Vary`, since "some resources mistakenly
/// omit the Vary header field from their default response"; of equals, §4: "a cache MUST use the most recent
/// one (as determined by the Date header field)".
pub fn choose<'a>(
    request: &mut NormalFields<'_>,
    by_preference: bool,
    candidates: impl IntoIterator<Item = Candidate<'a>>,
) -> Option<(usize, Match)> {
    candidates
        .into_iter()
        .enumerate()
        .filter_map(|(place, candidate)| {
            let fit = candidate.selecting.matches(request, by_preference)?;
            Some((fit, candidate.date, candidate.response_time, place))
        })
        .max()
        .map(|(fit, _, _, place)| (place, fit))
}

/// Whether storing a response with `new` replaces the one stored with `old`: both select the same requests.
pub fn replaces(new: &Selecting, old: &Selecting) -> bool {
    // What they are in does not count.
    new.0 == old.0 || new.entries().eq(old.entries())
}
