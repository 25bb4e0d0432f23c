//! The addresses of the pages. Nothing else builds one.

use jiff::civil::Date;
use rocket::http::RawStr;

use crate::dice::{Die, DieFilter};
use crate::draw::Label;
use crate::export_format::Format;
use crate::roll::RollId;
use crate::store::IdRange;
use crate::web::http::address::address;
use crate::web::pages::history::Filter;
use crate::web::pages::zone::Zone;

/// A page of the history, by the roll next to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The newest rolls.
    Newest,
    /// The rolls before this one.
    Before(RollId),
    /// The rolls after this one.
    After(RollId),
}

/// The reference of the API.
pub const REFERENCE: &str = "/developers#reference";

/// One roll.
pub fn roll(id: RollId) -> String {
    format!("/rolls/{id}")
}

/// The statistics of a die.
pub fn die_statistics(die: Die) -> String {
    format!("/stats/{die}")
}

/// The picture of a roll.
pub fn picture(id: RollId) -> String {
    format!("/rolls/{id}/picture.png")
}

/// The proof of a roll.
pub fn proof(id: RollId) -> String {
    format!("/rolls/{id}/proof")
}

/// A draw. `dice` are names, joined by commas.
pub fn draw(id: RollId, dice: &str, label: Option<&Label>) -> String {
    let label =
        label.map(|label| format!("&label={}", RawStr::new(&label.to_string()).percent_encode()));
    format!("/draw?roll={id}&dice={dice}{}", label.unwrap_or_default())
}

/// One roll, in this time zone.
pub fn roll_in(zone: &Zone, id: RollId) -> String {
    address(&roll(id), [zone.field()])
}

/// The history with this filter.
pub fn history(filter: &Filter, place: Place) -> String {
    address("/rolls", fields(filter, place))
}

/// The rolls of a page of the history as a file: `csv` or `json`.
pub fn history_file(filter: &Filter, ids: IdRange, format: Format) -> String {
    let after = Some(format!("after={}", ids.after));
    let all = fields(filter, Place::Before(ids.before)).into_iter().chain([after]);
    address(&format!("/rolls.{format}"), all)
}

/// A range of rolls as a file of any size: `csv` or `ndjson`.
pub fn download(ids: IdRange, format: Format) -> String {
    format!("/api/rolls.{format}?after={}&before={}", ids.after, ids.before)
}

/// The history of a day.
pub fn day(zone: &Zone, day: Date) -> String {
    history(&Filter { day: Some(day), zone: zone.clone(), ..Filter::default() }, Place::Newest)
}

/// A roll in the history, as the newest of its page.
pub fn in_history(zone: &Zone, id: RollId) -> String {
    let filter = Filter { zone: zone.clone(), ..Filter::default() };
    format!("{}#roll-{id}", history(&filter, Place::Before(id.next())))
}

/// A roll in the history, in the middle of its page of `page_size` rolls.
pub fn around(filter: &Filter, id: RollId, page_size: usize) -> String {
    let newest = RollId(id.0 + page_size as i64 / 2 + 1);
    format!("{}#roll-{id}", history(filter, Place::Before(newest)))
}

fn fields(filter: &Filter, place: Place) -> [Option<String>; 4] {
    let Filter { day, die, zone } = filter;
    let place = match place {
        Place::Newest => None,
        Place::Before(id) => Some(format!("before={id}")),
        Place::After(id) => Some(format!("after={id}")),
    };
    let die = die.map(|DieFilter { die, result }| match result {
        Some(result) => format!("die={die}&result={result}"),
        None => format!("die={die}"),
    });
    [day.map(|day| format!("day={day}")), die, zone.field(), place]
}

/// The folder of the static files: their addresses change with their content.
pub fn static_files(version: &str) -> String {
    format!("/static/{version}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_of_the_history_has_the_filter_and_then_the_place() {
        let day: Option<Date> = Some("2026-11-23".parse().expect("a day"));
        let of_die = |result| Some(DieFilter { die: "3D6".parse().expect("a die"), result });
        let zone: Zone = "Europe/Berlin".parse().expect("a zone");
        let (before, after) = (Place::Before(RollId(41)), Place::After(RollId(40)));
        let utc = Zone::default();
        let table = [
            (None, None, &utc, Place::Newest, "/rolls"),
            (None, None, &utc, before, "/rolls?before=41"),
            (None, None, &zone, after, "/rolls?tz=Europe/Berlin&after=40"),
            (day, None, &utc, Place::Newest, "/rolls?day=2026-11-23"),
            (day, None, &zone, before, "/rolls?day=2026-11-23&tz=Europe/Berlin&before=41"),
            (None, of_die(None), &utc, Place::Newest, "/rolls?die=3D6"),
            (None, of_die(Some(11)), &utc, Place::Newest, "/rolls?die=3D6&result=11"),
            (
                day,
                of_die(Some(11)),
                &utc,
                after,
                "/rolls?day=2026-11-23&die=3D6&result=11&after=40",
            ),
        ];
        for (day, die, zone, place, expected) in table {
            let filter = Filter { day, die, zone: zone.clone() };
            assert_eq!(history(&filter, place), expected);
        }
        let filter = Filter { die: of_die(Some(11)), zone, ..Filter::default() };
        let ids = IdRange { after: RollId(4), before: RollId(41) };
        assert_eq!(
            history_file(&filter, ids, Format::Csv),
            "/rolls.csv?die=3D6&result=11&tz=Europe/Berlin&before=41&after=4"
        );
        assert_eq!(download(ids, Format::Ndjson), "/api/rolls.ndjson?after=4&before=41");
    }

    #[test]
    fn a_link_to_a_roll_in_the_history_leads_to_a_page_that_has_it() {
        let (utc, berlin) = (Zone::default(), "Europe/Berlin".parse().expect("a zone"));
        assert_eq!(roll(RollId(41)), "/rolls/41");
        assert_eq!(roll_in(&utc, RollId(41)), "/rolls/41");
        assert_eq!(roll_in(&berlin, RollId(41)), "/rolls/41?tz=Europe/Berlin");
        assert_eq!(in_history(&utc, RollId(41)), "/rolls?before=42#roll-41");
        assert_eq!(in_history(&berlin, RollId(41)), "/rolls?tz=Europe/Berlin&before=42#roll-41");
        // Pages of 10 hold rolls 46 to 37, and of 1 only roll 41 itself.
        let around = |page_size| around(&Filter::default(), RollId(41), page_size);
        assert_eq!(around(10), "/rolls?before=47#roll-41");
        assert_eq!(around(1), "/rolls?before=42#roll-41");
    }

    #[test]
    fn a_link_names_its_roll_its_day_or_its_version() {
        let date: Date = "2026-11-23".parse().expect("a day");
        assert_eq!(day(&Zone::default(), date), "/rolls?day=2026-11-23");
        assert_eq!(die_statistics("2d6".parse().expect("a die")), "/stats/2D6");
        assert_eq!(static_files("0123456789abcdef"), "/static/0123456789abcdef");
    }
}
