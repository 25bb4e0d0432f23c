//! A large history from before there was a log: its upgrade, and the starts after it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rusqlite::Connection;

use crate::procs;
use crate::report::count;
use crate::scenarios::log::Log;
use crate::scenarios::log::figures::{Budget, Figures};
use crate::scenarios::log::requests::Requests;
use crate::scenarios::{fill, start};
use crate::server::{Peer, Places, Server, Setup, UPGRADE_TIMEOUT};

/// What the migration of the log and the later ones create, and the schema before them.
const REMOVE_LOG: &str = "drop trigger refuse_distant_id; drop trigger refuse_distant_id_update;
                          drop table tile_hashes;
                          drop table seed_runs; drop table new_secrets;
                          drop table evidence_peaks; pragma user_version = 5;";
const MB: f64 = 1e6;

impl Log {
    pub fn existing(
        &self,
        places: &Places,
        figures: &mut Figures,
        requests: &mut Requests,
    ) -> Result<()> {
        let n_rolls = count(self.rolls);
        let filled = fill::database(places, self.rolls)?;
        let [older, upgraded] =
            ["older.db", "upgraded.db"].map(|name| places.work.join(format!("log-{name}")));
        copy(&filled, &older)?;
        Connection::open(&older)?.execute_batch(REMOVE_LOG)?;
        copy(&older, &upgraded)?;

        let n_bytes = used_bytes(&upgraded)?;
        let mut setup = Setup::new(Peer::Rollcast, Duration::from_secs(3600));
        setup.database = Some(upgraded.clone());
        setup.start_timeout = UPGRADE_TIMEOUT;
        let server = Server::start(places, &setup)?;
        let seconds = server.started.elapsed().as_secs_f64();
        let peak = procs::peak_kib(server.pid())? as f64 / 1024.0;
        server.stop()?;
        let budget = Budget::AtMost(30.0);
        figures.add(format!("upgrade of {n_rolls} rolls, s"), budget, vec![seconds], vec![]);
        figures.add("peak memory meanwhile, MiB".to_string(), Budget::None, vec![peak], vec![]);
        let growth = (used_bytes(&upgraded)? - n_bytes) as f64 / self.rolls as f64;
        figures.add(
            "file growth per million rolls without seeds, MB".to_string(),
            Budget::AtMost(0.4),
            vec![growth * 1e6 / MB],
            vec![],
        );

        let start = |program: Option<&PathBuf>, database: &Path| {
            let mut setup = Setup::new(Peer::Rollcast, Duration::from_secs(1));
            setup.program = program.cloned();
            setup.database = Some(database.to_path_buf());
            start::first_page(places, &setup)
        };
        let (mut ours, mut baseline) = (Vec::new(), Vec::new());
        for _ in 0..self.rounds {
            ours.push(start(None, &upgraded)?);
            if let Some(program) = &self.baseline {
                baseline.push(start(Some(program), &older)?);
            }
        }
        let (times, memory) = ours.into_iter().unzip();
        let (baseline_times, baseline_memory) = baseline.into_iter().unzip();
        let name = format!("start with {n_rolls} rolls, first page, ms");
        figures.add(name, Budget::AtMost(200.0), times, baseline_times);
        let mib = 2.0 * MB / f64::from(1 << 20);
        let name = format!("memory with {n_rolls} rolls, MiB");
        figures.add(name, Budget::More(mib), memory, baseline_memory);

        let (server, head) = fill::start_still(places, &upgraded)?;
        requests.measure(&server, head, &format!("{n_rolls} without seeds"))?;
        server.stop()?;
        fill::remove(&older);
        fill::remove(&upgraded);
        Ok(())
    }
}

/// Copies a database that no server uses, without its secret.
fn copy(from: &Path, to: &Path) -> Result<()> {
    let log = fill::beside(from, "-wal");
    let n_bytes = fs::metadata(&log).map_or(0, |meta| meta.len());
    ensure!(n_bytes == 0, "expected no rolls in {}: its server was killed", log.display());
    fill::remove(to);
    fs::copy(from, to).with_context(|| format!("cannot copy {}", from.display()))?;
    Ok(())
}

/// The bytes of all pages that are in use.
fn used_bytes(database: &Path) -> Result<i64> {
    let connection = Connection::open(database)?;
    let number = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
    let (n_pages, n_free) = (number("page_count")?, number("freelist_count")?);
    Ok((n_pages - n_free) * number("page_size")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_history_without_its_log_is_as_the_migration_before_left_it() {
        let files = fs::read_dir("../migrations").unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<PathBuf> = files.collect();
        files.sort();
        let n_before = files.iter().position(|file| file.ends_with("0006_log.sql")).unwrap();
        let migrated = |n: usize| {
            let connection = Connection::open_in_memory().unwrap();
            for file in &files[..n] {
                connection.execute_batch(&fs::read_to_string(file).unwrap()).unwrap();
            }
            connection
        };
        let names = |connection: &Connection| -> Vec<String> {
            let mut names =
                connection.prepare("select name from sqlite_schema order by name").unwrap();
            names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
        };
        let with = migrated(files.len());
        let before = names(&migrated(n_before));
        assert_ne!(names(&with), before);
        with.execute_batch(REMOVE_LOG).unwrap();
        assert_eq!(names(&with), before);
        let version = with.pragma_query_value(None, "user_version", |row| row.get::<_, i64>(0));
        assert_eq!(version.unwrap() as usize, n_before);
    }

    #[test]
    fn free_pages_are_not_counted() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        let connection = Connection::open(&database).unwrap();
        connection.execute_batch("create table a (b); create table c (d)").unwrap();
        let before = used_bytes(&database).unwrap();
        connection.execute("insert into a values (zeroblob(100000))", []).unwrap();
        assert!(used_bytes(&database).unwrap() - before >= 90_000);
        connection.execute("delete from a", []).unwrap();
        assert_eq!(used_bytes(&database).unwrap(), before);
    }
}
