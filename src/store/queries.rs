//! The queries of the store, on its read connections or from memory.

use std::thread;

use rusqlite::Connection;
use tokio::sync::oneshot;

use crate::cursor::Cursor;
use crate::dice::{Dice, Die, DieResult};
use crate::log::{Checkpoint, Hash, Leaf, TILE_LEN, Tile};
use crate::roll::{Roll, RollId, RolledAt};
use crate::statistics::Statistics;
use crate::store::occurrence::{Counted, Occurrence};
use crate::store::read_pool::QueryClass;
use crate::store::{
    Chain, Extent, FilteredPage, Found, IdRange, Kept, Newest, Order, Page, RollRange, Rows,
    Search, Store, StoreError, extent, filter, history, log, occurrence, search,
};

impl Store {
    /// The rows after `id`, oldest first, at most `limit`. Empty means caught up.
    ///
    /// # Errors
    ///
    /// Those of a query: [`StoreError::Busy`], [`StoreError::TooLong`], [`StoreError::Moved`] or an
    /// error of SQLite. The same holds for all queries below.
    pub async fn after(&self, id: RollId, limit: usize) -> Result<Rows, StoreError> {
        let query = move |connection: &mut _| history::after(connection, id, limit);
        let rows = self.0.reads.read(QueryClass::Long, query).await?;
        Ok(self.logged(rows))
    }

    /// The newest rows, newest first, at most `limit`, and the head. Does not read the oldest
    /// rolls, so damage there does not matter.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn newest(&self, limit: usize) -> Result<Newest, StoreError> {
        let query = move |connection: &mut _| history::newest(connection, limit);
        let newest = self.0.reads.read(QueryClass::of_rows(limit), query).await?;
        self.0.unreadable.log(&newest.unreadable);
        Ok(newest)
    }

    /// The roll `id`, if it is stored, and which rolls are.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unreadable`] if its row cannot be read, and those of a query.
    pub async fn roll(&self, id: RollId) -> Result<(Option<Roll>, Kept), StoreError> {
        let query = move |connection: &mut _| history::roll(connection, id);
        let roll = self.0.reads.read(QueryClass::Short, query).await;
        if let Err(StoreError::Unreadable(unreadable)) = &roll {
            self.0.unreadable.log(std::slice::from_ref(unreadable));
        }
        roll
    }

    /// Which rolls are stored.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn kept(&self) -> Result<Kept, StoreError> {
        let query = |connection: &mut Connection| history::kept(&*connection.transaction()?);
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// The first roll of the oldest tile that is kept.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn first_of_log(&self) -> Result<RollId, StoreError> {
        Ok(log::first_kept(self.kept().await?))
    }

    /// The leaf of the roll `id`, and which rolls are stored. It is compared with the newest
    /// checkpoint, if that covers the roll.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] if a row was changed after it was added to the log, and those of a
    /// query.
    pub async fn leaf(&self, id: RollId) -> Result<(Leaf, Kept), StoreError> {
        let signed = self.signed().borrow().as_ref().map(|signed| signed.checkpoint);
        let signed = signed.filter(|signed| id.0 as u64 <= signed.size);
        let query = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let kept = history::kept(&transaction)?;
            let leaf = match signed.filter(|_| log::is_kept(kept, id)) {
                Some(signed) => log::signed_leaf(&transaction, id, &signed)?,
                None => log::leaf(&transaction, id)?,
            };
            Ok((leaf, kept))
        };
        // A tile is a few pages, and the page of a roll must not wait for searches.
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// What fixes the roll `id`, which may be a future one. `None` if no roll has a seed.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn chain(&self, id: RollId) -> Result<Option<Chain>, StoreError> {
        let query = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            log::chain(&transaction, id)
        };
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// The leaf of the roll `id`, which `signed` covers, and the proof that it is in that tree.
    /// `None` if the roll is pruned.
    ///
    /// # Errors
    ///
    /// [`StoreError::Changed`] if a row was changed after it was added to the log, and those of a
    /// query.
    pub async fn proof(
        &self,
        id: RollId,
        signed: Checkpoint,
    ) -> Result<(Option<(Leaf, Vec<Hash>)>, Kept), StoreError> {
        let query = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let kept = history::kept(&transaction)?;
            let is_kept = log::is_kept(kept, id);
            let proof = is_kept.then(|| log::proof(&transaction, id, &signed)).transpose()?;
            Ok((proof, kept))
        };
        self.0.reads.read(QueryClass::of_rows(2 * TILE_LEN as usize), query).await
    }

    /// The bytes of a tile, which `signed` covers. `None` if its rolls are pruned.
    ///
    /// # Errors
    ///
    /// As for [`Store::proof`].
    pub async fn tile(
        &self,
        tile: Tile,
        signed: Checkpoint,
    ) -> Result<(Option<Vec<u8>>, Kept), StoreError> {
        let query = move |connection: &mut Connection| {
            let transaction = connection.transaction()?;
            let kept = history::kept(&transaction)?;
            let is_kept = tile.first_roll().is_none_or(|id| log::is_kept(kept, id));
            let bytes = is_kept.then(|| log::tile(&transaction, tile, &signed)).transpose()?;
            Ok((bytes, kept))
        };
        self.0.reads.read(QueryClass::of_rows(TILE_LEN as usize), query).await
    }

    /// The cursor of the roll `id`, if it is stored and its time can be read, and which rolls are
    /// stored.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn cursor(&self, id: RollId) -> Result<(Option<Cursor>, Kept), StoreError> {
        let query = move |connection: &mut _| history::cursor(connection, id);
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// The newest roll that [`Store::statistics`] counts; [`RollId::BEFORE_FIRST`] before the first.
    pub fn last_counted(&self) -> RollId {
        self.0.tallies.last_id()
    }

    /// The statistics of all rolls. The `dice` that are rolled now come first. From memory, without
    /// a query.
    ///
    /// # Errors
    ///
    /// [`StoreError::Thread`] if the system has no thread left.
    pub async fn statistics(&self, dice: Dice) -> Result<Statistics, StoreError> {
        let tallies = self.0.tallies.clone();
        let (sender, statistics) = oneshot::channel();
        // Many large dice take a while, so this must not run on a runtime thread. Nor on a blocking
        // thread: while the disk hangs, queries may hold all of those, and this needs no disk.
        let compute = move || {
            // An error means that the caller stopped waiting.
            let _ = sender.send(Statistics::of(&tallies.snapshot(), &dice));
        };
        thread::Builder::new()
            .name("statistics".into())
            .spawn(compute)
            .map_err(StoreError::Thread)?;
        Ok(statistics.await.expect("the computation does not panic"))
    }

    /// The roll with the earliest timestamp at or after `time`, else the newest roll; `None` if no roll
    /// is stored.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn at(&self, time: RolledAt) -> Result<Option<RollId>, StoreError> {
        let query = move |connection: &mut _| history::at(connection, time);
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// The cursor before the first roll, in order of the ids, whose timestamp is at or after `time`, or
    /// the head.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn since(&self, time: RolledAt) -> Result<Cursor, StoreError> {
        let query = move |connection: &mut _| history::since(connection, time);
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// The place of the rarest result of a roll among all rolls with this result. `None` while the
    /// statistics do not know the die yet.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn occurrence(&self, roll: &Roll) -> Result<Option<Occurrence>, StoreError> {
        let rarest = self.0.tallies.read(|tallies| {
            let results = roll.dice.0.iter().filter_map(|of| {
                let tally = tallies.get(&of.die.to_string())?;
                let index = tally.fair.index(of.result)?;
                let n_rolls = tally.results[index].n_rolls;
                Some((*of, tally.fair.chances()[index], n_rolls))
            });
            let rarest = results.min_by(|(_, one, _), (_, other, _)| one.total_cmp(other));
            rarest.map(|(of, _, n_rolls)| (of, Counted { n_rolls, up_to: tallies.last_id() }))
        });
        let (id, Some((of, counted))) = (roll.id, rarest) else { return Ok(None) };
        let query = move |connection: &mut _| occurrence::occurrence(connection, id, of, counted);
        let class = QueryClass::of_rows(search::MAX_READ);
        self.0.reads.read(class, query).await.map(Some)
    }

    /// The dice of all rolls ever stored, in no order. From memory, without a query.
    pub fn dice_ever(&self) -> Vec<Die> {
        self.0.tallies.dice().1
    }

    /// At most `limit` rolls of a range: the first ones, or the last ones with the newest first.
    ///
    /// # Errors
    ///
    /// [`StoreError::OtherHistory`] if a bound belongs to another history, and those of a query.
    pub async fn page(
        &self,
        range: RollRange,
        order: Order,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let query = move |connection: &mut _| history::page(connection, &range, order, limit);
        let page = self.0.reads.read(QueryClass::of_rows(limit), query).await?;
        self.0.unreadable.log(&page.unreadable);
        Ok(page)
    }

    /// At most `limit` rolls of a range with this result: the first ones, or the last ones with the
    /// newest first. Searches a bounded number of rolls: see [`FilteredPage::searched`].
    ///
    /// # Errors
    ///
    /// As for [`Store::page`].
    pub async fn filtered(
        &self,
        range: RollRange,
        result: DieResult,
        order: Order,
        limit: usize,
    ) -> Result<FilteredPage, StoreError> {
        let query =
            move |connection: &mut _| filter::filtered(connection, &range, result, order, limit);
        let class = QueryClass::of_rows(search::MAX_READ);
        let page = self.0.reads.read(class, query).await?;
        self.0.unreadable.log(&page.unreadable);
        Ok(page)
    }

    /// The ids of a range at this moment, to be read in batches with [`Store::between`].
    ///
    /// # Errors
    ///
    /// As for [`Store::page`].
    pub async fn extent(&self, range: RollRange) -> Result<Extent, StoreError> {
        // The dice of counted rolls are in memory, so the query reads few rows.
        let counted = self.0.tallies.dice();
        let query = move |connection: &mut _| extent::extent(connection, &range, Some(counted));
        self.0.reads.read(QueryClass::Short, query).await
    }

    /// The rows of a range, oldest first, at most `limit`. Empty means that no more are stored.
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn between(&self, ids: IdRange, limit: usize) -> Result<Rows, StoreError> {
        let query = move |connection: &mut _| history::between(connection, ids, limit);
        let rows = self.0.reads.read(QueryClass::Long, query).await?;
        Ok(self.logged(rows))
    }

    /// A page of the rolls that match, at most `limit`. A search for a die or a result reads a
    /// bounded number of rolls: see [`Found::looked_at`].
    ///
    /// # Errors
    ///
    /// Those of a query.
    pub async fn search(&self, search: Search, limit: usize) -> Result<Found, StoreError> {
        let class = QueryClass::of_rows(search.max_rows(limit));
        let query = move |connection: &mut _| search::search(connection, &search, limit);
        let found = self.0.reads.read(class, query).await?;
        self.0.unreadable.log(&found.unreadable);
        Ok(found)
    }

    fn logged(&self, rows: Rows) -> Rows {
        self.0.unreadable.log(&rows.unreadable);
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use futures::FutureExt;
    use futures::future::join_all;

    use crate::store::read_pool::acquire;
    use crate::store::time_limits::PERMIT_TIMEOUT;

    #[test]
    fn a_read_while_the_runtime_ends_does_not_panic() {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        let (_folder, store) = runtime.block_on(Store::with_rolls(0));
        let handle = runtime.handle().clone();
        drop(runtime);
        // As the pump does, whose thread is not one of the runtime's.
        let _entered = handle.enter();
        assert!(store.newest(1).now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn while_one_disk_probe_hangs_others_fail_in_time() {
        let (_folder, store) = Store::with_rolls(0).await;
        store.disk().await.expect("control: nothing hangs yet");
        let hanging = acquire(&store.0.disk_permit).await;
        let start = tokio::time::Instant::now();
        let probes = join_all((0..100).map(|_| store.disk())).await;
        assert!(probes.iter().all(|disk| matches!(disk, Err(StoreError::NoAnswer))), "{probes:?}");
        assert!(start.elapsed() < 2 * PERMIT_TIMEOUT, "failed after {:?}", start.elapsed());
        drop(hanging);
        store.disk().await.expect("nothing hangs any more");
    }

    #[tokio::test(start_paused = true)]
    async fn while_long_queries_run_only_queries_of_few_rows_find_a_connection() {
        let (_folder, store) = Store::with_rolls(0).await;
        let _running = store.0.reads.all_long_permits().await;
        let search = |die| Search { die, ..Search::default() };
        let result = DieResult { die: "1D6".parse().expect("a die"), result: 6 };
        let range = RollRange::default();
        let all = IdRange { after: RollId(0), before: RollId(1) };
        let is_busy = |result: Result<(), StoreError>| matches!(result, Err(StoreError::Busy));
        let queries = [
            ("the newest 128", false, store.newest(128).await.map(drop)),
            ("the newest 129", true, store.newest(129).await.map(drop)),
            ("a page of 128", false, store.page(range, Order::NewestFirst, 128).await.map(drop)),
            ("a page of 500", true, store.page(range, Order::NewestFirst, 500).await.map(drop)),
            ("a day's 128", false, store.search(search(None), 128).await.map(drop)),
            ("a day's 500", true, store.search(search(None), 500).await.map(drop)),
            ("a result's 10", true, store.search(search(Some(result.into())), 10).await.map(drop)),
            ("an extent", false, store.extent(range).await.map(drop)),
            ("a download", true, store.between(all, 10).await.map(drop)),
            ("one roll", false, store.roll(RollId(1)).await.map(drop)),
        ];
        for (query, is_long, result) in queries {
            assert_eq!(is_busy(result), is_long, "{query}");
        }
    }
}
