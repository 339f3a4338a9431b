//! The operations log: what Larder itself has to say, on standard error.
//!
//! Promises: to say something never waits for whoever reads it and never fails; what is lost is counted, and told
//! when it can be; no kind of line fills a disk. Nothing else in the program writes to standard error while it
//! serves: `eprintln!` waits, and panics where nobody reads.

mod throttle;
mod writer;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use tracing_subscriber::filter::ParseError;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, fmt as lines};

use super::output::Output;
use throttle::Throttle;
use writer::Writer;

/// Lines about the log itself. They are few, and not held back.
const OWN_TARGET: &str = "larder::log";

/// How long the end of the process, or a panic of its main thread, waits for lines to be written.
const LAST_LINES: Duration = Duration::from_secs(1);

/// The log of this process.
static LOG: OnceLock<(Writer, Throttle)> = OnceLock::new();

/// How the operations log reads and what it holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationsLogSettings {
    pub format: OperationsLogFormat,
    /// A level, or directives such as `info,larder::backend=debug`. `RUST_LOG` goes before it.
    pub level: String,
    /// Bytes of lines that may wait to be written; past that, lines are dropped and counted.
    pub buffer: usize,
    /// Lines of one kind that are written within a second; the others are counted. 0: all.
    pub similar_lines: u64,
}

impl Default for OperationsLogSettings {
    fn default() -> Self {
        OperationsLogSettings {
            format: OperationsLogFormat::Text,
            level: "info".into(),
            buffer: 1024 * 1024,
            similar_lines: 10,
        }
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
    #[error("its thread cannot start: {0}")]
    Thread(#[from] io::Error),
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
    let throttle = Throttle::new(settings.similar_lines);
    let tells = throttle.clone();
    let writer = Writer::start(Output::stderr()?, settings.buffer, move || tells.tell(false))?;
    // What goes wrong within must not be told by `eprintln!`.
    let layer = lines::layer().with_writer(writer.clone()).log_internal_errors(false);
    let layer = match settings.format {
        OperationsLogFormat::Text => layer.with_ansi(io::stderr().is_terminal()).boxed(),
        OperationsLogFormat::Json => layer.json().flatten_event(true).with_ansi(false).boxed(),
    };
    tracing_subscriber::registry().with(layer).with(throttle.clone()).with(filter(&level)?).try_init()?;
    if LOG.set((writer, throttle)).is_ok() {
        std::panic::set_hook(Box::new(log_panic));
    }
    Ok(())
}

/// Says something that is no event: lines as they are, each with its end.
pub fn say(text: &str) {
    match LOG.get() {
        Some((writer, _)) => writer.append(text.as_bytes()),
        None => {
            // Where nobody takes it there is nobody to tell.
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

/// Waits until all that was said is written, but not for long. Blocks the thread.
pub fn flush() {
    if let Some((writer, throttle)) = LOG.get() {
        throttle.tell(true);
        writer.flush(LAST_LINES);
    }
}

/// Lines of this process that were lost so far.
pub fn dropped_lines() -> u64 {
    LOG.get().map_or(0, |(writer, _)| writer.dropped_lines())
}

/// A panic is a line of this log. The standard library's own message would wait for whoever reads it.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let current = std::thread::current();
    let thread = current.name().unwrap_or("unnamed");
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let words = panic.payload();
    let text = words.downcast_ref::<&str>().copied().or(words.downcast_ref::<String>().map(String::as_str));
    let text = text.unwrap_or("no words");
    tracing::error!(thread, place, "panicked: {text}");
    // It ends the process.
    if thread == "main" {
        flush();
    }
}

/// A text of a client's as it may stand in a line: its beginning, without what a terminal would obey.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a [u8]);

impl Shown<'_> {
    /// So much of it is shown.
    pub const BYTES: usize = 256;
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, rest) = self.0.split_at(self.0.len().min(Self::BYTES));
        for chunk in start.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    '\u{2028}' | '\u{2029}' => write!(f, "\\u{{{:x}}}", u32::from(character))?,
                    control if control.is_control() => write!(f, "\\u{{{:x}}}", u32::from(control))?,
                    other => fmt::Write::write_char(f, other)?,
                }
            }
            // Of a character that is cut at the end nothing is missed.
            for byte in chunk.invalid().iter().take(if rest.is_empty() { usize::MAX } else { 0 }) {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        if rest.is_empty() { Ok(()) } else { f.write_str("…") }
    }
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
        let settings = OperationsLogSettings { format, level: "warn".into(), ..Default::default() };
        install(&settings).unwrap();
        assert!(matches!(install(&settings), Err(OperationsLogError::Installed(_))));
        tracing::warn!(backend = "app", "it fails\nand goes on");
        tracing::info!("a detail");
        let joined = std::thread::Builder::new().name("worker-7".into()).spawn(|| panic!("a mistake"));
        assert!(joined.unwrap().join().is_err());
        (0..100).for_each(|number| tracing::warn!(number, "of a kind"));
        say("as it is\n");
        flush();
    }

    #[test]
    fn what_a_client_sent_is_shown_without_what_a_terminal_obeys_and_cut() {
        for (text, shown) in [
            (&b"/a?b=\xc3\xa9"[..], "/a?b=é"),
            (b"/\x1b[31m\n\x7f\xc2\x9b", "/\\u{1b}[31m\\u{a}\\u{7f}\\u{9b}"),
            (b"\xff/", "\\xff/"),
            ("\u{2028}".as_bytes(), "\\u{2028}"),
        ] {
            assert_eq!(Shown(text).to_string(), shown);
        }
        let long = Shown("é".repeat(1000).as_bytes()).to_string();
        assert_eq!(long, format!("{}…", "é".repeat(Shown::BYTES / 2)));
    }

    #[test]
    fn a_panic_is_a_line_of_the_log() {
        let text = written_by_a_child("text", "");
        assert!(text.contains("ERROR"), "{text}");
        assert!(text.contains("panicked: a mistake") && text.contains("thread=\"worker-7\""), "{text}");
        assert!(!text.contains("thread 'worker-7'"), "{text}");
    }

    #[test]
    fn of_a_hundred_similar_lines_ten_are_written_and_the_rest_told_of() {
        let text = written_by_a_child("text", "");
        assert!(text.lines().any(|line| line == "as it is"), "{text}");
        // The second may have turned in between.
        let written = text.lines().filter(|line| line.contains("of a kind number=")).count();
        let kept_back: usize = text
            .lines()
            .filter(|line| line.contains("similar lines were left out"))
            .filter_map(|line| line.split_once("lines=")?.1.split(' ').next()?.parse::<usize>().ok())
            .sum();
        assert!((10..=30).contains(&written), "{text}");
        assert_eq!(written + kept_back, 100, "{text}");
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
            written.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        assert_eq!(lines[0]["level"], "WARN");
        assert_eq!(lines[0]["message"], "it fails\nand goes on");
        assert_eq!(lines[0]["backend"], "app");
    }
}
