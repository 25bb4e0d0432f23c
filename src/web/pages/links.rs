//! The addresses of the pages. Nothing else builds one.

use jiff::civil::Date;
use rocket::http::RawStr;

use crate::dice::{Die, DieResult};
use crate::draw::Label;
use crate::roll::RollId;

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

/// One roll.
pub fn roll(id: RollId) -> String {
    format!("/rolls/{id}")
}

/// The statistics of a die.
pub fn die_statistics(die: Die) -> String {
    format!("/stats/{die}")
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

/// The history, of one day and with one result, as far as these are given.
pub fn history(day: Option<Date>, result: Option<DieResult>, place: Place) -> String {
    let mut query = Vec::new();
    query.extend(day.map(|day| format!("day={day}")));
    query.extend(result.map(|DieResult { die, result }| format!("die={die}&result={result}")));
    match place {
        Place::Newest => {}
        Place::Before(id) => query.push(format!("before={id}")),
        Place::After(id) => query.push(format!("after={id}")),
    }
    if query.is_empty() { "/rolls".into() } else { format!("/rolls?{}", query.join("&")) }
}

/// The history before a roll.
pub fn before(id: RollId) -> String {
    history(None, None, Place::Before(id))
}

/// The history of a day.
pub fn day(day: Date) -> String {
    history(Some(day), None, Place::Newest)
}

/// A roll in the history, as the newest of its page.
pub fn in_history(id: RollId) -> String {
    format!("{}#roll-{id}", before(id.next()))
}

/// A roll in the history, in the middle of its page of `page_size` rolls.
pub fn around(id: RollId, page_size: usize) -> String {
    let newest = RollId(id.0 + page_size as i64 / 2 + 1);
    format!("{}#roll-{id}", before(newest))
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
        let day: Date = "2026-11-23".parse().expect("a day");
        let result = DieResult { die: "3D6".parse().expect("a die"), result: 11 };
        let (before, after) = (Place::Before(RollId(41)), Place::After(RollId(40)));
        let table = [
            (None, None, Place::Newest, "/rolls"),
            (None, None, before, "/rolls?before=41"),
            (None, None, after, "/rolls?after=40"),
            (Some(day), None, Place::Newest, "/rolls?day=2026-11-23"),
            (Some(day), None, before, "/rolls?day=2026-11-23&before=41"),
            (None, Some(result), Place::Newest, "/rolls?die=3D6&result=11"),
            (Some(day), Some(result), after, "/rolls?day=2026-11-23&die=3D6&result=11&after=40"),
        ];
        for (day, result, place, expected) in table {
            assert_eq!(history(day, result, place), expected);
        }
    }

    #[test]
    fn a_link_to_a_roll_in_the_history_leads_to_a_page_that_has_it() {
        assert_eq!(roll(RollId(41)), "/rolls/41");
        assert_eq!(in_history(RollId(41)), "/rolls?before=42#roll-41");
        // Pages of 10 hold rolls 46 to 37, and of 1 only roll 41 itself.
        assert_eq!(around(RollId(41), 10), "/rolls?before=47#roll-41");
        assert_eq!(around(RollId(41), 1), "/rolls?before=42#roll-41");
    }

    #[test]
    fn a_link_names_its_roll_its_day_or_its_version() {
        let date: Date = "2026-11-23".parse().expect("a day");
        assert_eq!(before(RollId(7)), "/rolls?before=7");
        assert_eq!(day(date), "/rolls?day=2026-11-23");
        assert_eq!(die_statistics("2d6".parse().expect("a die")), "/stats/2D6");
        assert_eq!(static_files("0123456789abcdef"), "/static/0123456789abcdef");
    }
}
