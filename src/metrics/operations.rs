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

    /// What a process of its own writes to standard error: the log is set up once for a whole process.
    fn written_by_a_child(format: &str, rust_log: &str) -> String {
        let child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--ignored", "--nocapture", "metrics::operations::tests::child"])
            .env("LARDER_TEST_LOG_FORMAT", format)
            .env("RUST_LOG", rust_log)
            .output()
            .unwrap();
        let written = String::from_utf8(child.stderr).unwrap();
        assert!(child.status.success(), "{written}");
        written
    }

    #[test]
    #[ignore = "run as a process of its own by the tests below"]
    fn child() {
        let Ok(format) = std::env::var("LARDER_TEST_LOG_FORMAT") else { return };
        let json = format == "json";
        let format = if json { OperationsLogFormat::Json } else { OperationsLogFormat::Text };
        let settings = OperationsLogSettings { format, level: "warn".into() };
        install(&settings).unwrap();
        assert!(matches!(install(&settings), Err(OperationsLogError::Installed(_))));
        tracing::warn!(backend = "app", "it fails\nand goes on");
        tracing::info!("a detail");
    }

    #[test]
    fn the_level_of_the_settings_holds_unless_rust_log_says_otherwise() {
        let text = written_by_a_child("text", "");
        assert!(
            text.contains("WARN") && text.contains("backend=\"app\"") && !text.contains("a detail"),
            "{text}"
        );
        assert!(written_by_a_child("text", "info").contains("a detail"));
    }

    #[test]
    fn as_json_every_line_is_an_object_with_the_event_s_fields_at_its_top() {
        let written = written_by_a_child("json", "info");
        let lines: Vec<serde_json::Value> =
            written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 2, "{written}");
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["message"], "it fails\nand goes on");
        assert_eq!(lines[0]["backend"], "app");
    }
}
