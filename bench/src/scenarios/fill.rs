//! Creates databases of any size. rollcast creates the file with its schema, and this module inserts
//! the rolls.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use jiff::{SignedDuration, Timestamp};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::{Connection, params};

use crate::server::{Peer, Places, Server, Setup, UPGRADE_TIMEOUT};

#[derive(Debug, Args)]
pub struct Fill {
    /// The file to create; it must not exist
    file: PathBuf,
    /// Rolls, a second apart, the last one now
    #[arg(long, default_value_t = 10_000_000)]
    rolls: u64,
    /// Seed of the dice
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// The triggers that refuse malformed rolls and distant ids.
const CHECK_TRIGGERS: [&str; 2] = ["refuse_unreadable_insert", "refuse_distant_id"];
/// rollcast's default dice.
const DICE: [(&str, u32); 2] = [("1D6", 6), ("1D20", 20)];

impl Fill {
    pub fn run(&self, places: &Places) -> Result<()> {
        let file = std::path::absolute(&self.file)?;
        for path in [&file, &secret(&file)] {
            if path.exists() {
                bail!("{} is there already: remove it, or name another file", path.display());
            }
        }
        create(places, &file, self.rolls, self.seed)
    }
}

/// A database with at least `n_rolls`, kept between runs. Returns its path and its newest roll.
pub fn database(places: &Places, n_rolls: u64) -> Result<PathBuf> {
    let path = places.work.join(format!("rolls-{n_rolls}.db"));
    // A database with an older schema is created again instead of migrated.
    let newest = newest_migration(places)?;
    let is_newer = |meta: fs::Metadata| meta.created().is_ok_and(|created| created > newest);
    if !fs::metadata(&path).is_ok_and(is_newer) {
        remove(&path);
        let draft = beside(&path, "-draft");
        // The draft has the same secret as the database that it becomes.
        remove(&draft);
        create(places, &draft, n_rolls, 1)?;
        fs::rename(&draft, &path)?;
        let _ = fs::remove_file(beside(&draft, "-lock"));
    }
    Ok(path)
}

/// Removes a database and the files that rollcast keeps beside it, as far as they exist.
pub fn remove(database: &Path) {
    for suffix in ["", "-wal", "-shm", "-lock"] {
        let _ = fs::remove_file(beside(database, suffix));
    }
    remove_secret(database);
}

/// Without its secret and its newest checkpoint, a history without seeds begins a new log.
fn remove_secret(database: &Path) {
    let secret = secret(database);
    let _ = fs::remove_file(beside(&secret, ".checkpoint"));
    let _ = fs::remove_file(secret);
}

/// The file of the secret that rollcast creates beside a database.
fn secret(database: &Path) -> PathBuf {
    database.with_extension("secret")
}

/// The newest roll in a database.
pub fn head(path: &Path) -> Result<u64> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let connection = Connection::open_with_flags(path, flags)?;
    let head: i64 =
        connection.query_row("select ifnull(max(id), 0) from rolls", [], |row| row.get(0))?;
    Ok(u64::try_from(head)?)
}

/// Starts rollcast on a database and waits for the roll at its start. The next one is an hour away.
/// Returns the newest roll.
pub fn start_still(places: &Places, path: &Path) -> Result<(Server, u64)> {
    let before = head(path)?;
    let mut setup = Setup::new(Peer::Rollcast, Duration::from_secs(3600));
    setup.database = Some(path.to_path_buf());
    setup.start_timeout = UPGRADE_TIMEOUT;
    let server = Server::start(places, &setup)?;
    let begin = Instant::now();
    while head(path)? == before {
        if begin.elapsed() > Duration::from_secs(20) {
            bail!("no roll came at the start: {}", server.last_words());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok((server, before + 1))
}

fn newest_migration(places: &Places) -> Result<std::time::SystemTime> {
    let folder = places.project.join("migrations");
    let times = fs::read_dir(&folder)?.map(|file| Ok(file?.metadata()?.modified()?));
    let times: Result<Vec<_>> = times.collect();
    times?.into_iter().max().with_context(|| format!("no migrations in {}", folder.display()))
}

pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

fn create(places: &Places, file: &Path, n_rolls: u64, seed: u64) -> Result<()> {
    let begin = Instant::now();
    let mut setup = Setup::new(Peer::Rollcast, Duration::from_secs(3600));
    setup.database = Some(file.to_path_buf());
    Server::start(places, &setup)?.stop()?;
    remove_secret(file);
    let mut connection = Connection::open(file)?;
    // No durability is needed, because an incomplete file is created again.
    connection.execute_batch(
        "pragma journal_mode = off; pragma synchronous = off; pragma locking_mode = exclusive;
         pragma cache_size = -200000;",
    )?;
    let ending = Timestamp::now();
    insert(&mut connection, n_rolls.saturating_sub(1), seed, ending, |n| {
        eprintln!("  {n} of {n_rolls} rolls after {:.0} s", begin.elapsed().as_secs_f64());
    })?;
    connection.execute_batch("pragma synchronous = full; pragma journal_mode = wal;")?;
    connection.close().map_err(|(_, error)| error)?;
    // Counts all rolls for the statistics, takes them into the log, and stores the last one.
    start_still(places, file)?.0.stop()?;
    let bytes = fs::metadata(file)?.len();
    eprintln!(
        "  made {}: {n_rolls} rolls, {} MiB, in {:.0} s",
        file.display(),
        bytes >> 20,
        begin.elapsed().as_secs_f64()
    );
    Ok(())
}

/// Replaces all rolls in the database by `n_rolls`, with ids from 1, a second apart.
fn insert(
    connection: &mut Connection,
    n_rolls: u64,
    seed: u64,
    ending: Timestamp,
    mut progress: impl FnMut(u64),
) -> Result<()> {
    let transaction = connection.transaction()?;
    // The checks of each roll take longer than its insert, and the server counts rolls in batches.
    let mut triggers = String::new();
    for name in CHECK_TRIGGERS {
        let sql = "select sql from sqlite_schema where type = 'trigger' and name = ?1";
        triggers += &transaction.query_row(sql, [name], |row| row.get::<_, String>(0))?;
        triggers += ";";
        transaction.execute_batch(&format!("drop trigger {name}"))?;
    }
    transaction.execute_batch(
        "delete from rolls; delete from die_statistics; delete from result_statistics;
         delete from block_cells; delete from p_value_bins; delete from evidence_peaks;
         update projections set last_id = 0;
         delete from tile_hashes; delete from seed_runs;",
    )?;
    let mut rng = StdRng::seed_from_u64(seed);
    {
        let mut insert =
            transaction.prepare("insert into rolls (id, rolled_at, dice) values (?1, ?2, ?3)")?;
        for n in 1..=n_rolls {
            let age = SignedDuration::from_secs(i64::try_from(n_rolls - n)?);
            let rolled_at = (ending - age).strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
            let mut dice = String::from("{");
            for (i, (die, n_sides)) in DICE.into_iter().enumerate() {
                let face = rng.random_range(1..=n_sides);
                let comma = if i > 0 { "," } else { "" };
                dice += &format!("{comma}\"{die}\":{face}");
            }
            dice += "}";
            insert.execute(params![i64::try_from(n)?, rolled_at, dice])?;
            if n % 1_000_000 == 0 {
                progress(n);
            }
        }
    }
    transaction.execute_batch(&triggers)?;
    Ok(transaction.commit()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All migrations of rollcast, in order.
    fn schema() -> String {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations");
        let mut files: Vec<_> =
            fs::read_dir(folder).unwrap().map(|file| file.unwrap().path()).collect();
        files.sort();
        files.iter().map(|file| fs::read_to_string(file).unwrap()).collect()
    }

    #[test]
    fn tallies_agree_with_rolls_and_go_on_being_kept() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(&schema()).unwrap();
        let roll = "insert into rolls (rolled_at, dice) values ('2026-11-25T00:00:01.000Z', '{\"1D6\":1,\"1D20\":2}')";
        connection.execute(roll, []).unwrap();
        let run = "insert into seed_runs (first_id, last_id, seed) values (1, 1, zeroblob(32))";
        connection.execute(run, []).unwrap();
        let ending = "2026-11-25T00:00:00.123456Z".parse().unwrap();
        insert(&mut connection, 1_000, 7, ending, |_| {}).unwrap();
        connection.execute(roll, []).unwrap();
        let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
        assert_eq!(number("select count(*) from rolls"), 1_001);
        assert_eq!(number("select max(id) from rolls"), 1_001);
        let counted = "select die, face, count(*) from faces group by die, face";
        let kept = "select die, face, n_rolls from tallies";
        assert_eq!(number(&format!("select count(*) from ({counted} except {kept})")), 0);
        assert_eq!(number(&format!("select count(*) from ({kept} except {counted})")), 0);
        assert_eq!(number("select count(*) from tallies"), 26, "all faces of both dice");
        assert_eq!(
            number("select count(*) from seed_runs"),
            0,
            "a seed of a roll that is replaced"
        );
        let at = |id: i64| {
            let sql = "select rolled_at from rolls where id = ?1";
            connection.query_row(sql, [id], |row| row.get::<_, String>(0)).unwrap()
        };
        assert_eq!(at(1_000), "2026-11-25T00:00:00.123Z");
        assert_eq!(at(999), "2026-11-24T23:59:59.123Z");
    }
}
