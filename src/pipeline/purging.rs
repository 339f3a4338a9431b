//! Purge requests on the public listener.

use super::{Journey, Pipeline};
use crate::message::Response;

/// Who may purge on the public listener; nobody by default.
#[derive(Clone, Debug, Default)]
pub struct PublicPurging {}

impl Pipeline {
    /// The answer to a purge request; `None` if it is none.
    pub(super) fn answer_purge(&self, _journey: &Journey) -> Option<Response> {
        None
    }
}
