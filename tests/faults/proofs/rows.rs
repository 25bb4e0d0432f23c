//! Another program writes to the database, while a server runs and while it is stopped. A row that
//! was changed after it was signed is never proven; one that was inserted has a leaf without a seed.

use rollcast::log::{Leaf, TILE_LEN, Tile, TileKind};
use rusqlite::Connection;

use crate::common::log_reader::{checkpoint_of, key, leaves, leaves_of, roots};
use crate::common::log_server::server_with_log;
use crate::common::{Instance, Server, http, run, wait_for};
use crate::kills::head;

/// The status and the body of an answer.
fn get(instance: &Instance, path: &str) -> (u16, String) {
    let request = http().get(instance.url(path)).header("Accept", "text/html");
    let mut response = request.call().unwrap();
    let body = response.body_mut().read_to_vec().unwrap();
    (response.status().as_u16(), String::from_utf8_lossy(&body).into_owned())
}

fn execute(instance: &Instance, sql: &str) {
    let connection = Connection::open(instance.database()).unwrap();
    wait_for("the write lock", || match connection.execute_batch(sql) {
        Ok(()) => Some(()),
        Err(error) if error.to_string().contains("locked") => None,
        Err(error) => panic!("{sql}: {error}"),
    });
}

/// Asserts that nothing of the tile of roll `id` is proven, and that everybody is told.
fn assert_is_not_proven(instance: &Instance, id: i64, what: &str) {
    let (n, first) = ((id - 1) / 256, (id - 1) / 256 * 256 + 1);
    let is_full = head(instance) >= first + 255;
    let width = if is_full { String::new() } else { ".p/1".into() };
    for path in [
        format!("/rolls/{id}/proof"),
        // Another roll of the same tile: its proof needs the leaf that is gone.
        format!("/rolls/{first}/proof"),
        format!("/tile/entries/{n:03}{width}"),
        format!("/tile/0/{n:03}{width}"),
    ] {
        let (status, body) = get(instance, &path);
        assert_eq!(status, 500, "{what}, {path}: {body}");
        assert!(body.contains("was changed after it was added to the log"), "{what}: {body}");
    }
    let (status, page) = get(instance, &format!("/rolls/{id}"));
    if status != 404 {
        assert_eq!(status, 200, "{what}: {page}");
        assert!(page.contains("This roll is not proven: "), "{what}: {page}");
        assert!(page.contains("was changed after it was added to the log"), "{what}: {page}");
        assert!(!page.contains("id=\"seed\""), "{what}: the page shows a seed");
    }
    let (code, _, stderr) = run(instance.command().arg("check"));
    assert_eq!(code, 1, "{what}: {stderr}");
    let (code, _, stderr) = verify(instance);
    assert_eq!(code, 1, "{what}: {stderr}");
}

fn verify(instance: &Instance) -> (i32, String, String) {
    let key = key(instance).to_string();
    run(instance.command().args(["verify", &instance.url("/"), "--key", &key]))
}

fn assert_is_proven(instance: &Instance, id: i64, what: &str) {
    let (status, body) = get(instance, &format!("/rolls/{id}/proof"));
    assert_eq!(status, 200, "{what}: {body}");
    let (_, page) = get(instance, &format!("/rolls/{id}"));
    assert!(page.contains("id=\"seed\"") && !page.contains("not proven"), "{what}: {page}");
    let (code, stdout, stderr) = run(instance.command().arg("check"));
    assert_eq!(code, 0, "{what}: {stdout}{stderr}");
    let (code, stdout, stderr) = verify(instance);
    assert_eq!(code, 0, "{what}: {stdout}{stderr}");
}

/// What another program does to roll `id`: a name, how, and how to undo it.
fn changes(instance: &Instance, id: i64) -> Vec<(&'static str, String, String)> {
    let sql = "select rolled_at, dice from rolls where id = ?1";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?));
    let (rolled_at, dice) = instance.sqlite().query_row(sql, [id], row).unwrap();
    let set = |column: &str, value: &str| {
        format!("update rolls set {column} = '{value}' where id = {id}")
    };
    let face = if dice.contains("\"1D6\":1,") { 2 } else { 1 };
    let after = dice.split_once(',').unwrap().1;
    let later = rolled_at.replacen("20", "21", 1);
    vec![
        ("a die", set("dice", &format!("{{\"1D6\":{face},{after}")), set("dice", &dice)),
        ("a time", set("rolled_at", &later), set("rolled_at", &rolled_at)),
        (
            "no row",
            format!("delete from rolls where id = {id}"),
            format!("insert into rolls values ({id}, '{rolled_at}', '{dice}')"),
        ),
    ]
}

#[test]
fn a_row_that_is_changed_under_a_server_is_an_error_until_it_is_put_back() {
    let (instance, mut server, _) = server_with_log(600);
    let newest = instance.stored().len() as i64;
    // In a full tile, and in the last one.
    for id in [100, newest] {
        assert_is_proven(&instance, id, "before");
        for (what, change, undo) in changes(&instance, id) {
            if id == newest && what == "no row" {
                // The server would make another roll.
                continue;
            }
            execute(&instance, &change);
            assert_is_not_proven(&instance, id, what);
            // Control: other tiles are proven as before, unless the signed root is another one.
            let (status, body) = get(&instance, "/rolls/300/proof");
            assert_eq!(status, if id == 100 { 200 } else { 500 }, "{what}: {body}");
            execute(&instance, &undo);
            assert_is_proven(&instance, id, what);
        }
    }
    server.stop();
}

#[test]
fn a_row_that_is_changed_while_no_server_runs_is_an_error_or_refuses_the_start() {
    let (instance, mut server, _) = server_with_log(600);
    server.stop();
    let newest = instance.stored().len() as i64;
    for (what, change, undo) in changes(&instance, 100) {
        execute(&instance, &change);
        // The start compares the hashes of full tiles with the signed root, not all their rows.
        let mut server = instance.start();
        assert_is_not_proven(&instance, 100, what);
        server.stop();
        execute(&instance, &undo);
    }
    let newest_signed = newest + 3;
    assert_eq!(instance.stored().len() as i64, newest_signed, "one roll for each start");
    for (what, change, undo) in changes(&instance, newest) {
        execute(&instance, &change);
        let mut server = Server::spawn(&mut instance.command());
        assert_eq!(server.wait().code(), Some(1), "{what}: {:#?}", server.log());
        let message = server.log().last().unwrap().clone();
        for part in [
            &format!("{newest_signed} rolls were signed, the database has {newest_signed}"),
            "a signed roll differs",
            "put the newer database back",
            "rollcast rekey",
        ] {
            assert!(message.contains(part), "{what}: expected `{part}` in {message}");
        }
        execute(&instance, &undo);
    }
    // Control: with all rows as they were, it starts.
    let mut server = instance.start();
    checkpoint_of(&instance, newest_signed as u64 + 1);
    assert_is_proven(&instance, newest, "put back");
    server.stop();
}

#[test]
fn rows_of_another_program_have_leaves_without_a_seed_and_the_chain_goes_on() {
    let instance = Instance::new("every = '10ms'");
    let row = "insert into rolls (rolled_at, dice)
               values ('2026-11-23T01:37:40.123Z', '{\"1D6\":6,\"1D20\":20}')";
    let mut server = instance.start();
    let mut inserted = Vec::new();
    let insert = |inserted: &mut Vec<i64>| {
        let connection = Connection::open(instance.database()).unwrap();
        wait_for("the write lock", || connection.execute_batch(row).ok());
        inserted.push(connection.last_insert_rowid());
    };
    // While the server runs, across the end of a tile and a restart, and while it is stopped.
    for size in [50, 250, 256, 260] {
        checkpoint_of(&instance, size);
        insert(&mut inserted);
        insert(&mut inserted);
    }
    server.stop();
    insert(&mut inserted);
    let mut server = instance.start();
    checkpoint_of(&instance, *inserted.last().unwrap() as u64 + 1);
    server.stop();
    insert(&mut inserted);
    insert(&mut inserted);
    // A row that is gone before it is signed.
    let gone = *inserted.last().unwrap();
    execute(&instance, &format!("delete from rolls where id = {gone}"));
    let mut server = instance.start();
    let size = checkpoint_of(&instance, gone as u64 + 10).size;

    let leaves = leaves(&instance, size);
    let (roots, held) = roots(&leaves);
    assert_eq!(held.n_unproven, inserted.len() as u64);
    assert!(held.breaks.is_empty(), "{:?}", held.breaks);
    assert_eq!(roots.len() as u64, size + 1);
    for id in &inserted {
        let leaf: Leaf = leaves[*id as usize - 1].parse().unwrap();
        let is_as_expected = match &leaf {
            Leaf::Missing(_) => *id == gone,
            Leaf::Unproven(roll) => *id != gone && roll.dice.to_string().contains("\"1D20\":20"),
            Leaf::Proven { .. } => false,
        };
        assert!(is_as_expected, "roll {id}: {leaf}");
        let (status, page) = get(&instance, &format!("/rolls/{id}"));
        if *id != gone {
            assert_eq!(status, 200, "{page}");
            assert!(page.contains("This roll is not proven: it was rolled before"), "{page}");
        }
        assert_eq!(get(&instance, &format!("/rolls/{id}/proof")).0, 200, "its leaf is proven");
    }
    let (code, stdout, stderr) = verify(&instance);
    assert_eq!(code, 0, "{stderr}");
    let expected = format!("{} rolls have no seed", inserted.len());
    assert!(stdout.contains(&expected), "{stdout}");
    // Control: a row of another program is found if it replaces one of the server.
    let id = *inserted.first().unwrap() + 1;
    execute(&instance, &format!("update rolls set dice = '{{\"1D6\":6}}' where id = {id}"));
    assert_eq!(get(&instance, &format!("/rolls/{id}/proof")).0, 500);
    let full = Tile { kind: TileKind::Entries, n: 1, width: TILE_LEN };
    if size > 512 {
        assert_eq!(leaves_of(&instance, full).len(), 256, "another tile is as before");
    }
    server.stop();
}
