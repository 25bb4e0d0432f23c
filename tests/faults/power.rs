//! Power cuts. A real server runs on `shim.c`, which records every write, sync and name change in
//! order, and every roll that is sent to a client. The record determines what a cut at any moment
//! may leave on the disk: all that was synced, and any part of the rest, in any order, torn at
//! sectors. A name change that was not synced may be lost.

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
use rollcast::log::{Checkpoint, Frontier, Hash, Leaf, TILE_LEN, leaf_hash};
use rollcast::roll::{Roll, RollId};
use rollcast::seeds::{Block, Secret, Seed, Seeds};
use rollcast::statistics::{Peak, Tallies};
use rusqlite::OptionalExtension;

use crate::common::events::{Ask, Stream};
use crate::common::log_reader::checkpoint_of;
use crate::common::{Instance, Server, wait_for};
use crate::report::{Recovered, Row, times};
use crate::shim::{Calls, Failure, Fault, Shim};

/// The number of bytes that a disk writes atomically.
const SECTOR: usize = 512;
/// A server starts from the result of every n-th cut.
const CUTS_PER_SERVER: usize = 100;

type Inode = u64;
type Names = BTreeMap<String, Inode>;

/// One entry of the record.
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
    /// A sync that failed: the kernel marks its pages clean and never writes them.
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
    /// A second name.
    Link {
        inode: Inode,
        name: String,
    },
    Unlink(String),
    SyncFolder,
    /// Rolls that were sent completely.
    Sent(Vec<Sent>),
    /// A checkpoint of the log that was sent completely.
    SentCheckpoint(Checkpoint),
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
            b'L' => Operation::Link { inode, name: name(bytes) },
            b'U' => Operation::Unlink(name(bytes)),
            b'D' => Operation::SyncFolder,
            b'A' => {
                let connection = connections.entry(inode).or_default();
                let rolls = connection.take(bytes);
                match connection.checkpoint() {
                    Some(checkpoint) => Operation::SentCheckpoint(checkpoint),
                    None if rolls.is_empty() => continue,
                    None => Operation::Sent(rolls),
                }
            }
            other => panic!("unknown operation {other} in the record"),
        });
    }
    operations
}

/// A connection as its client reads it, split at any byte.
#[derive(Default)]
struct Connection {
    unread: Vec<u8>,
    in_body: bool,
    /// Whether the body has no chunks, so that `n_left` is the rest of it.
    is_whole: bool,
    /// Unread bytes of the current chunk.
    n_left: usize,
    body: Vec<u8>,
}

impl Connection {
    /// Reads `bytes` and returns the rolls that are now complete.
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
            if self.is_whole {
                break;
            }
            let end: &[u8] = if self.in_body { b"\r\n" } else { b"\r\n\r\n" };
            // A chunk's size follows the line end of the previous chunk.
            let from = if self.unread.starts_with(b"\r\n") { 2 } else { 0 };
            let mut windows = self.unread.windows(end.len()).skip(from);
            let Some(n_bytes) = windows.position(|bytes| bytes == end) else { break };
            let line: Vec<u8> = self.unread.drain(..from + n_bytes + end.len()).collect();
            let line = std::str::from_utf8(&line).unwrap();
            if self.in_body {
                self.n_left = usize::from_str_radix(line.trim(), 16).unwrap();
            } else if let Some((_, size)) = line.split_once("content-length: ") {
                self.is_whole = true;
                self.n_left = size.lines().next().unwrap().parse().unwrap();
            }
            self.in_body = true;
        }
        let mut rolls = Vec::new();
        if self.is_whole {
            return rolls;
        }
        while let Some(n_bytes) = self.body.windows(2).position(|bytes| bytes == b"\n\n") {
            let event: Vec<u8> = self.body.drain(..n_bytes + 2).collect();
            let event = std::str::from_utf8(&event).unwrap().trim();
            if let Some((id, dice)) =
                event.strip_prefix("id:").and_then(|e| e.split_once("\ndata:"))
            {
                let (id, millis) = id.split_once('-').unwrap();
                let (id, millis) = (id.trim_start().parse().unwrap(), millis.parse().unwrap());
                rolls.push(Sent { id, millis, dice: dice.trim_start().to_string() });
            }
        }
        rolls
    }

    /// The checkpoint, if the answer was one and is complete now. Call it after each `take`.
    fn checkpoint(&mut self) -> Option<Checkpoint> {
        if !self.is_whole || self.n_left > 0 {
            return None;
        }
        let body = String::from_utf8(std::mem::take(&mut self.body)).unwrap();
        Checkpoint::read(&body).ok().map(|(_, checkpoint)| checkpoint)
    }
}

/// A disk before a power cut: what is durable, and what may be written.
#[derive(Default)]
struct Disk<'a> {
    synced: BTreeMap<Inode, Vec<u8>>,
    /// Writes and truncations of each file since its last sync.
    unsynced: BTreeMap<Inode, Vec<&'a Operation>>,
    names: Names,
    /// Name changes since the last sync of the folder.
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
                // A reused inode number is a new file.
                self.synced.remove(inode);
                self.unsynced.remove(inode);
                self.new_names.push(operation);
            }
            Operation::Rename { .. } | Operation::Link { .. } | Operation::Unlink(_) => {
                self.new_names.push(operation);
            }
            Operation::SyncFolder => {
                for operation in std::mem::take(&mut self.new_names) {
                    name(&mut self.names, operation);
                }
            }
            Operation::Sent(_) | Operation::SentCheckpoint(_) => {}
        }
    }

    /// The files that one random cut leaves.
    fn cut(&self, rng: &mut StdRng) -> BTreeMap<String, Vec<u8>> {
        let mut names = self.names.clone();
        match rng.random_range(0..3) {
            0 => {}
            // In order, as file systems with a journal write them.
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

/// Applies a write or truncation to `content`, only for the sectors where `is_kept` is true.
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
        _ => unreachable!("a name change"),
    }
}

fn name(names: &mut Names, operation: &Operation) {
    match operation {
        Operation::Create { inode, name } | Operation::Link { inode, name } => {
            names.insert(name.clone(), *inode);
        }
        Operation::Rename { inode, from, to } => {
            names.remove(from);
            names.insert(to.clone(), *inode);
        }
        Operation::Unlink(name) => {
            names.remove(name);
        }
        _ => unreachable!("a file change"),
    }
}

/// The expected history after each of its rolls.
struct Expected {
    rolls: Vec<(i64, String, String)>,
    /// At index `n`, the statistics after `n` rolls.
    statistics: Vec<String>,
    /// The file of the secret.
    secret: String,
    /// At index `n`, the seed of roll `n` and the root of the log of `n` rolls.
    log: Vec<(Option<Seed>, Hash)>,
}

impl Expected {
    fn new(instance: &Instance) -> Expected {
        let rolls = instance.stored();
        let mut tallies = Tallies::default();
        let mut results = BTreeMap::<(String, u32), u64>::new();
        let mut statistics = vec![String::new()];
        for (id, rolled_at, dice) in &rolls {
            let dice: Results = dice.parse().unwrap();
            for result in &dice.0 {
                *results.entry((result.die.to_string(), result.result)).or_default() += 1;
            }
            tallies.add(&Roll { id: RollId(*id), rolled_at: rolled_at.parse().unwrap(), dice });
            statistics.push(statistics_text(&tallies, &results));
        }
        let secret = fs::read_to_string(instance.path().join("rolls.secret")).unwrap();
        let log = log_of(&rolls, &Seeds::new(Secret::parse(&secret).unwrap()));
        Expected { rolls, statistics, secret, log }
    }
}

/// The seed of each roll, and the root of the log up to it.
fn log_of(rolls: &[(i64, String, String)], seeds: &Seeds) -> Vec<(Option<Seed>, Hash)> {
    let mut tree = Frontier::default();
    let mut log = vec![(None, tree.root())];
    for (id, rolled_at, dice) in rolls {
        let id = RollId(*id);
        let roll = Roll { id, rolled_at: rolled_at.parse().unwrap(), dice: dice.parse().unwrap() };
        let seed = seeds.seed(id);
        let block = Block::of(id);
        let next = (id == block.first()).then(|| seeds.anchor(block.next()));
        tree.push(leaf_hash(&Leaf::Proven { roll, seed, next }.to_string()));
        log.push((Some(seed), tree.root()));
    }
    log
}

/// The expected statistics, one line for each row, in the form of [`stored_statistics`].
fn statistics_text(tallies: &Tallies, results: &BTreeMap<(String, u32), u64>) -> String {
    let mut lines = BTreeSet::new();
    for ((die, result), n_rolls) in results {
        lines.insert(format!("tally {die} {result} {n_rolls}"));
    }
    for tally in tallies.iter() {
        let die = tally.die;
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
        for Peak { last_n, log_e } in &tally.peaks {
            lines.insert(format!("peak {die} {last_n} {log_e}"));
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

/// The statistics in the database, in the form of [`statistics_text`].
fn stored_statistics(connection: &rusqlite::Connection) -> rusqlite::Result<String> {
    let mut lines = BTreeSet::new();
    for (kind, sql) in [
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
        ("peak", "select die, last_n, log_e from evidence_peaks"),
        ("cell", "select die, cell, n_rolls from block_cells where n_rolls > 0"),
        ("bin", "select die, bin, n_blocks from p_value_bins where n_blocks > 0"),
    ] {
        let mut statement = connection.prepare(sql)?;
        let n_columns = statement.column_count();
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let mut line = kind.to_string();
            for column in 0..n_columns {
                let value = match (kind, column) {
                    (_, 0) => row.get::<_, String>(0)?,
                    ("die", 9 | 10) | ("peak", 2) => row.get::<_, f64>(column)?.to_string(),
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

/// The result of a cut.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// No roll is lost and nothing is wrong.
    Whole,
    /// This many rolls that were sent to a client or signed are lost.
    Lost(usize),
    /// Something else is wrong.
    Broken(String),
}

/// Writes the files into `folder` and checks the history in them. `n_signed` is the size of the last
/// checkpoint that was sent.
fn judge(
    folder: &Path,
    files: &BTreeMap<String, Vec<u8>>,
    n_sent: usize,
    n_signed: usize,
    expected: &Expected,
) -> Verdict {
    let _ = fs::remove_dir_all(folder);
    fs::create_dir(folder).unwrap();
    for (name, content) in files {
        fs::write(folder.join(name), content).unwrap();
    }
    let n_kept = match files.get("rolls.db") {
        None if files.get("rolls.db-wal").is_some_and(|log| !log.is_empty()) => {
            return Verdict::Broken("a write-ahead log without its database".into());
        }
        None => 0,
        // The server checks this before SQLite opens a file.
        Some(content) if content.get(68..72) != Some(b"ROLL".as_slice()) => {
            return Verdict::Broken(format!("not a rollcast database, {} bytes", content.len()));
        }
        Some(_) => match read(&folder.join("rolls.db"), expected) {
            Ok(n_kept) => n_kept,
            Err(complaint) => return Verdict::Broken(complaint),
        },
    };
    let n_in_file = match check_log_files(files, n_kept, n_signed, expected) {
        Ok(n_in_file) => n_in_file,
        Err(complaint) => return Verdict::Broken(complaint),
    };
    match n_sent.max(n_in_file).saturating_sub(n_kept) {
        0 => Verdict::Whole,
        n_lost => Verdict::Lost(n_lost),
    }
}

/// Checks the secret and the newest checkpoint beside a database of `n_kept` rolls. Returns how many
/// rolls that checkpoint has.
///
/// # Errors
/// Says what is wrong with them.
fn check_log_files(
    files: &BTreeMap<String, Vec<u8>>,
    n_kept: usize,
    n_signed: usize,
    expected: &Expected,
) -> Result<usize, String> {
    match files.get("rolls.secret") {
        Some(secret) if *secret == expected.secret.as_bytes() => {}
        // Without rolls, the next start makes one.
        None if n_kept == 0 => {}
        other => return Err(format!("the secret of {n_kept} rolls is {other:?}")),
    }
    let note = files.get("rolls.secret.checkpoint").map(|note| String::from_utf8_lossy(note));
    let in_file = note.as_ref().map(|note| match Checkpoint::read(note) {
        Ok((_, checkpoint)) => Ok(checkpoint),
        Err(error) => Err(format!("{error}: {note:?}")),
    });
    let in_file = in_file.transpose()?;
    let size = in_file.map_or(0, |checkpoint| checkpoint.size as usize);
    if size < n_signed {
        return Err(format!("a checkpoint of {n_signed} rolls was sent, the file has {size}"));
    }
    match in_file {
        Some(checkpoint) if checkpoint.root != expected.log[size].1 => {
            Err(format!("the tree of {size} rolls is not the signed one"))
        }
        _ => Ok(size),
    }
}

/// The number of rolls in the database.
///
/// # Errors
/// Says what differs from the expected history after that many rolls.
fn read(database: &Path, expected: &Expected) -> Result<usize, String> {
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
        let n_tiles: usize = connection.query_row(
            "select count(*) from tile_hashes where level = 0",
            [],
            |row| row.get(0),
        )?;
        let newest = "select last_id, seed from seed_runs order by first_id desc limit 1";
        let newest = connection.query_row(newest, [], |row| Ok((row.get(0)?, row.get(1)?)));
        let newest: Option<(i64, [u8; 32])> = newest.optional()?;
        Ok((check, rolls, saved, stored_statistics(&connection)?, (n_tiles, newest)))
    };
    let read = read().map_err(|error: rusqlite::Error| error.to_string())?;
    let (check, rolls, saved, statistics, (n_tiles, newest_seed)) = read;
    if check != "ok" {
        return Err(check);
    }
    if !expected.rolls.starts_with(&rolls) {
        return Err(format!("{} rolls, but not the stored ones", rolls.len()));
    }
    let seed = newest_seed.map(|(id, seed)| (id, Some(Seed(seed))));
    let expected_seed = rolls.last().map(|roll| (roll.0, expected.log[rolls.len()].0));
    if (n_tiles, seed) != (rolls.len() / TILE_LEN as usize, expected_seed) {
        return Err(format!("the log of {} rolls has {n_tiles} tiles and {seed:?}", rolls.len()));
    }
    if saved > rolls.len() {
        return Err(format!("statistics of {saved} rolls, but {} rolls", rolls.len()));
    }
    // The view counts all rolls; the tables contain the statistics of the last save.
    let lines_of = |n_rolls: usize, is_view: bool| -> String {
        let lines = expected.statistics[n_rolls].lines();
        let lines = lines.filter(|line| line.starts_with("tally ") == is_view);
        lines.fold(String::new(), |text, line| text + line + "\n")
    };
    // The lines of the view sort last.
    if lines_of(saved, false) + &lines_of(rolls.len(), true) != statistics {
        return Err(format!("the statistics of {} rolls are wrong: {statistics}", rolls.len()));
    }
    Ok(rolls.len())
}

/// Records a server over a first start, a clean stop, a second start and a kill. Each start stores
/// at least `n_rolls`, and the second one runs until `n_faults` were injected in all.
fn record(
    instance: &Instance,
    shim: &Shim,
    n_rolls: usize,
    n_faults: u32,
) -> (Vec<Operation>, Expected) {
    shim.start_recording();
    let listen = |from: usize| {
        let server = instance.start_with(&mut shim.command(instance));
        let stream = Stream::open(&instance.url(&format!("/stream/?after={from}")), Ask::default());
        (server, stream.unwrap())
    };
    let (mut server, mut stream) = listen(0);
    let seen = stream.rolls(n_rolls);
    let signed = checkpoint_of(instance, n_rolls as u64);
    server.stop();
    drop(stream);
    let (mut server, mut stream) = listen(seen.len());
    stream.rolls(n_rolls);
    checkpoint_of(instance, signed.size + n_rolls as u64);
    // On a slow machine one commit stores many rolls, so that few rolls mean few syncs.
    while shim.n_injected() < n_faults {
        stream.rolls(1);
    }
    server.kill();
    // From here on only the record counts.
    let operations = operations(&shim.record());
    (operations, Expected::new(instance))
}

/// Where to cut, as indices into `operations`. A third of the cuts is anywhere, a third during the
/// start, and a third right after a change to the database file or a name.
fn places(operations: &[Operation], n_cuts: usize, rng: &mut StdRng) -> Vec<usize> {
    let is_sent = |operation: &Operation| matches!(operation, Operation::Sent(_));
    let n_start = operations.iter().position(is_sent).unwrap();
    let of_log: BTreeSet<usize> =
        file_operations(operations).filter(|it| it.2 == "rolls.db-wal").map(|it| it.0).collect();
    let rare: Vec<usize> = (1..operations.len())
        .filter(|n| match &operations[n - 1] {
            Operation::Write { .. } | Operation::Sync(_) => !of_log.contains(&(n - 1)),
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

/// The operations on the contents of files, with their indices and the name that each file was
/// created with.
fn file_operations(operations: &[Operation]) -> impl Iterator<Item = (usize, &Operation, &str)> {
    let mut names = BTreeMap::<Inode, &str>::new();
    operations.iter().enumerate().filter_map(move |(n, operation)| match operation {
        Operation::Create { inode, name } => {
            // A reused inode number is a new file.
            names.insert(*inode, name);
            None
        }
        Operation::Write { inode, .. }
        | Operation::Truncate { inode, .. }
        | Operation::Sync(inode)
        | Operation::FailedSync(inode) => Some((n, operation, *names.get(inode)?)),
        _ => None,
    })
}

/// The syncs that SQLite omits with `synchronous = normal`: the sync of the write-ahead log at each
/// commit. The syncs of a new log's header and before a checkpoint remain.
/// <https://sqlite.org/pragma.html#pragma_synchronous>
fn without_syncs_of_commits(operations: &[Operation]) -> BTreeSet<usize> {
    let is_log = |name: &str| name == "rolls.db-wal";
    let files = || file_operations(operations).filter(|it| it.2.starts_with("rolls.db"));
    let mut left_out = BTreeSet::new();
    let mut before: Option<&Operation> = None;
    for ((n, operation, name), next) in files().zip(files().skip(1)) {
        if let Operation::Sync(_) = operation
            && is_log(name)
        {
            let of_header = matches!(before, Some(Operation::Write { at: 0, .. }));
            let of_checkpoint = matches!(next.1, Operation::Write { .. }) && !is_log(next.2);
            if !of_header && !of_checkpoint {
                left_out.insert(n);
            }
        }
        before = Some(operation);
    }
    left_out
}

/// The syncs of the checkpoints of the signed log.
fn without_syncs_of_checkpoints(operations: &[Operation]) -> BTreeSet<usize> {
    let of_checkpoints = file_operations(operations).filter(|(_, operation, name)| {
        matches!(operation, Operation::Sync(_)) && name.starts_with(".rolls.secret.checkpoint")
    });
    of_checkpoints.map(|it| it.0).collect()
}

/// Cuts at all `places`, without the syncs in `left_out`. Returns each place with its verdict. If
/// `longest` is given, starts a server from some of the cuts and stores its longest recovery there.
fn cut(
    operations: &[Operation],
    left_out: &BTreeSet<usize>,
    places: &[usize],
    expected: &Expected,
    longest: Option<&Mutex<Duration>>,
) -> Vec<(usize, Verdict)> {
    let folder = match Path::new("/dev/shm") {
        memory if memory.is_dir() => tempfile::tempdir_in(memory),
        _ => tempfile::tempdir(),
    };
    let folder = folder.unwrap();
    let half = |n_half: usize| {
        let image: PathBuf = folder.path().join(n_half.to_string());
        let (mut disk, mut n_done, mut n_sent, mut n_signed) = (Disk::default(), 0, 0, 0);
        let mut verdicts = Vec::new();
        for (n, place) in places.iter().enumerate() {
            for (n, operation) in operations.iter().enumerate().take(*place).skip(n_done) {
                if !left_out.contains(&n) {
                    disk.take(operation);
                }
                match operation {
                    Operation::Sent(rolls) => {
                        n_sent = rolls.iter().map(|roll| roll.id).fold(n_sent, usize::max);
                    }
                    Operation::SentCheckpoint(signed) => n_signed = signed.size as usize,
                    _ => {}
                }
            }
            n_done = *place;
            if n % 2 == n_half {
                let files = disk.cut(&mut StdRng::seed_from_u64(n as u64));
                let verdict = judge(&image, &files, n_sent, n_signed, expected);
                if let Some(longest) = longest
                    && n % CUTS_PER_SERVER == 0
                {
                    let took = restart(&files);
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

/// Asserts that every sent roll is stored unchanged, and that every sent checkpoint is one of the
/// tree. Returns how many rolls were sent.
fn assert_sent_is_stored(operations: &[Operation], expected: &Expected) -> usize {
    let mut n_sent = 0;
    for operation in operations {
        if let Operation::SentCheckpoint(Checkpoint { size, root }) = operation {
            assert_eq!(*root, expected.log[*size as usize].1, "the tree of {size} rolls");
        }
        let Operation::Sent(rolls) = operation else { continue };
        for Sent { id, millis, dice } in rolls {
            let (_, rolled_at, stored) = &expected.rolls[id - 1];
            let at: jiff::Timestamp = rolled_at.parse().unwrap();
            assert_eq!((at.as_millisecond(), stored), (*millis, dice), "roll {id}");
            n_sent += 1;
        }
    }
    n_sent
}

/// Starts a server from the files that a cut left. Returns the time from its start to its next roll.
fn restart(files: &BTreeMap<String, Vec<u8>>) -> Duration {
    let instance = Instance::new("every = '5ms'");
    for (name, content) in files {
        fs::write(instance.path().join(name), content).unwrap();
    }
    let start = Instant::now();
    let mut server = instance.start();
    Stream::open(&instance.url("/stream/"), Ask::default()).unwrap().rolls(1);
    let recovered = start.elapsed();
    server.stop();
    let ids: Vec<i64> = instance.stored().iter().map(|roll| roll.0).collect();
    assert_eq!(ids, (1..=ids.len() as i64).collect::<Vec<_>>());
    recovered
}

/// All cuts whose verdict is not `Whole`.
fn harmful(verdicts: &[(usize, Verdict)]) -> Vec<&(usize, Verdict)> {
    verdicts.iter().filter(|(_, verdict)| *verdict != Verdict::Whole).collect()
}

/// The number of cuts that lost rolls. Asserts that nothing else is wrong with any of them.
fn n_losing(verdicts: &[(usize, Verdict)]) -> usize {
    let harmful = harmful(verdicts);
    for (place, verdict) in &harmful {
        assert!(matches!(verdict, Verdict::Lost(_)), "at operation {place}: {verdict:?}");
    }
    harmful.len()
}

#[test]
fn after_a_power_cut_at_any_moment_every_roll_that_was_sent_is_stored() {
    let (instance, shim) = (Instance::new("every = '1ms'"), Shim::new());
    let (operations, expected) = record(&instance, &shim, 400, 0);
    assert!(assert_sent_is_stored(&operations, &expected) >= 800);
    let places = places(&operations, times(1_000, 10_000), &mut StdRng::seed_from_u64(1));
    let recovered = Mutex::new(Duration::ZERO);
    let verdicts = cut(&operations, &BTreeSet::new(), &places, &expected, Some(&recovered));
    let harmful = harmful(&verdicts);
    assert!(harmful.is_empty(), "of {} operations, at: {harmful:#?}", operations.len());

    let left_out = without_syncs_of_commits(&operations);
    let n_losing = n_losing(&cut(&operations, &left_out, &places, &expected, None));
    // Cuts during the start cannot lose any roll.
    assert!(
        n_losing > places.len() / 10,
        "only {n_losing} cuts lost rolls: the check detects nothing"
    );
    let left_out = without_syncs_of_checkpoints(&operations);
    let verdicts = cut(&operations, &left_out, &places, &expected, None);
    let is_unsigned = |(_, verdict): &&(usize, Verdict)| matches!(verdict, Verdict::Broken(complaint) if complaint.contains("checkpoint"));
    let n_unsigned = verdicts.iter().filter(is_unsigned).count();
    assert!(
        n_unsigned > places.len() / 20,
        "only {n_unsigned} cuts lost a checkpoint that was sent: the check detects nothing"
    );
    Row {
        fault: "power cut: unsynced writes are dropped, kept, reordered or torn",
        n_injected: places.len(),
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::In(recovered.into_inner().unwrap()),
        control: format!(
            "`synchronous = normal`: {n_losing} cuts lost rolls; without the syncs of checkpoints: \
             {n_unsigned} cuts lost one that was sent"
        ),
        test: "power::after_a_power_cut",
    }
    .write();
}

/// Records a run in which every seventh sync fails, and cuts it. Returns how many syncs failed, and
/// the verdicts.
fn cut_after_failed_syncs(
    lies: bool,
    longest: Option<&Mutex<Duration>>,
) -> (usize, Vec<(usize, Verdict)>) {
    let (instance, shim) = (Instance::new("every = '1ms'"), Shim::new());
    // A failed sync during the start may end it, so the first syncs succeed.
    let fault = Fault::for_ever(Calls::Sync, Failure::Broken);
    shim.inject(Fault { first: 40, step: Some(7), lies, ..fault });
    let (operations, expected) = record(&instance, &shim, times(60, 400), 10);
    let is_failed = |operation: &&Operation| matches!(operation, Operation::FailedSync(_));
    let n_failed = operations.iter().filter(is_failed).count();
    assert_sent_is_stored(&operations, &expected);
    let places = places(&operations, times(500, 5_000), &mut StdRng::seed_from_u64(2));
    (n_failed, cut(&operations, &BTreeSet::new(), &places, &expected, longest))
}

#[test]
fn after_failed_syncs_a_power_cut_loses_no_roll_that_was_sent() {
    // Linux marks pages clean that it could not write, so a later sync succeeds without them.
    // <https://wiki.postgresql.org/wiki/Fsync_Errors>
    let recovered = Mutex::new(Duration::ZERO);
    let (n_failed, verdicts) = cut_after_failed_syncs(false, Some(&recovered));
    assert!(n_failed >= 10, "only {n_failed} syncs failed");
    assert!(harmful(&verdicts).is_empty(), "{:#?}", harmful(&verdicts));
    let (_, control) = cut_after_failed_syncs(true, None);
    let n_harmful = harmful(&control).len();
    assert!(
        n_harmful > control.len() / 10,
        "only {n_harmful} cuts did harm: the check detects nothing"
    );
    Row {
        fault: "power cut after failed syncs whose writes are lost",
        n_injected: verdicts.len(),
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::In(recovered.into_inner().unwrap()),
        control: format!("a disk that reports success instead: {n_harmful} cuts did harm"),
        test: "power::after_failed_syncs",
    }
    .write();
}

/// Records three starts with `fault` active from the first one. A start that the fault ends, with
/// the reason, is repeated. Returns how many ended.
fn record_starts(
    instance: &Instance,
    shim: &Shim,
    fault: Fault,
) -> (Vec<Operation>, Expected, usize) {
    shim.start_recording();
    shim.inject(fault);
    let (mut n_rolls, mut n_ended) = (0, 0);
    for _ in 0..3 {
        let url = instance.url(&format!("/stream/?after={n_rolls}"));
        let mut server = Server::spawn(&mut shim.command(instance));
        let mut stream = wait_for("a server", || {
            if server.has_ended() {
                assert_eq!(server.wait().code(), Some(1), "{:#?}", server.log());
                let message = server.log().last().cloned().unwrap_or_default();
                let folder = instance.path().canonicalize().unwrap();
                let expected = format!("cannot write `{}`", folder.display());
                assert!(message.contains(&expected), "{message}");
                n_ended += 1;
                server = Server::spawn(&mut shim.command(instance));
            }
            Stream::open(&url, Ask::default()).ok()
        });
        stream.rolls(20);
        server.stop();
        n_rolls = instance.stored().len();
    }
    (operations(&shim.record()), Expected::new(instance), n_ended)
}

#[test]
fn whichever_sync_of_the_folder_fails_a_power_cut_loses_no_roll_that_was_sent() {
    // SQLite ignores this error when it creates the write-ahead log. A cut then removes its name.
    let fault = Fault { step: None, ..Fault::for_ever(Calls::SyncFolder, Failure::Broken) };
    let (mut n_injected, mut n_ended) = (0, 0);
    for first in 1.. {
        let (instance, shim) = (Instance::new("every = '2ms'"), Shim::new());
        let (operations, expected, n) = record_starts(&instance, &shim, Fault { first, ..fault });
        if shim.n_injected() == 0 {
            break;
        }
        n_ended += n;
        let places = places(&operations, times(100, 1_000), &mut StdRng::seed_from_u64(3));
        let verdicts = cut(&operations, &BTreeSet::new(), &places, &expected, None);
        assert!(harmful(&verdicts).is_empty(), "sync {first}: {:#?}", harmful(&verdicts));
        n_injected += verdicts.len();
    }
    assert!(n_ended >= 2, "only {n_ended} starts ended because of a sync of the folder");
    // Control: a disk that reports a successful sync of the folder.
    let (instance, shim) = (Instance::new("every = '2ms'"), Shim::new());
    let lie = Fault { first: 1, step: Some(1), lies: true, ..fault };
    let (operations, expected, _) = record_starts(&instance, &shim, lie);
    let places = places(&operations, times(100, 1_000), &mut StdRng::seed_from_u64(3));
    let n_harmful = harmful(&cut(&operations, &BTreeSet::new(), &places, &expected, None)).len();
    assert!(
        n_harmful > places.len() / 10,
        "only {n_harmful} cuts did harm: the check detects nothing"
    );
    Row {
        fault: "power cut after a failed sync of the folder, each sync in turn",
        n_injected,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::Words(format!(
            "{n_ended} starts end with the reason and the next one succeeds; the others continue"
        )),
        control: format!(
            "a disk that reports success instead: {n_harmful} of {} cuts did harm",
            places.len()
        ),
        test: "power::whichever_sync",
    }
    .write();
}
