//! The statistics page with its plots. `api` returns the same statistics as JSON.

mod plot;

use std::sync::Arc;

use rocket::fairing::AdHoc;
use rocket::{State, get, routes};
use rocket_dyn_templates::context;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::dice::Dice;
use crate::roll::RollId;
use crate::statistics::words::{between, decimal, grouped, power_of_ten, span};
use crate::statistics::{DieReport, Range, Run, Statistics};
use crate::store::{Store, StoreError};
use crate::web::http::error::HttpError;
use crate::web::pages::templates::Page;
use crate::web::pages::view::Site;

use self::plot::{Counts, Meter, PValues};

/// The statistics as of the newest roll, computed at most once per roll.
pub struct Stats {
    store: Store,
    /// The dice that are rolled now.
    dice: Dice,
    /// Held during a computation, so that waiting requests reuse its result.
    newest: Mutex<Arc<Statistics>>,
}

pub fn stage(config: &Config, store: Store) -> AdHoc {
    let stats = Stats::new(store, config.roller.dice.clone());
    AdHoc::on_ignite("statistics", |rocket| async {
        rocket.manage(stats).mount("/", routes![page])
    })
}

impl Stats {
    fn new(store: Store, dice: Dice) -> Stats {
        // The statistics before the first roll.
        let statistics = Statistics { as_of: RollId::BEFORE_FIRST.0, dice: Vec::new() };
        Stats { store, dice, newest: Mutex::new(Arc::new(statistics)) }
    }

    /// The statistics as of the roll that is the newest now, or of a later one.
    ///
    /// # Errors
    ///
    /// As for [`Store::statistics`].
    pub async fn newest(&self) -> Result<Arc<Statistics>, StoreError> {
        let wanted = self.store.last_counted();
        let mut newest = self.newest.lock().await;
        // A request that waited reuses a computation that began meanwhile. So any number of waiting
        // requests need at most two.
        if newest.as_of < wanted.0 {
            *newest = Arc::new(self.store.statistics(self.dice.clone()).await?);
        }
        Ok(newest.clone())
    }
}

/// The page with the plots of all dice. Its script replaces them when rolls arrive.
#[get("/stats")]
async fn page(stats: &State<Stats>, site: &State<Site>) -> Result<Page, HttpError> {
    let statistics = stats.newest().await?;
    let dice: Vec<DieView> = statistics.dice.iter().map(DieView::from).collect();
    Ok(Page::render(
        "stats",
        context! {
            title: "Statistics",
            cursor: statistics.as_of,
            every_ms: site.every().as_millis(),
            dice,
        },
    ))
}

/// One die on the page, with formatted numbers.
#[derive(Serialize)]
struct DieView {
    name: String,
    n_rolls: String,
    mean: String,
    mean_range: String,
    mean_outside: bool,
    /// Left out while it says nothing about the die.
    streak: Option<RunView>,
    drought: Option<RunView>,
    counts: Counts,
    rows: Vec<ResultRow>,
    /// Whether each row shows a single result, so that it has a longest drought.
    single: bool,
    meter: Meter,
    e: String,
    highest_e: String,
    alarm_id: Option<i64>,
    n_blocks: String,
    n_to_go: String,
    block: Option<BlockRow>,
    p_values: PValues,
    p_rows: Vec<PValueRow>,
}

#[derive(Serialize)]
struct RunView {
    seen: String,
    expected: String,
    outside: bool,
}

#[derive(Serialize)]
struct ResultRow {
    result: String,
    n_rolls: String,
    expected: String,
    range: String,
    outside: bool,
    n_since: String,
    longest_drought: String,
}

#[derive(Serialize)]
struct BlockRow {
    id: i64,
    chi_square: String,
    degrees_of_freedom: u64,
    p: String,
}

#[derive(Serialize)]
struct PValueRow {
    range: String,
    n_blocks: u64,
    expected: String,
    between: String,
    outside: bool,
}

impl From<&DieReport> for DieView {
    fn from(report: &DieReport) -> DieView {
        let DieReport { mean, results, fairness, blocks, .. } = report;
        let rows = results.iter().map(|bin| ResultRow {
            result: span(bin.from, bin.to),
            n_rolls: grouped(bin.n_rolls),
            expected: decimal(bin.expected, 1),
            range: between(bin.low, bin.high),
            outside: bin.is_outside(),
            n_since: grouped(bin.n_since),
            longest_drought: bin.longest_drought.map_or_else(|| "–".into(), grouped),
        });
        let p_rows = blocks.p_values.iter().map(|bin| PValueRow {
            range: format!("{:.2} to {:.2}", bin.from, bin.to),
            n_blocks: bin.n_blocks,
            expected: decimal(bin.expected, 2),
            between: between(bin.low, bin.high),
            outside: bin.is_outside(),
        });
        let block = blocks.last_id.zip(blocks.last_chi_square).zip(blocks.last_p);
        DieView {
            n_rolls: grouped(report.n_rolls),
            mean: mean.seen.map_or_else(|| "–".into(), |seen| decimal(seen, 4)),
            mean_range: format!("{} to {}", decimal(mean.low, 4), decimal(mean.high, 4)),
            mean_outside: mean.is_outside(),
            streak: RunView::new(&report.longest_streak, report.n_rolls),
            drought: RunView::new(&report.longest_drought, report.n_rolls),
            counts: Counts::of(results),
            rows: rows.collect(),
            single: results.iter().all(|bin| bin.from == bin.to),
            meter: Meter::of(fairness),
            e: power_of_ten(fairness.log10_e),
            highest_e: power_of_ten(fairness.highest_log10_e),
            alarm_id: fairness.alarm_id,
            n_blocks: grouped(blocks.n_blocks),
            n_to_go: grouped(blocks.size - blocks.n_rolls_since),
            block: block.map(|((id, chi_square), p)| BlockRow {
                id,
                chi_square: decimal(chi_square, 2),
                degrees_of_freedom: blocks.degrees_of_freedom,
                p: decimal(p, 4),
            }),
            p_values: PValues::of(blocks),
            p_rows: p_rows.collect(),
            name: report.die.clone(),
        }
    }
}

impl RunView {
    /// `None` if the run says nothing about a die after `n_rolls`.
    fn new(run: &Run, n_rolls: u64) -> Option<RunView> {
        run.is_telling(n_rolls).then(|| RunView {
            outside: run.is_outside(),
            seen: match run.result {
                Some(result) => format!("{} ({result})", grouped(run.length)),
                None => "–".into(),
            },
            expected: match run.expected {
                Some(Range { low, median, high }) => {
                    format!("{}, mostly {}", grouped(median), between(low, high))
                }
                None => "–".into(),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::sync::mpsc;
    use std::time::Duration;

    use futures::FutureExt;
    use futures::future::join_all;
    use tempfile::TempDir;
    use tokio::runtime::Builder;
    use tokio::task::spawn_blocking;
    use tokio::time::timeout;

    use crate::roll::Roll;

    /// A store of `n_rolls` in a folder, and their statistics.
    async fn stats(n_rolls: i64) -> (TempDir, Store, Stats) {
        let (folder, store) = Store::with_rolls(n_rolls).await;
        let dice = Dice::try_from(vec!["1D6".parse().expect("a die")]).expect("dice");
        let stats = Stats::new(store.clone(), dice);
        (folder, store, stats)
    }

    async fn append(store: &Store, id: i64) {
        store.apply(vec![Roll::example(id)]).await.expect("a roll");
    }

    #[tokio::test]
    async fn statistics_are_computed_once_per_roll_for_any_number_of_requests() {
        let (_folder, store, stats) = stats(0).await;
        for n in 0..3 {
            let newest = || async { stats.newest().await.expect("statistics") };
            let (first, second) = (newest().await, newest().await);
            assert_eq!((first.as_of, first.dice.len()), (n, usize::from(n > 0)));
            assert!(Arc::ptr_eq(&first, &second), "computed twice after roll {n}");
            append(&store, n + 1).await;
        }
    }

    #[tokio::test]
    async fn requests_that_wait_for_a_computation_share_the_next_one() {
        let (_folder, store, stats) = stats(1).await;
        let computing = stats.newest.lock().await;
        let mut waiting: Vec<_> = (0..20).map(|_| Box::pin(stats.newest())).collect();
        for request in &mut waiting {
            assert!(request.now_or_never().is_none(), "answered during a computation");
        }
        drop(computing);
        let mut waiting = waiting.into_iter();
        let first = waiting.next().expect("a request").await.expect("statistics");
        append(&store, 2).await;
        for other in join_all(waiting).await {
            let other = other.expect("statistics");
            assert!(Arc::ptr_eq(&first, &other), "computed again for a request before roll 2");
        }
        assert_eq!(stats.newest().await.expect("statistics").as_of, 2);
    }

    #[test]
    fn statistics_need_no_blocking_thread_which_a_hung_disk_may_hold() {
        let mut runtime = Builder::new_current_thread();
        let runtime = runtime.max_blocking_threads(1).enable_time().build().expect("a runtime");
        runtime.block_on(async {
            let (_folder, _store, stats) = stats(1).await;
            let (disk_answers, answer) = mpsc::channel::<()>();
            let hung = spawn_blocking(move || answer.recv());
            let all = join_all((0..20).map(|_| stats.newest()));
            let all = timeout(Duration::from_secs(30), all).await.expect("statistics in time");
            assert!(all.into_iter().all(|newest| newest.is_ok_and(|newest| newest.as_of == 1)));
            assert!(!hung.is_finished(), "control: the disk hangs");
            drop(disk_answers);
        });
    }
}
