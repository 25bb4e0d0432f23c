use std::fs;

use rusqlite::Connection;
use tempfile::TempDir;

use crate::config::StoreConfig;
use crate::dice::Results;
use crate::draw;
use crate::log::{
    Break, Checkpoint, HistoryVerifier, Leaf, Proof, Summary, TILE_LEN, Tile, TileKind, verify_roll,
};
use crate::roll::{Roll, RollId};
use crate::store::{Cutoff, Store, StoreError};

/// A store whose rolls follow from its seeds.
pub struct Site {
    pub folder: TempDir,
    pub store: Option<Store>,
}

impl Site {
    pub async fn new() -> Site {
        let folder = tempfile::tempdir().expect("a folder");
        let mut site = Site { folder, store: None };
        site.start().await.expect("a store");
        site
    }

    pub fn config(&self) -> StoreConfig {
        StoreConfig::example(self.folder.path())
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().expect("a started store")
    }

    pub async fn start(&mut self) -> Result<(), StoreError> {
        self.store = Some(Store::open(&self.config()).await?);
        Ok(())
    }

    /// Ends the store and starts it again.
    pub async fn restart(&mut self) -> Result<(), StoreError> {
        self.stop().await;
        self.start().await
    }

    pub async fn stop(&mut self) {
        let store = self.store.take().expect("a started store");
        assert!(store.finish().await.expect("space"), "a part of the log stays");
    }

    /// Makes rolls up to and including this one, after the newest, and signs them.
    pub async fn roll_to(&self, last: i64) {
        let dice = vec!["1D6".parse().expect("a die"), "2D20".parse().expect("a die")];
        let dice = dice.try_into().expect("dice");
        let newest = self.store().newest(1).await.expect("the newest roll").head.id;
        let seeds = self.store().seeds();
        let rolls: Vec<Roll> = (newest.0 + 1..=last)
            .map(|id| Roll {
                dice: draw::results(seeds.seed(RollId(id)), RollId(id), &dice),
                ..Roll::example(id)
            })
            .collect();
        for group in rolls.chunks(50) {
            self.store().apply(group.to_vec()).await.expect("rolls that fit");
        }
        self.store().sign().await.expect("a checkpoint");
    }

    pub fn signed(&self) -> Checkpoint {
        self.store().signed().borrow().as_ref().expect("a checkpoint").checkpoint
    }

    /// Changes the database as another program would.
    pub fn execute(&self, sql: &str) {
        let connection = Connection::open(self.config().database).expect("the database");
        connection.execute_batch(sql).expect("a change");
    }

    /// The text of a leaf, out of its tile.
    pub async fn tile(&self, n: u64, width: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let tile = Tile { kind: TileKind::Entries, n, width };
        Ok(self.store().tile(tile, self.signed()).await?.0)
    }

    /// All leaves of the signed log.
    pub async fn leaves(&self) -> Vec<String> {
        let size = self.signed().size;
        let mut leaves = Vec::new();
        for n in 0..size.div_ceil(TILE_LEN) {
            let width = TILE_LEN.min(size - n * TILE_LEN);
            let bytes = self.tile(n, width).await.expect("a tile").expect("a kept tile");
            let mut rest = bytes.as_slice();
            while let [high, low, entry @ ..] = rest {
                let (leaf, others) = entry.split_at(usize::from(u16::from_be_bytes([*high, *low])));
                leaves.push(String::from_utf8(leaf.to_vec()).expect("text"));
                rest = others;
            }
        }
        leaves
    }

    /// Verifies the whole signed log.
    pub async fn verify(&self) -> Summary {
        let mut verifier = HistoryVerifier::default();
        for leaf in self.leaves().await {
            verifier.push(&leaf).expect("a leaf that fits");
        }
        verifier.compare(&self.signed()).expect("the signed tree");
        verifier.summary().clone()
    }

    /// Verifies one roll by its proof.
    pub async fn prove(&self, id: i64) -> Result<Option<Leaf>, StoreError> {
        let id = RollId(id);
        let (proof, _) = self.store().proof(id, self.signed()).await?;
        let Some((leaf, hashes)) = proof else { return Ok(None) };
        let checkpoint = self.store().signed().borrow().as_ref().expect("one").note.to_string();
        let proof = Proof { leaf: leaf.to_string(), index: (id.0 - 1) as u64, hashes, checkpoint };
        let proven = verify_roll(&proof, self.store().key(), None).expect("a proof that holds");
        assert_eq!(proven, leaf);
        assert_eq!(self.store().leaf(id).await.expect("a leaf").0, leaf);
        Ok(Some(leaf))
    }
}

pub fn counts(summary: &Summary) -> (u64, u64, &[Break]) {
    (summary.n_proven, summary.n_unproven, &summary.breaks)
}

#[tokio::test]
async fn every_roll_is_proven_and_a_restart_continues_the_chain() {
    let mut site = Site::new().await;
    for last in [1, 2, 255, 256, 257, 700] {
        site.roll_to(last).await;
        assert_eq!(counts(&site.verify().await), (last as u64, 0, &[][..]));
        site.restart().await.expect("a start");
        assert_eq!(site.signed().size, last as u64);
    }
    for id in [1, 2, 255, 256, 257, 512, 513, 699, 700] {
        let leaf = site.prove(id).await.expect("a proof").expect("a kept roll");
        assert!(matches!(leaf, Leaf::Proven { .. }), "{leaf}");
    }
}

#[tokio::test]
async fn inserted_and_deleted_rows_have_leaves_without_seeds_and_the_chain_continues() {
    let mut site = Site::new().await;
    site.roll_to(254).await;
    let insert = "insert into rolls (rolled_at, dice)
                  values ('2026-11-23T01:37:40.123Z', '{\"1D6\":6}');";
    site.execute(&insert.repeat(3));
    site.roll_to(300).await;
    assert_eq!(counts(&site.verify().await), (297, 3, &[][..]));
    for id in 255..=257 {
        assert!(matches!(site.prove(id).await, Ok(Some(Leaf::Unproven(_)))), "{id}");
    }
    site.stop().await;
    site.execute(&insert.repeat(2));
    site.execute("delete from rolls where id = 302");
    site.start().await.expect("a start");
    site.roll_to(600).await;
    assert_eq!(counts(&site.verify().await), (595, 5, &[][..]));
    assert!(matches!(site.prove(302).await, Ok(Some(Leaf::Missing(RollId(302))))));
}

#[tokio::test]
async fn a_changed_row_is_never_proven_in_a_full_tile_or_in_the_last_one() {
    let site = Site::new().await;
    site.roll_to(600).await;
    for (changed, of_same_tile, of_another) in [(100, 200, 300), (590, 513, 512)] {
        let sql = format!("select dice from rolls where id = {changed}");
        let connection = Connection::open(site.config().database).expect("the database");
        let dice: String = connection.query_row(&sql, [], |row| row.get(0)).expect("a row");
        let other = if dice.contains("\"1D6\":1") { 2 } else { 1 };
        let set = |dice: &str| format!("update rolls set dice = '{dice}' where id = {changed}");
        site.execute(&set(&format!("{{\"1D6\":{other},\"2D20\":9}}")));
        for id in [changed, of_same_tile] {
            let error = site.prove(id).await.expect_err("a changed row");
            assert!(matches!(error, StoreError::Changed { .. }), "{error}");
            let tile = (id as u64 - 1) / TILE_LEN;
            site.tile(tile, 1).await.expect_err("a changed row");
        }
        let inspection = Store::inspect(&site.config()).await.expect("a sound database");
        let crate::store::Inspection::Sound { log, .. } = inspection else { panic!("no file") };
        log.expect_err("a changed row");
        if of_another < changed || changed == 100 {
            // Control: other tiles are proven as before, unless the last tile itself differs.
            let proof = site.prove(of_another).await;
            assert_eq!(proof.is_ok(), changed == 100, "{changed}");
        }
        site.execute(&set(&dice));
        site.prove(changed).await.expect("the row as it was");
    }
}

#[tokio::test]
async fn an_older_copy_of_the_database_is_refused_until_there_is_a_new_secret() {
    let mut site = Site::new().await;
    site.roll_to(300).await;
    site.stop().await;
    let (database, copy) = (site.config().database, site.folder.path().join("copy.db"));
    fs::copy(&database, &copy).expect("a copy");
    site.start().await.expect("a start");
    site.roll_to(310).await;
    site.stop().await;
    fs::copy(&copy, &database).expect("the older copy");
    let error = site.start().await.expect_err("an older copy");
    assert!(matches!(error, StoreError::Fork { signed: 310, stored: 300 }), "{error}");
    assert!(error.to_string().contains("rollcast rekey"), "{error}");

    let rekeyed = Store::rekey(&site.config()).await.expect("a new secret");
    assert!(rekeyed.old_secret.expect("the old one").exists());
    site.start().await.expect("a start with a new secret");
    assert_eq!(site.store().key(), &rekeyed.key);
    site.roll_to(320).await;
    assert_eq!(counts(&site.verify().await), (320, 0, &[Break(RollId(301))][..]));
    site.restart().await.expect("a start");
    site.roll_to(330).await;
    assert_eq!(counts(&site.verify().await), (330, 0, &[Break(RollId(301))][..]));
}

#[tokio::test]
async fn a_start_without_the_secret_of_the_stored_rolls_is_refused() {
    let mut site = Site::new().await;
    site.roll_to(3).await;
    site.stop().await;
    let secret = site.folder.path().join("rolls.secret");
    let text = fs::read_to_string(&secret).expect("the secret");
    let other = format!("{}\n", "0".repeat(64));
    for (content, fault) in [
        (None, "does not exist"),
        (Some(other.as_str()), "is not the secret of the stored rolls"),
        (Some("no secret\n"), "is not 64 hex digits"),
    ] {
        match content {
            Some(content) => fs::write(&secret, content).expect("a file"),
            None => fs::remove_file(&secret).expect("a file"),
        }
        let error = site.start().await.expect_err(fault).to_string();
        assert!(error.contains(fault) && error.contains("rollcast rekey"), "{error}");
        assert!(!error.contains(text.trim()), "the secret is in {error}");
    }
    fs::write(&secret, &text).expect("the secret");
    // The checkpoint alone may be missing.
    fs::remove_file(site.folder.path().join("rolls.secret.checkpoint")).expect("a file");
    site.start().await.expect("a start");
    site.roll_to(5).await;
    assert_eq!(counts(&site.verify().await), (5, 0, &[][..]));
}

#[tokio::test]
async fn an_existing_history_is_added_to_the_log_in_steps_pruned_or_not() {
    let mut site = Site::new().await;
    // A server without a log threw these dice. That they follow from the seeds is too unlikely.
    let old = r#"{"98D1000":49000,"99D1000":49500,"100D1000":50000}"#.parse::<Results>();
    let dice = old.expect("results");
    let rolls = (1..=1000).map(|id| Roll { dice: dice.clone(), ..Roll::example(id) });
    site.store().apply(rolls.collect()).await.expect("rolls");
    site.store().sign().await.expect("a checkpoint");
    let root = site.signed().root;
    // The states before an upgrade, and after a kill during the upgrade.
    for n_tiles in [0, 2] {
        site.stop().await;
        site.execute(&format!("delete from tile_hashes where n >= {n_tiles}"));
        fs::remove_file(site.folder.path().join("rolls.secret.checkpoint")).expect("a file");
        site.start().await.expect("a start");
        site.store().sign().await.expect("a checkpoint");
        assert_eq!(site.signed().root, root);
    }
    site.roll_to(1010).await;
    assert_eq!(counts(&site.verify().await), (10, 1000, &[][..]));
    // A history whose oldest rolls were pruned before there was a log.
    site.stop().await;
    site.execute(
        "delete from tile_hashes; delete from seed_runs; delete from rolls where id < 300",
    );
    for file in ["rolls.secret", "rolls.secret.checkpoint"] {
        fs::remove_file(site.folder.path().join(file)).expect("a file");
    }
    site.start().await.expect("a start");
    site.roll_to(1020).await;
    let leaf = site.prove(300).await.expect("a proof").expect("a kept roll");
    assert!(matches!(leaf, Leaf::Unproven(_)), "{leaf}");
    let leaf = site.prove(299).await.expect("a proof").expect("a kept tile");
    assert_eq!(leaf, Leaf::Missing(RollId(299)));
    assert!(matches!(site.prove(1020).await, Ok(Some(Leaf::Proven { .. }))));
}

#[tokio::test]
async fn whole_tiles_are_pruned_and_the_rest_is_proven_as_before() {
    let mut site = Site::new().await;
    site.roll_to(700).await;
    let pruned = site.store().prune(Cutoff::Count(300)).await.expect("a prune");
    assert_eq!((pruned.n_rolls, pruned.oldest), (256, RollId(257)));
    let nothing = site.store().prune(Cutoff::Count(300)).await.expect("a prune");
    assert_eq!((nothing.n_rolls, nothing.more), (0, false));
    for restarted in [false, true] {
        assert!(site.prove(256).await.expect("no error").is_none(), "{restarted}");
        assert!(site.tile(0, 256).await.expect("no error").is_none(), "{restarted}");
        for id in [257, 512, 700] {
            site.prove(id).await.expect("a proof").expect("a kept roll");
        }
        let above = Tile { kind: TileKind::Hashes(1), n: 0, width: 2 };
        let above = site.store().tile(above, site.signed()).await.expect("a tile").0;
        assert_eq!(above.expect("hashes stay").len(), 64);
        site.restart().await.expect("a start");
    }
    site.roll_to(800).await;
    assert!(matches!(site.prove(800).await, Ok(Some(Leaf::Proven { next: None, .. }))));
}
