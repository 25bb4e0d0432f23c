//! The live page, `/`: the newest rolls, and new ones as they are made.

use std::time::Duration;

use rocket::{State, get};
use serde::Serialize;

use crate::dice::Die;
use crate::roll::Roll;
use crate::statistics::words::grouped;
use crate::store::Newest;
use crate::web::http::error::HttpError;
use crate::web::pages::stats::Stats;
use crate::web::pages::stats::card::Fairness;
use crate::web::pages::templates::Page;
use crate::web::pages::view::{DieRow, RollRow, Site, unreadable_notice};
use crate::web::pages::{Pages, links, words};

/// Rolls in the list. A narrow screen shows fewer.
const N_SLOTS: usize = 16;
/// The script draws new rolls at most this often.
pub const DRAWN_EVERY: Duration = Duration::from_millis(250);
/// From this number of sides on, the highest result is so rare that it is marked.
const RARE_SIDES: u16 = 20;

/// The template `index`.
#[derive(Serialize)]
struct LiveView {
    title: String,
    /// What is kept, and for how long.
    promise: String,
    /// The roll on the felt.
    newest: Option<RollRow>,
    /// The dice on the felt.
    dice: Vec<DieRow>,
    /// The names of the rows of results.
    heads: Vec<Head>,
    /// Oldest first. Before them there are empty ones, if there are too few rolls.
    slots: Vec<Slot>,
    unreadable: Option<String>,
    /// The cursor of the newest roll, so that the stream continues exactly where the page ends.
    cursor: String,
    every_ms: u128,
    fairness: Fairness,
    /// How often there is a roll, if that is more often than the script draws them.
    fast: Option<String>,
    /// Digits of the longest result.
    n_digits: usize,
}

/// The name of one row of results.
#[derive(Serialize)]
struct Head {
    die: String,
    label: String,
}

/// One roll of the list, or an empty place.
#[derive(Default, Serialize)]
struct Slot {
    href: Option<String>,
    /// The roll and its results, for screen readers.
    words: String,
    results: Vec<Cell>,
    is_newest: bool,
}

#[derive(Default, Serialize)]
struct Cell {
    result: String,
    is_rare: bool,
}

/// The page of live rolls.
///
/// # Errors
///
/// The history cannot be read.
#[get("/")]
pub async fn page(
    pages: &State<Pages>,
    stats: &State<Stats>,
    site: &State<Site>,
) -> Result<Page, HttpError> {
    let newest = pages.store.newest(N_SLOTS).await?;
    // After the rolls, so that the cards count all of them.
    let fairness = stats.cards().await;
    Ok(Page::render("index", LiveView::new(newest, fairness, site)))
}

impl LiveView {
    fn new(newest: Newest, fairness: Fairness, site: &Site) -> LiveView {
        let Newest { rolls, unreadable, head } = newest;
        let dice: Vec<Die> = match rolls.first() {
            Some(newest) => newest.dice.0.iter().map(|result| result.die).collect(),
            None => site.dice().collect(),
        };
        let result = |die: Die| rolls.first()?.dice.of(die);
        let mut slots: Vec<Slot> = rolls.iter().map(|roll| Slot::new(roll, &dice)).collect();
        if let Some(newest) = slots.first_mut() {
            newest.is_newest = true;
        }
        slots.resize_with(N_SLOTS, || Slot::empty(dice.len()));
        slots.reverse();
        LiveView {
            title: words::headline(site.dice(), site.every()),
            promise: site.promise(),
            newest: rolls.first().map(RollRow::from),
            dice: dice.iter().map(|die| DieRow::new(*die, result(*die))).collect(),
            heads: dice.iter().copied().map(Head::from).collect(),
            slots,
            unreadable: unreadable_notice(&unreadable),
            cursor: rolls.first().map_or(head, Roll::cursor).to_string(),
            every_ms: site.every().as_millis(),
            fairness,
            fast: (site.every() < DRAWN_EVERY).then(|| words::pace(site.every())),
            n_digits: dice
                .iter()
                .map(|die| die.results().end().to_string().len())
                .max()
                .unwrap_or(1),
        }
    }
}

impl Slot {
    /// A roll, with one result for each of `dice`.
    fn new(roll: &Roll, dice: &[Die]) -> Slot {
        let cell = |die: &Die| {
            let result = roll.dice.of(*die)?;
            let has_rare = die.n_dice() == 1 && die.n_sides() >= RARE_SIDES;
            let is_rare = has_rare && result == *die.results().end();
            Some(Cell { result: result.to_string(), is_rare })
        };
        let missing = || Cell { result: "–".into(), is_rare: false };
        let spoken =
            roll.dice.0.iter().map(|result| {
                format!("{} {}", words::die(result.die).replace(',', ""), result.result)
            });
        let number = grouped(roll.id.0.unsigned_abs());
        Slot {
            href: Some(links::roll(roll.id)),
            words: format!("Roll {number}: {}", spoken.collect::<Vec<_>>().join(", ")),
            results: dice.iter().map(|die| cell(die).unwrap_or_else(missing)).collect(),
            is_newest: false,
        }
    }

    fn empty(n_dice: usize) -> Slot {
        let results = std::iter::repeat_with(Cell::default).take(n_dice).collect();
        Slot { results, ..Slot::default() }
    }
}

impl From<Die> for Head {
    fn from(die: Die) -> Head {
        Head { die: die.to_string(), label: words::die(die).replace(", sum", " Σ") }
    }
}
