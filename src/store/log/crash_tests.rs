//! The log after kills at the worst moments, and after changes of unsigned rolls.

use std::fs;

use rusqlite::Connection;

use crate::config::StoreConfig;
use crate::log::{Break, Hash, Leaf, Tile, TileKind};
use crate::roll::{Roll, RollId};
use crate::store::log::tests::{Site, counts};
use crate::store::log::tiles::save_hash;
use crate::store::{Cutoff, Inspection, Store, StoreError};

/// Rolls that do not follow from the seeds.
fn examples(first: i64, last: i64) -> Vec<Roll> {
    (first..=last).map(Roll::example).collect()
}

#[tokio::test]
async fn a_new_secret_that_was_interrupted_is_completed_before_anything_is_signed() {
    let mut site = Site::new().await;
    site.roll_to(310).await;
    site.stop().await;
    // A kill while the old secret still has its name.
    site.execute("insert into new_secrets (after_id) values (310)");
    let error = site.start().await.expect_err("the old secret").to_string();
    assert!(error.contains("`rollcast rekey` did not end"), "{error}");
    // A kill after it was renamed.
    let secret = site.folder.path().join("rolls.secret");
    let checkpoint = site.folder.path().join("rolls.secret.checkpoint");
    fs::rename(&secret, site.folder.path().join("rolls.secret.until-310")).expect("a rename");
    let error = site.start().await.expect_err("no secret").to_string();
    assert!(error.contains("does not exist") && error.contains("rollcast rekey"), "{error}");

    let signed = fs::read(&checkpoint).expect("the checkpoint of the old secret");
    let rekeyed = Store::rekey(&site.config()).await.expect("a new secret");
    assert_eq!(rekeyed.old_secret, None);
    assert!(!checkpoint.exists(), "the checkpoint of another key is left");
    let kept = site.folder.path().join("rolls.secret.until-310-2.checkpoint");
    assert_eq!(fs::read(kept).expect("the old checkpoint"), signed);
    site.start().await.expect("a start");
    site.roll_to(320).await;
    assert_eq!(counts(&site.verify().await), (320, 0, &[Break(RollId(311))][..]));
}

#[tokio::test]
async fn what_the_newest_checkpoint_needs_is_not_pruned() {
    let mut site = Site::new().await;
    site.roll_to(600).await;
    // The server is killed before the next signature.
    site.store().apply(examples(601, 1300)).await.expect("rolls");
    let mut pruned = site.store().prune(Cutoff::Count(100)).await.expect("a prune");
    assert_eq!((pruned.n_rolls, pruned.oldest), (512, RollId(513)));
    site.restart().await.expect("a start with the old checkpoint");
    pruned = site.store().prune(Cutoff::Count(100)).await.expect("a prune");
    assert_eq!((pruned.n_rolls, pruned.oldest), (0, RollId(513)));
    site.roll_to(1301).await;
    pruned = site.store().prune(Cutoff::Count(100)).await.expect("a prune");
    assert_eq!(pruned.oldest, RollId(1025), "control: the new checkpoint does not need them");
    site.restart().await.expect("a start");
}

#[tokio::test]
async fn an_id_that_the_log_has_already_is_never_signed_again() {
    let mut site = Site::new().await;
    site.roll_to(100).await;
    let back = "delete from rolls where id > 95; update sqlite_sequence set seq = 95;";
    site.execute(back);
    let error = site.store().apply(examples(96, 96)).await.expect_err("a second roll 96");
    assert!(matches!(error, StoreError::Fork { signed: 100, stored: 95 }), "{error}");
    assert!(error.is_final());
    let error = site.restart().await.expect_err("an older database");
    assert!(matches!(error, StoreError::Fork { signed: 100, stored: 95 }), "{error}");
    // The same, with full tiles of the log and the checkpoint deleted.
    Store::rekey(&site.config()).await.expect("a new secret");
    site.start().await.expect("a start");
    site.roll_to(600).await;
    assert_eq!(counts(&site.verify().await), (600, 0, &[Break(RollId(96))][..]));
    site.stop().await;
    site.execute("delete from rolls where id > 300; update sqlite_sequence set seq = 300;");
    fs::remove_file(site.folder.path().join("rolls.secret.checkpoint")).expect("a file");
    let error = site.start().await.expect_err("a log that is longer than the history");
    assert!(matches!(error, StoreError::Fork { signed: 512, stored: 300 }), "{error}");
    Store::rekey(&site.config()).await.expect("a new secret");
    site.start().await.expect("a start");
    site.roll_to(310).await;
    let breaks = [Break(RollId(96)), Break(RollId(301))];
    assert_eq!(counts(&site.verify().await), (310, 0, &breaks[..]));
}

#[tokio::test]
async fn a_note_of_a_new_secret_after_the_end_of_the_history_begins_no_chain() {
    let mut site = Site::new().await;
    site.roll_to(40).await;
    site.stop().await;
    Store::rekey(&site.config()).await.expect("a new secret");
    site.execute("delete from rolls where id > 35; update sqlite_sequence set seq = 35;");
    Store::rekey(&site.config()).await.expect("a new secret");
    for last in [36, 38, 41] {
        site.start().await.expect("a start");
        site.roll_to(last).await;
        site.stop().await;
    }
    site.start().await.expect("a start");
    site.store().sign().await.expect("a checkpoint");
    assert_eq!(counts(&site.verify().await), (41, 0, &[Break(RollId(36))][..]));
}

#[tokio::test]
async fn rows_of_another_program_are_signed_without_a_new_roll_unless_a_commit_has_failed() {
    let site = Site::new().await;
    site.roll_to(5).await;
    let insert = "insert into rolls (rolled_at, dice) values
                  ('2026-11-23T01:37:40.123Z', '{\"1D6\":4,\"2D20\":9}')";
    let sign = || async {
        site.store().add_to_log().await.expect("a longer log");
        site.store().sign().await.expect("a checkpoint");
        site.signed().size
    };
    site.execute(insert);
    assert_eq!(sign().await, 6);
    assert!(matches!(site.prove(6).await, Ok(Some(Leaf::Unproven(_)))));
    // A roll of a commit that failed may be stored, and lost with a power cut.
    site.store().apply(examples(9, 9)).await.expect_err("a gap");
    site.execute(insert);
    assert_eq!(sign().await, 6);
    site.store().apply(examples(8, 8)).await.expect("the next roll");
    assert_eq!(sign().await, 8);
}

#[tokio::test]
async fn a_new_secret_never_replaces_the_database() {
    let mut site = Site::new().await;
    site.roll_to(5).await;
    site.stop().await;
    let database = site.config().database;
    for secret in [database.clone(), site.folder.path().join("rolls.db-wal")] {
        let config = StoreConfig { secret: Some(secret), ..site.config() };
        let error = Store::rekey(&config).await.map(drop).expect_err("no secret").to_string();
        assert!(error.contains("the database itself or a file of it"), "{error}");
    }
    site.start().await.expect("the database as it was");
    assert_eq!(site.signed().size, 5);
}

#[tokio::test]
async fn a_row_that_was_changed_before_it_was_signed_has_no_seed() {
    for n_before in [0, 300] {
        let mut site = Site::new().await;
        if n_before > 0 {
            site.roll_to(n_before).await;
        }
        let note = site.store().signed().borrow().clone();
        site.roll_to(n_before + 10).await;
        site.stop().await;
        // The state after a kill before the second signature.
        let checkpoint = site.folder.path().join("rolls.secret.checkpoint");
        match note {
            Some(signed) => fs::write(&checkpoint, &*signed.note).expect("the first checkpoint"),
            None => fs::remove_file(&checkpoint).expect("a file"),
        }
        let (first, fifth, eighth) = (n_before + 1, n_before + 5, n_before + 8);
        site.execute(&format!(
            "update rolls set dice = '{{\"1D6\":1,\"2D20\":2}}' where id in ({first}, {fifth});
             update rolls set dice = '{{\"1D6\":2,\"2D20\":2}}' where id in ({first}, {fifth});
             delete from rolls where id = {eighth}"
        ));
        site.start().await.expect("a start");
        site.roll_to(n_before + 20).await;
        assert_eq!(counts(&site.verify().await), (n_before as u64 + 17, 3, &[][..]));
        for id in [first, fifth] {
            let leaf = site.prove(id).await.expect("a proof").expect("a kept roll");
            assert!(matches!(leaf, Leaf::Unproven(_)), "{leaf}");
        }
        let leaf = site.prove(first + 1).await.expect("a proof").expect("a kept roll");
        assert!(matches!(leaf, Leaf::Proven { next, .. } if next.is_some() == (n_before == 0)));
        site.restart().await.expect("a start");
        assert_eq!(counts(&site.verify().await), (n_before as u64 + 17, 3, &[][..]));
    }
}

#[tokio::test]
async fn a_wrong_hash_of_a_tile_makes_no_wrong_proof_or_tile_and_is_found() {
    let site = &Site::new().await;
    site.store().apply(examples(1, 65_800)).await.expect("rolls");
    site.store().sign().await.expect("a checkpoint");
    let check = || async {
        match Store::inspect(&site.config()).await.expect("a sound database") {
            Inspection::Sound { log, .. } => log.map(drop),
            Inspection::Absent => panic!("no database"),
        }
    };
    check().await.expect("control: a sound log");
    let set = |hash: &str| {
        site.execute(&format!("update tile_hashes set hash = {hash} where level = 0 and n = 7"))
    };
    let sql = "select 'x''' || hex(hash) || '''' from tile_hashes where level = 0 and n = 7";
    let connection = Connection::open(site.config().database).expect("the database");
    let hash: String = connection.query_row(sql, [], |row| row.get(0)).expect("a hash");
    set("zeroblob(32)");
    let hashes = |width| async move {
        let tile = Tile { kind: TileKind::Hashes(1), n: 0, width };
        site.store().tile(tile, site.signed()).await
    };
    let delete = "delete from tile_hashes where level = 0 and n = 7";
    for change in ["update tile_hashes set hash = zeroblob(32) where level = 0 and n = 7", delete] {
        site.execute(change);
        for id in [6 * 256 + 1, 7 * 256 + 1] {
            let error = site.prove(id).await.expect_err("a wrong proof");
            assert!(matches!(error, StoreError::Changed { .. }), "{id}: {error}");
        }
        site.tile(7, 256).await.expect_err("a tile without its hash");
        for width in [4, 256] {
            hashes(width).await.expect_err("a tile with a wrong hash");
        }
        site.tile(256, 256).await.expect("control: a tile below another hash");
        check().await.expect_err("a wrong hash");
    }
    site.execute(&format!("insert into tile_hashes (level, n, hash) values (0, 7, {hash})"));
    for width in [4, 256] {
        hashes(width).await.expect("control: the right hash");
    }
    site.prove(6 * 256 + 1).await.expect("the right hash").expect("a kept roll");
    // The rows of tile 7 are pruned, so only the tile above shows that its hash is wrong.
    site.store().prune(Cutoff::Count(60_000)).await.expect("a prune");
    while site.store().prune(Cutoff::Count(60_000)).await.expect("a prune").n_rolls > 0 {}
    check().await.expect("control: a sound log");
    set("zeroblob(32)");
    let error = check().await.expect_err("a wrong hash");
    assert!(matches!(error, StoreError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn a_hash_that_is_stored_already_is_kept_and_another_one_is_refused() {
    let site = Site::new().await;
    let connection = Connection::open(site.config().database).expect("the database");
    for _ in 0..2 {
        save_hash(&connection, 0, 1, Hash([1; 32])).expect("the same hash");
    }
    let error = save_hash(&connection, 0, 1, Hash([2; 32])).expect_err("another hash");
    let expected = (RollId(257), RollId(512));
    assert!(matches!(error, StoreError::Changed { first, last } if (first, last) == expected));
}

#[tokio::test]
async fn two_servers_never_use_one_secret() {
    let site = Site::new().await;
    let other = tempfile::tempdir().expect("a folder");
    let secret = Some(site.folder.path().join("rolls.secret"));
    let config = StoreConfig { secret, ..StoreConfig::example(other.path()) };
    let error = Store::open(&config).await.map(drop).expect_err("a secret in use").to_string();
    assert!(error.contains("is in use by another server"), "{error}");
    let error = Store::rekey(&config).await.map(drop).expect_err("a secret in use").to_string();
    assert!(error.contains("is in use by another server"), "{error}");
    drop(site);
}

#[tokio::test]
async fn a_roll_in_a_file_that_is_gone_is_not_signed() {
    let site = Site::new().await;
    site.roll_to(5).await;
    let database = site.config().database;
    fs::rename(&database, database.with_extension("moved")).expect("a rename");
    let error = site.store().apply(examples(6, 6)).await.expect_err("a file that is gone");
    assert!(matches!(error, StoreError::Moved(_)), "{error}");
    site.store().sign().await.expect("nothing to sign");
    assert_eq!(site.signed().size, 5);
}
