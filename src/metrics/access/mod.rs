//! The access log: one line for each request, JSON or text, written behind the requests' backs.

mod line;
mod writer;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::Finished;
use super::output::Output;
use writer::Writer;

/// Whether and how requests are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessLogSettings {
    pub destination: AccessLogDestination,
    pub format: AccessLogFormat,
    /// Bytes of lines that may wait to be written, in all; past that, lines are dropped and counted.
    pub buffer: usize,
}

impl Default for AccessLogSettings {
    fn default() -> Self {
        AccessLogSettings {
            destination: AccessLogDestination::Off,
            format: AccessLogFormat::Json,
            buffer: 8 * 1024 * 1024,
        }
    }
}

/// Where the access log goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AccessLogDestination {
    #[default]
    Off,
    Stdout,
    /// Appended to; made if it is not there.
    File(PathBuf),
}

/// How a line of the access log reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLogFormat {
    /// An object a line, for programs.
    #[default]
    Json,
    /// Columns, for people.
    Text,
    /// What Apache and nginx call so, for programs that read their logs.
    Combined,
}

/// The access log. Cheap to clone; when the last clone is dropped, all lines are written out first, if the output
/// takes them within a few seconds.
#[derive(Clone)]
pub struct AccessLog(Option<Arc<Open>>);

struct Open {
    format: AccessLogFormat,
    writer: Writer,
}

impl AccessLog {
    /// Opens the log and starts the thread that writes it. Fails if the file cannot be opened or the
    /// thread not be started.
    pub fn open(settings: &AccessLogSettings) -> io::Result<Self> {
        let output = match &settings.destination {
            AccessLogDestination::Off => return Ok(AccessLog(None)),
            AccessLogDestination::Stdout => Output::stdout()?,
            AccessLogDestination::File(path) => Output::file(path.clone())?,
        };
        let writer = Writer::start(output, settings.buffer)?;
        Ok(AccessLog(Some(Arc::new(Open { format: settings.format, writer }))))
    }

    /// A log that writes nothing.
    pub fn off() -> Self {
        AccessLog(None)
    }

    /// Whether anything is written.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Writes a request's line into the buffer. Never waits for the disk; drops the line if the buffer is
    /// full. Lines of different threads may come out in another order than the requests ended in.
    pub fn record(&self, finished: &Finished<'_>) {
        let Some(open) = &self.0 else { return };
        open.writer.append(|buffer| match open.format {
            AccessLogFormat::Json => line::json(buffer, finished),
            AccessLogFormat::Text => line::text(buffer, finished),
            AccessLogFormat::Combined => line::combined(buffer, finished),
        });
    }

    /// Opens the file anew, after it was renamed; lines that are not yet written go to the new one.
    /// Fails, and goes on with the old file, if the new one cannot be opened.
    pub fn reopen(&self) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |open| open.writer.reopen())
    }

    /// Waits until all lines recorded so far are written, at most a few seconds. Blocks the thread.
    pub fn flush(&self) {
        if let Some(open) = &self.0 {
            open.writer.flush();
        }
    }

    /// Lines lost so far, because the buffer was full or the output failed.
    pub fn dropped_lines(&self) -> u64 {
        self.0.as_ref().map_or(0, |open| open.writer.dropped_lines())
    }
}

#[cfg(test)]
mod tests;
