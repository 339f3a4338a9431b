//! The ledger against a model that keeps every entry for ever and compares it with every response.
//!
//! Random interleavings of fetching, storing, hitting, validating, expiring, sweeping and purging, on a
//! handful of URLs, so that everything meets everything.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use larder::clock::Moment;
use larder::store::expression::{Expression, ExpressionLimits};
use larder::store::ledger::{
    Birth, Condemned, Invalidation, Ledger, LedgerSettings, Mode, Review, Selector, Sequence, Standing,
    Subject, Sweep,
};
use larder::store::tags::{TagDigest, TagSettings};
use proptest::prelude::*;

const HOSTS: [&str; 2] = ["a.example", "b.example"];
const TARGETS: [&str; 7] = ["/", "/x", "/x?q=1", "/x/y", "/x/y?q=1", "/xy", "/z"];
const PREFIXES: [&str; 7] = ["/", "/x", "/x/", "/x?", "/x/y", "/z/", ""];
const TAGS: [&str; 4] = ["t1", "t2", "t3", "t4"];

/// What a response says of itself.
#[derive(Clone, Debug)]
struct Content {
    host: &'static str,
    target: &'static str,
    /// Which of [`TAGS`], as bits.
    tags: u8,
    status: u16,
    /// When its age was zero.
    made: Moment,
    digests: Box<[TagDigest]>,
    field: String,
}

fn digest(text: &str) -> u128 {
    // FNV-1a: any injective enough function will do.
    text.bytes().fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
        (hash ^ u128::from(byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
    })
}

fn path_of(target: &str) -> &str {
    target.split('?').next().unwrap_or_default()
}

impl Content {
    fn new(host: usize, target: usize, tags: u8, status: u16, made: Moment) -> Self {
        let names: Vec<&str> = (0..4).filter(|bit| tags & (1 << bit) != 0).map(|bit| TAGS[bit]).collect();
        let field = names.join(" ");
        let digests = TagSettings::default().extract("o", [(&b"xkey"[..], field.as_bytes())]);
        Content { host: HOSTS[host], target: TARGETS[target], tags, status, made, digests, field }
    }
}

impl Subject for Content {
    fn key(&self) -> u128 {
        digest(&format!("key {}{}", self.host, self.target))
    }
    fn page(&self) -> u128 {
        digest(&format!("page {}{}", self.host, path_of(self.target)))
    }
    fn host(&self) -> &str {
        self.host
    }
    fn target(&self) -> &[u8] {
        self.target.as_bytes()
    }
    fn tags(&self) -> &[TagDigest] {
        &self.digests
    }
    fn status(&self) -> u16 {
        self.status
    }
    fn size(&self) -> u64 {
        self.target.len() as u64
    }
    fn age_at(&self, moment: Moment) -> Duration {
        moment.since(self.made)
    }
    fn any_field(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        name == "xkey" && test(self.field.as_bytes())
    }
    fn any_tag(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.field.split(' ').any(|tag| !tag.is_empty() && test(tag.as_bytes()))
    }
}

/// Expressions, each with what it means to the model.
type Meaning = fn(&Content, Moment) -> bool;
const BANS: [(&str, Meaning); 15] = [
    ("status == 404", |content, _| content.status == 404),
    ("host == a.example && path ~ \"^/x\"", |content, _| {
        content.host == HOSTS[0] && content.target.starts_with("/x")
    }),
    ("host == b.example && tag == t1", |content, _| content.host == HOSTS[1] && content.tags & 1 != 0),
    ("age > 10s", |content, at| at.since(content.made) > Duration::from_secs(10)),
    ("age <= 2s && status == 200", |content, at| {
        at.since(content.made) <= Duration::from_secs(2) && content.status == 200
    }),
    ("req.url ~ y", |content, _| content.target.contains('y')),
    ("obj.http.xkey ~ \"t2\"", |content, _| content.tags & 2 != 0),
    ("!(status == 200 || host == a.example)", |content, _| content.status != 200 && content.host != HOSTS[0]),
    ("tag ~ \"^t[34]$\" && query == \"q=1\"", |content, _| {
        content.tags & 12 != 0 && content.target.ends_with("?q=1")
    }),
    ("tag != t1 && size < 3", |content, _| content.tags & 1 == 0 && content.target.len() < 3),
    ("req.http.host ~ \"^a\\.example$\" && req.url ~ \"/.*\"", |content, _| content.host == HOSTS[0]),
    ("tag == t4", |content, _| content.tags & 8 != 0),
    ("url == \"/x?q=1\"", |content, _| content.target == "/x?q=1"),
    ("host == b.example && url ~ \"^/x/y$\"", |content, _| {
        content.host == HOSTS[1] && content.target == "/x/y"
    }),
    ("path == \"/x\"", |content, _| path_of(content.target) == "/x"),
];

/// What is purged, with the model's own idea of whom it concerns.
#[derive(Clone, Debug)]
enum Purged {
    Url(usize, usize),
    Page(usize, usize),
    Tag(usize),
    Prefix(Option<usize>, usize),
    Host(usize),
    Ban(usize),
    Everything,
}

impl Purged {
    fn selector(&self) -> Selector {
        match *self {
            Purged::Url(host, target) => {
                Selector::Key(Content::new(host, target, 0, 200, Moment::EPOCH).key())
            }
            Purged::Page(host, target) => {
                Selector::Page(Content::new(host, target, 0, 200, Moment::EPOCH).page())
            }
            Purged::Tag(tag) => Selector::Tag(TagDigest::of(TAGS[tag].as_bytes())),
            Purged::Prefix(host, prefix) => Selector::Prefix {
                host: host.map(|host| HOSTS[host].into()),
                path: PREFIXES[prefix].as_bytes().into(),
            },
            Purged::Host(host) => Selector::Host(HOSTS[host].into()),
            Purged::Ban(ban) => {
                Selector::Expression(Expression::parse(BANS[ban].0, &ExpressionLimits::default()).unwrap())
            }
            Purged::Everything => Selector::Everything,
        }
    }

    /// As the pipeline makes it: with the host, where that is known.
    fn at_home(&self, invalidation: Invalidation) -> Invalidation {
        match *self {
            Purged::Url(host, target) => {
                let page = Content::new(host, target, 0, 200, Moment::EPOCH).page();
                invalidation.on(HOSTS[host], Some(page))
            }
            Purged::Page(host, _) => invalidation.on(HOSTS[host], None),
            _ => invalidation,
        }
    }

    /// The host that it is confined to.
    fn host(&self) -> Option<&'static str> {
        match *self {
            Purged::Url(host, _) | Purged::Page(host, _) | Purged::Host(host) => Some(HOSTS[host]),
            Purged::Prefix(host, _) => host.map(|host| HOSTS[host]),
            Purged::Ban(1 | 10) => Some(HOSTS[0]),
            Purged::Ban(2 | 13) => Some(HOSTS[1]),
            Purged::Ban(_) | Purged::Tag(_) | Purged::Everything => None,
        }
    }

    fn concerns(&self, content: &Content, at: Moment) -> bool {
        match *self {
            Purged::Url(host, target) => content.host == HOSTS[host] && content.target == TARGETS[target],
            Purged::Page(host, target) => {
                content.host == HOSTS[host] && path_of(content.target) == path_of(TARGETS[target])
            }
            Purged::Tag(tag) => content.tags & (1 << tag) != 0,
            Purged::Prefix(host, prefix) => {
                host.is_none_or(|host| content.host == HOSTS[host])
                    && content.target.starts_with(PREFIXES[prefix])
            }
            Purged::Host(host) => content.host == HOSTS[host],
            Purged::Ban(ban) => BANS[ban].1(content, at),
            Purged::Everything => true,
        }
    }
}

#[derive(Clone, Debug)]
enum Step {
    /// A request is sent to the origin; the number says what will come back.
    Send {
        host: usize,
        target: usize,
        variant: u8,
        tags: u8,
        status: u16,
    },
    /// The response of one of the requests under way has come, and is to be stored.
    Arrive(usize),
    /// A request under way comes to nothing.
    Fail(usize),
    /// A POST of a stranger's, which is never stored, holds its birth until the end.
    Linger,
    Hit(usize),
    /// A stored response is validated; what comes back is a 304, later, by `Arrive`.
    Validate(usize),
    Expire(usize),
    Purge(Purged, Mode),
    BeginSweep,
    /// Visits the stored responses and finishes the sweep that was begun.
    FinishSweep,
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let mode = prop_oneof![3 => Just(Mode::Hard), 2 => Just(Mode::Soft)];
    let purged = prop_oneof![
        4 => (0..2_usize, 0..TARGETS.len()).prop_map(|(host, target)| Purged::Url(host, target)),
        2 => (0..2_usize, 0..TARGETS.len()).prop_map(|(host, target)| Purged::Page(host, target)),
        4 => (0..4_usize).prop_map(Purged::Tag),
        3 => (proptest::option::of(0..2_usize), 0..PREFIXES.len()).prop_map(|(host, prefix)| Purged::Prefix(host, prefix)),
        1 => (0..2_usize).prop_map(Purged::Host),
        4 => (0..BANS.len()).prop_map(Purged::Ban),
        1 => Just(Purged::Everything),
    ];
    let send =
        (0..2_usize, 0..TARGETS.len(), 0..2_u8, 0..16_u8, prop_oneof![3 => Just(200_u16), 1 => Just(404)])
            .prop_map(|(host, target, variant, tags, status)| Step::Send {
                host,
                target,
                variant,
                tags,
                status,
            });
    let step = prop_oneof![
        6 => send,
        6 => any::<usize>().prop_map(Step::Arrive),
        1 => any::<usize>().prop_map(Step::Fail),
        1 => Just(Step::Linger),
        6 => any::<usize>().prop_map(Step::Hit),
        2 => any::<usize>().prop_map(Step::Validate),
        1 => any::<usize>().prop_map(Step::Expire),
        6 => (purged, mode).prop_map(|(purged, mode)| Step::Purge(purged, mode)),
        1 => Just(Step::BeginSweep),
        1 => Just(Step::FinishSweep),
        2 => (1..8_000_u64).prop_map(Step::Wait),
    ];
    proptest::collection::vec(step, 1..80)
}

struct Stored {
    content: Content,
    standing: Standing,
    /// For the model: what it was born at.
    born: Sequence,
    /// Whether it has been seen stale or gone, and so counted.
    counted: bool,
}

struct UnderWay {
    slot: Slot,
    content: Content,
    birth: Birth,
    /// A validation, and of whom.
    validates: Option<Arc<()>>,
}

type Slot = (&'static str, &'static str, u8);

/// How the ledger's word must stand to the model's.
#[derive(Clone, Copy, PartialEq)]
enum Claim {
    Exactly,
    /// What the model condemns is condemned at least as hard; more may be. `true`: only of hosts that something
    /// was purged of since.
    AtLeast(bool),
}

struct World {
    ledger: Arc<Ledger>,
    claim: Claim,
    now: Moment,
    entries: Vec<(Sequence, Purged, Mode, Moment)>,
    stored: HashMap<Slot, (Arc<()>, Stored)>,
    under_way: Vec<UnderWay>,
    sweep: Option<Sweep>,
    fell: u64,
    lingering: Vec<Birth>,
    /// A fetch that takes longer than this may have been given up.
    shortest_patience: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Good,
    Stale,
    Gone,
}

impl World {
    fn new(settings: LedgerSettings, claim: Claim) -> Self {
        World {
            // A ledger that is never half full has all the patience it was given.
            shortest_patience: settings.patience.min(match claim {
                Claim::Exactly => settings.patience,
                Claim::AtLeast(_) => Duration::from_secs(1),
            }),
            ledger: Ledger::new(settings),
            claim,
            now: Moment::from_unix_secs(1_000),
            entries: Vec::new(),
            stored: HashMap::new(),
            under_way: Vec::new(),
            sweep: None,
            fell: 0,
            lingering: Vec::new(),
        }
    }

    /// The model: when the response became stale, if it did: by the first soft entry after its birth.
    fn stale_since(&self, content: &Content, born: Sequence) -> Option<Moment> {
        let mut soft = self.entries.iter().filter(|(sequence, purged, mode, at)| {
            *sequence > born && *mode == Mode::Soft && purged.concerns(content, *at)
        });
        soft.next().map(|(.., at)| *at)
    }

    /// Whether the ledger may have given up a fetch that was sent at `sent`.
    fn may_be_given_up(&self, sent: Moment) -> bool {
        self.now.since(sent) > self.shortest_patience
    }

    /// The model: every entry after the birth, one by one.
    fn worth(&self, content: &Content, born: Sequence) -> Worth {
        self.entries
            .iter()
            .filter(|(sequence, purged, _, at)| *sequence > born && purged.concerns(content, *at))
            .map(|(.., mode, _)| if *mode == Mode::Hard { Worth::Gone } else { Worth::Stale })
            .max()
            .unwrap_or(Worth::Good)
    }

    /// Checks the ledger's word on a response against the model's.
    fn check(&self, said: Worth, content: &Content, born: Sequence) -> Result<(), TestCaseError> {
        let meant = self.worth(content, born);
        match self.claim {
            Claim::Exactly => prop_assert_eq!(said, meant, "{:?} born {}", content, born),
            Claim::AtLeast(within_hosts) => {
                prop_assert!(said >= meant, "{:?}, not {:?}: {:?} born {}", said, meant, content, born);
                let concerned = |purged: &Purged| purged.host().is_none_or(|host| host == content.host);
                let mut since = self.entries.iter().filter(|(sequence, ..)| *sequence > born);
                let may_be = since.any(|(_, purged, ..)| concerned(purged));
                prop_assert!(
                    !within_hosts || said == meant || may_be,
                    "another host's purges: {:?}",
                    content
                );
            }
        }
        Ok(())
    }

    fn pick(&self, index: usize) -> Option<Slot> {
        let mut slots: Vec<Slot> = self.stored.keys().copied().collect();
        slots.sort_unstable();
        (!slots.is_empty()).then(|| slots[index % slots.len()])
    }

    /// What a hit does: the response must be worth what the model says, and goes when it is gone.
    fn hit(&mut self, slot: Slot) -> Result<Option<Worth>, TestCaseError> {
        let Some((_, stored)) = self.stored.get_mut(&slot) else { return Ok(None) };
        let mut stale_since = None;
        let said = match stored.standing.review(&self.ledger, &stored.content) {
            Review::Good => Worth::Good,
            Review::Stale { since } => {
                prop_assert!(since <= self.now);
                stale_since = Some(since);
                Worth::Stale
            }
            Review::Gone => Worth::Gone,
        };
        // Seen again, it must not look better.
        let again = stored.standing.review(&self.ledger, &stored.content);
        prop_assert_eq!(again == Review::Gone, said == Worth::Gone);
        if said == Worth::Gone || (said == Worth::Stale && !stored.counted) {
            stored.counted = true;
            self.fell += 1;
        }
        let (content, born) = (stored.content.clone(), stored.born);
        self.check(said, &content, born)?;
        if let Some(since) = stale_since {
            let first = self.stale_since(&content, born);
            match self.claim {
                Claim::Exactly => prop_assert_eq!(Some(since), first, "the first soft purge counts"),
                // By what it was not meant for, it may be stale though nothing made it so.
                Claim::AtLeast(_) => prop_assert!(first.is_none_or(|first| since <= first)),
            }
        }
        if said == Worth::Gone {
            self.stored.remove(&slot);
        }
        Ok(Some(said))
    }

    fn arrive(&mut self, index: usize) -> Result<(), TestCaseError> {
        if self.under_way.is_empty() {
            return Ok(());
        }
        let arrived = self.under_way.swap_remove(index % self.under_way.len());
        let born = arrived.birth.born();
        if let Some(identity) = &arrived.validates {
            // A 304 freshens only what is still there and still alive.
            let is_there =
                self.stored.get(&arrived.slot).is_some_and(|(other, _)| Arc::ptr_eq(identity, other));
            if !is_there || self.hit(arrived.slot)? == Some(Worth::Gone) {
                return Ok(());
            }
        }
        match self.ledger.admit(&arrived.content, &arrived.birth) {
            Err(Condemned { by: None }) => {
                prop_assert!(self.may_be_given_up(arrived.content.made), "it was waited for");
                Ok(())
            }
            Err(Condemned { by: Some(_) }) => {
                self.fell += 1;
                self.check(Worth::Gone, &arrived.content, born)
            }
            Ok(standing) => {
                let said = match standing.review(&self.ledger, &arrived.content) {
                    Review::Good => Worth::Good,
                    Review::Stale { .. } => Worth::Stale,
                    Review::Gone => Worth::Gone,
                };
                self.fell += u64::from(said == Worth::Stale);
                self.check(said, &arrived.content, born)?;
                let counted = said != Worth::Good;
                let stored = Stored { content: arrived.content, standing, born, counted };
                self.stored.insert(arrived.slot, (Arc::new(()), stored));
                Ok(())
            }
        }
    }

    fn step(&mut self, step: Step) -> Result<(), TestCaseError> {
        match step {
            Step::Send { host, target, variant, tags, status } => {
                let content = Content::new(host, target, tags, status, self.now);
                let slot = (content.host, content.target, variant);
                self.under_way.push(UnderWay {
                    slot,
                    content,
                    birth: self.ledger.birth(self.now),
                    validates: None,
                });
            }
            Step::Arrive(index) => self.arrive(index)?,
            Step::Linger => self.lingering.push(self.ledger.birth(self.now)),
            Step::Fail(index) => {
                if !self.under_way.is_empty() {
                    self.under_way.swap_remove(index % self.under_way.len());
                }
            }
            Step::Hit(index) => {
                if let Some(slot) = self.pick(index) {
                    self.hit(slot)?;
                }
            }
            Step::Validate(index) => {
                if let Some(slot) = self.pick(index) {
                    // Only what is not gone is validated.
                    if self.hit(slot)? != Some(Worth::Gone) {
                        let (identity, stored) = &self.stored[&slot];
                        let content = Content { made: self.now, ..stored.content.clone() };
                        let validates = Some(identity.clone());
                        self.under_way.push(UnderWay {
                            slot,
                            content,
                            birth: self.ledger.birth(self.now),
                            validates,
                        });
                    }
                }
            }
            Step::Expire(index) => {
                if let Some(slot) = self.pick(index) {
                    self.stored.remove(&slot);
                }
            }
            Step::Purge(purged, mode) => {
                let before = self.ledger.head();
                let invalidation = Invalidation { mode, ..Invalidation::hard(purged.selector()) };
                let invalidation = purged.at_home(invalidation);
                let sequence = self.ledger.append(invalidation.asked_by("the model", "something"), self.now);
                prop_assert_eq!(sequence, before.next());
                prop_assert_eq!(self.ledger.head(), sequence);
                self.entries.push((sequence, purged, mode, self.now));
            }
            Step::BeginSweep => self.sweep = Some(self.ledger.begin_sweep(self.now)),
            Step::FinishSweep => {
                if let Some(sweep) = self.sweep.take() {
                    let slots: Vec<Slot> = self.stored.keys().copied().collect();
                    for slot in slots {
                        self.hit(slot)?;
                    }
                    self.ledger.finish_sweep(sweep);
                }
            }
            Step::Wait(millis) => self.now = self.now.after(Duration::from_millis(millis)),
        }
        Ok(())
    }

    /// In the end, everything stored is looked at; and with nothing under way a sweep leaves no entry.
    fn finish(mut self) -> Result<(), TestCaseError> {
        self.under_way.clear();
        // Nobody's lingering keeps the ledger from forgetting.
        self.now = self.now.after(self.ledger.settings().patience + Duration::from_millis(1));
        let sweep = self.ledger.begin_sweep(self.now);
        for slot in self.stored.keys().copied().collect::<Vec<_>>() {
            self.hit(slot)?;
        }
        self.ledger.finish_sweep(sweep);
        let status = self.ledger.status();
        prop_assert_eq!((status.entries, status.expressions), (0, 0));
        prop_assert_eq!(status.in_flight, self.lingering.len());
        self.lingering.clear();
        prop_assert_eq!(self.ledger.status().in_flight, 0);
        prop_assert!(status.beyond_memory <= status.given_up);
        if self.claim == Claim::Exactly {
            prop_assert_eq!(status.coarsened, 0);
            let counted: u64 = self.ledger.recent(usize::MAX).iter().map(|record| record.fell).sum();
            prop_assert_eq!(counted, self.fell, "what fell is counted once");
        }
        Ok(())
    }
}

fn run(steps: Vec<Step>, settings: LedgerSettings, claim: Claim) -> Result<(), TestCaseError> {
    let mut world = World::new(settings, claim);
    for step in steps {
        world.step(step)?;
        if let Claim::AtLeast(_) = claim {
            let status = world.ledger.status();
            prop_assert!(status.entries <= 3 && status.expressions <= 2, "{:?}", status);
        }
    }
    world.finish()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, ..ProptestConfig::default() })]

    #[test]
    fn the_ledger_says_what_the_model_says(steps in steps()) {
        run(steps, LedgerSettings::default(), Claim::Exactly)?;
    }

    #[test]
    fn a_ledger_that_is_far_too_small_condemns_no_less_than_the_model(steps in steps()) {
        let settings = LedgerSettings { entries: 3, expressions: 2, ..LedgerSettings::default() };
        run(steps, settings, Claim::AtLeast(false))?;
    }

    /// Where every purge is confined to a host, none costs another one anything, however full the ledger is.
    #[test]
    fn a_ledger_that_is_far_too_small_takes_nothing_of_hosts_that_nothing_was_purged_of(steps in steps()) {
        let is_confined = |step: &Step| !matches!(step, Step::Purge(purged, _) if purged.host().is_none());
        let steps: Vec<Step> = steps.into_iter().filter(is_confined).collect();
        let settings = LedgerSettings { entries: 3, expressions: 2, ..LedgerSettings::default() };
        run(steps, settings, Claim::AtLeast(true))?;
    }
}
