//! The operations log: what Larder itself has to say, on standard error.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;
use tracing_subscriber::util::SubscriberInitExt;

/// How the operations log reads and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationsLogSettings {
    pub format: OperationsLogFormat,
    /// A level, or directives such as `info,larder::backend=debug`. `RUST_LOG` goes before it.
    pub level: String,
}

impl Default for OperationsLogSettings {
    fn default() -> Self {
        OperationsLogSettings { format: OperationsLogFormat::Text, level: "info".into() }
    }
}

/// How a line of the operations log reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OperationsLogFormat {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// An object a line, for programs.
    Json,
}

/// Why the operations log could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum OperationsLogError {
    #[error("the log level {level:?} is not understood: {source}")]
    Level { level: String, source: ParseError },
    #[error("a log is set up already: {0}")]
    Installed(#[from] tracing_subscriber::util::TryInitError),
}

/// Checks a level or directives, as [`OperationsLogSettings::level`] takes them.
pub fn check_level(level: &str) -> Result<(), OperationsLogError> {
    filter(level).map(drop)
}

/// Sets up the log for the whole process. To be called once, before anything is logged.
pub fn install(settings: &OperationsLogSettings) -> Result<(), OperationsLogError> {
    let level = match std::env::var("RUST_LOG") {
        Ok(level) if !level.is_empty() => level,
        _ => settings.level.clone(),
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter(&level)?).with_writer(std::io::stderr);
    match settings.format {
        OperationsLogFormat::Text => {
            builder.with_ansi(std::io::stderr().is_terminal()).finish().try_init()?;
        }
        OperationsLogFormat::Json => {
            builder.json().flatten_event(true).with_ansi(false).finish().try_init()?;
        }
    }
    Ok(())
}

fn filter(level: &str) -> Result<EnvFilter, OperationsLogError> {
    EnvFilter::try_new(level).map_err(|source| OperationsLogError::Level { level: level.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_and_directives_are_understood_and_nonsense_is_refused() {
        for level in ["info", "warn,larder::backend=debug", "off"] {
            assert!(check_level(level).is_ok(), "{level}");
        }
        let error = check_level("larder=loud").unwrap_err();
        assert!(error.to_string().contains("larder=loud"), "{error}");
    }
}
