//! What must hold for every answer, whatever a cache decides: RFC 9110 and 9111, in the words of a client and an origin
//! that compare notes. It judges by what was sent and when, never by what Larder says of itself; where it cannot know,
//! it lets the answer pass.

use std::time::{Duration, Instant};

use crate::common::{Answer, Ending};
use crate::plan::{Ask, Says, Tag, Who};
use crate::site::{Content, Sent, name_of};

/// A request with its answer.
pub struct Exchange<'a> {
    pub number: usize,
    pub ask: &'a Ask,
    pub url: &'a str,
    pub fields: &'a [(&'static str, String)],
    pub begun: Instant,
    pub answer: &'a Answer,
}

/// What took something stored away, and from when on it counts.
#[derive(Clone, Debug)]
pub struct Invalidation {
    pub url: String,
    /// What the origin was asked before this is meant.
    pub begun: Instant,
    /// It is gone, and not only stale.
    pub hard: bool,
}

/// All that is known when an answer is judged.
pub struct Notes<'a> {
    /// Everything the origin sent for this URL, up to the end of the step.
    pub sent: &'a [Sent],
    /// When the step began: what was sent since may be a part of this exchange.
    pub step_begun: Instant,
    pub invalidations: &'a [Invalidation],
}

/// What the operator's settings allow, by default.
const STALE_IF_ERROR: u64 = 3600;
const SOFT_PURGE_WINDOW: u64 = 10;
/// One second of rounding, on each side.
const ROUNDING: u64 = 1;

impl Exchange<'_> {
    fn asked_for(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(field, _)| *field == name).map(|(_, value)| value.as_str())
    }
}

/// The first thing that is wrong.
pub fn judge(exchange: &Exchange<'_>, notes: &Notes<'_>) -> Result<(), String> {
    let Exchange { ask, answer, .. } = exchange;
    let own: Vec<&Sent> = notes.sent.iter().filter(|sent| sent.ask == exchange.number).collect();
    let in_step: Vec<&Sent> = notes.sent.iter().filter(|sent| sent.arrived >= notes.step_begun).collect();
    let failed = in_step.iter().any(|sent| sent.is_failure());
    what_is_ones_own(exchange)?;
    what_it_says_of_the_origin(exchange, notes, &own, &in_step)?;
    if ask.method == "HEAD" && !answer.body.is_empty() {
        return Err("content in the answer to a HEAD".into());
    }
    if let Ending::CutOff(kind) = answer.ending {
        return if failed {
            Ok(())
        } else {
            Err(format!("cut off ({kind}), and the origin did not break off"))
        };
    }
    if !matches!(ask.method, "GET" | "HEAD") {
        return unsafe_method(exchange, &own, failed);
    }
    match answer.status {
        304 => not_modified(exchange, notes, &in_step),
        206 => partial(exchange, notes, &in_step),
        416 => unsatisfied(exchange, notes),
        502..=504
            if own.iter().all(|sent| sent.status != answer.status) && !is_of_the_site(exchange, notes) =>
        {
            if failed {
                Ok(())
            } else {
                Err(format!("{}, and the origin did not fail", answer.status))
            }
        }
        _ => whole(exchange, notes, &in_step),
    }
}

/// RFC 9111 §7.3, §5.2.2.7: what is for one client reaches that one only.
fn what_is_ones_own(exchange: &Exchange<'_>) -> Result<(), String> {
    let number = exchange.number.to_string();
    if let Some(cookie) = exchange.answer.field("Set-Cookie")
        && cookie != format!("own={number}")
    {
        return Err(format!("somebody else's cookie: {cookie}"));
    }
    match exchange.answer.field("X-Mine") {
        Some(mine) if mine != number => Err(format!("somebody else's private field: {mine}")),
        _ => Ok(()),
    }
}

/// RFC 9211 §2.1 to §2.3.
fn what_it_says_of_the_origin(
    exchange: &Exchange<'_>,
    notes: &Notes<'_>,
    own: &[&Sent],
    in_step: &[&Sent],
) -> Result<(), String> {
    let answer = exchange.answer;
    let status = answer.cache_parameter("fwd-status").and_then(|status| status.parse::<u16>().ok());
    // A fetch that it shared may have begun in a step before this one, and still be under way.
    let is_shared = answer.cache_parameter("collapsed").is_some();
    if let Some(status) = status
        && !in_step.iter().any(|sent| sent.status == status)
        && !(is_shared && notes.sent.iter().any(|sent| sent.status == status))
    {
        return Err(format!("fwd-status={status}, which the origin did not say"));
    }
    if answer.is_hit() && !own.is_empty() && answer.cache_parameter("detail").is_none() {
        return Err("called a hit, and the origin was asked".into());
    }
    Ok(())
}

/// RFC 9111 §4: written through, and answered by the origin.
fn unsafe_method(exchange: &Exchange<'_>, own: &[&Sent], failed: bool) -> Result<(), String> {
    match own {
        [] if !failed => Err("an unsafe request did not reach the origin".into()),
        [_, _, ..] if exchange.ask.method == "POST" => Err("a POST was sent twice".into()),
        _ if failed => Ok(()),
        all => match all.iter().any(|sent| sent.content.body() == exchange.answer.body) {
            true => Ok(()),
            false => Err("another answer than the origin's to an unsafe request".into()),
        },
    }
}

/// RFC 9110 §15.4.5, §13.2.2: only to a condition that holds.
fn not_modified(exchange: &Exchange<'_>, notes: &Notes<'_>, in_step: &[&Sent]) -> Result<(), String> {
    let (none_match, since) = (exchange.asked_for("If-None-Match"), exchange.asked_for("If-Modified-Since"));
    if none_match.is_none() && since.is_none() {
        return Err("304 without a condition".into());
    }
    let own = in_step.iter().any(|sent| sent.ask == exchange.number && sent.status == 304);
    let tag = exchange.answer.field("ETag");
    if let (Some(listed), Some(tag)) = (none_match, tag)
        && listed != "*"
        && !listed.contains(tag.trim_start_matches("W/"))
    {
        return Err(format!("304 with {tag} to If-None-Match: {listed}"));
    }
    match tag {
        Some(tag) => tagged(exchange, notes, in_step, tag),
        None if own => Ok(()),
        // Without a tag it may be of anything that has a date: the date must not be later.
        None if none_match.is_some_and(|listed| listed != "*") => {
            Err("304 without a tag to If-None-Match".into())
        }
        None => Ok(()),
    }
}

/// RFC 9110 §14, §15.3.7, RFC 9111 §3.3.
fn partial(exchange: &Exchange<'_>, notes: &Notes<'_>, in_step: &[&Sent]) -> Result<(), String> {
    let answer = exchange.answer;
    if exchange.ask.method == "HEAD" {
        return Err("206 to a HEAD".into());
    }
    let Some(range) = exchange.asked_for("Range") else { return Err("206 without a Range".into()) };
    if !range.starts_with("bytes=") {
        return Err(format!("206 to Range: {range}"));
    }
    let parts = match answer.field("Content-Range") {
        Some(line) => vec![(line.to_owned(), answer.body.clone())],
        None => parts_of(answer).ok_or("a multipart body that cannot be read")?,
    };
    let mut why = Vec::new();
    let mut candidates = contents(notes);
    candidates.retain(|content| parts.iter().all(|(line, body)| is_part(line, body, content)));
    if candidates.is_empty() {
        return Err("a part of nothing that the origin ever had".into());
    }
    for content in candidates {
        if let Some(listed) = exchange.asked_for("If-Range") {
            let holds = notes.sent.iter().any(|sent| {
                sent.content == content && sent.says.tag == Tag::Strong && listed == content.opaque()
            });
            if !holds {
                why.push(format!("206 to If-Range: {listed}, which is not strongly the tag of what is sent"));
                continue;
            }
        }
        match may_have(exchange, notes, in_step, &content) {
            Ok(()) => return Ok(()),
            Err(reason) => why.push(reason),
        }
    }
    Err(all(why))
}

fn unsatisfied(exchange: &Exchange<'_>, notes: &Notes<'_>) -> Result<(), String> {
    match exchange.asked_for("Range") {
        None => Err("416 without a Range".into()),

        // Of the site's empty pages only.
        Some("bytes=0-") if contents(notes).iter().any(|content| content.length == 0) => Ok(()),
        Some(range) if ["bytes=0-", "bytes=-5"].contains(&range) && exchange.ask.method == "GET" => {
            Err(format!("416 to {range}, which every content satisfies"))
        }
        Some(_) if exchange.ask.method == "HEAD" => Err("416 to a HEAD".into()),
        Some(_) => Ok(()),
    }
}

fn whole(exchange: &Exchange<'_>, notes: &Notes<'_>, in_step: &[&Sent]) -> Result<(), String> {
    let Exchange { ask, answer, number, .. } = exchange;
    let tag = answer.field("ETag");
    if let (200, Some(tag), Some(listed)) = (answer.status, tag, exchange.asked_for("If-None-Match"))
        && (listed == "*" || listed.contains(tag.trim_start_matches("W/")))
    {
        // RFC 9110 §13.2.1, unless the origin itself is one that never confirms.
        let own = in_step.iter().find(|sent| sent.ask == *number);
        let handed_through = own.is_some_and(|sent| sent.asked_for("If-None-Match").is_some());
        if !handed_through {
            return Err(format!("200 with {tag} to If-None-Match: {listed}"));
        }
    }
    if ask.method == "HEAD" {
        return tag.map_or(Ok(()), |tag| tagged(exchange, notes, in_step, tag));
    }
    let own = in_step.iter().find(|sent| sent.ask == *number && sent.status == answer.status);
    if answer.body.is_empty() && own.is_some() {
        return Ok(());
    }
    let candidates: Vec<Content> = contents(notes)
        .into_iter()
        .filter(|content| content.body() == answer.body && content.status == answer.status)
        .collect();
    if candidates.is_empty() {
        // 504 to only-if-cached and the like are pages of Larder's own.
        return match answer.field("Cache-Status") {
            Some(_) if in_step.iter().any(|sent| sent.is_failure()) => Ok(()),
            _ => Err("a body that the origin never sent".into()),
        };
    }
    let mut why = Vec::new();
    for content in candidates {
        match may_have(exchange, notes, in_step, &content) {
            Ok(()) => return Ok(()),
            Err(reason) => why.push(reason),
        }
    }
    Err(all(why))
}

/// A response without body tells by its tag what it is of.
fn tagged(exchange: &Exchange<'_>, notes: &Notes<'_>, in_step: &[&Sent], tag: &str) -> Result<(), String> {
    let mut why = Vec::new();
    for content in contents(notes).into_iter().filter(|content| tag.ends_with(&content.opaque())) {
        match may_have(exchange, notes, in_step, &content) {
            Ok(()) => return Ok(()),
            Err(reason) => why.push(reason),
        }
    }
    Err(all(why))
}

/// Why none of several ways in which it might be right is one.
fn all(mut reasons: Vec<String>) -> String {
    reasons.sort();
    reasons.dedup();
    if reasons.is_empty() { "of nothing that the origin ever had".to_owned() } else { reasons.join("; or ") }
}

fn is_of_the_site(exchange: &Exchange<'_>, notes: &Notes<'_>) -> bool {
    let is_it = |content: &Content| {
        content.status == exchange.answer.status
            && (exchange.ask.method == "HEAD" || content.body() == exchange.answer.body)
    };
    contents(notes).iter().any(is_it)
}

fn contents(notes: &Notes<'_>) -> Vec<Content> {
    let mut all: Vec<Content> = Vec::new();
    for sent in notes.sent {
        if !all.contains(&sent.content) {
            all.push(sent.content.clone());
        }
    }
    all
}

/// Whether this client may be given this content now.
fn may_have(
    exchange: &Exchange<'_>,
    notes: &Notes<'_>,
    in_step: &[&Sent],
    content: &Content,
) -> Result<(), String> {
    let mut why = Vec::new();
    for sent in notes.sent.iter().filter(|sent| sent.content == *content) {
        let verdict = match sent.ask == exchange.number {
            true => own(exchange, sent, in_step),
            false => reuse(exchange, notes, in_step, sent),
        };
        match verdict {
            Ok(()) => return Ok(()),
            Err(reason) => why.push(reason),
        }
    }
    Err(all(why))
}

/// Its own answer: only its age is to be looked at. RFC 9111 §5.1: none of Larder's making, on what was just fetched.
fn own(exchange: &Exchange<'_>, sent: &Sent, _in_step: &[&Sent]) -> Result<(), String> {
    let confirmed = sent.status == 304;
    match exchange.answer.field("Age") {
        Some(age) if sent.says.age.is_none() && !confirmed && sent.says.date == Some(0) => {
            Err(format!("Age: {age} on what was just fetched"))
        }
        _ => Ok(()),
    }
}

/// RFC 9111 §4: a stored response, or another's that has just come.
fn reuse(exchange: &Exchange<'_>, notes: &Notes<'_>, in_step: &[&Sent], sent: &Sent) -> Result<(), String> {
    let says = sent.says;
    if sent.method != "GET" && sent.status != 304 {
        return if sent.method == "HEAD" {
            Err("known from a HEAD only".into())
        } else {
            Err("the answer to another method".into())
        };
    }
    belongs_to_all(sent, exchange)?;
    selects(exchange, sent)?;
    if !has_grounds(&sent.content, &says) {
        return Err("stored without any ground for it".into());
    }
    // What confirmed it since may have given it another life.
    let mut why = Vec::new();
    for word in notes.sent.iter().filter(|other| is_word_on(other, sent)) {
        match is_usable(exchange, notes, in_step, word) {
            Ok(()) => return Ok(()),
            Err(reason) => why.push(reason),
        }
    }
    Err(all(why))
}

/// `other` is the answer itself, or one that confirmed it.
fn is_word_on(other: &Sent, sent: &Sent) -> bool {
    other.content == sent.content
        && (other.status == sent.status || other.status == 304 || other.method == "HEAD")
}

/// §3.5, §5.2.2.5, §5.2.2.7; and whatever was asked for with a cookie is shared only where the origin says so.
fn belongs_to_all(sent: &Sent, exchange: &Exchange<'_>) -> Result<(), String> {
    let says = sent.says;
    if has(says, "no-store") && !(has(says, "must-understand") && sent.content.status != 599) {
        return Err("no-store, and used for another".into());
    }
    if has(says, "private") {
        return Err("private, and used for another".into());
    }
    let shared = has(says, "public") || value(says, "s-maxage").is_some();
    let authorized = sent.asked_for("Authorization").is_some();
    if authorized && !(shared || has(says, "must-revalidate")) {
        return Err("the answer to a request with credentials, and used for another".into());
    }
    let explicit = explicit_lifetime(says).is_some_and(|secs| secs > 0);
    let cookie = sent.asked_for("Cookie");
    if cookie.is_some() && cookie != exchange.asked_for("Cookie") && !(shared || explicit) {
        return Err(
            "the answer to a request with a cookie, not explicitly shared, and used for another".into()
        );
    }
    Ok(())
}

/// §4.1.
fn selects(exchange: &Exchange<'_>, sent: &Sent) -> Result<(), String> {
    for name in sent.says.vary.split(", ").filter(|name| !name.is_empty()) {
        if name == "*" {
            return Err("Vary: *, and used for another".into());
        }
        if sent.asked_for(name) != exchange.asked_for(name) {
            return Err(format!("Vary: {name}, which differs"));
        }
    }
    Ok(())
}

/// §3, the last item.
fn has_grounds(content: &Content, says: &Says) -> bool {
    let heuristically =
        matches!(content.status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501);
    heuristically || has(*says, "public") || explicit_lifetime(*says).is_some()
}

/// Fresh by `word`, or stale and allowed so, or confirmed for this request (§4, §4.2.4, §4.3).
fn is_usable(
    exchange: &Exchange<'_>,
    notes: &Notes<'_>,
    in_step: &[&Sent],
    word: &Sent,
) -> Result<(), String> {
    let since = |at: Instant| exchange.begun.saturating_duration_since(at);
    let gone = |hard: bool| {
        notes.invalidations.iter().any(|other| {
            other.url == word.url
                && other.hard == hard
                && word.arrived < other.begun
                && other.begun <= exchange.begun
        })
    };
    let is_new = word.arrived >= notes.step_begun;
    // It came within this step: another's fetch that this request shared, or a validation.
    if is_new && !has(word.says, "no-cache") {
        return Ok(());
    }
    if is_new && (word.status == 304 || word.ask == exchange.number) {
        return Ok(());
    }
    if gone(true) {
        return Err("what an unsafe request or a purge took away".into());
    }
    let says = word.says;
    if has(says, "no-cache") {
        return Err("no-cache, and not confirmed".into());
    }
    let received = word.known_by.unwrap_or(word.arrived);
    let age = age_when_received(says) + since(received).as_secs();
    let lifetime = explicit_lifetime(says).unwrap_or_else(|| guessed_lifetime(word));
    let fresh = age <= lifetime + ROUNDING && lifetime > 0 && age_when_received(says) < lifetime.max(1);
    if fresh && !gone(false) {
        return aged(exchange, in_step, says, since(received));
    }
    let banned = ["must-revalidate", "proxy-revalidate"].iter().any(|ban| has(says, ban))
        || value(says, "s-maxage").is_some();
    if banned {
        return Err("stale against must-revalidate or its kin".into());
    }
    // Who purges softly says that what is there may be used for a moment more, if it was fresh.
    let purged = notes
        .invalidations
        .iter()
        .filter(|other| !other.hard && other.url == word.url && word.arrived < other.begun)
        .map(|other| since(other.begun).as_secs())
        .max();
    let stale_for = purged.unwrap_or(0).max(age.saturating_sub(lifetime));
    let by_purge = if purged.is_some() && fresh { SOFT_PURGE_WINDOW } else { 0 };
    let while_revalidate = value(says, "stale-while-revalidate").unwrap_or(by_purge);
    let failed = in_step.iter().any(|sent| sent.is_failure());
    let unstated = if age_when_received(says) < lifetime { STALE_IF_ERROR } else { 0 };
    let if_error = if failed { value(says, "stale-if-error").unwrap_or(unstated) } else { 0 };
    let window = while_revalidate.max(if_error);
    if window > 0 && stale_for <= window + ROUNDING {
        let shown = exchange.answer.field("Age").and_then(|age| age.parse::<u64>().ok());
        if purged.is_some()
            && explicit_lifetime(says).is_some()
            && shown.is_some_and(|shown| shown < lifetime)
        {
            return Err("softly purged, and the next cache takes it for fresh".into());
        }
        return aged(exchange, in_step, says, since(received));
    }
    Err(format!("stale: {age} s old, fresh for {lifetime} s"))
}

/// §4, §5.1: what was stored has an Age, and no smaller one than it must.
fn aged(
    exchange: &Exchange<'_>,
    in_step: &[&Sent],
    says: Says,
    for_at_least: Duration,
) -> Result<(), String> {
    if in_step.iter().any(|sent| sent.ask == exchange.number && !sent.is_failure()) {
        return Ok(());
    }
    let Some(age) = exchange.answer.field("Age") else { return Err("stored, and without an Age".into()) };
    let Ok(age) = age.parse::<u64>() else { return Err(format!("Age: {age}")) };
    let least =
        (age_when_received(says).min(2_147_483_648) + for_at_least.as_secs()).saturating_sub(ROUNDING);
    if age < least { Err(format!("Age: {age}, at least {least} s old")) } else { Ok(()) }
}

fn age_when_received(says: Says) -> u64 {
    let by_date = says.date.filter(|secs| *secs < 0).map_or(0, |secs| secs.unsigned_abs());
    says.age.unwrap_or(0).max(by_date)
}

/// §4.2.1.
fn explicit_lifetime(says: Says) -> Option<u64> {
    let by_control = value(says, "s-maxage").or(value(says, "max-age"));
    let by_expires = || says.expires.map(|secs| u64::try_from(secs - says.date.unwrap_or(0)).unwrap_or(0));
    by_control.or_else(by_expires)
}

/// §4.2.2: a tenth of the time since Last-Modified, of which there is plenty; none to speak of without it.
fn guessed_lifetime(sent: &Sent) -> u64 {
    let guessable =
        matches!(sent.content.status, 200 | 203 | 204 | 206 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
            || has(sent.says, "public");
    if sent.says.has_last_modified && guessable { 24 * 3600 } else { 0 }
}

fn has(says: Says, directive: &str) -> bool {
    says.control.split(", ").any(|member| member == directive)
}

fn value(says: Says, directive: &str) -> Option<u64> {
    says.control
        .split(", ")
        .find_map(|member| member.strip_prefix(directive)?.strip_prefix('=')?.parse().ok())
}

fn is_part(line: &str, body: &[u8], content: &Content) -> bool {
    let read = || {
        let (range, length) = line.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = range.split_once('-')?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?, length.parse::<usize>().ok()?))
    };
    let Some((first, last, length)) = read() else { return false };
    let whole = content.body();
    length == whole.len() && first <= last && whole.get(first..=last) == Some(body)
}

/// The parts of a multipart/byteranges body, each with its Content-Range.
fn parts_of(answer: &Answer) -> Option<Vec<(String, Vec<u8>)>> {
    let boundary = answer.field("Content-Type")?.split("boundary=").nth(1)?.trim_matches('"').to_owned();
    let text = String::from_utf8(answer.body.clone()).ok()?;
    let mut parts = Vec::new();
    for part in text.split(&format!("--{boundary}")).skip(1) {
        if part.starts_with("--") {
            return Some(parts);
        }
        let (head, body) = part.split_once("\r\n\r\n")?;
        let line = head.lines().find_map(|line| line.strip_prefix("Content-Range: "))?;
        parts.push((line.to_owned(), body.strip_suffix("\r\n")?.as_bytes().to_vec()));
    }
    None
}

/// What the reader of a report wants to know of a request.
pub fn described(exchange: &Exchange<'_>) -> String {
    let who = match exchange.ask.who {
        Who::Nobody => "nobody".to_owned(),
        who => name_of(who),
    };
    let Exchange { number, ask, url, fields, answer, .. } = exchange;
    let fields: Vec<String> = fields.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    format!("#{number} {} {url} ({who}) {fields:?}\n{answer}", ask.method)
}
