//! Races that a storm of threads would meet once in a million times, made to happen.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::cell::RefCell;
use std::time::Duration;

use larder::clock::Moment;
use larder::store::expression::{Expression, ExpressionLimits};
use larder::store::ledger::{
    Invalidation, Ledger, LedgerSettings, Pressure, Review, Selector, Sequence, Subject, Verdict,
};
use larder::store::tags::TagDigest;

const NOW: Moment = Moment::from_unix_secs(1_000_000);

/// A response that lets something happen when it is first asked for its size: in the midst of a judgement.
struct Page<'a> {
    meanwhile: RefCell<Option<Box<dyn FnOnce() + 'a>>>,
}

impl<'a> Page<'a> {
    fn quiet() -> Self {
        Page { meanwhile: RefCell::new(None) }
    }

    fn with(meanwhile: impl FnOnce() + 'a) -> Self {
        Page { meanwhile: RefCell::new(Some(Box::new(meanwhile))) }
    }
}

impl Subject for Page<'_> {
    fn key(&self) -> u128 {
        1 << 100
    }
    fn page(&self) -> u128 {
        1 << 99
    }
    fn host(&self) -> &str {
        "a.example"
    }
    fn target(&self) -> &[u8] {
        b"/a"
    }
    fn tags(&self) -> &[TagDigest] {
        &[]
    }
    fn status(&self) -> u16 {
        200
    }
    fn size(&self) -> u64 {
        let meanwhile = self.meanwhile.borrow_mut().take();
        if let Some(meanwhile) = meanwhile {
            meanwhile();
        }
        1024
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

fn ban(source: &str) -> Invalidation {
    let expression = Expression::parse(source, &ExpressionLimits::default()).unwrap();
    Invalidation::hard(Selector::Expression(expression))
}

#[test]
fn a_ban_that_gives_way_to_a_later_one_during_a_judgement_is_not_missed() {
    let ledger = Ledger::new(LedgerSettings::default());
    let standing = ledger.admit(&Page::quiet(), &ledger.birth(NOW)).unwrap();
    ledger.append(ban("status == 200"), NOW);
    // Enough of them that the first is not yet in hand when the newest are evaluated.
    for size in 0..40 {
        ledger.append(ban(&format!("size == {size}")), NOW);
    }
    let page =
        Page::with(|| drop(std::hint::black_box(ledger.append(ban("status == 200"), NOW).to_string())));
    assert_eq!(standing.review(&ledger, &page), Review::Gone);
}

#[test]
fn a_response_that_a_sweep_judges_at_the_same_time_is_not_lost() {
    let ledger = Ledger::new(LedgerSettings::default());
    let standing = ledger.admit(&Page::quiet(), &ledger.birth(NOW)).unwrap();
    ledger.append(ban("size == 1"), NOW);
    let page = Page::with(|| {
        let sweep = ledger.begin_sweep(NOW);
        assert_eq!(standing.review(&ledger, &Page::quiet()), Review::Good);
        assert_eq!(ledger.finish_sweep(sweep), 1);
    });
    assert_eq!(standing.review(&ledger, &page), Review::Good);
    assert_eq!(ledger.status().beyond_memory, 1);
}

#[test]
fn a_purge_during_a_judgement_is_found_by_the_next() {
    let ledger = Ledger::new(LedgerSettings::default());
    let standing = ledger.admit(&Page::quiet(), &ledger.birth(NOW)).unwrap();
    ledger.append(ban("size == 1"), NOW);
    let page = Page::with(|| {
        ledger.append(Invalidation::hard(Selector::Key(Page::quiet().key())), NOW);
    });
    assert_eq!(standing.review(&ledger, &page), Review::Good);
    assert_eq!(standing.judged(), Some(Sequence::new(1)));
    assert_eq!(standing.review(&ledger, &page), Review::Gone);
    assert_eq!(standing.judged(), None);
}

#[test]
fn a_response_judged_before_a_sweep_and_stored_during_it_survives() {
    let ledger = Ledger::new(LedgerSettings::default());
    let page = Page::quiet();
    let birth = ledger.birth(NOW);
    let standing = ledger.admit(&page, &birth).unwrap();
    ledger.append(Invalidation::hard(Selector::Key(1 << 50)), NOW);
    let sweep = ledger.begin_sweep(NOW);
    assert_eq!(sweep.target(), birth.born());
    // It is stored now, behind the sweeper's back.
    drop(birth);
    ledger.finish_sweep(sweep);
    assert_eq!(standing.review(&ledger, &page), Review::Good);
}

#[test]
fn a_response_that_could_not_be_judged_holds_the_sweep_back() {
    let ledger = Ledger::new(LedgerSettings::default());
    let page = Page::quiet();
    let standing = ledger.admit(&page, &ledger.birth(NOW)).unwrap();
    let by = ledger.append(Invalidation::hard(Selector::Key(page.key())), NOW);
    let mut sweep = ledger.begin_sweep(NOW);
    sweep.leave_behind(standing.judged().unwrap());
    assert_eq!(ledger.finish_sweep(sweep), 0);
    assert_eq!(ledger.judge(&page, Sequence::ZERO), Verdict::Hard { by });
}

#[test]
fn large_expressions_are_bounded_by_their_memory() {
    let settings = LedgerSettings { expression_memory: 1 << 20, ..LedgerSettings::default() };
    let ledger = Ledger::new(settings);
    for number in 0..200 {
        ledger.append(ban(&format!("host == h{number} && url ~ \"(a{{20}}b{{20}}){{20}}{number}\"")), NOW);
    }
    let status = ledger.status();
    assert!(status.expressions < 100 && status.coarsened > 100, "{status:?}");
    assert!(status.weight < 2 << 20, "{status:?}");
    assert!(ledger.pressure() > Pressure::Calm);
}
