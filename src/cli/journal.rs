//! Priorities of lines that systemd's journal reads, in the form of sd-daemon(3): `<3>` before an
//! error. Without them every line has the priority of information.

use std::env;
use std::io::{self, Write};

use rustix::fs::fstat;
use tracing::{Level, Metadata};
use tracing_appender::non_blocking::NonBlocking;
use tracing_subscriber::fmt::MakeWriter;

/// Whether the journal reads standard error. systemd names its stream in `JOURNAL_STREAM`, as
/// `<device>:<inode>`. A child with another standard error inherits the variable too, so compare it.
///
/// <https://www.freedesktop.org/software/systemd/man/latest/systemd.exec.html#%24JOURNAL_STREAM>
pub fn reads_stderr() -> bool {
    let (Ok(stream), Ok(stderr)) = (env::var("JOURNAL_STREAM"), fstat(io::stderr())) else {
        return false;
    };
    stream == format!("{}:{}", stderr.st_dev, stderr.st_ino)
}

/// The text with the priority of `level` at the start of each line.
pub fn with_priority(level: &Level, text: &[u8]) -> Vec<u8> {
    let priority = match *level {
        Level::ERROR => "<3>",
        Level::WARN => "<4>",
        Level::INFO => "<6>",
        Level::DEBUG | Level::TRACE => "<7>",
    };
    let lines = text.split_inclusive(|byte| *byte == b'\n');
    lines.flat_map(|line| [priority.as_bytes(), line]).flatten().copied().collect()
}

/// Writes log lines, each with its priority.
pub struct JournalLines(pub NonBlocking);

/// Writes the lines of one event.
pub struct EventLines {
    lines: NonBlocking,
    level: Level,
}

impl<'a> MakeWriter<'a> for JournalLines {
    type Writer = EventLines;

    fn make_writer(&'a self) -> EventLines {
        EventLines { lines: self.0.clone(), level: Level::INFO }
    }

    fn make_writer_for(&'a self, event: &Metadata<'_>) -> EventLines {
        EventLines { lines: self.0.clone(), level: *event.level() }
    }
}

impl Write for EventLines {
    /// Takes a whole event, as tracing-subscriber writes it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        self.lines.write_all(&with_priority(&self.level, event))?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.lines.flush()
    }
}
