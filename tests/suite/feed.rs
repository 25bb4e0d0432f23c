//! The feed against a simple model: every reader gets each stored roll after its cursor once, in
//! order, and a `Sync` item counts all pruned ones.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;
use rollcast::config::{Keep, StoreConfig};
use rollcast::cursor::Cursor;
use rollcast::dice::{DieResult, Results};
use rollcast::feed::{Feed, Item, Mode, Reader, Reason, Start};
use rollcast::roll::{Roll, RollId, RolledAt};
use rollcast::store::Store;
use rusqlite::Connection;
use tempfile::TempDir;
use tokio::time::timeout;

use crate::common::TIMEOUT;

/// A small window, so that readers fall out of it.
const N_RECENT: usize = 4;
/// Longer than any test, so that no heartbeat comes.
const NO_HEARTBEAT: Duration = Duration::from_secs(600);

#[derive(Clone, Debug)]
enum Step {
    /// Stores a roll without publishing it.
    Append,
    /// Publishes all stored rolls that are not published yet.
    Publish,
    /// Deletes this many of the oldest rolls.
    Prune(usize),
    /// Opens a reader.
    Connect(Ask),
    /// Reads up to this many items from the reader of this index, fewer if it has caught up.
    Read(usize, usize),
    /// Replaces a reader with a new one that resumes after its last roll.
    Resume(usize),
    /// Drops a reader.
    Drop(usize),
}

#[derive(Clone, Debug)]
enum Ask {
    Live,
    Malformed,
    /// This many rolls before the newest stored one (negative: beyond it).
    Back(i64),
    /// The same, with its timestamp.
    BackWithMoment(i64),
    /// The same, with a different timestamp.
    OtherHistory(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let back = || -2..12_i64;
    let ask = prop_oneof![
        1 => Just(Ask::Live),
        1 => Just(Ask::Malformed),
        3 => back().prop_map(Ask::Back),
        4 => back().prop_map(Ask::BackWithMoment),
        1 => back().prop_map(Ask::OtherHistory),
    ];
    let step = prop_oneof![
        6 => Just(Step::Append),
        5 => Just(Step::Publish),
        2 => (1..6_usize).prop_map(Step::Prune),
        4 => ask.prop_map(Step::Connect),
        8 => (0..6_usize, 1..6_usize).prop_map(|(reader, n)| Step::Read(reader, n)),
        2 => (0..6_usize).prop_map(Step::Resume),
        1 => (0..6_usize).prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 1..60)
}

/// The modules under test and the state of the model.
struct World {
    _folder: TempDir,
    store: Store,
    feed: Feed,
    /// Deletes rolls as a prune would.
    pruner: Connection,
    /// All rolls ever stored: roll n is at n - 1.
    rolls: Vec<Roll>,
    n_published: usize,
    /// The oldest stored roll.
    oldest: i64,
    readers: Vec<Watched>,
}

/// A reader and its state in the model.
struct Watched {
    reader: Reader,
    /// The last roll that it received, or that a `Sync` reported as pruned.
    last: i64,
    /// Whether it received its first `Sync`.
    greeted: bool,
}

impl World {
    async fn new() -> World {
        World::with_heartbeat(NO_HEARTBEAT).await
    }

    async fn with_heartbeat(heartbeat: Duration) -> World {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("rolls.db");
        let keep = Keep::Forever;
        let config = StoreConfig {
            database: database.clone(),
            keep,
            n_reserve_bytes: 0,
            secret: None,
            origin: None,
        };
        let store = Store::open(&config).await.unwrap();
        let feed = Feed::open(store.clone(), N_RECENT, heartbeat).await.unwrap();
        let pruner = Connection::open(database).unwrap();
        pruner.pragma_update(None, "synchronous", "off").unwrap();
        let (rolls, readers) = (Vec::new(), Vec::new());
        World { _folder: folder, store, feed, pruner, rolls, n_published: 0, oldest: 1, readers }
    }

    fn stored_head(&self) -> i64 {
        self.rolls.len() as i64
    }

    fn cursor_of(&self, id: i64) -> Cursor {
        match usize::try_from(id - 1).ok().and_then(|index| self.rolls.get(index)) {
            Some(roll) if id >= self.oldest => roll.cursor(),
            _ => Cursor::from(RollId(id)),
        }
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append => {
                let n = self.rolls.len() as u32;
                let roll = append(&self.store, n).await;
                assert_eq!(roll.id.0, i64::from(n) + 1, "ids have no gaps");
                self.rolls.push(roll);
            }
            Step::Publish => {
                self.feed.publish(&self.rolls[self.n_published..]);
                self.n_published = self.rolls.len();
            }
            Step::Prune(n) => {
                self.oldest = (self.oldest + n as i64).min(self.stored_head() + 1);
                let sql = "delete from rolls where id < ?1";
                self.pruner.execute(sql, [self.oldest]).unwrap();
            }
            Step::Connect(ask) => self.connect(ask).await,
            Step::Read(index, n) => {
                if let Some(index) = self.pick(index) {
                    for _ in 0..n {
                        self.read(index).await;
                    }
                }
            }
            Step::Resume(index) => {
                if let Some(index) = self.pick(index) {
                    let last = self.readers.swap_remove(index).last;
                    self.open(Start::After(self.cursor_of(last)), last).await;
                }
            }
            Step::Drop(index) => {
                if let Some(index) = self.pick(index) {
                    self.readers.swap_remove(index);
                }
            }
        }
    }

    fn pick(&self, index: usize) -> Option<usize> {
        (!self.readers.is_empty()).then(|| index % self.readers.len())
    }

    async fn connect(&mut self, ask: Ask) {
        let head = self.stored_head();
        let moment = |id: i64, off: i64| {
            let millis = self.rolls.get((id - 1) as usize).map(|roll| roll.rolled_at.unix_millis());
            Some(millis.unwrap_or(1) + off)
        };
        let after = |id: i64, unix_millis| Start::After(Cursor { id: RollId(id), unix_millis });
        let start = match ask {
            Ask::Live => Start::Live,
            Ask::Malformed => Start::Malformed,
            Ask::Back(back) => after((head - back).max(0), None),
            Ask::BackWithMoment(back) => {
                let id = (head - back).max(1);
                after(id, moment(id, 0))
            }
            Ask::OtherHistory(back) => {
                let id = (head - back).max(1);
                after(id, moment(id, 7))
            }
        };
        // The cursor table of `feed/start.rs`, as the model implements it.
        let seen_head = self.n_published as i64;
        let count = |from: i64, to: i64| (to - from).max(0) as u64;
        let (last, replay, lost, mode) = match start {
            Start::Live => (seen_head, 0, Some(0), Mode::Live),
            Start::Malformed => (seen_head, 0, None, Mode::Reset(Reason::Malformed)),
            Start::After(cursor) => {
                let id = cursor.id.0;
                let in_memory = self.in_window(id);
                let wrong_moment = (id >= self.oldest || in_memory)
                    && id >= 1
                    && cursor.unix_millis.is_some()
                    && cursor.unix_millis != moment(id, 0);
                let head_then = self.expected_head(start);
                if id > head {
                    (head_then, 0, None, Mode::Reset(Reason::Ahead))
                } else if wrong_moment {
                    (head_then, 0, None, Mode::Reset(Reason::Unknown))
                } else if id + 1 < self.oldest && !in_memory {
                    let last = self.oldest - 1;
                    let lost = Some(count(id, last));
                    (last, count(last, head_then), lost, Mode::Reset(Reason::Pruned))
                } else {
                    (id, count(id, head_then), Some(0), Mode::Resumed)
                }
            }
        };
        self.open(start, last).await;
        let watched = self.readers.last_mut().unwrap();
        let item = next(&mut watched.reader).await;
        let Item::Sync(sync) = item else { panic!("expected a sync first, got {item:?}") };
        assert_eq!(
            (sync.mode, sync.replay, sync.lost),
            (mode, replay, lost),
            "{start:?}, stored {}..={head}",
            self.oldest
        );
        watched.greeted = true;
    }

    /// Whether the feed has the roll in memory, as one of the newest published rolls.
    fn in_window(&self, id: i64) -> bool {
        let n_published = self.n_published as i64;
        id >= 1 && id > n_published - N_RECENT as i64 && id <= n_published
    }

    /// The head that a reader gets: the newest published roll if its cursor is in memory, otherwise
    /// the newest stored roll.
    fn expected_head(&self, start: Start) -> i64 {
        match start {
            Start::After(cursor) if !self.in_window(cursor.id.0) => self.stored_head(),
            _ => self.n_published as i64,
        }
    }

    async fn open(&mut self, start: Start, last: i64) {
        let reader = self.feed.after(start).await.unwrap();
        self.readers.push(Watched { reader, last, greeted: false });
    }

    /// Reads one item and compares it with the model. A reader that has caught up may have none.
    async fn read(&mut self, index: usize) {
        let (oldest, n_published) = (self.oldest, self.n_published as i64);
        let watched = &mut self.readers[index];
        let item = if watched.greeted && watched.last >= n_published {
            // The reader has every published roll. A batch from the store may add rolls that are
            // stored but not published yet.
            match poll_once(&mut watched.reader) {
                None => return,
                Some(item) => item,
            }
        } else {
            next(&mut watched.reader).await
        };
        match item {
            Item::Sync(sync) if !watched.greeted => {
                // A resume starts after the last roll, or at the oldest stored one.
                let resumed = sync.mode == Mode::Resumed && sync.start.0 == watched.last;
                let pruned = sync.mode == Mode::Reset(Reason::Pruned) && sync.start.0 < oldest;
                assert!(resumed || pruned, "a resume after {} got {sync:?}", watched.last);
                watched.greeted = true;
                watched.last = sync.start.0;
            }
            Item::Sync(sync) => {
                assert_eq!(sync.mode, Mode::Reset(Reason::Pruned), "in the middle of a stream");
                let gone = sync.start.0 - watched.last;
                assert_eq!(sync.lost, Some(gone as u64), "the number of lost rolls");
                assert!(gone > 0 && sync.start.0 < oldest, "a stored roll was reported as pruned");
                watched.last = sync.start.0;
            }
            Item::Roll(sent) => {
                let roll = &self.rolls[watched.last as usize];
                assert_eq!(sent.cursor, roll.cursor(), "the roll after {}", watched.last);
                let frame = format!("id: {}\ndata: {}\n\n", roll.cursor(), roll.dice);
                assert_eq!(String::from_utf8_lossy(sent.frame()), frame);
                watched.last += 1;
            }
            Item::Heartbeat => panic!("expected no heartbeat"),
        }
    }
}

/// Stores the roll after the first `n`.
async fn append(store: &Store, n: u32) -> Roll {
    let result = DieResult { die: "1D6".parse().unwrap(), result: 1 + n % 6 };
    let rolled_at = RolledAt::truncate(jiff::Timestamp::now());
    let roll = Roll { id: RollId(i64::from(n) + 1), rolled_at, dice: Results(vec![result]) };
    store.apply(vec![roll.clone()]).await.unwrap();
    roll
}

async fn next(reader: &mut Reader) -> Item {
    let item = timeout(TIMEOUT, reader.next()).await.expect("an item before the timeout");
    item.unwrap().expect("an item, not the end")
}

/// The item that the reader has without waiting.
fn poll_once(reader: &mut Reader) -> Option<Item> {
    let mut next = pin!(reader.next());
    match next.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Pending => None,
        Poll::Ready(item) => Some(item.unwrap().expect("an item, not the end")),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn in_any_order_of_events_readers_get_all_rolls_after_their_cursor_once(steps in steps()) {
        runtime().block_on(async {
            let mut world = World::new().await;
            for step in steps {
                world.take(step).await;
            }
            // In the end every reader catches up.
            world.take(Step::Publish).await;
            let head = world.stored_head();
            for index in 0..world.readers.len() {
                while world.readers[index].last < head || !world.readers[index].greeted {
                    world.read(index).await;
                }
                world.read(index).await;
            }
        });
    }
}

#[test]
fn rolls_that_were_pruned_and_rolls_that_cannot_be_read_have_syncs_of_their_own() {
    runtime().block_on(async {
        let mut world = World::new().await;
        for _ in 0..20 {
            world.take(Step::Append).await;
        }
        world.take(Step::Publish).await;
        let mut reader = world.feed.after(Start::After(RollId(0).into())).await.unwrap();
        assert!(matches!(next(&mut reader).await, Item::Sync(_)));
        world.take(Step::Prune(4)).await;
        world
            .pruner
            .execute_batch(
                "drop trigger refuse_unreadable_update;
                 update rolls set dice = '[]' where id in (5, 6, 7, 10);",
            )
            .unwrap();
        let mut items = Vec::new();
        for _ in 0..6 {
            items.push(match next(&mut reader).await {
                Item::Roll(sent) => format!("roll {}", sent.cursor.id),
                Item::Sync(sync) => {
                    format!("{:?}, lost {:?}, replay {}", sync.mode, sync.lost, sync.replay)
                }
                Item::Heartbeat => panic!("expected no heartbeat"),
            });
        }
        let expected = [
            "Reset(Pruned), lost Some(4), replay 16",
            "Reset(Unreadable), lost Some(3), replay 13",
            "roll 8",
            "roll 9",
            "Reset(Unreadable), lost Some(1), replay 10",
            "roll 11",
        ];
        assert_eq!(items, expected);
    });
}

/// The rolls that a reader gets up to `head`.
async fn ids_up_to(mut reader: Reader, head: i64) -> Vec<i64> {
    let (mut ids, mut last) = (Vec::new(), 0);
    while last < head {
        match next(&mut reader).await {
            Item::Sync(sync) => last = sync.start.0,
            Item::Roll(sent) => {
                last = sent.cursor.id.0;
                ids.push(last);
            }
            Item::Heartbeat => {}
        }
    }
    ids
}

/// Runs readers that start at different rolls while rolls are stored and published at full speed.
/// Each loads a page, then opens a stream at `start` of the head of that page. Returns the ids that
/// each reader got.
async fn under_full_speed(start: fn(Cursor) -> Start) -> Vec<Vec<i64>> {
    const N_ROLLS: i64 = 1_500;
    const N_READERS: usize = 40;
    let World { _folder, store, feed, .. } = World::new().await;
    let pump = tokio::spawn({
        let (store, feed) = (store.clone(), feed.clone());
        async move {
            for n in 0..N_ROLLS {
                feed.publish(&[append(&store, n as u32).await]);
            }
        }
    });
    let mut readers = Vec::new();
    for n in 0..N_READERS {
        let (store, feed) = (store.clone(), feed.clone());
        readers.push(tokio::spawn(async move {
            // Each reader starts after a different roll. It polls the feed, because readers that
            // poll the store take all of its connections on a slow machine.
            let moment = (n as i64 * N_ROLLS) / (N_READERS as i64 + 1);
            let rolls = timeout(TIMEOUT, async {
                while feed.head().id.0 <= moment {
                    tokio::task::yield_now().await;
                }
            });
            rolls.await.expect("rolls to be stored");
            let page = store.newest(20).await.unwrap();
            let mut ids: Vec<i64> = page.rolls.iter().rev().map(|roll| roll.id.0).collect();
            // Half of the readers continue at once; the others wait for a roll after their page.
            while n % 2 == 1 && feed.head().id <= page.head.id && feed.head().id.0 < N_ROLLS {
                tokio::task::yield_now().await;
            }
            let reader = feed.after(start(page.head)).await.unwrap();
            ids.extend(ids_up_to(reader, N_ROLLS).await);
            ids
        }));
    }
    pump.await.unwrap();
    let mut seen = Vec::new();
    for reader in readers {
        seen.push(timeout(TIMEOUT, reader).await.expect("readers to catch up").unwrap());
    }
    seen
}

fn is_gapless(ids: &[i64]) -> bool {
    ids.windows(2).all(|pair| pair[0] + 1 == pair[1])
}

#[test]
fn a_page_and_its_stream_have_every_roll_once_at_full_speed() {
    let seen = runtime().block_on(under_full_speed(Start::After));
    for ids in seen {
        assert!(is_gapless(&ids), "expected each roll once, got {ids:?}");
    }
}

#[test]
fn a_stream_without_the_cursor_of_its_page_is_seen_to_have_a_gap() {
    // Most examples on the web open a stream like this.
    let seen = runtime().block_on(under_full_speed(|_| Start::Live));
    assert!(seen.iter().any(|ids| !is_gapless(ids)), "expected a gap without a cursor");
}

#[test]
fn an_idle_feed_sends_heartbeats_and_a_closed_one_ends_its_readers() {
    runtime().block_on(async {
        let World { _folder, feed, .. } = World::with_heartbeat(Duration::from_millis(20)).await;
        let mut readers = Vec::new();
        for _ in 0..10 {
            let mut reader = feed.after(Start::Live).await.unwrap();
            assert!(matches!(next(&mut reader).await, Item::Sync(_)));
            readers.push(reader);
        }
        let heartbeats = tokio::spawn({
            let feed = feed.clone();
            async move { feed.send_heartbeats().await }
        });
        for reader in &mut readers {
            for _ in 0..2 {
                assert!(matches!(next(reader).await, Item::Heartbeat));
            }
        }
        feed.close();
        for reader in &mut readers {
            assert!(timeout(TIMEOUT, reader.next()).await.unwrap().unwrap().is_none());
        }
        timeout(TIMEOUT, heartbeats).await.expect("the heartbeat to end with the feed").unwrap();
    });
}
