//! The composition root: the one file that knows all rooms; start, reload, drain.
//!
//! PLACEHOLDER on this branch: it is replaced as a whole when the rooms are put together. It refuses to
//! serve rather than to pretend.

use crate::cli::DemoArguments;
use crate::config::Settings;

/// Why the process could not serve.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("the rooms are not put together yet")]
    NotBuilt,
}

/// Serves until told to stop.
///
/// # Errors
/// When it cannot begin to.
pub async fn serve(_settings: Settings) -> Result<(), Failure> {
    Err(Failure::NotBuilt)
}

/// Serves the demo until told to stop.
///
/// # Errors
/// When it cannot begin to.
pub async fn demo(_arguments: DemoArguments) -> Result<(), Failure> {
    Err(Failure::NotBuilt)
}
