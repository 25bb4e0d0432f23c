//! The statistics: a page with plots. `api` has the same figures as JSON.

mod plot;

use rocket::fairing::AdHoc;
use rocket::{State, get, routes};
use rocket_dyn_templates::{Template, context};
use serde::Serialize;

use crate::config::Config;
use crate::roll::Dice;
use crate::statistics::words::{between, decimal, grouped, power_of_ten, span};
use crate::statistics::{DieReport, Range, Run, Statistics};
use crate::store::Store;
use crate::web::assets::Assets;
use crate::web::error::PageError;
use crate::web::view::Site;

use self::plot::{Counts, Meter, PValues};

struct Stats {
    store: Store,
    /// Those that are rolled now.
    dice: Dice,
}

pub fn stage(config: &Config, store: Store) -> AdHoc {
    let stats = Stats { store, dice: config.roller.dice.clone() };
    AdHoc::on_ignite("statistics", |rocket| async {
        rocket.manage(stats).mount("/", routes![page])
    })
}

/// Plots of all dice, drawn anew by the script as rolls arrive.
#[get("/stats")]
async fn page(
    stats: &State<Stats>,
    site: &State<Site>,
    assets: &State<Assets>,
) -> Result<Template, PageError> {
    let (as_of, tallies) = stats.store.tallies().await?;
    let Statistics { as_of, dice } = Statistics::of(as_of, &tallies, &stats.dice);
    let dice: Vec<DieView> = dice.into_iter().map(DieView::from).collect();
    Ok(Template::render(
        "stats",
        context! {
            site: site.view(assets),
            title: "Statistics",
            cursor: as_of,
            every_ms: site.every().as_millis(),
            dice,
        },
    ))
}

/// One die as the page shows it.
#[derive(Serialize)]
struct DieView {
    name: String,
    n_rolls: String,
    mean: String,
    mean_range: String,
    streak: RunView,
    drought: RunView,
    counts: Counts,
    rows: Vec<ResultRow>,
    /// Whether a row holds one result, so that it has a drought of its own.
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
}

impl From<DieReport> for DieView {
    fn from(report: DieReport) -> DieView {
        let DieReport { mean, results, fairness, blocks, .. } = &report;
        let rows = results.iter().map(|bin| ResultRow {
            result: span(bin.from, bin.to),
            n_rolls: grouped(bin.n_rolls),
            expected: decimal(bin.expected, 1),
            range: between(bin.low, bin.high),
            outside: !(bin.low..=bin.high).contains(&bin.n_rolls),
            n_since: grouped(bin.n_since),
            longest_drought: bin.longest_drought.map_or_else(|| "–".into(), grouped),
        });
        let p_rows = blocks.p_values.iter().map(|bin| PValueRow {
            range: format!("{:.2} to {:.2}", bin.from, bin.to),
            n_blocks: bin.n_blocks,
            expected: decimal(bin.expected, 2),
            between: between(bin.low, bin.high),
        });
        let block = blocks.last_id.zip(blocks.last_chi_square).zip(blocks.last_p);
        DieView {
            n_rolls: grouped(report.n_rolls),
            mean: mean.seen.map_or_else(|| "–".into(), |seen| decimal(seen, 4)),
            mean_range: format!("{} to {}", decimal(mean.low, 4), decimal(mean.high, 4)),
            streak: RunView::new(&report.longest_streak),
            drought: RunView::new(&report.longest_drought),
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
            name: report.die,
        }
    }
}

impl RunView {
    fn new(run: &Run) -> RunView {
        RunView {
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
        }
    }
}
