//! What a roll costs: CPU, and bytes of write-ahead log.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rusqlite::{Connection, OpenFlags};

use crate::procs;
use crate::scenarios::log::Log;
use crate::scenarios::log::figures::{Budget, Figures};
use crate::scenarios::{every, fill};
use crate::server::{Peer, Places, Server, Setup};

/// The time before the measurement starts. The first roll computes the seeds of its block.
const WARM_UP: Duration = Duration::from_secs(1);
/// The time in which the write-ahead log is measured. Meanwhile it grows.
const GROWTH_TIME: Duration = Duration::from_secs(1);
/// Measurements of the write-ahead log until one is not disturbed by a reset.
const MAX_ATTEMPTS: usize = 10;
/// The header of each frame in the write-ahead log.
const FRAME_HEADER_BYTES: u64 = 24;

/// The cost of a roll in one round.
struct Cost {
    cpu_us: f64,
    log_bytes: f64,
    rolls_per_s: f64,
}

impl Log {
    pub fn cost(&self, places: &Places, time: Duration, figures: &mut Figures) -> Result<()> {
        let (mut ours, mut baseline) = (Vec::new(), Vec::new());
        for i in 0..self.rounds {
            // The order changes, so that a machine that becomes slower does not favour one.
            if i % 2 == 1 && self.baseline.is_some() {
                baseline.push(self.roll(places, time, self.baseline.as_deref())?);
            }
            ours.push(self.roll(places, time, None)?);
            if i % 2 == 0 && self.baseline.is_some() {
                baseline.push(self.roll(places, time, self.baseline.as_deref())?);
            }
        }
        let mut add = |name: &str, budget, pick: fn(&Cost) -> f64| {
            let [ours, baseline] = [&ours, &baseline].map(|costs| costs.iter().map(pick).collect());
            figures.add(name.to_string(), budget, ours, baseline);
        };
        add("CPU per roll, µs", Budget::More(3.0), |cost| cost.cpu_us);
        // A page of 4,096 bytes and the header of its frame.
        add("write-ahead log per roll, bytes", Budget::More(4120.0), |cost| cost.log_bytes);
        add("rolls/s meanwhile", Budget::None, |cost| cost.rolls_per_s);
        Ok(())
    }

    fn roll(&self, places: &Places, time: Duration, program: Option<&Path>) -> Result<Cost> {
        let folder = tempfile::Builder::new().prefix("rollcast-bench-").tempdir_in(&self.folder)?;
        let database = folder.path().join("rolls.db");
        let mut setup = Setup::new(Peer::Rollcast, every(self.rate));
        setup.program = program.map(Path::to_path_buf);
        setup.database = Some(database.clone());
        let server = Server::start(places, &setup)?;
        sleep(WARM_UP);
        let (begin, head) = (Instant::now(), fill::head(&database)?);
        let before = procs::usage(&server.pids())?;
        sleep(time);
        let used = procs::usage(&server.pids())?.since(&before);
        let (elapsed, n_rolls) = (begin.elapsed(), fill::head(&database)? - head);
        ensure!(n_rolls > 0, "no roll came within {time:?}: {}", server.last_words());
        let log_bytes = log_bytes(&database)?;
        server.stop()?;
        Ok(Cost {
            cpu_us: (used.user_us + used.system_us) / n_rolls as f64,
            log_bytes,
            rolls_per_s: n_rolls as f64 / elapsed.as_secs_f64(),
        })
    }
}

/// The bytes of write-ahead log per roll.
fn log_bytes(database: &Path) -> Result<f64> {
    let path = fill::beside(database, "-shm");
    // Stays open: closing any file of this path releases the locks of all connections in this
    // process, also that of `reader`.
    let index = File::open(&path).with_context(|| format!("cannot open {}", path.display()))?;
    for _ in 0..MAX_ATTEMPTS {
        let reader = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        // While this transaction is open, the log is not written again from its start. Only if all
        // of the log was in the database already, it is, and then its salt changes.
        reader.execute_batch("begin; select max(id) from rolls")?;
        let before = Growth::now(database, &index)?;
        sleep(GROWTH_TIME);
        let after = Growth::now(database, &index)?;
        let n_rolls = after.head - before.head;
        if after.log.salt == before.log.salt && n_rolls > 0 {
            let n_frames = u64::from(after.log.n_frames - before.log.n_frames);
            let n_bytes = n_frames * (FRAME_HEADER_BYTES + after.log.n_page_bytes);
            return Ok(n_bytes as f64 / n_rolls as f64);
        }
    }
    bail!("the write-ahead log was reset in each of {MAX_ATTEMPTS} measurements");
}

/// The newest roll, and the write-ahead log with it.
struct Growth {
    head: u64,
    log: LogEnd,
}

impl Growth {
    /// `index` is the file of the log's index.
    fn now(database: &Path, index: &File) -> Result<Growth> {
        for _ in 0..1_000 {
            let log = LogEnd::read(index)?;
            let head = fill::head(database)?;
            // Otherwise a roll was stored between the two.
            if log.is_some() && LogEnd::read(index)? == log {
                return log.map(|log| Growth { head, log }).context("no log");
            }
        }
        bail!("the write-ahead log never rests: measure at a lower --rate");
    }
}

/// The end of the write-ahead log.
#[derive(Clone, Copy, Debug, PartialEq)]
struct LogEnd {
    n_page_bytes: u64,
    n_frames: u32,
    /// It changes when the log is written again from its start.
    salt: [u8; 8],
}

impl LogEnd {
    /// `None` while it changes. <https://sqlite.org/walformat.html#the_wal_index_file_format>
    fn read(index: &File) -> Result<Option<LogEnd>> {
        let mut headers = [[0; 48]; 2];
        index.read_exact_at(headers.as_flattened_mut(), 0)?;
        let [first, second] = headers;
        Ok((first == second).then(|| LogEnd::of_header(&first)))
    }

    fn of_header(header: &[u8; 48]) -> LogEnd {
        let at = |i: usize| [header[i], header[i + 1], header[i + 2], header[i + 3]];
        LogEnd {
            n_page_bytes: u16::from_ne_bytes([header[14], header[15]]).into(),
            n_frames: u32::from_ne_bytes(at(16)),
            salt: std::array::from_fn(|i| header[32 + i]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_the_log_follows_its_frames_and_its_resets() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let connection = Connection::open(&database).unwrap();
        let sql = "pragma journal_mode = wal; create table rolls (id integer primary key);";
        connection.execute_batch(sql).unwrap();
        let index = File::open(fill::beside(&database, "-shm")).unwrap();
        let before = Growth::now(&database, &index).unwrap();
        assert_eq!((before.head, before.log.n_page_bytes), (0, 4096));
        connection.execute("insert into rolls values (1)", []).unwrap();
        let after = Growth::now(&database, &index).unwrap();
        assert_eq!((after.head, after.log.n_frames), (1, before.log.n_frames + 1));
        assert_eq!(after.log.salt, before.log.salt);
        let n_file_bytes = std::fs::metadata(fill::beside(&database, "-wal")).unwrap().len();
        assert_eq!(n_file_bytes, 32 + u64::from(after.log.n_frames) * (24 + 4096));
        connection.query_row("pragma wal_checkpoint(restart)", [], |_| Ok(())).unwrap();
        connection.execute("insert into rolls values (2)", []).unwrap();
        let reset = Growth::now(&database, &index).unwrap();
        assert_eq!(reset.log.n_frames, 1);
        assert_ne!(reset.log.salt, after.log.salt);
    }
}
