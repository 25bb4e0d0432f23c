//! A history from before there was a log is taken in by steps. A kill in between loses no step, and
//! the tree at the end is the same.

use std::time::Duration;

use rollcast::log::{TILE_LEN, Tile, TileKind};
use rusqlite::Connection;

use crate::common::log_reader::{checkpoint_of, key, leaves_of};
use crate::common::{Instance, Server, run, wait_for};
use crate::kills::Moments;
use crate::report::{Recovered, Row, times};

/// Rolls of the older history. They are taken in by three steps of at most 256 tiles.
const N_ROLLS: i64 = 140_000;
const N_TILES: i64 = N_ROLLS / TILE_LEN as i64;

/// How many full tiles are taken in; 0 before the schema has them.
fn n_tiles(instance: &Instance) -> i64 {
    let sql = "select count(*) from tile_hashes where level = 0";
    let connection = Connection::open(instance.database()).unwrap();
    connection.query_row(sql, [], |row| row.get(0)).unwrap_or(0)
}

/// An older history, of which the rolls before `oldest` are pruned.
fn history(oldest: i64) -> Instance {
    let instance = Instance::new("every = '1h'");
    instance.fill(N_ROLLS, oldest);
    // As a version before the log left it.
    let sql = "drop table tile_hashes; drop table seed_runs; drop table new_secrets;
               drop trigger refuse_distant_id; drop trigger refuse_distant_id_update;
               drop table evidence_peaks; pragma user_version = 5";
    Connection::open(instance.database()).unwrap().execute_batch(sql).unwrap();
    instance
}

/// Level, number and hash of a tile.
type TileHash = (i64, i64, Vec<u8>);

/// The tree of the older history, after the start that takes in the rest: the hashes of all its
/// tiles, and the leaves of the last one.
fn tree(instance: &Instance) -> (Vec<TileHash>, Vec<String>) {
    let mut server = instance.start();
    checkpoint_of(instance, N_ROLLS as u64 + 1);
    let last = Tile {
        kind: TileKind::Entries,
        n: N_TILES as u64,
        width: N_ROLLS as u64 - N_TILES as u64 * TILE_LEN,
    };
    let leaves = leaves_of(instance, last);
    server.stop();
    let (code, stdout, stderr) = run(instance.command().arg("check"));
    assert_eq!(code, 0, "{stdout}{stderr}");
    let connection = instance.sqlite();
    let sql = "select level, n, hash from tile_hashes order by level, n";
    let mut statement = connection.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
    (rows.map(Result::unwrap).collect(), leaves)
}

/// Kills the server in the middle of every step but the last. Returns how often.
fn kill_between_steps(instance: &Instance, random: &mut Moments) -> usize {
    let mut n_kills = 0;
    loop {
        let before = n_tiles(instance);
        let mut server = Server::spawn(&mut instance.command());
        let after = wait_for("a step", || {
            assert!(!server.has_ended(), "{:#?}", server.log());
            Some(n_tiles(instance)).filter(|n| *n > before)
        });
        if after < N_TILES {
            let moment = std::time::Instant::now() + Duration::from_millis(random.next_below(100));
            wait_for("a moment", || (std::time::Instant::now() >= moment).then_some(()));
        }
        server.kill();
        let kept = n_tiles(instance);
        assert!(kept >= after, "{kept} tiles were left of {after}");
        if kept == N_TILES {
            return n_kills;
        }
        assert_eq!(kept % 256, 0, "a part of a step was kept");
        n_kills += 1;
    }
}

#[test]
fn an_upgrade_that_is_killed_again_and_again_ends_with_the_same_tree() {
    let mut random = Moments::new();
    let mut n_killed = 0;
    let mut trees = Vec::new();
    for oldest in [1, 100_001] {
        let expected = tree(&history(oldest));
        assert_eq!(expected.0.len() as i64, N_TILES + N_TILES / 256);
        for _ in 0..times(1, 20) {
            let killed = history(oldest);
            n_killed += kill_between_steps(&killed, &mut random);
            assert!(tree(&killed) == expected, "another tree, with the oldest roll {oldest}");
            let _server = killed.start();
            let key = key(&killed).to_string();
            let (code, stdout, stderr) =
                run(killed.command().args(["verify", &killed.url("/"), "--key", &key]));
            assert_eq!(code, 0, "{stdout}{stderr}");
        }
        trees.push(expected);
    }
    assert!(n_killed >= 2, "only {n_killed} kills were in the middle of an upgrade");
    // Control: the comparison sees the rolls that one history lacks.
    assert!(trees[0] != trees[1], "pruned rolls make no difference");
    Row {
        fault: "`kill -9` while an older history is taken into the log",
        n_injected: n_killed,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::Words("the next start continues, to the same tree".into()),
        control: "with other rolls the tree is another one".into(),
        test: "proofs::upgrade::an_upgrade",
    }
    .write();
}
