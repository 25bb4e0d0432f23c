//! Exports from a server, over several connections if one breaks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;
use std::time::Duration;

use event_stream::client::Response;
use event_stream::printable::printable;

use crate::cli::export::gap_counter::GapCounter;
use crate::cli::export::output::Output;
use crate::cli::export::{ExportError, Progress, Selection};
use crate::cli::note;
use crate::cursor::Cursor;
use crate::export_format::Format;
use crate::remote::{Expected, Remote, RemoteError};
use crate::roll::{RollId, RolledAt};
use crate::text::shortened;

/// How many attempts in a row may bring no roll, and the pause between attempts.
const MAX_FAILURES: u32 = 5;
const PAUSE: Duration = Duration::from_secs(1);
/// A connection that has not brought the whole file after this time is closed, and the rest
/// requested on another one.
const MAX_AGE: Duration = Duration::from_secs(600);
/// How many bytes a line may have: many times a roll of a thousand dice.
const MAX_LINE_BYTES: u64 = 1 << 20;

/// A file that is being downloaded.
struct Download<'a> {
    format: Format,
    gaps: &'a mut GapCounter,
    out: &'a mut Output,
    /// The first line of a CSV file.
    columns: Option<Vec<u8>>,
    /// The last roll. It has a time, so that the server notices if another history has replaced
    /// its own meanwhile.
    last: Option<Cursor>,
    /// The last roll of the whole file, as the first response names it.
    end: Option<RollId>,
    /// Rolls before the first one of this connection that the server cannot read.
    unreadable_before: Vec<RollId>,
    /// Rolls after the end that the server cannot read, as the first response names them.
    unreadable_after: Vec<RollId>,
    /// Whether this connection has brought a roll. Within one file, only rolls that cannot be
    /// read are missing.
    has_rolls: bool,
    progress: Option<Progress>,
}

/// How a connection ended.
enum Received {
    Whole,
    Part { end: RollId, why: anyhow::Error },
}

/// Why a connection brought nothing that can be continued.
enum Stopped {
    Refused(RemoteError),
    Failed(ExportError),
}

impl From<io::Error> for Stopped {
    fn from(error: io::Error) -> Stopped {
        Stopped::Failed(error.into())
    }
}

/// Writes the selected rolls that the server has now, line by line. So after a broken connection
/// the rest continues after a complete line.
///
/// # Errors
///
/// The server refuses the request or answers wrongly, several connections in a row bring no roll,
/// or `out` cannot be written to.
pub fn export(
    selection: &Selection,
    remote: &Remote,
    gaps: &mut GapCounter,
    out: &mut Output,
) -> Result<(), ExportError> {
    let mut download = Download {
        format: selection.format,
        gaps,
        out,
        columns: None,
        last: None,
        end: None,
        unreadable_before: Vec::new(),
        unreadable_after: Vec::new(),
        has_rolls: false,
        progress: None,
    };
    let mut query = query(selection, selection.before.map(|before| before.to_string()), None);
    let mut n_failures = 0;
    loop {
        let last_before = download.last;
        let why = match download.receive(remote, &query) {
            Ok(Received::Whole) => break,
            Ok(Received::Part { end, why }) => {
                // The end of the same file, also if the server has newer rolls by now.
                query = self::query(selection, Some(end.next().to_string()), download.last);
                why
            }
            Err(Stopped::Refused(error)) if last_before.is_none() => {
                return Err(ExportError::Read(error.into()));
            }
            Err(Stopped::Refused(error)) => anyhow::Error::new(error),
            Err(Stopped::Failed(error)) => return Err(error),
        };
        n_failures = if download.last == last_before { n_failures + 1 } else { 1 };
        if n_failures >= MAX_FAILURES {
            return Err(ExportError::Read(why.context("the download makes no progress")));
        }
        note(format_args!("{why:#}; requesting the rest"));
        thread::sleep(PAUSE);
    }
    download.finish()
}

/// The query of a request for the selected rolls after `last` and before `before`.
fn query(selection: &Selection, before: Option<String>, last: Option<Cursor>) -> String {
    let after = last.or(selection.after);
    let since = selection.since.filter(|_| after.is_none());
    let fields = [
        before.map(|before| format!("before={before}")),
        after.map(|after| format!("after={after}")),
        since.map(|since| format!("since={}", since.in_query())),
    ];
    fields.into_iter().flatten().collect::<Vec<_>>().join("&")
}

impl Download<'_> {
    fn receive(&mut self, remote: &Remote, query: &str) -> Result<Received, Stopped> {
        let (extension, expected) = match self.format {
            Format::Csv => ("csv", Expected { content_type: "text/csv", name: "a CSV file" }),
            Format::Ndjson | Format::Json => {
                let content_type = "application/x-ndjson";
                ("ndjson", Expected { content_type, name: "NDJSON" })
            }
        };
        let path = format!("/api/rolls.{extension}?{query}");
        let response = remote.get(&path, expected, &[], MAX_AGE).map_err(Stopped::Refused)?;
        let end = response.headers.get("Rollcast-Last").and_then(|id| id.to_str().ok());
        let Some(end) = end.and_then(|id| id.parse::<RollId>().ok()) else {
            return Err(failed("expected the id of the last roll in `Rollcast-Last`"));
        };
        let (before, after) = unreadable(&response).into_iter().partition(|id| *id < end);
        if self.end.is_none() {
            (self.end, self.unreadable_after) = (Some(end), after);
        }
        self.unreadable_before = before;
        self.has_rolls = false;
        let mut lines = BufReader::new(response.into_body());
        let mut expects_columns = self.format == Format::Csv;
        let why = loop {
            let mut line = Vec::new();
            match lines.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line) {
                Ok(0) => break anyhow::anyhow!("the server ended the file early"),
                Ok(_) if line.last() != Some(&b'\n') => {
                    break anyhow::anyhow!("the file broke off within a line");
                }
                Ok(_) if expects_columns => {
                    expects_columns = false;
                    self.columns(line)?;
                }
                Ok(_) => self.roll(&line, end)?,
                Err(error) => break anyhow::Error::new(error).context("the connection broke"),
            }
        };
        let last = self.last.map_or(RollId::BEFORE_FIRST, |last| last.id);
        let is_whole = !expects_columns && last >= end;
        Ok(if is_whole { Received::Whole } else { Received::Part { end, why } })
    }

    /// Writes the first line of a CSV file once; each connection brings it again.
    fn columns(&mut self, line: Vec<u8>) -> Result<(), Stopped> {
        match &self.columns {
            None if !is_plain(&line) => {
                Err(failed(format!("expected the names of columns, got `{}`", quoted(&line))))
            }
            None => {
                self.out.write_all(&line)?;
                self.columns = Some(line);
                Ok(())
            }
            Some(columns) if *columns == line => Ok(()),
            Some(_) => Err(failed("the rest has other columns: other dice are configured now")),
        }
    }

    fn roll(&mut self, line: &[u8], end: RollId) -> Result<(), Stopped> {
        let last = self.last.map(|last| last.id);
        let next = cursor_of(self.format, line)
            .filter(|cursor| is_plain(line) && last.is_none_or(|last| cursor.id > last));
        let Some(cursor) = next else {
            let line = quoted(line);
            return Err(match last {
                Some(last) => failed(format!("expected roll {}, got `{line}`", last.next())),
                None => failed(format!("expected a roll, got `{line}`")),
            });
        };
        if self.has_rolls {
            // Within one file, a server leaves out only rolls that it cannot read.
            self.gaps.skip_unreadable_to(cursor.id);
        } else {
            let unreadable = std::mem::take(&mut self.unreadable_before).into_iter();
            unreadable.filter(|id| *id < cursor.id).for_each(|id| self.gaps.add_unreadable(id));
        }
        self.gaps.add(cursor.id);
        self.has_rolls = true;
        if self.format == Format::Json {
            self.out.write_all(if self.last.is_none() { b"[\n" } else { b",\n" })?;
            self.out.write_all(line.trim_ascii_end())?;
        } else {
            self.out.write_all(line)?;
        }
        let n_rolls = u64::try_from(end.0 - cursor.id.0 + 1).unwrap_or(1);
        self.progress.get_or_insert_with(|| Progress::new(n_rolls)).add(1);
        self.last = Some(cursor);
        Ok(())
    }

    fn finish(self) -> Result<(), ExportError> {
        if let Some(end) = self.end {
            self.gaps.skip_to(end.next());
        }
        self.unreadable_after.iter().for_each(|id| self.gaps.add_unreadable(*id));
        if self.format == Format::Json {
            self.out.write_all(if self.last.is_some() { b"\n]\n" } else { b"[\n]\n" })?;
        }
        Ok(())
    }
}

fn failed(why: impl std::fmt::Display) -> Stopped {
    Stopped::Failed(ExportError::Read(anyhow::anyhow!("{why}")))
}

/// Whether a line steers no terminal on which the export is shown.
fn is_plain(line: &[u8]) -> bool {
    std::str::from_utf8(line).is_ok_and(|line| printable(line.trim_end()) == line.trim_end())
}

/// The beginning of a line, for an error.
fn quoted(line: &[u8]) -> String {
    printable(&shortened(String::from_utf8_lossy(line).trim_end()))
}

/// The rolls before the first and after the last one of a file that the server cannot read.
fn unreadable(response: &Response) -> Vec<RollId> {
    let ids = response.headers.get("Rollcast-Unreadable").and_then(|ids| ids.to_str().ok());
    ids.unwrap_or_default().split(", ").filter_map(|id| id.parse().ok()).collect()
}

/// The cursor of the roll on a line, as the API writes it.
fn cursor_of(format: Format, line: &[u8]) -> Option<Cursor> {
    let line = std::str::from_utf8(line).ok()?;
    let (id, rest, end) = match format {
        Format::Csv => {
            let (id, rest) = line.split_once(',')?;
            (id, rest, ',')
        }
        Format::Ndjson | Format::Json => {
            let (id, rest) = line.strip_prefix(r#"{"id":"#)?.split_once(r#","rolled_at":""#)?;
            (id, rest, '"')
        }
    };
    let rolled_at: RolledAt = rest.split(end).next()?.trim_end().parse().ok()?;
    Some(Cursor { id: id.parse().ok()?, unix_millis: Some(rolled_at.unix_millis()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_its_roll_in_each_format() {
        let csv = "41,2026-11-23T00:00:01.123Z,4,17\r\n";
        let json = "{\"id\":41,\"rolled_at\":\"2026-11-23T00:00:01.123Z\",\"dice\":{\"1D6\":4}}\n";
        for (format, line) in [(Format::Csv, csv), (Format::Ndjson, json), (Format::Json, json)] {
            let cursor = cursor_of(format, line.as_bytes()).map(|cursor| cursor.to_string());
            assert_eq!(cursor.as_deref(), Some("41-1795392001123"), "{line}");
        }
        let other =
            [csv, "", "\n", "41\n", "x,2026-11-23T00:00:01.123Z\n", "41,soon\n", "\u{fffd}"];
        for line in &other[1..] {
            assert_eq!(cursor_of(Format::Csv, line.as_bytes()), None, "{line}");
        }
        assert_eq!(cursor_of(Format::Ndjson, csv.as_bytes()), None);
    }

    #[test]
    fn the_rest_is_requested_after_the_last_roll_and_up_to_the_same_end() {
        let cursor = |text: &str| text.parse::<Cursor>().expect("a cursor");
        let selection = |after: Option<&str>, since: Option<&str>| Selection {
            format: Format::Csv,
            after: after.map(cursor),
            before: None,
            since: since.map(|since| since.parse().expect("a time")),
        };
        let table = [
            (selection(None, None), None, ""),
            (selection(None, Some("1h")), None, "since=3600s0ms"),
            (selection(None, Some("1h")), Some("2-17"), "after=2-17"),
            (selection(Some("1-5"), None), None, "after=1-5"),
            (selection(Some("1-5"), None), Some("2-17"), "after=2-17"),
        ];
        for (selection, last, expected) in table {
            let last = last.map(cursor);
            assert_eq!(query(&selection, None, last), expected);
            let rest = query(&selection, Some("6".into()), last);
            let expected = ["before=6", expected].into_iter().filter(|field| !field.is_empty());
            assert_eq!(rest, expected.collect::<Vec<_>>().join("&"));
        }
    }
}
