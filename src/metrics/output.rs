//! What the lines of a log are written to, and how many of them got there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long an output that takes nothing just now is left alone: a FIFO, or a pipe that its owner made non-blocking.
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
        let opened = append_to(&path)?;
        let mut output = Output { path: Some(path), ..Output::to(io::sink()) };
        output.replace(opened);
        Ok(output)
    }

    pub(super) fn to(sink: impl Write + Send + 'static) -> Self {
        Output { sink: Box::new(sink), path: None, torn: false, failing: false }
    }

    /// The file's path, if it is one.
    pub(super) fn path(&self) -> Option<&PathBuf> {
        self.path.as_ref()
    }

    /// Goes on with another file.
    pub(super) fn replace(&mut self, opened: Opened) {
        self.sink = Box::new(opened.file);
        self.torn = opened.torn;
    }

    /// Writes some whole lines.
    pub(super) fn write(&mut self, lines: &[u8]) -> Written {
        self.write_or_move(lines, || None)
    }

    /// Writes some whole lines; while the output takes nothing, another may take its place. The line that was
    /// being written is then written there as a whole.
    pub(super) fn write_or_move(&mut self, lines: &[u8], next: impl Fn() -> Option<Opened>) -> Written {
        let mut at = 0;
        while at < lines.len() {
            // Until the torn line is ended nothing may follow it.
            let piece = if self.torn { &b"\n"[..] } else { &lines[at..] };
            match self.sink.write(piece) {
                Ok(0) => return self.lost(lines, at, io::ErrorKind::WriteZero.into()),
                Ok(_) if self.torn => self.torn = false,
                Ok(written) => at += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => match next() {
                    Some(opened) => {
                        self.replace(opened);
                        at = memchr::memrchr(b'\n', &lines[..at]).map_or(0, |end| end + 1);
                    }
                    None => std::thread::sleep(REST),
                },
                Err(error) => return self.lost(lines, at, error),
            }
        }
        Written::Whole { again: std::mem::take(&mut self.failing) }
    }

    fn lost(&mut self, lines: &[u8], at: usize, error: io::Error) -> Written {
        let (written, rest) = lines.split_at(at);
        self.torn |= written.last().is_some_and(|byte| *byte != b'\n');
        let first = !std::mem::replace(&mut self.failing, true);
        Written::Lost { lines: memchr::memchr_iter(b'\n', rest).count() as u64, error, first }
    }
}

/// A file to append to.
pub(super) struct Opened {
    file: File,
    /// It ends within a line: the disk was full, or the process that wrote it was killed.
    torn: bool,
}

/// Opens a file to append to, and makes it if it is not there. Never waits for anybody: a FIFO is held open for
/// both ways at once, so that lines wait in it for a reader who comes late or is just being started anew.
pub(super) fn append_to(path: &Path) -> io::Result<Opened> {
    let is_fifo = std::fs::metadata(path).is_ok_and(|found| found.file_type().is_fifo());
    let file = OpenOptions::new()
        .read(is_fifo)
        .append(true)
        .create(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)?;
    let torn = !is_fifo && ends_within_a_line(path).unwrap_or(false);
    Ok(Opened { file, torn })
}

fn ends_within_a_line(path: &Path) -> io::Result<bool> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    let found = file.metadata()?;
    if !found.is_file() || found.len() == 0 {
        return Ok(false);
    }
    let mut last = [0];
    file.read_exact_at(&mut last, found.len() - 1)?;
    Ok(last != *b"\n")
}
