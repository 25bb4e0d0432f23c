//! Retention prunes whole tiles of 256 rolls. What is kept is proven as before, and what is pruned is
//! gone for good.

use std::fs;

use rusqlite::Connection;

use crate::common::log_reader::{checkpoint_of, key};
use crate::common::log_server::{get, server_with_log};
use crate::common::{Instance, Server, http, run, wait_for};

fn status(instance: &Instance, path: &str) -> u16 {
    http().get(instance.url(path)).call().unwrap().status().as_u16()
}

fn verify(instance: &Instance, source: &str, key: &str) -> (i32, String, String) {
    run(instance.command().args(["verify", source, "--key", key]))
}

fn numbers(instance: &Instance, sql: &str) -> Vec<i64> {
    let connection = instance.sqlite();
    let mut statement = connection.prepare(sql).unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

#[test]
fn pruned_tiles_are_gone_and_all_other_rolls_are_verified_as_before() {
    let (instance, mut server, key_text) = server_with_log(1_600);
    let proof_of_pruned = get(&instance.url("/rolls/10/proof")).unwrap();
    let n_before = checkpoint_of(&instance, 1_600).size;
    let leaves_before = http().get(instance.url("/tile/1/000.p/6")).call().unwrap();
    let leaves_before = leaves_before.into_body().read_to_vec().unwrap();
    server.stop();
    instance.configure("every = '1h'\nkeep = 500");
    let mut server = instance.start();
    // One roll at the start.
    let size = checkpoint_of(&instance, n_before + 1).size;
    let oldest = (size as i64 - 500) / 256 * 256 + 1;
    let kept = || numbers(&instance, "select id from rolls order by id");
    wait_for("the prune", || (kept().first() == Some(&oldest)).then_some(()));
    assert_eq!(kept(), (oldest..=size as i64).collect::<Vec<_>>());
    // Of the pruned tiles only the first run of the chain stays.
    let runs = numbers(&instance, "select first_id from seed_runs order by first_id");
    let of_kept = (oldest..=size as i64).step_by(256);
    assert_eq!(runs, [1].into_iter().chain(of_kept).collect::<Vec<_>>());

    let n_pruned = oldest / 256;
    for restarted in [false, true] {
        for n in 0..=size as i64 / 256 {
            let expected = if n < n_pruned { 410 } else { 200 };
            let (first, last) = (n * 256 + 1, (n * 256 + 256).min(size as i64));
            let width = last - n * 256;
            let width = if width < 256 { format!(".p/{width}") } else { String::new() };
            for path in [
                format!("/rolls/{first}/proof"),
                format!("/rolls/{last}/proof"),
                format!("/tile/entries/{n:03}{width}"),
                format!("/tile/0/{n:03}{width}"),
            ] {
                assert_eq!(status(&instance, &path), expected, "{path}, restarted: {restarted}");
            }
            for id in [first, last].into_iter().filter(|_| expected == 200) {
                let url = instance.url(&format!("/rolls/{id}"));
                let (code, stdout, stderr) = verify(&instance, &url, &key_text);
                // No earlier roll is kept with which the oldest one could be compared.
                let is_oldest = id == n_pruned * 256 + 1;
                assert_eq!(code, i32::from(is_oldest), "roll {id}: {stdout}{stderr}");
                assert!(stdout.contains("dice           follow from"), "roll {id}: {stdout}");
            }
        }
        let hashes = http().get(instance.url("/tile/1/000.p/6")).call().unwrap();
        assert_eq!(hashes.into_body().read_to_vec().unwrap(), leaves_before);
        let (code, stdout, stderr) = verify(&instance, &instance.url("/"), &key_text);
        assert_eq!(code, 0, "{stderr}");
        let expected = format!("rolls 1 to {} are pruned", oldest - 1);
        assert!(stdout.contains(&expected), "{stdout}");
        let (code, _, stderr) = run(instance.command().arg("check"));
        assert_eq!(code, 0, "{stderr}");
        server.stop();
        // The next roll begins no new tile.
        server = instance.start();
        checkpoint_of(&instance, size + 1);
    }
    assert_eq!(key(&instance).to_string(), key_text);
    // A proof that somebody saved in time still holds.
    let file = instance.path().join("roll-10.proof");
    fs::write(&file, proof_of_pruned).unwrap();
    let (code, stdout, stderr) = verify(&instance, file.to_str().unwrap(), &key_text);
    assert_eq!(code, 0, "{stdout}{stderr}");

    // Control: the hash of a pruned tile stands for its rolls.
    let change = |n: i64| {
        let sql = "update tile_hashes set hash = zeroblob(32) where level = 0 and n = ?1";
        let connection = Connection::open(instance.database()).unwrap();
        assert_eq!(connection.execute(sql, [n]).unwrap(), 1);
    };
    change(0);
    let (code, _, stderr) = verify(&instance, &instance.url("/"), &key_text);
    assert_eq!(code, 1, "another hash of a pruned tile is not noticed: {stderr}");
    server.stop();
    let mut server = Server::spawn(&mut instance.command());
    assert_eq!(server.wait().code(), Some(1), "{:#?}", server.log());
}
