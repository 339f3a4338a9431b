//! Responses as the ledger judges them: those that are stored, and those on their way.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;

use super::ledger::Subject;
use super::response::{Place, StoredResponse};
use super::tags::{TagDigest, TagSettings};
use crate::clock::Moment;
use crate::message::lines_of;
use crate::semantics::Facts;

/// A response as the ledger judges it, whether it is stored or on its way.
#[derive(Clone, Copy, Debug)]
pub struct Described<'a> {
    pub place: &'a Place,
    pub status: StatusCode,
    pub lines: &'a Bytes,
    pub hidden: &'a Bytes,
    pub facts: &'a Facts,
    /// The length of the body, in bytes.
    pub size: u64,
    pub tags: &'a [TagDigest],
    /// Which of the fields carry tags.
    pub settings: &'a TagSettings,
}

impl Subject for Described<'_> {
    fn key(&self) -> u128 {
        self.place.url()
    }

    fn page(&self) -> u128 {
        self.place.page
    }

    fn host(&self) -> &str {
        &self.place.host
    }

    fn target(&self) -> &[u8] {
        &self.place.target
    }

    fn tags(&self) -> &[TagDigest] {
        self.tags
    }

    fn status(&self) -> u16 {
        self.status.as_u16()
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn age_at(&self, moment: Moment) -> Duration {
        self.facts.current_age(moment)
    }

    fn any_field(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        lines_of(self.lines)
            .chain(lines_of(self.hidden))
            .any(|(n, value)| n.eq_ignore_ascii_case(name.as_bytes()) && test(value))
    }

    fn any_tag(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        self.settings.any_name(lines_of(self.hidden).chain(lines_of(self.lines)), test)
    }
}

/// A stored response as the ledger judges it.
#[derive(Clone, Copy, Debug)]
pub struct Judged<'a> {
    response: &'a StoredResponse,
    settings: &'a TagSettings,
}

impl<'a> Judged<'a> {
    pub(super) fn new(response: &'a StoredResponse, settings: &'a TagSettings) -> Self {
        Judged { response, settings }
    }
}

impl Subject for Judged<'_> {
    fn key(&self) -> u128 {
        self.response.key_of_url()
    }

    fn page(&self) -> u128 {
        self.response.page()
    }

    fn host(&self) -> &str {
        self.response.host()
    }

    fn target(&self) -> &[u8] {
        self.response.target()
    }

    fn tags(&self) -> &[TagDigest] {
        self.response.tags()
    }

    fn status(&self) -> u16 {
        self.response.status.as_u16()
    }

    fn size(&self) -> u64 {
        self.response.body.len()
    }

    fn age_at(&self, moment: Moment) -> Duration {
        self.response.facts().current_age(moment)
    }

    fn any_field(&self, name: &str, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        lines_of(&self.response.lines(0))
            .chain(lines_of(self.response.hidden()))
            .any(|(n, value)| n.eq_ignore_ascii_case(name.as_bytes()) && test(value))
    }

    fn any_tag(&self, test: &mut dyn FnMut(&[u8]) -> bool) -> bool {
        let lines = self.response.lines(0);
        self.settings.any_name(lines_of(self.response.hidden()).chain(lines_of(&lines)), test)
    }
}
