//! What the template `rolls` gets.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;

use crate::dice::{Die, DieFilter};
use crate::export_format::Format;
use crate::roll::Roll;
use crate::statistics::words::grouped;
use crate::store::{Found, IdRange};
use crate::web::pages::history::query::{Filter, FormView};
use crate::web::pages::links::{self, Place};
use crate::web::pages::view::{Moment, Site, unreadable_notice};
use crate::web::pages::words;
use crate::web::pages::zone::{Zone, ZoneView};

/// The template `rolls`.
#[derive(Serialize)]
pub struct HistoryPage {
    title: String,
    canonical: String,
    form: FormView,
    /// The dice to choose from.
    dice: Vec<DieOption>,
    zone: ZoneView,
    /// `None` if a field of the form cannot be used.
    history: Option<HistoryView>,
}

/// A die to choose.
#[derive(Serialize)]
struct DieOption {
    name: String,
    label: String,
    is_chosen: bool,
}

/// A page of rolls.
#[derive(Serialize)]
struct HistoryView {
    columns: Vec<Column>,
    rolls: Vec<Row>,
    unreadable: Option<String>,
    /// The pages around this one. In a search, the next rolls to look through.
    newest: Option<String>,
    newer: Option<String>,
    older: Option<String>,
    is_of_day: bool,
    previous_day: Option<DayLink>,
    next_day: Option<DayLink>,
    search: Option<SearchView>,
    /// Present at the end of the history, where older rolls have been pruned.
    gone: Option<GoneView>,
    /// Present on the newest page.
    follow: Option<FollowView>,
    files: FilesView,
}

/// A die at the head of a column.
#[derive(Serialize)]
struct Column {
    name: String,
    label: String,
    /// Whether the filter asks for it.
    is_chosen: bool,
}

/// A roll.
#[derive(Serialize)]
struct Row {
    id: i64,
    href: String,
    #[serde(flatten)]
    rolled_at: Moment,
    /// The result of the die of each column, if the roll has it.
    cells: Vec<Option<u32>>,
}

#[derive(Serialize)]
struct DayLink {
    day: String,
    href: String,
}

/// Pruned rolls.
#[derive(Serialize)]
struct GoneView {
    n_rolls: i64,
    /// The oldest roll that is kept.
    oldest: i64,
    href: String,
    /// `None` if it cannot be read.
    made: Option<Moment>,
}

/// The outcome of a search for a die or a result.
#[derive(Serialize)]
struct SearchView {
    /// The die, for people.
    die: String,
    result: Option<u32>,
    /// How many rolls have ever matched, for people.
    n_ever: String,
    /// The rolls that were searched for this page.
    newest: i64,
    oldest: i64,
    n_searched: u64,
    /// Whether older rolls could still match.
    is_unfinished: bool,
}

/// What the script needs to count new rolls that belong on this page.
#[derive(Serialize)]
struct FollowView {
    cursor: String,
    every_ms: u128,
    /// The page that will have them.
    href: String,
    /// Only rolls with this die, or with this result of it.
    die: Option<String>,
    result: Option<u32>,
    /// The first Unix millisecond that is not of the day.
    until_ms: Option<i64>,
}

/// Links to rolls as files.
#[derive(Serialize)]
struct FilesView {
    page_csv: String,
    page_json: String,
    /// All rolls of the day, if they follow one another.
    day_csv: Option<String>,
    day_ndjson: Option<String>,
}

impl HistoryPage {
    /// The page of the rolls that were `found`. `dice` are all that were ever rolled.
    pub fn new(
        form: FormView,
        dice: &[Die],
        filter: &Filter,
        found: &Found,
        page_size: usize,
        site: &Site,
    ) -> HistoryPage {
        let history = HistoryView::new(filter, found, page_size, site);
        let is_newest = history.newer.is_none();
        let place = if is_newest { Place::Newest } else { Place::Before(found.looked_at.before) };
        let in_utc = Filter { zone: Zone::default(), ..filter.clone() };
        // The zone decides only which rolls are of a day.
        let named = if filter.day.is_some() { filter } else { &in_utc };
        HistoryPage {
            title: filter.title(),
            canonical: named.link(Place::Newest),
            zone: filter.zone.view(in_utc.link(place)),
            history: Some(history),
            ..HistoryPage::unusable(form, dice, site)
        }
    }

    /// A page without rolls, since a field of the form cannot be used.
    pub fn unusable(form: FormView, dice: &[Die], site: &Site) -> HistoryPage {
        let chosen: Option<Die> = form.die.value.parse().ok();
        let mut others: Vec<Die> = dice.iter().copied().chain(chosen).collect();
        others.sort_by_key(|die| (die.n_dice(), die.n_sides()));
        let mut dice: Vec<Die> = site.dice().collect();
        for die in others {
            if !dice.contains(&die) {
                dice.push(die);
            }
        }
        let option = |die: Die| DieOption {
            name: die.to_string(),
            label: words::die(die),
            is_chosen: chosen == Some(die),
        };
        HistoryPage {
            title: "All rolls".into(),
            canonical: links::history(&Filter::default(), Place::Newest),
            form,
            dice: dice.into_iter().map(option).collect(),
            zone: Zone::default().view(String::new()),
            history: None,
        }
    }
}

impl HistoryView {
    fn new(filter: &Filter, found: &Found, page_size: usize, site: &Site) -> HistoryView {
        let (newer, older) = (newer(filter, found, page_size), older(filter, found));
        let kept = found.kept_from_to;
        let kept = kept.map(|(from, to)| (filter.zone.date(from), filter.zone.date(to)));
        let neighbour = |day: Option<Date>| {
            let is_kept = |day: &Date| kept.is_some_and(|(from, to)| (from..=to).contains(day));
            let day = day.filter(is_kept)?;
            let href = Filter { day: Some(day), ..filter.clone() }.link(Place::Newest);
            Some(DayLink { day: day.to_string(), href })
        };
        let dice = dice_of(site.dice(), &found.rolls);
        let chosen = filter.die.map(|filter| filter.die);
        let column = |die: &Die| Column {
            name: die.to_string(),
            label: words::die(*die),
            is_chosen: chosen == Some(*die),
        };
        HistoryView {
            columns: dice.iter().map(column).collect(),
            rolls: found.rolls.iter().map(|roll| Row::new(roll, &dice, &filter.zone)).collect(),
            unreadable: unreadable_notice(&found.unreadable),
            newest: newer.is_some().then(|| filter.link(Place::Newest)),
            search: SearchView::new(filter, found, older.is_some()),
            follow: if newer.is_none() { FollowView::new(filter, found, site) } else { None },
            newer,
            older,
            is_of_day: filter.day.is_some(),
            previous_day: neighbour(filter.day.and_then(|day| day.yesterday().ok())),
            next_day: neighbour(filter.day.and_then(|day| day.tomorrow().ok())),
            gone: GoneView::new(filter, found),
            files: FilesView::new(filter, found),
        }
    }
}

/// The dice with a column: these, and those of the rolls in order of appearance.
pub fn dice_of(dice: impl IntoIterator<Item = Die>, rolls: &[Roll]) -> Vec<Die> {
    let mut dice: Vec<Die> = dice.into_iter().collect();
    for of in rolls.iter().flat_map(|roll| &roll.dice.0) {
        if !dice.contains(&of.die) {
            dice.push(of.die);
        }
    }
    if !rolls.is_empty() {
        // A die that is rolled now may have no result on this page.
        let has = |die: &Die| rolls.iter().any(|roll| roll.dice.of(*die).is_some());
        dice.retain(has);
    }
    dice
}

/// The next older page, if rolls are left there. A die or a result that has never come up is not
/// searched for any further.
fn older(filter: &Filter, found: &Found) -> Option<String> {
    let is_more = found.looked_at.after > found.all.hull().after && found.n_ever != Some(0);
    is_more.then(|| filter.link(Place::Before(found.looked_at.after.next())))
}

/// The next newer page, if there are newer rolls.
fn newer(filter: &Filter, found: &Found, page_size: usize) -> Option<String> {
    let after = found.looked_at.before.previous();
    let newer = found.all.within(IdRange { after, ..found.all.hull() });
    if newer.n_rolls() == 0 {
        return None;
    }
    if filter.die.is_some() {
        return Some(filter.link(Place::After(after)));
    }
    // Stored ids have no gaps, so the key of the page can be computed.
    let page = newer.first(page_size);
    let place = if page == newer { Place::Newest } else { Place::Before(page.hull().before) };
    Some(filter.link(place))
}

impl Row {
    fn new(roll: &Roll, dice: &[Die], zone: &Zone) -> Row {
        Row {
            id: roll.id.0,
            href: links::roll_in(zone, roll.id),
            rolled_at: Moment::in_zone(zone, roll.rolled_at),
            cells: dice.iter().map(|die| roll.dice.of(*die)).collect(),
        }
    }
}

impl SearchView {
    fn new(filter: &Filter, found: &Found, is_unfinished: bool) -> Option<SearchView> {
        let looked_at = found.looked_at;
        let (DieFilter { die, result }, n_ever) = Option::zip(filter.die, found.n_ever)?;
        Some(SearchView {
            die: words::die_in_text(die),
            result,
            n_ever: grouped(n_ever),
            newest: looked_at.before.previous().0,
            oldest: looked_at.after.next().0,
            n_searched: looked_at.n_rolls(),
            is_unfinished,
        })
    }
}

impl GoneView {
    /// Present where the page reaches the oldest kept roll, or only pruned rolls.
    fn new(filter: &Filter, found: &Found) -> Option<GoneView> {
        let (oldest, newest) = (found.kept.oldest, found.kept.head.id);
        let is_at_the_end = found.looked_at.after < oldest && oldest.0 > 1 && oldest <= newest;
        is_at_the_end.then(|| GoneView {
            n_rolls: oldest.previous().0,
            oldest: oldest.0,
            href: links::roll_in(&filter.zone, oldest),
            made: found.oldest_rolled_at.map(|time| Moment::in_zone(&filter.zone, time)),
        })
    }
}

impl FollowView {
    /// `None` if the day is over, so that no new roll belongs to it.
    fn new(filter: &Filter, found: &Found, site: &Site) -> Option<FollowView> {
        let now = Timestamp::now().as_millisecond();
        let until_ms = match filter.day {
            Some(day) => {
                let (from, until) = filter.zone.day(day).ok()?;
                let is_today = (from.unix_millis()..until.unix_millis()).contains(&now);
                Some(is_today.then(|| until.unix_millis())?)
            }
            None => None,
        };
        Some(FollowView {
            cursor: found.kept.head.to_string(),
            every_ms: site.every().as_millis(),
            href: filter.link(Place::Newest),
            die: filter.die.map(|filter| filter.die.to_string()),
            result: filter.die.and_then(|filter| filter.result),
            until_ms,
        })
    }
}

impl FilesView {
    fn new(filter: &Filter, found: &Found) -> FilesView {
        let page = |format| links::history_file(filter, found.looked_at, format);
        let all_of_day = found.all.hull();
        let is_one_range = found.all.n_rolls() == all_of_day.n_rolls() && all_of_day.n_rolls() > 0;
        let day = |format| {
            let is_whole = filter.day.is_some() && filter.die.is_none() && is_one_range;
            is_whole.then(|| links::download(all_of_day, format))
        };
        FilesView {
            page_csv: page(Format::Csv),
            page_json: page(Format::Json),
            day_csv: day(Format::Csv),
            day_ndjson: day(Format::Ndjson),
        }
    }
}
