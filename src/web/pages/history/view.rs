//! What the template `rolls` gets.

use jiff::civil::Date;
use serde::Serialize;

use crate::dice::DieResult;
use crate::store::{Found, IdRange};
use crate::web::pages::history::query::Filter;
use crate::web::pages::links::{self, Place};
use crate::web::pages::view::{Moment, RollRow, Site, date, unreadable_notice};

/// The template `rolls`.
#[derive(Serialize)]
pub struct HistoryPage {
    title: String,
    canonical: String,
    rolls: Vec<RollRow>,
    unreadable: Option<String>,
    history: HistoryView,
}

/// A page of the history apart from its rows.
#[derive(Serialize)]
struct HistoryView {
    /// The pages around this one. In a search, the next rolls to look through.
    newer: Option<String>,
    older: Option<String>,
    /// The form as it was sent.
    day: Option<String>,
    die: Option<String>,
    result: Option<u32>,
    /// The dice to choose from.
    dice: Vec<String>,
    previous_day: Option<String>,
    next_day: Option<String>,
    search: Option<SearchView>,
    /// Present at the end of the history, where older rolls have been pruned.
    gone: Option<GoneView>,
}

/// Pruned rolls.
#[derive(Serialize)]
struct GoneView {
    n_rolls: i64,
    /// The oldest roll that is kept.
    oldest: i64,
    href: String,
    /// Left out if it cannot be read.
    #[serde(flatten)]
    rolled_at: Option<Moment>,
}

/// The outcome of a search.
#[derive(Serialize)]
struct SearchView {
    /// How often the result has ever come up.
    n_ever: u64,
    /// The rolls that were searched for this page.
    newest: i64,
    oldest: i64,
    n_searched: u64,
    /// Whether older rolls could still match.
    is_unfinished: bool,
}

impl HistoryPage {
    pub fn new(filter: Filter, found: &Found, page_size: usize, site: &Site) -> HistoryPage {
        HistoryPage {
            title: filter.title(),
            canonical: filter.link(Place::Newest),
            rolls: found.rolls.iter().map(RollRow::from).collect(),
            unreadable: unreadable_notice(&found.unreadable),
            history: HistoryView::new(filter, found, page_size, site),
        }
    }
}

impl HistoryView {
    fn new(filter: Filter, found: &Found, page_size: usize, site: &Site) -> HistoryView {
        let older = older(filter, found);
        let kept = found.kept_from_to.map(|(from, to)| (date(from), date(to)));
        let neighbour = |day: Option<Date>| {
            let is_kept = |day: &Date| kept.is_some_and(|(from, to)| (from..=to).contains(day));
            day.filter(is_kept).map(links::day)
        };
        let die = filter.result.map(|DieResult { die, .. }| die.to_string());
        let mut dice: Vec<String> = site.dice().map(|die| die.to_string()).collect();
        // A die that is no longer rolled.
        dice.extend(die.clone().filter(|die| !dice.contains(die)));
        HistoryView {
            newer: newer(filter, found, page_size),
            search: SearchView::new(found, older.is_some()),
            older,
            day: filter.day.map(|day| day.to_string()),
            die,
            result: filter.result.map(|result| result.result),
            dice,
            previous_day: neighbour(filter.day.and_then(|day| day.yesterday().ok())),
            next_day: neighbour(filter.day.and_then(|day| day.tomorrow().ok())),
            gone: GoneView::new(found),
        }
    }
}

/// The next older page, if rolls are left there. A result that has never come up is not searched
/// for any further.
fn older(filter: Filter, found: &Found) -> Option<String> {
    let is_more = found.looked_at.after > found.all.hull().after && found.n_ever != Some(0);
    is_more.then(|| filter.link(Place::Before(found.looked_at.after.next())))
}

/// The next newer page, if there are newer rolls.
fn newer(filter: Filter, found: &Found, page_size: usize) -> Option<String> {
    let after = found.looked_at.before.previous();
    let newer = found.all.within(IdRange { after, ..found.all.hull() });
    if newer.n_rolls() == 0 {
        return None;
    }
    if filter.result.is_some() {
        return Some(filter.link(Place::After(after)));
    }
    // Stored ids have no gaps, so the key of the page can be computed.
    let page = newer.first(page_size);
    let place = if page == newer { Place::Newest } else { Place::Before(page.hull().before) };
    Some(filter.link(place))
}

impl SearchView {
    fn new(found: &Found, is_unfinished: bool) -> Option<SearchView> {
        let looked_at = found.looked_at;
        found.n_ever.map(|n_ever| SearchView {
            n_ever,
            newest: looked_at.before.previous().0,
            oldest: looked_at.after.next().0,
            n_searched: looked_at.n_rolls(),
            is_unfinished,
        })
    }
}

impl GoneView {
    /// Present where the page reaches the oldest kept roll, or only pruned rolls.
    fn new(found: &Found) -> Option<GoneView> {
        let (oldest, newest) = (found.kept.oldest, found.kept.head.id);
        let is_at_the_end = found.looked_at.after < oldest && oldest.0 > 1 && oldest <= newest;
        is_at_the_end.then(|| GoneView {
            n_rolls: oldest.previous().0,
            oldest: oldest.0,
            href: links::roll(oldest),
            rolled_at: found.oldest_rolled_at.map(Moment::from),
        })
    }
}
