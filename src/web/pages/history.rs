//! The history: page by page, of a day, with a result, or from a moment on. All of it works
//! without scripts, and every page has an address of its own.

use jiff::civil::Date;
use jiff::tz::Offset;
use rocket::form::FromForm;
use rocket::response::Redirect;
use rocket::{Either, State, get};
use rocket_dyn_templates::{Template, context};
use serde::Serialize;

use crate::dice::{Die, DieResult};
use crate::roll::{RollId, RolledAt};
use crate::store::{Found, Search, Store};
use crate::text::ValueError;
use crate::time_spec::moment;
use crate::web::http::error::PageError;
use crate::web::pages::Pages;
use crate::web::pages::assets::Assets;
use crate::web::pages::view::{RollRow, Site};

/// What the address asks for; what is left empty in a form asks for nothing.
#[derive(FromForm)]
pub struct Asked<'r> {
    at: Option<&'r str>,
    before: Option<&'r str>,
    after: Option<&'r str>,
    day: Option<&'r str>,
    die: Option<&'r str>,
    result: Option<&'r str>,
}

/// A page of the history: by key, or by a moment, which leads to a key.
#[get("/rolls?<asked..>")]
pub async fn history(
    asked: Asked<'_>,
    pages: &State<Pages>,
    site: &State<Site>,
    assets: &State<Assets>,
) -> Result<Either<Template, Redirect>, PageError> {
    if let Some(at) = given(asked.at) {
        return Ok(Either::Right(jump(&pages.store, pages.page_size, at).await?));
    }
    let filter = Filter::read(&asked)?;
    let found = pages.store.search(filter.search(&asked)?, pages.page_size).await?;
    let view = HistoryView::new(&filter, &found, pages.page_size, site);
    let rows: Vec<RollRow> = found.rolls.iter().map(RollRow::from).collect();
    let (site, title) = (site.view(assets), filter.title());
    let context = context! { site, title, rolls: rows, history: view };
    Ok(Either::Left(Template::render("rolls", context)))
}

/// To the page that has the first roll at or after a moment in its middle.
async fn jump(store: &Store, page_size: usize, at: &str) -> Result<Redirect, PageError> {
    let moment = moment(at).map_err(|error| PageError::invalid("at", error))?;
    let Some(id) = store.at(moment).await? else {
        return Ok(Redirect::to(Filter::default().href(None)));
    };
    let page = before(RollId(id.0 + page_size as i64 / 2 + 1));
    Ok(Redirect::to(format!("{page}#roll-{id}")))
}

/// The page of the rolls before this one.
pub fn before(id: RollId) -> String {
    Filter::default().href(Some(("before", id)))
}

/// The page of a day.
pub fn of_day(day: Date) -> String {
    Filter { day: Some(day), face: None }.href(None)
}

/// Which rolls are shown.
#[derive(Default)]
struct Filter {
    day: Option<Date>,
    face: Option<DieResult>,
}

impl Filter {
    fn read(asked: &Asked<'_>) -> Result<Filter, PageError> {
        let day = given(asked.day).map(day).transpose();
        let day = day.map_err(|error| PageError::invalid("day", error))?;
        // A form always sends a die: without a result it asks for nothing.
        let Some(result) = given(asked.result) else {
            return Ok(Filter { day, face: None });
        };
        let die = given(asked.die).unwrap_or_default().parse::<Die>();
        let die = die.map_err(|error| PageError::invalid("die", error))?;
        let face = face(die, result).map_err(|error| PageError::invalid("result", error))?;
        Ok(Filter { day, face: Some(face) })
    }

    fn search(&self, asked: &Asked<'_>) -> Result<Search, PageError> {
        let id = |name: &str, text: Option<&str>| {
            let id = given(text).map(str::parse::<RollId>).transpose();
            id.map_err(|error| PageError::invalid(name, error))
        };
        let (after, before) = (id("after", asked.after)?, id("before", asked.before)?);
        let day = self.day.map(bounds).transpose();
        let day = day.map_err(|error| PageError::invalid("day", error))?;
        Ok(Search { day, result: self.face, after, before })
    }

    fn title(&self) -> String {
        let with = self.face.map(|DieResult { die, result }| format!(" with {result} on {die}"));
        let of = self.day.map(|day| format!(" of {day}"));
        match (with, of) {
            (None, None) => "Past rolls".into(),
            (with, of) => format!("Rolls{}{}", with.unwrap_or_default(), of.unwrap_or_default()),
        }
    }

    /// The same filter at another place.
    fn href(&self, place: Option<(&str, RollId)>) -> String {
        let mut query = Vec::new();
        query.extend(self.day.map(|day| format!("day={day}")));
        query.extend(
            self.face.map(|DieResult { die, result }| format!("die={die}&result={result}")),
        );
        query.extend(place.map(|(name, id)| format!("{name}={id}")));
        if query.is_empty() { "/rolls".into() } else { format!("/rolls?{}", query.join("&")) }
    }
}

/// A page of the history besides its rows.
#[derive(Serialize)]
struct HistoryView {
    /// Pages around this one; in a search, what was not looked at yet.
    newer: Option<String>,
    older: Option<String>,
    /// The form as it was sent.
    day: Option<String>,
    die: Option<String>,
    result: Option<u32>,
    /// What may be chosen.
    dice: Vec<String>,
    previous_day: Option<String>,
    next_day: Option<String>,
    search: Option<SearchView>,
    /// At the end of what is kept, where older rolls are gone.
    gone: Option<GoneView>,
}

/// What is no longer kept.
#[derive(Serialize)]
struct GoneView {
    n_rolls: i64,
    /// The first roll that is kept, and its moment.
    first: i64,
    href: String,
    rolled_at: String,
    day: String,
    clock: String,
}

/// What a search came to.
#[derive(Serialize)]
struct SearchView {
    /// How often the result came up, of all time.
    n_ever: u64,
    /// The rolls that were looked at for this page.
    newest: i64,
    oldest: i64,
    n_looked_at: u64,
    /// Whether older ones could still have it.
    goes_on: bool,
}

impl HistoryView {
    fn new(filter: &Filter, found: &Found, page_size: usize, site: &Site) -> HistoryView {
        let (all, looked_at) = (found.all, found.looked_at);
        // What never came up is not to be found further back either.
        let older = (looked_at.after > all.after && found.n_ever != Some(0))
            .then(|| filter.href(Some(("before", looked_at.after.next()))));
        let newer = (looked_at.before < all.before).then(|| match filter.face {
            Some(_) => filter.href(Some(("after", looked_at.before.previous()))),
            None => {
                // Ids have no gaps, so the page's key can be computed.
                let before = RollId(looked_at.before.0 + page_size as i64);
                filter.href((before < all.before).then_some(("before", before)))
            }
        });
        let search = found.n_ever.map(|n_ever| SearchView {
            n_ever,
            newest: looked_at.before.previous().0,
            oldest: looked_at.after.next().0,
            n_looked_at: looked_at.n_rolls(),
            goes_on: older.is_some(),
        });
        // The page reaches back to the oldest roll, or there is nothing but older ones where it looks.
        let at_the_end = looked_at.after < found.kept.oldest;
        let first = found.kept_from_to.filter(|_| at_the_end && found.kept.oldest.0 > 1);
        let gone = first.map(|(from, _)| GoneView::new(found.kept.oldest, from));
        let kept = found.kept_from_to.map(|(from, to)| (date(from), date(to)));
        let neighbour = |day: Option<Date>| {
            let kept = |day: &Date| kept.is_some_and(|(from, to)| (from..=to).contains(day));
            day.filter(kept).map(of_day)
        };
        let mut dice: Vec<String> = site.dice().map(|die| die.to_string()).collect();
        let die = filter.face.map(|face| face.die.to_string());
        // One that is not rolled any more.
        dice.extend(die.clone().filter(|die| !dice.contains(die)));
        HistoryView {
            newer,
            older,
            day: filter.day.map(|day| day.to_string()),
            die,
            result: filter.face.map(|face| face.result),
            dice,
            previous_day: neighbour(filter.day.and_then(|day| day.yesterday().ok())),
            next_day: neighbour(filter.day.and_then(|day| day.tomorrow().ok())),
            search,
            gone,
        }
    }
}

impl GoneView {
    fn new(first: RollId, rolled_at: RolledAt) -> GoneView {
        let moment = rolled_at.timestamp();
        GoneView {
            n_rolls: first.previous().0,
            first: first.0,
            href: format!("/rolls/{first}"),
            rolled_at: rolled_at.to_string(),
            day: moment.strftime("%Y-%m-%d").to_string(),
            clock: moment.strftime("%H:%M:%S").to_string(),
        }
    }
}

/// The day of a moment, in UTC.
pub fn date(moment: RolledAt) -> Date {
    Offset::UTC.to_datetime(moment.timestamp()).date()
}

fn day(text: &str) -> Result<Date, ValueError> {
    let day = text.parse::<Date>().ok().filter(|day| day.to_string() == text);
    day.ok_or_else(|| ValueError::new("a day such as `2026-11-23`", text))
}

/// A day's first moment, and the first one of the next.
fn bounds(day: Date) -> Result<(RolledAt, RolledAt), ValueError> {
    let start = |day: Date| Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok();
    let bounds = Option::zip(start(day), day.tomorrow().ok().and_then(start));
    let (from, until) = bounds.ok_or_else(|| ValueError::new("a day within the calendar", day))?;
    Ok((RolledAt::truncate(from), RolledAt::truncate(until)))
}

fn face(die: Die, text: &str) -> Result<DieResult, ValueError> {
    let (least, most) =
        (u32::from(die.n_dice()), u32::from(die.n_dice()) * u32::from(die.n_sides()));
    let result = text.parse().ok().filter(|result| (least..=most).contains(result));
    let result = result.ok_or_else(|| ValueError::new("a result that the die can show", text))?;
    Ok(DieResult { die, result })
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}
