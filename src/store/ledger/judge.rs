//! Judgement: whether anything in the ledger condemns a response.

use std::sync::atomic::{AtomicU64, Ordering};

use super::births::Birth;
use super::entry::{HostDigest, Sequence};
use super::marks::Mark;
use super::slot::Finding;
use super::standing::{Review, Standing};
use super::subject::Subject;
use super::{Condemned, Ledger, Verdict};
use crate::store::tags::TagDigest;

fn path_of(target: &[u8]) -> &[u8] {
    memchr::memchr(b'?', target).map_or(target, |mark| &target[..mark])
}

impl Ledger {
    /// Judges a response against every entry after `since`.
    ///
    /// Where nothing is found, everything up to `up_to` has been looked at.
    pub fn judge(&self, subject: &dyn Subject, since: Sequence) -> Verdict {
        // Before anything else: entries that come while this runs may or may not be seen.
        let up_to = self.head();
        let mut finding = Finding::new(since);
        if since < up_to {
            self.look_up(subject, &mut finding);
        }
        // Last: entries leave the index only after this was raised above them.
        let floor = Sequence::new(self.floor.load(Ordering::Acquire));
        if finding.hard != 0 {
            Verdict::Hard { by: Sequence::new(finding.hard) }
        } else if since < floor {
            self.beyond_memory.fetch_add(1, Ordering::Relaxed);
            Verdict::Unknown
        } else if finding.soft != 0 {
            Verdict::Soft { by: Sequence::new(finding.soft), at: finding.soft_at, up_to }
        } else {
            Verdict::Untouched { up_to }
        }
    }

    /// Looks where something new is, cheap places first. What becomes coarse while this runs was put there
    /// before it left the index, so the coarse entries come last.
    fn look_up(&self, subject: &dyn Subject, finding: &mut Finding) {
        let latest = &self.latest.0;
        let since = finding.since;
        let is_new = |kind: &AtomicU64| kind.load(Ordering::Acquire) > since;
        if is_new(&latest.key) {
            self.marks.show(Mark::key(subject.key()), finding);
        }
        if is_new(&latest.page) {
            self.marks.show(Mark::page(subject.page()), finding);
        }
        if is_new(&latest.host) {
            self.marks.show(Mark::host(subject.host()), finding);
            self.marks.show(Mark::any_port_of(subject.host()), finding);
        }
        if is_new(&latest.tag) {
            for tag in subject.tags() {
                self.marks.show(Mark::tag(*tag), finding);
            }
            if subject.tags().first() == Some(&TagDigest::ANY) {
                latest.any_tag.show(finding);
            }
        }
        let host = || HostDigest::of(subject.host());
        if is_new(&latest.url) {
            self.marks.show(Mark::url(None, subject.target()), finding);
            self.marks.show(Mark::url(Some(host()), subject.target()), finding);
        }
        if is_new(&latest.path) {
            self.marks.show(Mark::path(None, path_of(subject.target())), finding);
            self.marks.show(Mark::path(Some(host()), path_of(subject.target())), finding);
        }
        if is_new(&latest.prefix) && !finding.is_settled() {
            self.prefixes.find(subject.host(), subject.target(), finding);
        }
        if is_new(&latest.ban) && !finding.is_settled() {
            self.bans.find(subject, finding);
        }
        if self.coarse.is_newer_than(since) && !finding.is_settled() {
            let (host, any_port, target) =
                (host(), HostDigest::any_port_of(subject.host()), subject.target());
            let marks = [
                Mark::key(subject.key()),
                Mark::page(subject.page()),
                Mark::of_host(host),
                Mark::of_host(any_port),
                Mark::url(None, target),
                Mark::url(Some(host), target),
                Mark::path(None, path_of(target)),
                Mark::path(Some(host), path_of(target)),
            ];
            let marks = marks.into_iter().chain(subject.tags().iter().copied().map(Mark::tag));
            self.coarse.find([host, any_port], marks, finding);
        }
        self.coarse.everything.show(finding);
    }

    /// Judges a response that is about to be stored, or freshened by a 304, from the birth of its fetch.
    ///
    /// A response that was softly purged on its way is admitted as stale. Keep `birth` until the response
    /// is in the store. Before a 304 freshens a stored response, that one's own
    /// [`review`](Standing::review) must not say that it is [gone](Review::Gone).
    ///
    /// # Errors
    /// A hard purge came while the response was on its way: deliver it, but do not keep it.
    pub fn admit(&self, subject: &dyn Subject, birth: &Birth) -> Result<Standing, Condemned> {
        match self.judge(subject, birth.born()) {
            Verdict::Untouched { up_to } => Ok(Standing::new(up_to, None)),
            Verdict::Soft { by, at, up_to } => {
                self.count_fallen(by);
                Ok(Standing::new(up_to, Some(at)))
            }
            Verdict::Hard { by } => {
                self.count_fallen(by);
                Err(Condemned { by: Some(by) })
            }
            Verdict::Unknown => Err(Condemned { by: None }),
        }
    }

    /// Judges what a 304 makes of a stored response. What condemned the stored one while it was validated
    /// condemns this too, even where the 304 took away the tag or field that it fell by: the body is the
    /// same. `standing` is the stored one's.
    ///
    /// # Errors
    /// A hard purge came for either: nothing of it is to be kept.
    pub fn admit_freshened(
        &self,
        freshened: &dyn Subject,
        stored: &dyn Subject,
        standing: &Standing,
        birth: &Birth,
    ) -> Result<Standing, Condemned> {
        let admitted = self.admit(freshened, birth)?;
        if standing.review(self, stored) == Review::Gone {
            return Err(Condemned { by: Some(self.head()) });
        }
        match self.judge(stored, birth.born()) {
            Verdict::Hard { by } => Err(Condemned { by: Some(by) }),
            Verdict::Unknown => Err(Condemned { by: None }),
            Verdict::Soft { at, .. } => Ok(admitted.stale_since(at)),
            Verdict::Untouched { .. } => Ok(admitted),
        }
    }
}
