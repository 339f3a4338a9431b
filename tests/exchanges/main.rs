//! Random exchanges through the real binary, judged by an oracle of musts.
//!
//! One sequence is some thirty steps on two pages: requests of every kind, one or several at once, an origin that changes
//! what it says, fails and breaks off, and purges. The site writes down everything it sends, and each body tells from
//! each of its bytes what it is of. The oracle asks of each answer whether this client may have just this, now.
//!
//! `EXCHANGES=100000` asks for so many requests in place of the default, `SEED=n` begins with another sequence; a
//! failure tells the seed of its sequence, and the steps that it takes. `tests/exchange-fuzz` runs it for hours.

#![allow(clippy::unwrap_used, clippy::expect_used)] // a test may say "this cannot fail"

#[path = "../common/mod.rs"]
mod common;

mod chance;
mod oracle;
mod plan;
mod site;

use std::collections::BTreeMap;
use std::time::Instant;

use common::*;
use oracle::{Exchange, Invalidation, Notes};
use plan::{PAGES, Step};
use site::Site;

/// So many requests, whatever the machine: about a minute on two cores that do other things as well.
const EXCHANGES: usize = 12_000;

/// After so many kinds of faults there is enough to do.
const KINDS: usize = 20;

/// Purges come from here. What the origin does wrong on purpose need not be told.
const SETTINGS: &str = "[purge]\nallow = [\"127.0.0.1\"]\n[log]\nlevel = \"error\"\n";

struct World {
    larder: Larder,
    site: Site,
    /// No two runs of a sequence have a URL in common.
    runs: usize,
    asked: usize,
}

/// What is wrong, and what had happened.
struct Broken {
    what: String,
    story: Vec<String>,
}

impl World {
    fn new() -> World {
        let site = Site::start();
        World { larder: Larder::before_with(&site.origin.url(), SETTINGS), site, runs: 0, asked: 0 }
    }

    fn run(&mut self, steps: &[Step]) -> Result<(), Broken> {
        self.runs += 1;
        self.site.forget();
        let urls: Vec<String> = (0..PAGES).map(|page| format!("/{}/{page}", self.runs)).collect();
        let (mut story, mut invalidations) = (Vec::new(), Vec::new());
        for step in steps {
            match step {
                Step::Say(page, says) => {
                    self.site.say(&urls[*page], *says);
                    story.push(format!("{} is now {says:?}", urls[*page]));
                }
                Step::Change(page) => {
                    self.site.change(&urls[*page]);
                    story.push(format!("{} changes", urls[*page]));
                }
                Step::Purge { page, soft } => {
                    let begun = Instant::now();
                    let fields: &[(&str, &str)] = if *soft { &[("Fastly-Soft-Purge", "1")] } else { &[] };
                    let answer = self.larder.request("PURGE", &urls[*page], fields, b"");
                    story.push(format!(
                        "PURGE {}{}: {}",
                        urls[*page],
                        if *soft { ", softly" } else { "" },
                        answer.status
                    ));
                    if answer.status != 200 {
                        return Err(Broken { what: format!("a purge is answered {}", answer.status), story });
                    }
                    invalidations.push(Invalidation { url: urls[*page].clone(), begun, hard: !soft });
                }
                Step::Ask(asks) => {
                    let wrong = self.ask(asks, &urls, &mut invalidations, &mut story);
                    if let Err(what) = wrong {
                        return Err(Broken { what, story });
                    }
                }
            }
        }
        Ok(())
    }

    fn ask(
        &mut self,
        asks: &[plan::Ask],
        urls: &[String],
        invalidations: &mut Vec<Invalidation>,
        story: &mut Vec<String>,
    ) -> Result<(), String> {
        let first = self.asked;
        self.asked += asks.len();
        self.site.be_slow(asks.len() > 1);
        let step_begun = Instant::now();
        let (site, larder) = (&self.site, &self.larder);
        let done: Vec<_> = std::thread::scope(|scope| {
            let asking: Vec<_> = asks
                .iter()
                .enumerate()
                .map(|(at, ask)| {
                    let url = &urls[ask.page];
                    let number = first + at + 1;
                    let fields = site.fields_of(ask, url, number);
                    let one = move || {
                        let named: Vec<(&str, &str)> =
                            fields.iter().map(|(name, value)| (*name, &value[..])).collect();
                        let content: &[u8] = if matches!(ask.method, "POST" | "PUT") { b"sent" } else { b"" };
                        let begun = Instant::now();
                        let mut connection = larder.connect();
                        connection.ask(ask.method, url, &named, content);
                        let answer = connection.answer(ask.method);
                        (number, ask, url, fields, begun, answer)
                    };
                    scope.spawn(one)
                })
                .collect();
            asking.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let sent = self.site.sent(urls);
        let is_changed = |url: &str| {
            sent.iter().any(|sent| {
                sent.url == url
                    && sent.arrived >= step_begun
                    && !matches!(&sent.method[..], "GET" | "HEAD")
                    && (200..400).contains(&sent.status)
                    && sent.says.failure.is_none()
            })
        };
        let mut wrong = None;
        for (number, ask, url, fields, begun, answer) in &done {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    wrong.get_or_insert(format!("#{number}: no answer: {error}"));
                    continue;
                }
            };
            let exchange = Exchange { number: *number, ask, url, fields, begun: *begun, answer };
            story.push(oracle::described(&exchange));
            let of_url: Vec<_> = sent.iter().filter(|sent| sent.url == **url).cloned().collect();
            let notes = Notes { sent: &of_url, step_begun, invalidations };
            if let Err(what) = oracle::judge(&exchange, &notes) {
                wrong.get_or_insert(format!("#{number}: {what}"));
            }
        }
        // RFC 9111 §4.4. It counts from the next step on: within this one nobody knows what came first.
        for url in urls.iter().filter(|url| is_changed(url)) {
            invalidations.push(Invalidation { url: url.clone(), begun: step_begun, hard: true });
        }
        for sent in sent.iter().filter(|sent| sent.arrived >= step_begun) {
            story.push(format!(
                "  origin: #{} {} {} -> {} {:?}",
                sent.ask, sent.method, sent.url, sent.status, sent.content
            ));
        }
        wrong.map_or(Ok(()), Err)
    }

    /// Leaves out what is not needed for something to be wrong.
    fn shortened(&mut self, mut steps: Vec<Step>, mut broken: Broken) -> Broken {
        let mut at = 0;
        while at < steps.len() {
            let mut fewer = steps.clone();
            fewer.remove(at);
            // A page has to say something before it is asked for.
            let says =
                |page| fewer.iter().position(|step| matches!(step, Step::Say(other, _) if *other == page));
            let is_sound = (0..PAGES).all(|page| says(page).is_some_and(|first| first < PAGES));
            match if is_sound { self.run(&fewer) } else { Ok(()) } {
                Err(shorter) if kind(&shorter.what) == kind(&broken.what) => {
                    (steps, broken) = (fewer, shorter);
                }
                _ => at += 1,
            }
        }
        broken
    }
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text}")))
}

#[test]
fn random_exchanges_break_no_must() {
    let most = number_of("EXCHANGES").map_or(EXCHANGES, |number| number as usize);
    let first = number_of("SEED").unwrap_or(1);
    let mut world = World::new();
    let (mut seed, mut found) = (first, BTreeMap::new());
    while world.asked < most && found.len() < KINDS {
        let steps = plan::sequence(seed);
        if let Err(broken) = world.run(&steps) {
            let (count, report) = found.entry(kind(&broken.what)).or_insert((0, String::new()));
            *count += 1;
            if report.is_empty() {
                let Broken { what, story } = world.shortened(steps, broken);
                *report = format!("SEED={seed}: {what}\n{}", story.join("\n"));
            }
        }
        seed += 1;
    }
    eprintln!("{} requests in {} sequences, from SEED={first}", world.asked, seed - first);
    let reports: Vec<String> =
        found.values().map(|(count, report)| format!("{count} times; first {report}")).collect();
    assert!(found.is_empty(), "{} kinds of broken musts:\n\n{}", found.len(), reports.join("\n\n"));
}

/// What is wrong without what differs from one case to the next.
fn kind(what: &str) -> String {
    let words = what
        .split(' ')
        .filter(|word| !word.chars().any(|character| character.is_ascii_digit() || character == '"'));
    words.collect::<Vec<_>>().join(" ")
}
