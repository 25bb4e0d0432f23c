//! The pages of statistics: all dice, and one die. `api` returns the same statistics as JSON.

mod axis;
pub mod card;
mod deviations;
mod evidence;
mod view;

use std::sync::Arc;

use rocket::fairing::AdHoc;
use rocket::{State, get, routes};
use rocket_dyn_templates::context;
use serde::Serialize;
use tokio::sync::Mutex;

use crate::config::Config;
use crate::dice::{Dice, Die};
use crate::statistics::Statistics;
use crate::statistics::words::grouped;
use crate::store::{Store, StoreError};
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::pages::templates::Page;
use crate::web::pages::view::Site;
use crate::web::pages::{links, words};

use self::card::Fairness;
use self::view::{Details, DieView, question};

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
        rocket.manage(stats).mount("/", routes![all, one])
    })
}

impl Stats {
    fn new(store: Store, dice: Dice) -> Stats {
        Stats { store, dice, newest: Mutex::default() }
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

    /// The fairness cards as of the newest roll. If the statistics cannot be read, the cards show
    /// no rolls, so that the live page still works.
    pub async fn cards(&self) -> Fairness {
        let statistics = self.newest().await.unwrap_or_default();
        card::cards(&statistics, self.dice.iter())
    }
}

/// All dice: a table of verdicts, then the plots of each die.
#[get("/stats")]
async fn all(stats: &State<Stats>, site: &State<Site>) -> Result<Page, HttpError> {
    let statistics = stats.newest().await?;
    let dice: Vec<DieView> = statistics.dice.iter().filter_map(DieView::parse).collect();
    Ok(Page::render(
        "stats",
        context! {
            title: "Statistics",
            as_of: grouped(statistics.as_of as u64),
            every_ms: site.every().as_millis(),
            n_rolls: statistics.n_rolls(),
            dice,
        },
    ))
}

/// One die, with all of its figures.
///
/// # Errors
///
/// `die` is not a die, or was never rolled here.
#[get("/stats/<die>")]
async fn one(die: &str, stats: &State<Stats>, site: &State<Site>) -> Result<Page, HttpError> {
    let die = die.parse::<Die>().map_err(|error| HttpError::invalid("die", error))?;
    let statistics = stats.newest().await?;
    let Some(report) = statistics.of_die(die) else {
        let message = format!("{die} was never rolled here.");
        return Err(HttpError::new(ErrorCode::NotFound, message));
    };
    Ok(Page::render(
        "die_stats",
        context! {
            title: question(die),
            canonical: links::die_statistics(die),
            as_of: grouped(statistics.as_of as u64),
            every_ms: site.every().as_millis(),
            n_rolls: statistics.n_rolls(),
            die: DieView::new(die, report),
            details: Details::from(report),
            others: others(die, &statistics),
        },
    ))
}

/// The other dice, for links to them.
fn others(die: Die, statistics: &Statistics) -> Vec<OtherDie> {
    let dice = statistics.dice.iter().filter_map(|report| report.die.parse::<Die>().ok());
    let others = dice.filter(|other| *other != die);
    others
        .map(|die| OtherDie { label: words::die_in_text(die), href: links::die_statistics(die) })
        .collect()
}

#[derive(Serialize)]
struct OtherDie {
    label: String,
    href: String,
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
