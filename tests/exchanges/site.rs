//! The origin: each body tells from each of its bytes what it is, and everything that was sent is written down.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::chance::mixed;
use crate::common::{Asked, Next, Origin, Wire};
use crate::plan::{Ask, Confirms, Failure, Framing, Says, Since, Tag, Tags, Who};

/// What a body is of. Two answers with equal content have equal bodies, and equal tags where they have tags.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Content {
    pub url: String,
    pub version: u64,
    pub status: u16,
    pub method: String,
    pub who: String,
    pub x_sel: String,
    pub language: String,
    pub length: usize,
}

impl Content {
    fn number(&self) -> u64 {
        format!("{self:?}").bytes().fold(7, |sum, byte| mixed(sum ^ u64::from(byte)))
    }

    pub fn body(&self) -> Vec<u8> {
        let seed = self.number();
        let eight = |at: u64| mixed(seed ^ mixed(at)).to_le_bytes().map(|byte| b'a' + byte % 26);
        let mut body: Vec<u8> = (0..self.length.div_ceil(8) as u64).flat_map(eight).collect();
        body.truncate(self.length);
        body
    }

    /// The opaque part of its tag, which a strong and a weak one share.
    pub fn opaque(&self) -> String {
        format!("\"{:016x}\"", self.number())
    }

    /// The time of last modification: as unlike another's as a tag.
    pub fn modified(&self) -> String {
        let ago = 900_000 + self.number() % 900_000;
        let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000 - ago);
        httpdate::fmt_http_date(then)
    }
}

/// One answer of the origin's.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Which of our requests it answers, by the field that carries its number.
    pub ask: usize,
    pub url: String,
    pub method: String,
    pub asked: Vec<(String, String)>,
    pub arrived: Instant,
    /// What would be, or was, its body.
    pub content: Content,
    pub status: u16,
    pub says: Says,
    /// The step within which it was sent has ended by then.
    pub known_by: Option<Instant>,
}

impl Sent {
    pub fn asked_for(&self, name: &str) -> Option<&str> {
        self.asked.iter().find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The origin failed, as RFC 5861 §4 has it.
    pub fn is_failure(&self) -> bool {
        self.says.failure.is_some() || matches!(self.status, 500 | 502 | 503 | 504)
    }
}

#[derive(Clone, Copy, Debug)]
struct Page {
    version: u64,
    says: Says,
}

#[derive(Default)]
struct State {
    pages: HashMap<String, Page>,
    sent: Vec<Sent>,
    is_slow: bool,
}

/// The origin of one sequence after another; each has URLs of its own.
pub struct Site {
    state: Arc<Mutex<State>>,
    pub origin: Origin,
}

impl Site {
    pub fn start() -> Site {
        let state = Arc::new(Mutex::new(State::default()));
        let own = state.clone();
        let origin = Origin::scripted(move |asked, wire| answer(&own, asked, wire));
        Site { state, origin }
    }

    pub fn say(&self, url: &str, says: Says) {
        let mut state = self.state.lock().unwrap();
        let version = state.pages.get(url).map_or(1, |page| page.version);
        state.pages.insert(url.to_owned(), Page { version, says });
    }

    pub fn change(&self, url: &str) {
        self.state.lock().unwrap().pages.get_mut(url).unwrap().version += 1;
    }

    /// Several ask at once: answers take a while, so that requests meet.
    pub fn be_slow(&self, is_slow: bool) {
        self.state.lock().unwrap().is_slow = is_slow;
    }

    /// Everything sent for these URLs so far; what is new is known by now.
    pub fn sent(&self, urls: &[String]) -> Vec<Sent> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap();
        state.sent.iter_mut().for_each(|sent| _ = sent.known_by.get_or_insert(now));
        state.sent.iter().filter(|sent| urls.contains(&sent.url)).cloned().collect()
    }

    pub fn forget(&self) {
        let mut state = self.state.lock().unwrap();
        state.sent.clear();
        state.pages.clear();
    }

    /// The fields with which `ask` is sent.
    pub fn fields_of(&self, ask: &Ask, url: &str, number: usize) -> Vec<(&'static str, String)> {
        let page = self.state.lock().unwrap().pages[url];
        let mut fields = vec![("X-Ask", number.to_string())];
        match ask.who {
            Who::Nobody => {}
            Who::Cookie(name) => fields.push(("Cookie", format!("who={name}"))),
            Who::Authorized(name) => fields.push(("Authorization", format!("Bearer {name}"))),
        }
        fields.extend(ask.x_sel.map(|value| ("X-Sel", value.to_owned())));
        fields.extend(ask.language.map(|value| ("Accept-Language", value.to_owned())));
        fields.extend(ask.range.map(|value| ("Range", value.to_owned())));
        fields.extend(ask.control.map(|value| ("Cache-Control", value.to_owned())));
        let get = |who, version| content(url, version, page.says, "GET", who, ask.x_sel, ask.language);
        let current = get(name_of(ask.who), page.version);
        let tag = |tags| match tags {
            Tags::Current => current.opaque(),
            Tags::CurrentWeakly => format!("W/{}", current.opaque()),
            Tags::Old => get(name_of(ask.who), page.version - 1).opaque(),
            Tags::Others => get("cookie who=eve".into(), page.version).opaque(),
            Tags::Several => format!("\"x\", W/\"y,\", {}", current.opaque()),
            Tags::Any => "*".to_owned(),
            Tags::Nonsense => "x".to_owned(),
        };
        fields.extend(ask.none_match.map(|tags| ("If-None-Match", tag(tags))));
        fields.extend(ask.if_range.map(|tags| ("If-Range", tag(tags))));
        fields.extend(ask.modified_since.map(|since| {
            let date = match since {
                Since::Current => current.modified(),
                Since::LongAgo => "Sun, 06 Nov 1994 08:49:37 GMT".to_owned(),
                Since::InTheFuture => "Fri, 01 Jan 2088 00:00:00 GMT".to_owned(),
                Since::Nonsense => "yesterday".to_owned(),
            };
            ("If-Modified-Since", date)
        }));
        fields
    }
}

pub fn name_of(who: Who) -> String {
    match who {
        Who::Nobody => String::new(),
        Who::Cookie(name) => format!("cookie who={name}"),
        Who::Authorized(name) => format!("auth Bearer {name}"),
    }
}

fn content(
    url: &str,
    version: u64,
    says: Says,
    method: &str,
    who: String,
    x_sel: Option<&str>,
    language: Option<&str>,
) -> Content {
    Content {
        url: url.to_owned(),
        version,
        status: says.status,
        // The answer to a POST is another thing than the page.
        method: if method == "HEAD" { "GET".to_owned() } else { method.to_owned() },
        who,
        x_sel: x_sel.unwrap_or_default().to_owned(),
        language: language.unwrap_or_default().to_owned(),
        length: if says.status == 204 { 0 } else { says.length },
    }
}

fn answer(state: &Mutex<State>, asked: &Asked, wire: &mut Wire) -> Next {
    let arrived = Instant::now();
    let (page, is_slow) = {
        let state = state.lock().unwrap();
        // Of a sequence that is over.
        let Some(page) = state.pages.get(&asked.target).copied() else { return wire.answer("", "late") };
        (page, state.is_slow)
    };
    if is_slow {
        std::thread::sleep(Duration::from_millis(3));
    }
    let says = page.says;
    let who = match (asked.field("Cookie"), asked.field("Authorization")) {
        (Some(cookie), _) => format!("cookie {cookie}"),
        (_, Some(authorization)) => format!("auth {authorization}"),
        _ => String::new(),
    };
    let content = content(
        &asked.target,
        page.version,
        says,
        &asked.method,
        who,
        asked.field("X-Sel"),
        asked.field("Accept-Language"),
    );
    let tag = match says.tag {
        Tag::None => None,
        Tag::Strong => Some(content.opaque()),
        Tag::Weak => Some(format!("W/{}", content.opaque())),
    };
    let is_safe = matches!(asked.method.as_str(), "GET" | "HEAD");
    let holds = says.confirms != Confirms::Never
        && is_safe
        && says.status == 200
        && is_unchanged(asked, &content, says);
    let body = content.body();
    let range =
        (says.serves_ranges && asked.method == "GET" && says.status == 200 && may_cut(asked, &content, says))
            .then(|| one_range(asked.field("Range")?, body.len()))
            .flatten();
    let status = if holds {
        304
    } else if range.is_some() {
        206
    } else {
        says.status
    };
    let number = asked.field("X-Ask").and_then(|number| number.parse().ok()).unwrap_or_default();
    let fields = fields(says, status, number, tag.as_deref(), &content, range, body.len());
    let sent = Sent {
        ask: number,
        url: asked.target.clone(),
        method: asked.method.clone(),
        asked: asked.fields.clone(),
        arrived,
        content,
        status,
        says,
        known_by: None,
    };
    // Written down before it is sent: who has it can look it up.
    state.lock().unwrap().sent.push(sent);
    let slice = range.map_or(&body[..], |(first, last)| &body[first..=last]);
    send(says, status, &asked.method, &fields, slice, wire)
}

fn is_unchanged(asked: &Asked, content: &Content, says: Says) -> bool {
    if let Some(tags) = asked.field("If-None-Match") {
        return says.tag != Tag::None && (tags == "*" || tags.contains(&content.opaque()));
    }
    says.has_last_modified && asked.field("If-Modified-Since") == Some(&content.modified())
}

fn may_cut(asked: &Asked, content: &Content, says: Says) -> bool {
    asked.field("If-Range").is_none_or(|tag| says.tag == Tag::Strong && tag == content.opaque())
}

fn one_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last_byte = length.checked_sub(1)?;
    match (first.parse::<usize>(), last.parse::<usize>()) {
        (Ok(first), _) if first > last_byte => None,
        (Ok(first), Ok(last)) => Some((first, last.min(last_byte))),
        (Ok(first), Err(_)) if last.is_empty() => Some((first, last_byte)),
        (Err(_), Ok(suffix)) if first.is_empty() && suffix > 0 => {
            Some((length.saturating_sub(suffix), last_byte))
        }
        _ => None,
    }
}

fn fields(
    says: Says,
    status: u16,
    ask: usize,
    tag: Option<&str>,
    content: &Content,
    range: Option<(usize, usize)>,
    length: usize,
) -> String {
    let from_now = |secs: i64| {
        let span = Duration::from_secs(secs.unsigned_abs());
        let now = SystemTime::now();
        httpdate::fmt_http_date(if secs < 0 { now - span } else { now + span })
    };
    let mut fields = String::new();
    let mut add = |name: &str, value: &str| fields.push_str(&format!("{name}: {value}\r\n"));
    let validates = status != 304 || says.confirms == Confirms::WithValidators;
    if !says.control.is_empty() {
        add("Cache-Control", says.control);
    }
    says.expires.inspect(|secs| add("Expires", &from_now(*secs)));
    says.age.inspect(|secs| add("Age", &secs.to_string()));
    says.date.inspect(|secs| add("Date", &from_now(*secs)));
    if !says.vary.is_empty() {
        add("Vary", says.vary);
    }
    if validates {
        tag.inspect(|tag| add("ETag", tag));
    }
    if says.has_last_modified && validates {
        add("Last-Modified", &content.modified());
    }
    if says.sets_cookie {
        add("Set-Cookie", &format!("own={ask}"));
    }
    if says.control.contains("x-mine") {
        add("X-Mine", &ask.to_string());
    }
    if status == 301 {
        add("Location", "/elsewhere");
    }
    if let Some((first, last)) = range {
        add("Content-Range", &format!("bytes {first}-{last}/{length}"));
    }
    fields
}

fn send(says: Says, status: u16, method: &str, fields: &str, body: &[u8], wire: &mut Wire) -> Next {
    match says.failure {
        Some(Failure::Reset) => return Next::Reset,
        Some(Failure::Garbage) => {
            let _ = wire.send("this is no HTTP\r\n\r\n");
            return Next::Close;
        }
        _ => {}
    }
    let head = format!("HTTP/1.1 {status} Some\r\n{fields}");
    let has_body = method != "HEAD" && !matches!(status, 204 | 304);
    let cut_off = says.failure == Some(Failure::CutOff) && has_body;
    let sent = if cut_off { &body[..body.len() / 2] } else { body };
    let (framing, framed, next) = match says.framing {
        _ if matches!(status, 204 | 304) => (String::new(), Vec::new(), Next::Keep),
        Framing::Length => (format!("Content-Length: {}\r\n", body.len()), sent.to_vec(), Next::Keep),
        Framing::Chunked => {
            ("Transfer-Encoding: chunked\r\n".to_owned(), chunked(sent, !cut_off), Next::Keep)
        }
        // Cut off, it would be whole: so it is announced.
        Framing::Close if cut_off => {
            (format!("Content-Length: {}\r\n", body.len()), sent.to_vec(), Next::Close)
        }
        Framing::Close => ("Connection: close\r\n".to_owned(), sent.to_vec(), Next::Close),
    };
    let framed = if has_body { framed } else { Vec::new() };
    match wire.send([format!("{head}{framing}\r\n").as_bytes(), &framed].concat()) {
        Ok(()) if !cut_off => next,
        _ => Next::Close,
    }
}

fn chunked(body: &[u8], ends: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in body.chunks(7_000) {
        out.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        out.extend_from_slice(chunk);
        out.extend_from_slice(b"\r\n");
    }
    if ends {
        out.extend_from_slice(b"0\r\n\r\n");
    }
    out
}
