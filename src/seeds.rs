//! Seeds: 32 bytes for each roll, which determine its dice. The SHA-256 of a seed is the seed of
//! the previous roll. So a public seed determines all earlier ones, and reveals no later one.
//!
//! This is section 1 of `rollcast/v1` (`docs/proof.md`).

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use ring::digest::{self, SHA256};
use ring::hmac::{self, HMAC_SHA256};
use ring::rand::{SecureRandom, SystemRandom};

use crate::roll::RollId;
use crate::text::{ValueError, from_hex, hex};

/// How many rolls a block has: `2^20`.
pub const BLOCK_LEN: i64 = 1 << 20;

/// The seed of a roll, or an anchor: the SHA-256 of the first seed of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// The seed of the previous roll. For the first roll of a block, the block's anchor.
    pub fn previous(self) -> Seed {
        Seed(sha256(&self.0))
    }

    /// The seed of the roll `n` before this one in the same block.
    pub fn back(self, n: u64) -> Seed {
        (0..n).fold(self, |seed, _| seed.previous())
    }

    /// The seed as the key from which dice are drawn.
    pub fn key(self) -> DrawKey {
        DrawKey(hmac::Key::new(HMAC_SHA256, &self.0))
    }
}

impl fmt::Display for Seed {
    /// 64 hex digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl FromStr for Seed {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Seed, ValueError> {
        from_hex(text).map(Seed).ok_or_else(|| ValueError::new("a seed of 64 hex digits", text))
    }
}

/// A seed, prepared as a key of HMAC-SHA256. Preparing it costs as much as one message, and each die
/// needs at least one message.
pub struct DrawKey(hmac::Key);

impl DrawKey {
    /// The HMAC-SHA256 of a message.
    pub fn hmac(&self, message: &[u8]) -> [u8; 32] {
        hmac::sign(&self.0, message).as_ref().try_into().expect("32 bytes")
    }
}

/// A block of `2^20` rolls: block 0 has the rolls 1 to 1,048,576.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Block(i64);

impl Block {
    /// The block of a roll. Its id is 1 or more.
    pub fn of(id: RollId) -> Block {
        Block((id.0 - 1).div_euclid(BLOCK_LEN))
    }

    /// The block after this one.
    pub fn next(self) -> Block {
        Block(self.0 + 1)
    }

    /// The first roll of the block.
    pub fn first(self) -> RollId {
        RollId(self.0 * BLOCK_LEN + 1)
    }

    /// The last roll of the block.
    pub fn last(self) -> RollId {
        RollId((self.0 + 1) * BLOCK_LEN)
    }
}

/// The 32 bytes from which all seeds and the signing key are derived. Anyone who knows them knows
/// every future roll.
///
/// It has no `Debug`, so that no log line can contain it.
pub struct Secret([u8; 32]);

impl Secret {
    /// A new secret from the operating system.
    ///
    /// # Errors
    ///
    /// The operating system provides no random bytes.
    pub fn generate() -> Result<Secret, ring::error::Unspecified> {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes)?;
        Ok(Secret(bytes))
    }

    /// Reads the text of a secret's file: 64 hex digits and a newline. `None` for any other text,
    /// so no error can quote it.
    pub fn parse(file: &str) -> Option<Secret> {
        from_hex(file.strip_suffix('\n')?).map(Secret)
    }

    /// The text of the secret's file.
    pub fn to_file(&self) -> String {
        format!("{}\n", hex(&self.0))
    }

    /// The private key that signs the log.
    pub fn signing_key(&self) -> [u8; 32] {
        hmac_sha256(&self.0, b"rollcast/v1 key")
    }

    /// The seed of the last roll of a block, from which all others of the block are computed.
    fn last_seed(&self, block: Block) -> Seed {
        Seed(hmac_sha256(&self.0, format!("rollcast/v1 block {}", block.0).as_bytes()))
    }
}

/// How many blocks are kept in memory: the current one, the next one, and the one after, whose
/// anchor the first roll of the next block announces.
const N_BLOCKS: usize = 3;
/// How many seeds a segment of a block has.
const STEP: usize = 1 << 10;

/// The seeds of one block. They are computed from the last to the first, but needed from the first
/// to the last. So the last seed of each segment of 1,024 is kept, and the whole segment of the
/// newest request: 64 KiB.
#[derive(Clone)]
pub struct BlockSeeds {
    block: Block,
    /// Item `i` is the last seed of segment `i`, which has [`STEP`] seeds.
    segment_ends: Vec<Seed>,
    /// The segment of the newest request, and its seeds.
    segment: usize,
    seeds: Vec<Seed>,
}

impl BlockSeeds {
    /// Computes `2^20` hashes: about 0.15 s.
    pub fn compute(secret: &Secret, block: Block) -> BlockSeeds {
        let mut seed = secret.last_seed(block);
        let mut segment_ends = Vec::with_capacity(BLOCK_LEN as usize / STEP);
        segment_ends.push(seed);
        while segment_ends.len() < BLOCK_LEN as usize / STEP {
            seed = seed.back(STEP as u64);
            segment_ends.push(seed);
        }
        segment_ends.reverse();
        let mut seeds = BlockSeeds { block, segment_ends, segment: 0, seeds: Vec::new() };
        seeds.load(0);
        seeds
    }

    /// The block.
    pub fn block(&self) -> Block {
        self.block
    }

    /// The seed of a roll of this block.
    ///
    /// # Panics
    ///
    /// The roll is in another block.
    pub fn seed(&mut self, id: RollId) -> Seed {
        assert_eq!(Block::of(id), self.block, "roll {id} is in another block");
        let index = (id.0 - self.block.first().0) as usize;
        if index / STEP != self.segment {
            self.load(index / STEP);
        }
        self.seeds[index % STEP]
    }

    /// The block's anchor, which the first roll of a chain in the block before announces.
    pub fn anchor(&self) -> Seed {
        self.segment_ends[0].back(STEP as u64)
    }

    fn load(&mut self, segment: usize) {
        self.segment = segment;
        self.seeds.clear();
        let end = self.segment_ends[segment];
        let seeds = std::iter::successors(Some(end), |seed| Some(seed.previous()));
        self.seeds.extend(seeds.take(STEP));
        self.seeds.reverse();
    }
}

/// Adds a block. Replaces the oldest one if [`N_BLOCKS`] are kept.
fn insert(blocks: &mut Vec<BlockSeeds>, seeds: BlockSeeds) {
    if blocks.len() == N_BLOCKS {
        let oldest = blocks.iter().enumerate().min_by_key(|(_, seeds)| seeds.block());
        let oldest = oldest.map_or(0, |(place, _)| place);
        blocks.remove(oldest);
    }
    blocks.push(seeds);
}

/// The SHA-256 of some bytes.
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let digest = digest::digest(&SHA256, bytes);
    digest.as_ref().try_into().expect("32 bytes")
}

/// The HMAC-SHA256 of a message.
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let key = hmac::Key::new(HMAC_SHA256, key);
    hmac::sign(&key, message).as_ref().try_into().expect("32 bytes")
}

/// The seeds of a server's rolls, in the current block and the next ones. A separate thread
/// computes the next blocks ahead. Cheap to clone.
#[derive(Clone)]
pub struct Seeds(Arc<Shared>);

struct Shared {
    secret: Secret,
    blocks: Mutex<Vec<BlockSeeds>>,
    /// The newest block that was computed ahead, or is being computed.
    prepared: AtomicI64,
}

impl Seeds {
    /// The seeds of a secret.
    pub fn new(secret: Secret) -> Seeds {
        Seeds(Arc::new(Shared { secret, blocks: Mutex::default(), prepared: AtomicI64::new(0) }))
    }

    /// The seed of a roll. The first request for a block takes about 0.15 s, unless the block was
    /// computed ahead.
    pub fn seed(&self, id: RollId) -> Seed {
        self.0.with(Block::of(id), |block| block.seed(id))
    }

    /// The seed of a roll that is drawn now.
    pub fn draw(&self, id: RollId) -> Seed {
        self.prepare(id);
        self.seed(id)
    }

    /// In the second half of a block, starts a thread that computes the next two blocks: the second
    /// one for the anchor that the next block announces. `id` is the next roll, or the one that is
    /// drawn now.
    pub fn prepare(&self, id: RollId) {
        let next = Block::of(id).next();
        let is_soon = id.0 >= next.first().0 - BLOCK_LEN / 2;
        if !is_soon || self.0.prepared.fetch_max(next.0, Ordering::Relaxed) >= next.0 {
            return;
        }
        let seeds = self.clone();
        // Ignore the error: without this thread, the next block is computed when its first roll is
        // due.
        let _ = thread::Builder::new().name("seeds".into()).spawn(move || {
            seeds.0.compute_ahead(next);
            seeds.0.compute_ahead(next.next());
        });
    }

    /// The seed of a roll whose block is already computed, as for every roll that was just drawn;
    /// `None` otherwise.
    pub fn computed(&self, id: RollId) -> Option<Seed> {
        let mut blocks = self.0.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let block = blocks.iter_mut().find(|seeds| seeds.block() == Block::of(id));
        block.map(|block| block.seed(id))
    }

    /// The anchor of a block.
    pub fn anchor(&self, block: Block) -> Seed {
        self.0.with(block, |block| block.anchor())
    }
}

impl Shared {
    /// Computes a block without holding the lock.
    fn compute_ahead(&self, block: Block) {
        let is_there = |blocks: &[BlockSeeds]| blocks.iter().any(|seeds| seeds.block() == block);
        let lock = || self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        if !is_there(&lock()) {
            let seeds = BlockSeeds::compute(&self.secret, block);
            let mut blocks = lock();
            if !is_there(&blocks) {
                insert(&mut blocks, seeds);
            }
        }
    }

    fn with<T>(&self, block: Block, read: impl FnOnce(&mut BlockSeeds) -> T) -> T {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        let place = blocks.iter().position(|seeds| seeds.block() == block);
        let place = place.unwrap_or_else(|| {
            insert(&mut blocks, BlockSeeds::compute(&self.secret, block));
            blocks.len() - 1
        });
        read(&mut blocks[place])
    }
}
