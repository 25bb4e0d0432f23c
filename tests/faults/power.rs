//! Power cuts. A real server runs over `shim.c`, which records every write, sync and change of a
//! name in their order, and every roll that a client is sent. From the record follows what a cut at
//! any moment may leave on the disk: what was synced, and of the rest any part, in any order, torn
//! at sectors; names that were not made durable may be the old ones.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use rollcast::dice::Results;
use rollcast::roll::RollId;
use rollcast::statistics::DieTally;

use crate::common::events::{Ask, Stream};
use crate::common::{House, Server, wait_for};
use crate::report::{Recovered, Row, times};
use crate::shim::{Calls, Failure, Fault, Shim};

/// What a disk writes whole or not at all.
const SECTOR: usize = 512;
/// So many cuts, one is also started from by a server.
const SERVER_EVERY: usize = 100;

type Inode = u64;
type Names = BTreeMap<String, Inode>;

/// One line of the record.
#[derive(Debug)]
enum Operation {
    Write {
        inode: Inode,
        at: usize,
        bytes: Vec<u8>,
    },
    Truncate {
        inode: Inode,
        size: usize,
    },
    Sync(Inode),
    /// It failed: what was to be synced is called clean and never written.
    FailedSync(Inode),
    Create {
        inode: Inode,
        name: String,
    },
    Rename {
        inode: Inode,
        from: String,
        to: String,
    },
    Unlink(String),
    SyncFolder,
    /// These rolls have been sent, to the last byte.
    Sent(Vec<Sent>),
}

#[derive(Debug)]
struct Sent {
    id: usize,
    millis: i64,
    dice: String,
}

fn operations(record: &Path) -> Vec<Operation> {
    let record = fs::read(record).unwrap();
    let name = |path: &[u8]| {
        let path = Path::new(std::str::from_utf8(path).unwrap());
        path.file_name().unwrap().to_str().unwrap().to_string()
    };
    let (mut rest, mut operations) = (record.as_slice(), Vec::new());
    let mut connections = BTreeMap::<u64, Connection>::new();
    while let Some((head, after)) = rest.split_at_checked(21) {
        let number = |from: usize| u64::from_ne_bytes(head[from..from + 8].try_into().unwrap());
        let (inode, at) = (number(1), number(9) as usize);
        let n_bytes = u32::from_ne_bytes(head[17..].try_into().unwrap()) as usize;
        let (bytes, after) = after.split_at(n_bytes);
        rest = after;
        operations.push(match head[0] {
            b'W' => Operation::Write { inode, at, bytes: bytes.to_vec() },
            b'T' => Operation::Truncate { inode, size: at },
            b'S' => Operation::Sync(inode),
            b'F' => Operation::FailedSync(inode),
            b'C' => Operation::Create { inode, name: name(bytes) },
            b'R' => {
                let middle = bytes.iter().position(|byte| *byte == 0).unwrap();
                let (from, to) = (name(&bytes[..middle]), name(&bytes[middle + 1..]));
                Operation::Rename { inode, from, to }
            }
            b'U' => Operation::Unlink(name(bytes)),
            b'D' => Operation::SyncFolder,
            b'A' => match connections.entry(inode).or_default().take(bytes) {
                rolls if rolls.is_empty() => continue,
                rolls => Operation::Sent(rolls),
            },
            other => panic!("no operation is called {other}"),
        });
    }
    operations
}

/// A connection as its client reads it, however it is cut into pieces.
#[derive(Default)]
struct Connection {
    unread: Vec<u8>,
    in_body: bool,
    /// Of the chunk that has begun.
    n_left: usize,
    body: Vec<u8>,
}

impl Connection {
    /// The rolls that are complete with these bytes.
    fn take(&mut self, bytes: &[u8]) -> Vec<Sent> {
        if bytes.starts_with(b"HTTP/1.1 ") {
            *self = Connection::default();
        }
        self.unread.extend_from_slice(bytes);
        loop {
            if self.n_left > 0 {
                let n_bytes = self.n_left.min(self.unread.len());
                self.body.extend(self.unread.drain(..n_bytes));
                self.n_left -= n_bytes;
                if self.n_left > 0 {
                    break;
                }
            }
            let end: &[u8] = if self.in_body { b"\r\n" } else { b"\r\n\r\n" };
            // A chunk's size comes after the end of the one before.
            let from = if self.unread.starts_with(b"\r\n") { 2 } else { 0 };
            let mut places = self.unread.windows(end.len()).skip(from);
            let Some(n_bytes) = places.position(|bytes| bytes == end) else { break };
            let line: Vec<u8> = self.unread.drain(..from + n_bytes + end.len()).collect();
            if self.in_body {
                let size = std::str::from_utf8(&line).unwrap().trim();
                self.n_left = usize::from_str_radix(size, 16).unwrap();
            }
            self.in_body = true;
        }
        let mut rolls = Vec::new();
        while let Some(n_bytes) = self.body.windows(2).position(|bytes| bytes == b"\n\n") {
            let event: Vec<u8> = self.body.drain(..n_bytes + 2).collect();
            let event = std::str::from_utf8(&event).unwrap().trim();
            if let Some((id, dice)) =
                event.strip_prefix("id:").and_then(|e| e.split_once("\ndata:"))
            {
                let (id, millis) = id.split_once('-').unwrap();
                let (id, millis) = (id.parse().unwrap(), millis.parse().unwrap());
                rolls.push(Sent { id, millis, dice: dice.to_string() });
            }
        }
        rolls
    }
}

/// A disk under a cut: what is on it for sure, and what may be.
#[derive(Default)]
struct Disk<'a> {
    synced: BTreeMap<Inode, Vec<u8>>,
    /// Writes and truncations, by file, since its last sync.
    unsynced: BTreeMap<Inode, Vec<&'a Operation>>,
    names: Names,
    /// Changes of names since the folder's last sync.
    new_names: Vec<&'a Operation>,
}

impl<'a> Disk<'a> {
    fn take(&mut self, operation: &'a Operation) {
        match operation {
            Operation::Write { inode, .. } | Operation::Truncate { inode, .. } => {
                self.unsynced.entry(*inode).or_default().push(operation);
            }
            Operation::Sync(inode) => {
                let content = self.synced.entry(*inode).or_default();
                for operation in self.unsynced.remove(inode).unwrap_or_default() {
                    write(content, operation, |_| true);
                }
            }
            Operation::FailedSync(inode) => {
                self.unsynced.remove(inode);
            }
            Operation::Create { inode, .. } => {
                // A number that is used again is a new file.
                self.synced.remove(inode);
                self.unsynced.remove(inode);
                self.new_names.push(operation);
            }
            Operation::Rename { .. } | Operation::Unlink(_) => self.new_names.push(operation),
            Operation::SyncFolder => {
                for operation in std::mem::take(&mut self.new_names) {
                    name(&mut self.names, operation);
                }
            }
            Operation::Sent(_) => {}
        }
    }

    /// What one cut leaves.
    fn cut(&self, rng: &mut StdRng) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.names.clone();
        match rng.random_range(0..3) {
            0 => {}
            // A journal of the file system keeps their order, not all do.
            1 => {
                let n_kept = rng.random_range(0..=self.new_names.len());
                self.new_names[..n_kept].iter().for_each(|operation| name(&mut names, operation));
            }
            _ => {
                for operation in &self.new_names {
                    if rng.random() {
                        name(&mut names, operation);
                    }
                }
            }
        }
        let content = |inode: &Inode, rng: &mut StdRng| {
            let mut content = self.synced.get(inode).cloned().unwrap_or_default();
            let mut writes = self.unsynced.get(inode).cloned().unwrap_or_default();
            let (none, all, reordered, torn) = match rng.random_range(0..6) {
                0 => (true, false, false, false),
                1 => (false, true, false, false),
                2 => (false, false, false, false),
                3 => (false, false, true, false),
                4 => (false, false, false, true),
                _ => (false, false, true, true),
            };
            if none {
                return content;
            }
            if reordered {
                writes.shuffle(rng);
            }
            for operation in writes {
                if all {
                    write(&mut content, operation, |_| true);
                } else if torn {
                    write(&mut content, operation, |_| rng.random());
                } else if rng.random() {
                    write(&mut content, operation, |_| true);
                }
            }
            content
        };
        names.iter().map(|(name, inode)| (name.clone(), content(inode, rng))).collect()
    }
}

/// Writes those sectors of an operation that `is_kept`.
fn write(content: &mut Vec<u8>, operation: &Operation, mut is_kept: impl FnMut(usize) -> bool) {
    match operation {
        Operation::Truncate { size, .. } => {
            if is_kept(0) {
                content.resize(*size, 0);
            }
        }
        Operation::Write { at, bytes, .. } => {
            let end = at + bytes.len();
            for sector in at / SECTOR..end.div_ceil(SECTOR) {
                let (from, to) = ((sector * SECTOR).max(*at), ((sector + 1) * SECTOR).min(end));
                if is_kept(sector) {
                    content.resize(content.len().max(to), 0);
                    content[from..to].copy_from_slice(&bytes[from - at..to - at]);
                }
            }
        }
        _ => unreachable!("changes a name"),
    }
}

fn name(names: &mut Names, operation: &Operation) {
    match operation {
        Operation::Create { inode, name } => {
            names.insert(name.clone(), *inode);
        }
        Operation::Rename { inode, from, to } => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
        Operation::Unlink(name) => {
            names.remove(name);
        }
        _ => unreachable!("changes a file"),
    }
}

/// A history as it has to be after any of its rolls.
struct Truth {
    rolls: Vec<(i64, String, String)>,
    /// The statistics after so many of them.
    statistics: Vec<String>,
}

impl Truth {
    fn new(rolls: Vec<(i64, String, String)>) -> Truth {
        let mut tallies = BTreeMap::<String, DieTally>::new();
        let mut faces = BTreeMap::<(String, u32), u64>::new();
        let mut statistics = vec![String::new()];
        for (id, _, dice) in &rolls {
            for face in dice.parse::<Results>().unwrap().0 {
                let name = face.die.to_string();
                let tally = tallies.entry(name.clone());
                let tally = tally.or_insert_with(|| DieTally::new(face.die));
                tally.add(RollId(*id), face.result);
                *faces.entry((name, face.result)).or_default() += 1;
            }
            statistics.push(in_words(&tallies, &faces));
        }
        Truth { rolls, statistics }
    }
}

/// All that is kept of the statistics, worked out here, one line a row as [`statistics_in`] has it.
fn in_words(tallies: &BTreeMap<String, DieTally>, faces: &BTreeMap<(String, u32), u64>) -> String {
    let mut lines = BTreeSet::new();
    for ((die, face), n_rolls) in faces {
        lines.insert(format!("tally {die} {face} {n_rolls}"));
    }
    for (die, tally) in tallies {
        lines.insert(format!(
            "die {die} {} {} {} {} {} {} {} {} {} {} {:?} {} {}",
            tally.last_id.0,
            tally.n_rolls,
            tally.total,
            tally.streak.result,
            tally.streak.length,
            tally.longest.result,
            tally.longest.length,
            tally.longest_id.0,
            tally.log_e,
            tally.highest_log_e,
            tally.alarm_id.map(|id| id.0),
            tally.n_block_rolls,
            tally.n_blocks
        ));
        for (index, result) in tally.results.iter().enumerate().filter(|(_, r)| r.n_rolls > 0) {
            let (n_rolls, last_n) = (result.n_rolls, result.last_n);
            let (result, drought) = (tally.fair.result(index), result.longest_drought);
            lines.insert(format!("result {die} {result} {n_rolls} {last_n} {drought}"));
        }
        for (cell, n_rolls) in tally.cells.iter().enumerate().filter(|(_, n)| **n > 0) {
            lines.insert(format!("cell {die} {cell} {n_rolls}"));
        }
        for (bin, n_blocks) in tally.p_values.iter().enumerate().filter(|(_, n)| **n > 0) {
            lines.insert(format!("bin {die} {bin} {n_blocks}"));
        }
    }
    lines.into_iter().fold(String::new(), |text, line| text + &line + "\n")
}

/// The same as it is stored.
fn statistics_in(connection: &rusqlite::Connection) -> rusqlite::Result<String> {
    let mut lines = BTreeSet::new();
    for (word, sql) in [
        ("tally", "select die, face, n_rolls from tallies"),
        (
            "die",
            "select die, last_id, n_rolls, total, streak_result, streak_length, longest_result,
                    longest_length, longest_id, log_e, highest_log_e, alarm_id, n_block_rolls,
                    n_blocks from die_statistics",
        ),
        (
            "result",
            "select die, result, n_rolls, last_n, longest_drought from result_statistics
             where n_rolls > 0",
        ),
        ("cell", "select die, cell, n_rolls from block_cells where n_rolls > 0"),
        ("bin", "select die, bin, n_blocks from p_value_bins where n_blocks > 0"),
    ] {
        let mut statement = connection.prepare(sql)?;
        let n_columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut line = word.to_string();
            for column in 0..n_columns {
                let value = match (word, column) {
                    (_, 0) => row.get::<_, String>(0)?,
                    ("die", 9 | 10) => row.get::<_, f64>(column)?.to_string(),
                    ("die", 11) => format!("{:?}", row.get::<_, Option<i64>>(column)?),
                    _ => row.get::<_, i64>(column)?.to_string(),
                };
                write!(line, " {value}").unwrap();
            }
            lines.insert(line);
        }
    }
    Ok(lines.into_iter().fold(String::new(), |text, line| text + &line + "\n"))
}

/// What a cut cost.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// All is well.
    Whole,
    /// So many rolls that somebody had been sent are gone.
    Lost(usize),
    /// Something else is wrong.
    Broken(String),
}

/// Puts the files where a server may find them, and looks what became of the history.
fn judge(
    folder: &Path,
    files: &BTreeMap<String, Vec<u8>>,
    n_sent: usize,
    truth: &Truth,
) -> Verdict {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir(folder).unwrap();
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
    let n_kept = match files.get("rolls.db") {
        None if files.get("rolls.db-wal").is_some_and(|log| !log.is_empty()) => {
            return Verdict::Broken("a log without its database".into());
        }
        None => 0,
        // As the server does before it lets SQLite open a file.
        Some(content) if content.get(68..72) != Some(b"ROLL".as_slice()) => {
            return Verdict::Broken(format!("not a history, {} bytes", content.len()));
        }
        Some(_) => match read(&folder.join("rolls.db"), truth) {
            Ok(n_kept) => n_kept,
            Err(complaint) => return Verdict::Broken(complaint),
        },
    };
    match n_sent.saturating_sub(n_kept) {
        0 => Verdict::Whole,
        n_lost => Verdict::Lost(n_lost),
    }
}

/// How many rolls the database has, if all of it is as it was after that many.
fn read(database: &Path, truth: &Truth) -> Result<usize, String> {
    let connection = rusqlite::Connection::open(database).map_err(|error| error.to_string())?;
    let read = || {
        let check: String = connection.query_row("pragma integrity_check", [], |row| row.get(0))?;
        let mut statement =
            connection.prepare("select id, rolled_at, dice from rolls order by id")?;
        let rolls = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        let rolls = rolls.collect::<rusqlite::Result<Vec<(i64, String, String)>>>()?;
        let saved: usize = connection.query_row(
            "select last_id from projections where name = 'statistics'",
            [],
            |row| row.get(0),
        )?;
        Ok((check, rolls, saved, statistics_in(&connection)?))
    };
    let read = read().map_err(|error: rusqlite::Error| error.to_string())?;
    let (check, rolls, saved, statistics) = read;
    if check != "ok" {
        return Err(check);
    }
    if !truth.rolls.starts_with(&rolls) {
        return Err(format!("{} rolls, not those that were stored", rolls.len()));
    }
    if saved > rolls.len() {
        return Err(format!("statistics of {saved} rolls, but {} rolls", rolls.len()));
    }
    // The view counts all rolls; the tables are those of the last save.
    let expected = |n_rolls: usize, is_view: bool| -> String {
        let lines = truth.statistics[n_rolls].lines();
        let lines = lines.filter(|line| line.starts_with("tally ") == is_view);
        lines.fold(String::new(), |text, line| text + line + "\n")
    };
    // In order, a line of the view comes last.
    if expected(saved, false) + &expected(rolls.len(), true) != statistics {
        return Err(format!("the statistics of {} rolls are wrong: {statistics}", rolls.len()));
    }
    Ok(rolls.len())
}

/// What a server did, over its first start, an orderly stop, a second start and a kill.
fn record(house: &House, shim: &Shim, n_rolls: usize) -> (Vec<Operation>, Truth) {
    shim.start_recording();
    let listen = |from: usize| {
        let server = house.start_with(&mut shim.command(house));
        let stream = Stream::open(&house.url(&format!("/stream/?after={from}")), Ask::default());
        (server, stream.unwrap())
    };
    let (mut server, mut stream) = listen(0);
    let seen = stream.rolls(n_rolls);
    server.stop();
    drop(stream);
    let (mut server, mut stream) = listen(seen.len());
    stream.rolls(n_rolls);
    server.kill();
    // Not a client more: what the record says.
    let operations = operations(&shim.record());
    (operations, Truth::new(house.stored()))
}

/// Where to cut: anywhere, a third of the cuts at the start and a third where the database file or
/// a name was just being changed.
fn places(operations: &[Operation], n_cuts: usize, rng: &mut StdRng) -> Vec<usize> {
    let is_sent = |operation: &Operation| matches!(operation, Operation::Sent(_));
    let n_start = operations.iter().position(is_sent).unwrap();
    let is_log = log_inodes(operations);
    let rare: Vec<usize> = (1..operations.len())
        .filter(|n| match &operations[n - 1] {
            Operation::Write { inode, .. } | Operation::Sync(inode) => !is_log.contains(inode),
            Operation::Sent(_) => false,
            _ => true,
        })
        .collect();
    let mut places: Vec<usize> = (0..n_cuts)
        .map(|n| match n % 3 {
            0 => rng.random_range(0..=operations.len()),
            1 => rng.random_range(0..=n_start),
            _ => rare[rng.random_range(0..rare.len())],
        })
        .collect();
    places.sort_unstable();
    places
}

fn log_inodes(operations: &[Operation]) -> BTreeSet<Inode> {
    let is_log = |operation: &Operation| match operation {
        Operation::Create { inode, name } if name == "rolls.db-wal" => Some(*inode),
        _ => None,
    };
    operations.iter().filter_map(is_log).collect()
}

/// The same run with `synchronous = normal`, by what SQLite leaves out there: the sync of the log
/// at each commit. Those of a new log's header and before a checkpoint stay.
/// <https://sqlite.org/pragma.html#pragma_synchronous>
fn without_syncs_of_commits(operations: &[Operation]) -> BTreeSet<usize> {
    let logs = log_inodes(operations);
    let files = || {
        let on_files =
            |(_, operation): &(usize, &Operation)| !matches!(operation, Operation::Sent(_));
        operations.iter().enumerate().filter(on_files)
    };
    let mut left_out = BTreeSet::new();
    let mut before: Option<&Operation> = None;
    for ((n, operation), next) in files().zip(files().skip(1)) {
        if let Operation::Sync(inode) = operation
            && logs.contains(inode)
        {
            let of_header = matches!(before, Some(Operation::Write { at: 0, .. }));
            let of_checkpoint =
                matches!(next.1, Operation::Write { inode, .. } if !logs.contains(inode));
            if !of_header && !of_checkpoint {
                left_out.insert(n);
            }
        }
        before = Some(operation);
    }
    left_out
}

/// Cuts at all `places`, and gives back each with its verdict. Of some of them a server goes on,
/// which takes at most `longest`.
fn cut(
    operations: &[Operation],
    left_out: &BTreeSet<usize>,
    places: &[usize],
    truth: &Truth,
    longest: Option<&Mutex<Duration>>,
) -> Vec<(usize, Verdict)> {
    let folder = match Path::new("/dev/shm") {
        memory if memory.is_dir() => tempfile::tempdir_in(memory),
        _ => tempfile::tempdir(),
    };
    let folder = folder.unwrap();
    let half = |n_half: usize| {
        let image: PathBuf = folder.path().join(n_half.to_string());
        let (mut disk, mut n_done, mut n_sent) = (Disk::default(), 0, 0);
        let mut verdicts = Vec::new();
        for (n, place) in places.iter().enumerate() {
            for (n, operation) in operations.iter().enumerate().take(*place).skip(n_done) {
                if !left_out.contains(&n) {
                    disk.take(operation);
                }
                if let Operation::Sent(rolls) = operation {
                    n_sent = rolls.iter().map(|roll| roll.id).fold(n_sent, usize::max);
                }
            }
            n_done = *place;
            if n % 2 == n_half {
                let files = disk.cut(&mut StdRng::seed_from_u64(n as u64));
                let verdict = judge(&image, &files, n_sent, truth);
                if let Some(longest) = longest
                    && n % SERVER_EVERY == 0
                {
                    let took = go_on(&files);
                    let mut longest = longest.lock().unwrap();
                    *longest = longest.max(took);
                }
                verdicts.push((*place, verdict));
            }
        }
        verdicts
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut verdicts = half(0);
        verdicts.extend(other.join().unwrap());
        verdicts
    })
}

/// What was sent is what is stored.
fn assert_sent_is_stored(operations: &[Operation], truth: &Truth) -> usize {
    let mut n_sent = 0;
    for operation in operations {
        let Operation::Sent(rolls) = operation else { continue };
        for Sent { id, millis, dice } in rolls {
            let (_, rolled_at, stored) = &truth.rolls[id - 1];
            let at: jiff::Timestamp = rolled_at.parse().unwrap();
            assert_eq!((at.as_millisecond(), stored), (*millis, dice), "roll {id}");
            n_sent += 1;
        }
    }
    n_sent
}

/// A server goes on from what a cut left: the time from its start to its next roll.
fn go_on(files: &BTreeMap<String, Vec<u8>>) -> Duration {
    let house = House::new("every = '5ms'");
    for (name, content) in files {
        fs::write(house.path().join(name), content).unwrap();
    }
    let start = Instant::now();
    let mut server = house.start();
    Stream::open(&house.url("/stream/"), Ask::default()).unwrap().rolls(1);
    let recovered = start.elapsed();
    server.stop();
    let ids: Vec<i64> = house.stored().iter().map(|roll| roll.0).collect();
    assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<_>>());
    recovered
}

/// Cuts with another verdict than that all is well.
fn unwell(verdicts: &[(usize, Verdict)]) -> Vec<&(usize, Verdict)> {
    verdicts.iter().filter(|(_, verdict)| *verdict != Verdict::Whole).collect()
}

/// Cuts that lost rolls, if that is all that is wrong with any.
fn losing(verdicts: &[(usize, Verdict)]) -> usize {
    let unwell = unwell(verdicts);
    for (place, verdict) in &unwell {
        assert!(matches!(verdict, Verdict::Lost(_)), "at operation {place}: {verdict:?}");
    }
    unwell.len()
}

#[test]
fn after_a_power_cut_at_any_moment_every_roll_that_was_sent_is_stored() {
    let (house, shim) = (House::new("every = '1ms'"), Shim::new());
    let (operations, truth) = record(&house, &shim, 400);
    assert!(assert_sent_is_stored(&operations, &truth) >= 800);
    let places = places(&operations, times(1_000, 10_000), &mut StdRng::seed_from_u64(1));
    let recovered = Mutex::new(Duration::ZERO);
    let verdicts = cut(&operations, &BTreeSet::new(), &places, &truth, Some(&recovered));
    let unwell = unwell(&verdicts);
    assert!(unwell.is_empty(), "of {} operations, at: {unwell:#?}", operations.len());

    let left_out = without_syncs_of_commits(&operations);
    let n_losing = losing(&cut(&operations, &left_out, &places, &truth, None));
    // Of the cuts at the start none can lose any.
    assert!(n_losing > places.len() / 10, "only {n_losing} cuts lost rolls: the check is blind");
    Row {
        fault: "power cut: what was not synced is dropped, kept, reordered or torn",
        n_injected: places.len(),
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::In(recovered.into_inner().unwrap()),
        control: format!("`synchronous = normal`: {n_losing} cuts lost rolls"),
        test: "power::after_a_power_cut",
    }
    .write();
}

/// Cuts after a run in which every seventh sync failed, and how many did.
fn cut_after_failed_syncs(
    lies: bool,
    longest: Option<&Mutex<Duration>>,
) -> (usize, Vec<(usize, Verdict)>) {
    let (house, shim) = (House::new("every = '1ms'"), Shim::new());
    // Not those of the start, which may end over one.
    let fault = Fault::for_ever(Calls::Sync, Failure::Broken);
    shim.inject(Fault { first: 40, step: Some(7), lies, ..fault });
    let (operations, truth) = record(&house, &shim, times(60, 400));
    let is_failed = |operation: &&Operation| matches!(operation, Operation::FailedSync(_));
    let n_failed = operations.iter().filter(is_failed).count();
    assert_sent_is_stored(&operations, &truth);
    let places = places(&operations, times(500, 5_000), &mut StdRng::seed_from_u64(2));
    (n_failed, cut(&operations, &BTreeSet::new(), &places, &truth, longest))
}

#[test]
fn after_failed_syncs_a_power_cut_takes_no_roll_that_was_sent() {
    // Linux calls pages clean that it could not write: a later sync that succeeds says nothing of
    // them. <https://wiki.postgresql.org/wiki/Fsync_Errors>
    let recovered = Mutex::new(Duration::ZERO);
    let (n_failed, verdicts) = cut_after_failed_syncs(false, Some(&recovered));
    assert!(n_failed >= 10, "only {n_failed} syncs failed");
    assert!(unwell(&verdicts).is_empty(), "{:#?}", unwell(&verdicts));
    let (_, control) = cut_after_failed_syncs(true, None);
    let n_unwell = unwell(&control).len();
    assert!(n_unwell > control.len() / 10, "only {n_unwell} cuts did harm: the check is blind");
    Row {
        fault: "power cut after syncs that failed, with what they did not write",
        n_injected: verdicts.len(),
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::In(recovered.into_inner().unwrap()),
        control: format!("a disk that says it synced: {n_unwell} cuts lost rolls or more"),
        test: "power::after_failed_syncs",
    }
    .write();
}

/// A record over three starts with `fault` in force from the first, and how many of them ended
/// over it, with a reason, and were made again.
fn record_starts(house: &House, shim: &Shim, fault: Fault) -> (Vec<Operation>, Truth, usize) {
    shim.start_recording();
    shim.inject(fault);
    let (mut n_rolls, mut n_ended) = (0, 0);
    for _ in 0..3 {
        let url = house.url(&format!("/stream/?after={n_rolls}"));
        let mut server = Server::spawn(&mut shim.command(house));
        let mut stream = wait_for("a server", || {
            if server.has_ended() {
                assert_eq!(server.wait().code(), Some(1), "{:#?}", server.log());
                let said = server.log().last().cloned().unwrap_or_default();
                let folder = house.path().canonicalize().unwrap();
                assert!(said.contains(&format!("cannot write `{}`", folder.display())), "{said}");
                n_ended += 1;
                server = Server::spawn(&mut shim.command(house));
            }
            Stream::open(&url, Ask::default()).ok()
        });
        stream.rolls(20);
        server.stop();
        n_rolls = house.stored().len();
    }
    (operations(&shim.record()), Truth::new(house.stored()), n_ended)
}

#[test]
fn whichever_sync_of_the_folder_fails_a_power_cut_takes_no_roll_that_was_sent() {
    // SQLite passes over this error when it makes the log, whose name a cut then takes away.
    let fault = Fault { step: None, ..Fault::for_ever(Calls::SyncFolder, Failure::Broken) };
    let (mut n_injected, mut n_ended) = (0, 0);
    for first in 1.. {
        let (house, shim) = (House::new("every = '2ms'"), Shim::new());
        let (operations, truth, n) = record_starts(&house, &shim, Fault { first, ..fault });
        if shim.n_injected() == 0 {
            break;
        }
        n_ended += n;
        let places = places(&operations, times(100, 1_000), &mut StdRng::seed_from_u64(3));
        let verdicts = cut(&operations, &BTreeSet::new(), &places, &truth, None);
        assert!(unwell(&verdicts).is_empty(), "sync {first}: {:#?}", unwell(&verdicts));
        n_injected += verdicts.len();
    }
    assert!(n_ended >= 2, "only {n_ended} starts ended over a sync of the folder");
    // A disk that says it synced the folder.
    let (house, shim) = (House::new("every = '2ms'"), Shim::new());
    let lie = Fault { first: 1, step: Some(1), lies: true, ..fault };
    let (operations, truth, _) = record_starts(&house, &shim, lie);
    let places = places(&operations, times(100, 1_000), &mut StdRng::seed_from_u64(3));
    let n_unwell = unwell(&cut(&operations, &BTreeSet::new(), &places, &truth, None)).len();
    assert!(n_unwell > places.len() / 10, "only {n_unwell} cuts did harm: the check is blind");
    Row {
        fault: "power cut after a sync of the folder that failed, each in turn",
        n_injected,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::Words(format!(
            "{n_ended} starts end, with the reason, and the next goes on; the others go on"
        )),
        control: format!(
            "a disk that says it synced it: {n_unwell} of {} cuts lost rolls or more",
            places.len()
        ),
        test: "power::whichever_sync",
    }
    .write();
}
