//! The writer's side of the log: adds a leaf for each roll, in the roll's own transaction.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rusqlite::{Connection, TransactionBehavior};
use tracing::info;

use crate::log::{Frontier, Hash, Leaf, TILE_LEN, leaf_hash};
use crate::roll::{Roll, RollId};
use crate::seeds::{Block, Seeds};
use crate::store::log::leaves::{drop_false_seeds, follows, leaves};
use crate::store::log::nodes::subtree_root;
use crate::store::log::runs::{
    SeedRun, begins_chain, first_of, has_new_secret, newest_run, tile_of,
};
use crate::store::log::tiles::{n_full_tiles, save_hash, tree};
use crate::store::{StoreError, history};

/// The number of tiles of an existing history that one transaction adds to the log.
const TILES_AT_ONCE: u64 = 256;
/// The time between two log lines of a long upgrade.
const LOG_INTERVAL: Duration = Duration::from_secs(2);

/// The tree in memory. The writer changes it, and other modules may read it. Cheap to clone.
#[derive(Clone, Default)]
pub struct SharedTree(Arc<RwLock<Frontier>>);

impl SharedTree {
    /// The number of leaves and the root.
    pub fn size_and_root(&self) -> (u64, Hash) {
        let tree = self.0.read().unwrap_or_else(PoisonError::into_inner);
        (tree.size(), tree.root())
    }

    fn set(&self, tree: &Frontier) {
        let mut shared = self.0.write().unwrap_or_else(PoisonError::into_inner);
        shared.clone_from(tree);
    }
}

/// The writer's part of the log.
pub struct LogWriter {
    shared: SharedTree,
    state: EndOfLog,
    seeds: Seeds,
}

/// The end of the log. Transactions change a copy, which takes effect once they are committed.
#[derive(Clone, Default)]
pub struct EndOfLog {
    tree: Frontier,
    /// The hashes of the leaves of the last tile, unless it is full.
    hashes: Vec<Hash>,
    newest: Option<SeedRun>,
    /// Whether the secret is new since the newest run.
    has_new_secret: bool,
}

impl LogWriter {
    /// Reads the end of the log, and adds leaves for all rolls that have none yet. Each step has
    /// its own transaction, so a long upgrade may be interrupted and continues at the next start.
    ///
    /// # Errors
    ///
    /// [`StoreError::Fork`] if the log has more rolls than the history; otherwise the error of SQLite.
    pub fn open(connection: &mut Connection, seeds: Seeds) -> Result<LogWriter, StoreError> {
        let n_full = n_full_tiles(connection)?;
        let mut state =
            EndOfLog { tree: tree(connection, n_full * TILE_LEN)?, ..EndOfLog::default() };
        state.read_newest(connection)?;
        let head = history::head(connection)?.id;
        if state.tree.size() > head.0 as u64 {
            return Err(StoreError::Fork { signed: state.tree.size(), stored: head.0 as u64 });
        }
        let (start, mut logged) = (Instant::now(), Instant::now());
        while state.tree.size() < head.0 as u64 {
            let up_to = first_of(state.tree.size() / TILE_LEN + TILES_AT_ONCE).previous().min(head);
            // Less than a tile usually changes nothing, so another program may hold the lock.
            let behavior = match tile_of(up_to) == n_full {
                true => TransactionBehavior::Deferred,
                false => TransactionBehavior::Immediate,
            };
            let transaction = connection.transaction_with_behavior(behavior)?;
            state.take_in(&transaction, up_to)?;
            transaction.commit()?;
            if logged.elapsed() > LOG_INTERVAL {
                logged = Instant::now();
                info!(
                    up_to = up_to.0,
                    "adding past rolls to the log of rolls: {up_to} of {head} so far"
                );
            }
        }
        if start.elapsed() > LOG_INTERVAL {
            let seconds = start.elapsed().as_secs_f64();
            info!(seconds, "added all past rolls to the log of rolls in {seconds:.1} s");
        }
        let shared = SharedTree::default();
        shared.set(&state.tree);
        Ok(LogWriter { shared, state, seeds })
    }

    /// How many leaves the log has.
    pub fn size(&self) -> u64 {
        self.state.tree.size()
    }

    /// Whether the roll `id`, which has a seed, begins a chain if it is the next one.
    pub fn begins_chain(&self, id: RollId) -> bool {
        begins_chain(self.state.newest, self.state.has_new_secret, id)
    }

    /// The tree in memory.
    pub fn tree(&self) -> SharedTree {
        self.shared.clone()
    }

    /// The new end of the log, with leaves for `rolls`, which were just inserted in ascending
    /// order, and for all other rows that have none yet: those of another program, and our own of
    /// a commit whose outcome was unknown. It takes effect when it is passed to
    /// [`LogWriter::committed`].
    ///
    /// # Errors
    ///
    /// [`StoreError::Fork`] if the log already has other rolls in their place; otherwise the error of
    /// SQLite.
    pub fn add(&self, transaction: &Connection, rolls: &[Roll]) -> Result<EndOfLog, StoreError> {
        let mut state = self.state.clone();
        let Some(first) = rolls.first() else {
            let head = history::head(transaction)?.id;
            if head.0 as u64 > state.tree.size() {
                state.take_in(transaction, head)?;
            }
            return Ok(state);
        };
        if first.id.0 as u64 > state.tree.size() + 1 {
            state.take_in(transaction, first.id.previous())?;
        }
        if first.id.0 as u64 != state.tree.size() + 1 {
            let stored = first.id.previous().0 as u64;
            return Err(StoreError::Fork { signed: state.tree.size(), stored });
        }
        let saved = state.newest;
        for roll in rolls {
            let leaf = self.leaf(transaction, &mut state, roll)?;
            state.push(transaction, leaf_hash(&leaf.text()))?;
        }
        if state.newest != saved
            && let Some(run) = state.newest
        {
            run.save(transaction)?;
        }
        Ok(state)
    }

    /// Applies the result of [`LogWriter::add`], once its transaction is committed.
    pub fn committed(&mut self, state: EndOfLog) {
        self.shared.set(&state.tree);
        self.state = state;
    }

    /// The leaf of a roll. It has a seed only if the dice follow from the seed.
    fn leaf(
        &self,
        transaction: &Connection,
        state: &mut EndOfLog,
        roll: &Roll,
    ) -> Result<Leaf, StoreError> {
        // Other dice were not drawn from the seeds, for example in tests.
        let Some(seed) = self.seeds.computed(roll.id).filter(|seed| follows(roll, *seed)) else {
            return Ok(Leaf::Unproven(roll.clone()));
        };
        let run = if begins_chain(state.newest, state.has_new_secret, roll.id) {
            let next = self.seeds.anchor(Block::of(roll.id).next());
            SeedRun { first: roll.id, last: roll.id, seed, next: Some(next) }
        } else {
            SeedRun::continued(state.newest, roll.id, seed)
        };
        // The caller saves only the newest run of a group, so save the run before it here.
        if let Some(before) = state.newest.filter(|before| before.first != run.first) {
            before.save(transaction)?;
        }
        state.newest = Some(run);
        state.has_new_secret = false;
        let next = run.next.filter(|_| run.first == roll.id);
        Ok(Leaf::Proven { roll: roll.clone(), seed, next })
    }
}

impl EndOfLog {
    fn read_newest(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.newest = newest_run(connection)?;
        self.has_new_secret = has_new_secret(connection, self.newest)?;
        Ok(())
    }

    /// Adds leaves for stored rolls up to and including this one.
    fn take_in(&mut self, transaction: &Connection, up_to: RollId) -> Result<(), StoreError> {
        self.read_newest(transaction)?;
        while self.tree.size() < up_to.0 as u64 {
            let next = RollId(self.tree.size() as i64 + 1);
            let tile = tile_of(next);
            let last = up_to.min(first_of(tile + 1).previous());
            let n_known = (next.0 - first_of(tile).0) as usize;
            let mut leaves_of_tile = leaves(transaction, tile, last)?;
            if self.newest.is_some_and(|run| tile_of(run.last) >= tile)
                && drop_false_seeds(transaction, tile, next, &leaves_of_tile)?
            {
                leaves_of_tile = leaves(transaction, tile, last)?;
                self.read_newest(transaction)?;
            }
            for leaf in leaves_of_tile.iter().skip(n_known) {
                self.push(transaction, leaf_hash(&leaf.text()))?;
            }
        }
        Ok(())
    }

    /// Adds a leaf, and stores the hashes of tiles that become full.
    fn push(&mut self, transaction: &Connection, leaf: Hash) -> Result<(), StoreError> {
        self.tree.push(leaf);
        self.hashes.push(leaf);
        if self.hashes.len() as u64 == TILE_LEN {
            let hash = subtree_root(&self.hashes);
            self.hashes.clear();
            save_full(transaction, 0, self.tree.size() / TILE_LEN - 1, hash)?;
        }
        Ok(())
    }
}

/// Stores the hash of a full tile, and that of the tile above if it becomes full with it.
fn save_full(transaction: &Connection, level: u32, n: u64, hash: Hash) -> Result<(), StoreError> {
    save_hash(transaction, level, n, hash)?;
    if !(n + 1).is_multiple_of(TILE_LEN) {
        return Ok(());
    }
    let sql =
        "select hash from tile_hashes where level = ?1 and n > ?2 - 256 and n <= ?2 order by n";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = statement.query_map((level, n as i64), |row| row.get(0))?;
    let hashes: Vec<Hash> = rows.map(|hash| hash.map(Hash)).collect::<Result<_, _>>()?;
    save_full(transaction, level + 1, n / TILE_LEN, subtree_root(&hashes))
}
