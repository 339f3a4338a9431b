//! A purge against a fetch: at every point at which the purge can come, for every kind of purge.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;
use std::time::Duration;

use larder::clock::Moment;
use larder::store::expression::{Expression, ExpressionLimits};
use larder::store::ledger::{
    Asked, Condemned, Invalidation, Ledger, LedgerSettings, Mode, NoRoom, OutOfOrder, Pressure, Review,
    Selector, Sequence, Standing, Subject, Verdict,
};
use larder::store::tags::TagDigest;

const NOW: Moment = Moment::from_unix_secs(1_000_000);

struct Page {
    tags: Vec<TagDigest>,
}

impl Page {
    fn new() -> Self {
        Page { tags: vec![TagDigest::of(b"news")] }
    }
}

impl Subject for Page {
    fn key(&self) -> u128 {
        0x1111_2222_3333_4444_5555_6666_7777_8888
    }
    fn page(&self) -> u128 {
        0x9999_2222_3333_4444_5555_6666_7777_8888
    }
    fn host(&self) -> &str {
        "a.example"
    }
    fn target(&self) -> &[u8] {
        b"/news/1?page=2"
    }
    fn tags(&self) -> &[TagDigest] {
        &self.tags
    }
    fn status(&self) -> u16 {
        200
    }
    fn size(&self) -> u64 {
        1024
    }
    fn age_at(&self, moment: Moment) -> Duration {
        moment.since(NOW.before(Duration::from_secs(60)))
    }
    fn any_field(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        name == "content-type" && test(b"text/html")
    }
    fn any_tag(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        test(b"news")
    }
}

fn ban(source: &str) -> Selector {
    Selector::Expression(Expression::parse(source, &ExpressionLimits::default()).unwrap())
}

/// Every kind of purge that concerns the page.
fn kinds() -> Vec<Selector> {
    let page = Page::new();
    vec![
        Selector::Key(page.key()),
        Selector::Page(page.page()),
        Selector::Tag(page.tags[0]),
        Selector::Prefix { host: None, path: b"/ne"[..].into() },
        Selector::Prefix { host: Some(page.host().into()), path: page.target().into() },
        Selector::Prefix { host: Some(page.host().into()), path: b""[..].into() },
        Selector::Host(page.host().into()),
        ban("resp.field(\"content-type\") ~ html && age >= 1m"),
        ban("tag == news && host == a.example"),
        Selector::Everything,
    ]
}

/// Purges that do not concern it, though each comes close.
fn misses() -> Vec<Selector> {
    let page = Page::new();
    vec![
        Selector::Key(page.key() + 16),
        Selector::Key(page.page()),
        Selector::Page(page.key()),
        Selector::Tag(TagDigest::of(b"New")),
        Selector::Tag(TagDigest::of_group("a.example", "news")),
        Selector::Prefix { host: None, path: b"/news/2"[..].into() },
        Selector::Prefix { host: None, path: b"/news/1?page=21"[..].into() },
        Selector::Prefix { host: Some("b.example".into()), path: b"/"[..].into() },
        Selector::Host("b.example".into()),
        ban("age > 61s"),
        ban("tag == news && host == b.example"),
    ]
}

fn purge(ledger: &Ledger, selector: &Selector, mode: Mode) -> Sequence {
    ledger.append(Invalidation { mode, ..Invalidation::hard(selector.clone()) }, NOW)
}

/// The points of a fetch at which something else can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Point {
    BeforeTheRequest,
    WaitingForTheResponse,
    JudgedButNotYetStored,
    Stored,
}

const POINTS: [Point; 4] =
    [Point::BeforeTheRequest, Point::WaitingForTheResponse, Point::JudgedButNotYetStored, Point::Stored];

/// Runs a fetch, with `happens` at its points; answers what a request that comes afterwards gets.
fn fetch(ledger: &Arc<Ledger>, mut happens: impl FnMut(Point, &[&Standing])) -> Option<Review> {
    let page = Page::new();
    happens(Point::BeforeTheRequest, &[]);
    let birth = ledger.birth(NOW);
    happens(Point::WaitingForTheResponse, &[]);
    let admitted = ledger.admit(&page, &birth);
    happens(Point::JudgedButNotYetStored, &[]);
    drop(birth);
    let standing = admitted.ok()?;
    happens(Point::Stored, &[&standing]);
    Some(standing.review(ledger, &page))
}

fn sweep(ledger: &Ledger, stored: &[&Standing]) {
    let sweep = ledger.begin_sweep(NOW);
    for standing in stored {
        standing.review(ledger, &Page::new());
    }
    ledger.finish_sweep(sweep);
}

#[test]
fn a_purge_beats_the_fetch_at_every_point_and_a_sweep_never_helps_it() {
    for kind in kinds() {
        for mode in [Mode::Hard, Mode::Soft] {
            for purged_at in POINTS {
                // And a sweep in between, that forgets what it may, at no point or at any.
                for swept_at in [None].into_iter().chain(POINTS.map(Some)) {
                    let ledger = Ledger::new(LedgerSettings::default());
                    let outcome = fetch(&ledger, |point, stored| {
                        if point == purged_at {
                            purge(&ledger, &kind, mode);
                        }
                        if Some(point) == swept_at {
                            sweep(&ledger, stored);
                        }
                    });
                    let expected = match (purged_at, mode) {
                        (Point::BeforeTheRequest, _) => vec![Some(Review::Good)],
                        (_, Mode::Hard) => vec![None, Some(Review::Gone)],
                        (_, Mode::Soft) => vec![Some(Review::Stale { since: NOW })],
                    };
                    assert!(
                        expected.contains(&outcome),
                        "{kind:?} {mode:?} at {purged_at:?}, swept at {swept_at:?}: {outcome:?}"
                    );
                }
            }
        }
    }
}

#[test]
fn a_hard_purge_while_waiting_keeps_the_response_out_of_the_store() {
    let ledger = Ledger::new(LedgerSettings::default());
    let birth = ledger.birth(NOW);
    let by = purge(&ledger, &Selector::Tag(TagDigest::of(b"news")), Mode::Hard);
    assert_eq!(ledger.admit(&Page::new(), &birth).err(), Some(Condemned { by: Some(by) }));
}

#[test]
fn a_purge_that_does_not_concern_a_fetch_leaves_it_alone() {
    for kind in misses() {
        for purged_at in POINTS {
            let ledger = Ledger::new(LedgerSettings::default());
            let outcome = fetch(&ledger, |point, _| {
                if point == purged_at {
                    purge(&ledger, &kind, Mode::Hard);
                }
            });
            assert_eq!(outcome, Some(Review::Good), "{kind:?} at {purged_at:?}");
        }
    }
}

#[test]
fn a_request_after_a_purge_does_not_join_a_fetch_from_before_it() {
    let page = Page::new();
    let asked = Asked { key: page.key(), page: page.page(), host: page.host(), target: page.target() };
    for kind in [Selector::Key(page.key()), Selector::Page(page.page()), Selector::Host("a.example".into())] {
        let ledger = Ledger::new(LedgerSettings::default());
        let birth = ledger.birth(NOW);
        assert!(matches!(ledger.judge(&asked, birth.born()), Verdict::Untouched { .. }));
        let by = purge(&ledger, &kind, Mode::Hard);
        assert_eq!(ledger.judge(&asked, birth.born()), Verdict::Hard { by });
        assert!(matches!(ledger.judge(&asked, ledger.birth(NOW).born()), Verdict::Untouched { .. }));
    }
}

#[test]
fn a_hard_purge_outweighs_a_soft_one_in_either_order() {
    for order in [[Mode::Hard, Mode::Soft], [Mode::Soft, Mode::Hard]] {
        let ledger = Ledger::new(LedgerSettings::default());
        let outcome = fetch(&ledger, |point, _| {
            if point == Point::Stored {
                purge(&ledger, &Selector::Key(Page::new().key()), order[0]);
                purge(&ledger, &ban("tag == news && status == 200"), order[1]);
            }
        });
        assert_eq!(outcome, Some(Review::Gone));
    }
}

#[test]
fn a_soft_purge_makes_stale_as_of_the_purge_and_not_of_the_hit() {
    let ledger = Ledger::new(LedgerSettings::default());
    let page = Page::new();
    let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
    let later = NOW.after(Duration::from_secs(3600));
    ledger.append(Invalidation::soft(Selector::Key(page.key())), NOW);
    ledger.append(Invalidation::soft(Selector::Host(page.host().into())), later);
    assert_eq!(standing.review(&ledger, &page), Review::Stale { since: NOW });
    ledger.append(Invalidation::soft(Selector::Everything), later);
    assert_eq!(standing.review(&ledger, &page), Review::Stale { since: NOW });
}

#[test]
fn an_entry_that_a_fetch_under_way_needs_is_not_forgotten() {
    let ledger = Ledger::new(LedgerSettings::default());
    let birth = ledger.birth(NOW);
    purge(&ledger, &Selector::Key(Page::new().key()), Mode::Hard);
    assert_eq!(ledger.forget_up_to(ledger.head()), 0);
    assert_eq!(ledger.status().entries, 1);
    drop(birth);
    assert_eq!(ledger.forget_up_to(ledger.head()), 1);
    assert_eq!(ledger.status().entries, 0);
}

#[test]
fn what_lags_behind_all_memory_is_condemned() {
    let ledger = Ledger::new(LedgerSettings::default());
    let page = Page::new();
    let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
    purge(&ledger, &Selector::Key(page.key() + 16), Mode::Soft);
    // Against the rules: the response has not been judged that far.
    ledger.forget_up_to(ledger.head());
    assert_eq!(standing.review(&ledger, &page), Review::Gone);
    assert_eq!(ledger.status().beyond_memory, 1);
}

#[test]
fn a_stream_numbers_the_entries_and_a_gap_is_noticed() {
    let ledger = Ledger::new(LedgerSettings::default());
    let page = Page::new();
    let entry = || Invalidation::hard(Selector::Key(1));
    ledger.skip_to(Sequence::new(41), Mode::Soft, NOW).unwrap();
    let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
    assert_eq!(ledger.apply(Sequence::new(42), entry(), NOW), Ok(()));
    let (head, expected) = (Sequence::new(42), Sequence::new(43));
    assert_eq!(
        ledger.apply(Sequence::new(42), entry(), NOW),
        Err(OutOfOrder::Repeated { head, got: Sequence::new(42) })
    );
    assert_eq!(
        ledger.apply(Sequence::new(44), entry(), NOW),
        Err(OutOfOrder::Gap { expected, got: Sequence::new(44) })
    );
    assert_eq!(ledger.head(), head);
    assert_eq!(standing.review(&ledger, &page), Review::Good);
    ledger.skip_to(Sequence::new(44), Mode::Soft, NOW).unwrap();
    assert_eq!(standing.review(&ledger, &page), Review::Stale { since: NOW });
    ledger.skip_to(Sequence::new(50), Mode::Hard, NOW).unwrap();
    assert_eq!(standing.review(&ledger, &page), Review::Gone);
    assert!(ledger.skip_to(Sequence::new(50), Mode::Hard, NOW).is_err());
}

#[test]
fn the_history_tells_who_asked_for_what_and_is_bounded() {
    let ledger = Ledger::new(LedgerSettings { history: 2, ..LedgerSettings::default() });
    let page = Page::new();
    let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
    for number in 0..3_u128 {
        let entry =
            Invalidation::hard(Selector::Key(number << 8)).asked_by("10.0.0.1", format!("url {number}"));
        ledger.append(entry, NOW);
    }
    let by =
        ledger.append(Invalidation::hard(Selector::Tag(page.tags[0])).asked_by("token ci", "tag news"), NOW);
    // The traffic's own entries are not shown.
    ledger.append(Invalidation::hard(Selector::Key(7 << 8)), NOW);
    standing.review(&ledger, &page);
    standing.review(&ledger, &page);
    let recent = ledger.recent(10);
    assert_eq!(recent.iter().map(|record| &*record.cause.what).collect::<Vec<_>>(), ["tag news", "url 2"]);
    assert_eq!((recent[0].sequence, recent[0].fell, &*recent[0].cause.who), (by, 1, "token ci"));
    assert_eq!(ledger.record(by), Some(recent[0].clone()));
}

#[test]
fn pressure_asks_for_a_sweep_and_a_sweep_relieves_it() {
    let ledger = Ledger::new(LedgerSettings { entries: 10, ..LedgerSettings::default() });
    let purge_key = |number: u128| purge(&ledger, &Selector::Key(number << 8), Mode::Hard);
    for number in 0..4 {
        purge_key(number);
    }
    assert_eq!(ledger.pressure(), Pressure::Calm);
    purge_key(4);
    assert_eq!(ledger.pressure(), Pressure::SweepNow);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    // Would wait for ever if nobody had asked.
    runtime.block_on(ledger.sweep_wanted());
    for number in 5..30 {
        purge_key(number);
    }
    assert_eq!(ledger.pressure(), Pressure::Coarsening);
    let status = ledger.status();
    assert_eq!((status.entries, status.coarsened, status.head), (10, 20, Sequence::new(30)));
    sweep(&ledger, &[]);
    assert_eq!((ledger.pressure(), ledger.status().entries), (Pressure::Calm, 0));
}

#[test]
fn entries_that_became_coarse_still_condemn_what_they_were_meant_for() {
    for kind in kinds() {
        for mode in [Mode::Hard, Mode::Soft] {
            let settings = LedgerSettings { entries: 4, expressions: 1, ..LedgerSettings::default() };
            let ledger = Ledger::new(settings);
            let outcome = fetch(&ledger, |point, _| {
                if point == Point::Stored {
                    purge(&ledger, &kind, mode);
                    for number in 1..20_u128 {
                        purge(&ledger, &Selector::Key(number << 64), Mode::Soft);
                        purge(
                            &ledger,
                            &ban(&format!("host == x{number}.example && status == 404")),
                            Mode::Soft,
                        );
                    }
                }
            });
            match mode {
                Mode::Hard => assert_eq!(outcome, Some(Review::Gone), "{kind:?}"),
                Mode::Soft => assert_eq!(outcome, Some(Review::Stale { since: NOW }), "{kind:?}"),
            }
        }
    }
}

#[test]
fn coarse_entries_leave_most_of_the_rest_alone() {
    struct Other(u128);
    impl Subject for Other {
        fn key(&self) -> u128 {
            self.0
        }
        fn page(&self) -> u128 {
            !self.0
        }
        fn host(&self) -> &str {
            "c.example"
        }
        fn target(&self) -> &[u8] {
            b"/"
        }
        fn tags(&self) -> &[TagDigest] {
            &[]
        }
        fn status(&self) -> u16 {
            200
        }
        fn size(&self) -> u64 {
            0
        }
        fn age_at(&self, _: Moment) -> Duration {
            Duration::ZERO
        }
        fn any_field(&self, _: &str, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            false
        }
        fn any_tag(&self, _: &mut dyn FnMut(&[u8]) -> bool) -> bool {
            false
        }
    }
    let spread = |number: u128| number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    let ledger = Ledger::new(LedgerSettings { entries: 10, ..LedgerSettings::default() });
    let others: Vec<Other> = (0..2_000).map(|number| Other(spread(number))).collect();
    let standings: Vec<Standing> =
        others.iter().map(|other| ledger.admit(other, &ledger.birth(NOW)).unwrap()).collect();
    for number in 10_000..10_110 {
        purge(&ledger, &Selector::Key(spread(number)), Mode::Hard);
    }
    assert_eq!(ledger.status().coarsened, 100);
    let fell = others
        .iter()
        .zip(&standings)
        .filter(|(other, standing)| standing.review(&ledger, *other) == Review::Gone);
    // A hundred of 16,384 buckets, with three marks each: about two in a hundred.
    assert!(fell.count() < 100);
}

#[test]
fn the_same_ban_again_takes_the_place_of_the_first() {
    let ledger = Ledger::new(LedgerSettings::default());
    let page = Page::new();
    let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
    for _ in 0..1_000 {
        purge(&ledger, &ban("status == 404"), Mode::Hard);
        purge(&ledger, &ban("obj.status == 404"), Mode::Soft);
    }
    assert_eq!(ledger.status().expressions, 2);
    assert_eq!(standing.review(&ledger, &page), Review::Good);
    // With an age in it, it is another one each time.
    purge(&ledger, &ban("age < 1h"), Mode::Hard);
    purge(&ledger, &ban("age < 1h"), Mode::Hard);
    assert_eq!(ledger.status().expressions, 4);
    sweep(&ledger, &[&standing]);
    assert_eq!((ledger.status().expressions, ledger.status().entries), (0, 0));
}

#[test]
fn purging_one_thing_again_and_again_takes_no_room() {
    let ledger = Ledger::new(LedgerSettings::default());
    let _long_download = ledger.birth(NOW);
    for _ in 0..50_000 {
        purge(&ledger, &Selector::Key(1 << 8), Mode::Hard);
        purge(&ledger, &Selector::Prefix { host: None, path: b"/a"[..].into() }, Mode::Soft);
    }
    let status = ledger.status();
    assert_eq!(status.entries, 2);
    assert!(status.weight < 1 << 20, "{status:?}");
}

/// What a visitor sees is how long an old page is served: a purge said twice must not double that.
#[test]
fn a_second_soft_purge_does_not_give_the_old_page_more_time() {
    let later = NOW.after(Duration::from_secs(3600));
    let latest = later.after(Duration::from_secs(3600));
    for kind in kinds() {
        let ledger = Ledger::new(LedgerSettings::default());
        let page = Page::new();
        let soft = |at| ledger.append(Invalidation::soft(kind.clone()), at);
        let before = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
        soft(NOW);
        let between = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
        soft(later);
        soft(latest);
        assert_eq!(before.review(&ledger, &page), Review::Stale { since: NOW }, "{kind:?}");
        assert_eq!(between.review(&ledger, &page), Review::Stale { since: later }, "{kind:?}");
        let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
        assert_eq!(standing.review(&ledger, &page), Review::Good, "{kind:?}");
    }
}

#[test]
fn a_fetch_that_takes_too_long_is_given_up_and_what_it_brings_is_not_kept() {
    let settings = LedgerSettings { patience: Duration::from_secs(60), ..LedgerSettings::default() };
    let ledger = Ledger::new(settings);
    let (upload, page) = (ledger.birth(NOW), Page::new());
    // It does not concern the page, but nobody will know.
    let other = Selector::Key(page.key() + 16);
    purge(&ledger, &other, Mode::Hard);
    let pass = |at: u64| ledger.finish_sweep(ledger.begin_sweep(NOW.after(Duration::from_secs(at))));
    assert_eq!(pass(60), 0, "it is waited for");
    assert_eq!(pass(61), 1, "it is waited for no longer");
    assert_eq!(ledger.admit(&page, &upload).err(), Some(Condemned { by: None }));
    let status = ledger.status();
    assert_eq!((status.entries, status.in_flight, status.given_up), (0, 1, 1));
    drop(upload);
    assert_eq!(ledger.status().in_flight, 0);
    // One that nothing came after keeps nothing from being forgotten, and is not given up however long it takes.
    let download = ledger.birth(NOW);
    pass(10_000);
    assert!(ledger.admit(&page, &download).is_ok());
}

#[test]
fn a_ledger_that_is_half_full_waits_for_no_slow_fetch() {
    let ledger = Ledger::new(LedgerSettings { entries: 10, ..LedgerSettings::default() });
    let _upload = ledger.birth(NOW);
    for number in 0..5_u128 {
        purge(&ledger, &Selector::Key(number << 8), Mode::Hard);
    }
    assert_eq!(ledger.pressure(), Pressure::SweepNow);
    let pass = |at: u64| ledger.finish_sweep(ledger.begin_sweep(NOW.after(Duration::from_millis(at))));
    assert_eq!((pass(1_000), pass(1_001)), (0, 5));
    assert_eq!(ledger.pressure(), Pressure::Calm);
}

#[test]
fn a_response_answers_for_other_queries_until_something_comes_that_goes_by_them() {
    let page = Page::new();
    let other = Asked { key: 1 << 77, page: page.page(), host: page.host(), target: b"/news/1?page=2&utm=x" };
    let url = |key, at| Invalidation::hard(Selector::Key(key)).on(page.host(), Some(at));
    // What concerns them all finds the stored response itself.
    let alike = [
        Selector::Tag(TagDigest::of(b"other")),
        Selector::Prefix { host: None, path: b"/other/"[..].into() },
        Selector::Page(7),
        Selector::Host("b.example".into()),
        ban("path ~ \"^/old/.*x\" && status == 404"),
        ban("status == 404"),
        ban("url ~ \"^/other/.*\""),
    ];
    let elsewhere = [url(5, page.page() + 1), Invalidation::hard(ban("host == b.example && url ~ utm"))];
    let concerning = [
        url(other.key, page.page()),
        Invalidation::hard(ban("url ~ utm")),
        Invalidation::hard(ban("query ~ utm && host == a.example")),
        Invalidation::soft(Selector::Prefix { host: None, path: b"/news/1?page=2&u"[..].into() }),
    ];
    let ledger = Ledger::new(LedgerSettings::default());
    let forget = || ledger.finish_sweep(ledger.begin_sweep(NOW));
    let born = ledger.head();
    for entry in alike.map(Invalidation::hard).into_iter().chain(elsewhere) {
        let shown = format!("{entry:?}");
        ledger.append(entry, NOW);
        assert!(ledger.answers_for(&other, born), "{shown}");
        forget();
        assert!(ledger.answers_for(&other, born), "forgotten: {shown}");
    }
    for entry in concerning {
        let (shown, born) = (format!("{entry:?}"), ledger.head());
        ledger.append(entry, NOW);
        assert!(!ledger.answers_for(&other, born), "{shown}");
        forget();
        assert!(!ledger.answers_for(&other, born), "forgotten: {shown}");
        assert!(ledger.answers_for(&other, ledger.head()), "asked for anew: {shown}");
    }
    // Of the same page, and yet not this query: known as long as it is remembered.
    let born = ledger.head();
    ledger.append(url(5, page.page()), NOW);
    assert!(ledger.answers_for(&other, born));
}

fn url_on(host: &str, number: u128) -> Invalidation {
    let key = number.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Invalidation::hard(Selector::Key(key)).on(host, Some(key))
}

/// An origin whose answers purge thousands of things pays for that itself.
#[test]
fn a_host_that_fills_the_ledger_empties_no_other() {
    let page = Page::new();
    for fill in [
        (|number| url_on("b.example", number)) as fn(u128) -> Invalidation,
        |number| {
            let tag = TagDigest::of_group("http://b.example", &number.to_string());
            Invalidation::hard(Selector::Tag(tag)).on("b.example", None)
        },
        |number| {
            Invalidation::hard(ban(&format!("host == b.example && status == 200 && url ~ \"x{number}\"")))
        },
        |number| {
            let path = format!("/{number}").into_bytes().into();
            Invalidation::hard(Selector::Prefix { host: Some("b.example".into()), path })
        },
    ] {
        let ledger =
            Ledger::new(LedgerSettings { entries: 100, expressions: 50, ..LedgerSettings::default() });
        let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
        // A purge of the page's own host that does not concern it, so that the ledger has something else to widen.
        ledger.append(url_on(page.host(), 1), NOW);
        for number in 0..5_000 {
            ledger.append(fill(number), NOW);
        }
        assert!(ledger.status().coarsened >= 4_900, "{:?}", ledger.status());
        assert_eq!(standing.review(&ledger, &page), Review::Good);
    }
}

#[test]
fn purges_wait_until_there_is_room_and_what_would_take_more_than_its_host_is_refused() {
    let settings = LedgerSettings { entries: 100, expressions: 10, ..LedgerSettings::default() };
    let ledger = Ledger::new(settings);
    let (page, mut waiting) = (Page::new(), Vec::new());
    let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
    let bans = |number| Invalidation::hard(ban(&format!("url ~ \"nothing-{number}\"")));
    let mut entered = 0;
    while waiting.is_empty() {
        let mut entry = vec![bans(entered)];
        match ledger.try_append_all(&mut entry, NOW, false) {
            Ok(_) => entered += 1,
            Err(error) => {
                assert_eq!(error, NoRoom::Full);
                waiting = entry;
            }
        }
    }
    assert_eq!((entered, waiting.len()), (5, 1), "half of it for what is confined to no host");
    // Not even when it has waited: everything would fall.
    assert_eq!(ledger.try_append_all(&mut waiting, NOW, true), Err(NoRoom::Full));
    // What is confined to a host has room all the same, and the same again takes none.
    let mut known = vec![bans(0), Invalidation::hard(ban("host == b.example && status == 404"))];
    assert!(ledger.try_append_all(&mut known, NOW, false).is_ok());
    // A sweep makes room; nothing was lost, and nothing fell.
    assert_eq!(standing.review(&ledger, &page), Review::Good);
    sweep(&ledger, &[&standing]);
    assert!(ledger.try_append_all(&mut waiting, NOW, false).is_ok());
    assert!(waiting.is_empty());
    assert_eq!((standing.review(&ledger, &page), ledger.status().coarsened), (Review::Good, 0));
    // More than there can ever be room for.
    let mut many: Vec<_> = (0..11).map(bans).collect();
    assert_eq!(ledger.try_append_all(&mut many, NOW, true), Err(NoRoom::Never));
    assert_eq!(many.len(), 11);
}

#[tokio::test]
async fn a_purge_that_waits_is_entered_as_soon_as_a_sweep_is_through() {
    let settings =
        LedgerSettings { entries: 4, wait: Duration::from_secs(3600), ..LedgerSettings::default() };
    let ledger = Ledger::new(settings);
    for number in 0..4 {
        ledger.append(url_on("a.example", number), NOW);
    }
    let mut entries = vec![url_on("a.example", 9)];
    let purge = ledger.in_turn(|may_widen| ledger.try_append_all(&mut entries, NOW, may_widen));
    let sweeper = async {
        ledger.sweep_wanted().await;
        ledger.finish_sweep(ledger.begin_sweep(NOW));
    };
    let (entered, ()) = tokio::join!(purge, sweeper);
    assert_eq!(entered, Ok(Sequence::new(5)));
    assert_eq!((ledger.status().entries, ledger.status().coarsened), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_purge_does_not_wait_for_ever() {
    let ledger = Ledger::new(LedgerSettings { entries: 4, ..LedgerSettings::default() });
    let tag = |number: u8| Invalidation::hard(Selector::Tag(TagDigest::of(&[number])));
    ledger.append_all((0..4).map(tag), NOW);
    let mut entries = vec![tag(9)];
    let outcome = ledger.in_turn(|may_widen| ledger.try_append_all(&mut entries, NOW, may_widen)).await;
    assert_eq!((outcome, entries.len()), (Err(NoRoom::Full), 1));
    // Of a host, it is obeyed, and takes more of that host rather than to be lost.
    let ledger = Ledger::new(LedgerSettings { entries: 4, ..LedgerSettings::default() });
    ledger.append_all((0..4).map(|number| url_on("b.example", number)), NOW);
    let mut entries = vec![url_on("b.example", 9)];
    let outcome = ledger.in_turn(|may_widen| ledger.try_append_all(&mut entries, NOW, may_widen)).await;
    assert_eq!((outcome, ledger.status().coarsened), (Ok(Sequence::new(5)), 1));
}
