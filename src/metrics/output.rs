//! What the lines of a log are written to, and how many of them got there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an output that takes nothing just now is left alone: a pipe that its owner made non-blocking.
const REST: Duration = Duration::from_millis(10);

/// An output of whole lines. Writing blocks: it belongs to a thread that nobody waits for.
pub(super) struct Output {
    sink: Box<dyn Write + Send>,
    path: Option<PathBuf>,
    /// The last write ended within a line.
    torn: bool,
    failing: bool,
}

/// What became of some lines.
#[derive(Debug)]
pub(super) enum Written {
    /// All of them are written.
    Whole {
        /// Those before them were not.
        again: bool,
    },
    /// So many are lost.
    Lost {
        lines: u64,
        error: io::Error,
        /// Those before them were not.
        first: bool,
    },
}

impl Output {
    /// Standard output, past the standard library's buffer and lock: what others print does not wait for a log.
    pub(super) fn stdout() -> io::Result<Self> {
        Ok(Output::to(File::from(io::stdout().as_fd().try_clone_to_owned()?)))
    }

    /// Standard error, past the standard library's lock.
    pub(super) fn stderr() -> io::Result<Self> {
        Ok(Output::to(File::from(io::stderr().as_fd().try_clone_to_owned()?)))
    }

    /// Appends to a file, which is made if it is not there.
    pub(super) fn file(path: PathBuf) -> io::Result<Self> {
        let file = append_to(&path)?;
        Ok(Output { path: Some(path), ..Output::to(file) })
    }

    pub(super) fn to(sink: impl Write + Send + 'static) -> Self {
        Output { sink: Box::new(sink), path: None, torn: false, failing: false }
    }

    /// The file's path, if it is one.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.path.as_ref()
    }

    /// Goes on with another file.
    pub(super) fn replace(&mut self, file: File) {
        self.sink = Box::new(file);
        self.torn = false;
    }

    /// Writes some whole lines.
    pub(super) fn write(&mut self, mut lines: &[u8]) -> Written {
        if self.torn && self.sink.write_all(b"\n").is_ok() {
            self.torn = false;
        }
        let mut last = None;
        while !lines.is_empty() {
            match self.sink.write(lines) {
                Ok(0) => return self.lost(lines, last, io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    last = Some(lines[written - 1]);
                    lines = &lines[written..];
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::thread::sleep(REST),
                Err(error) => return self.lost(lines, last, error),
            }
        }
        Written::Whole { again: std::mem::take(&mut self.failing) }
    }

    fn lost(&mut self, rest: &[u8], last: Option<u8>, error: io::Error) -> Written {
        self.torn |= last.is_some_and(|byte| byte != b'\n');
        let first = !std::mem::replace(&mut self.failing, true);
        Written::Lost { lines: memchr::memchr_iter(b'\n', rest).count() as u64, error, first }
    }
}

pub(super) fn append_to(path: &Path) -> io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}
