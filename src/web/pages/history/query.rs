//! The query of the history's address: which rolls it asks for, or which of its fields cannot be used.

use jiff::civil::{Date, Time};
use rocket::form::FromForm;
use serde::Serialize;

use crate::dice::{Die, DieFilter, DieResult};
use crate::roll::{RollId, RolledAt};
use crate::store::Search;
use crate::text::ValueError;
use crate::web::http::error::HttpError;
use crate::web::http::error::code::ErrorCode;
use crate::web::pages::form::{Field, optional};
use crate::web::pages::links::{self, Place};
use crate::web::pages::words;
use crate::web::pages::zone::Zone;

/// The fields of the query. A form sends empty ones too, which mean the same as none.
#[derive(FromForm)]
pub struct HistoryQuery<'r> {
    at: Option<&'r str>,
    before: Option<&'r str>,
    after: Option<&'r str>,
    day: Option<&'r str>,
    time: Option<&'r str>,
    die: Option<&'r str>,
    result: Option<&'r str>,
    tz: Option<&'r str>,
}

/// Which rolls are shown, and in which time zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub day: Option<Date>,
    pub die: Option<DieFilter>,
    pub zone: Zone,
}

/// What a request asks for.
#[derive(Debug, PartialEq, Eq)]
pub struct Asked {
    pub filter: Filter,
    pub goal: Goal,
}

/// Which page of the filtered rolls.
#[derive(Debug, PartialEq, Eq)]
pub enum Goal {
    /// The page that has the first roll at or after this time.
    At(RolledAt),
    /// The rolls between two ids, as far as they are given.
    Between { after: Option<RollId>, before: Option<RollId> },
}

/// The form as it was sent.
#[derive(Debug, Default, Serialize)]
pub struct FormView {
    pub day: Field,
    pub time: Field,
    pub die: Field,
    pub result: Field,
    pub tz: Field,
    /// Parameters that are only in addresses.
    pub at: Field,
    pub after: Field,
    pub before: Field,
}

impl HistoryQuery<'_> {
    /// The form with the fields as sent, and what it asks for if all of them can be used.
    pub fn read(&self) -> (FormView, Option<Asked>) {
        let (mut tz, zone) = optional(self.tz, str::parse::<Zone>);
        let zone = zone.unwrap_or_default();
        if tz.value.is_empty() {
            tz.value = zone.name().into();
        }
        let (mut day, date) = optional(self.day, |text| parse_day(&zone, text));
        let (time, clock) = optional(self.time, parse_time);
        if day.value.is_empty() && !time.value.is_empty() {
            day.error = Some("choose the day of this time".into());
        }
        let (mut die, of_die) = optional(self.die, str::parse::<Die>);
        if die.value.is_empty() && self.result.is_some_and(|text| !text.is_empty()) {
            die.error = Some("choose the die of this result".into());
        }
        let (result, shown) = match of_die {
            Some(die) => optional(self.result, |text| DieResult::parse(die, text)),
            None => (Field::of(self.result.unwrap_or_default()), None),
        };
        let (at, moment) = optional(self.at, |text| parse_moment(&zone, text));
        let (after, after_id) = optional(self.after, str::parse::<RollId>);
        let (before, before_id) = optional(self.before, str::parse::<RollId>);
        let form = FormView { day, time, die, result, tz, at, after, before };
        if form.errors().next().is_some() {
            return (form, None);
        }
        let of_day =
            Option::zip(date, clock).and_then(|(day, clock)| zone.time(day.to_datetime(clock)));
        let goal = match of_day.or(moment) {
            Some(time) => Goal::At(time),
            None => Goal::Between { after: after_id, before: before_id },
        };
        let die = of_die.map(|die| DieFilter { die, result: shown.map(|shown| shown.result) });
        (form, Some(Asked { filter: Filter { day: date, die, zone }, goal }))
    }
}

impl FormView {
    /// The names and errors of the fields that cannot be used.
    pub fn errors(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let fields = [
            ("tz", &self.tz),
            ("day", &self.day),
            ("time", &self.time),
            ("die", &self.die),
            ("result", &self.result),
            ("at", &self.at),
            ("after", &self.after),
            ("before", &self.before),
        ];
        fields.into_iter().filter_map(|(name, field)| Some((name, field.error.as_deref()?)))
    }

    /// The first error, for the responses that programs read.
    pub fn first_error(&self) -> HttpError {
        let (name, error) = self.errors().next().unwrap_or_default();
        HttpError::new(ErrorCode::InvalidParameter, format!("{name}: {error}"))
    }
}

impl Filter {
    /// The store's query for the rolls between two ids.
    ///
    /// # Errors
    ///
    /// The day is beyond the calendar.
    pub fn search(
        &self,
        after: Option<RollId>,
        before: Option<RollId>,
    ) -> Result<Search, ValueError> {
        let day = self.day.map(|day| self.zone.day(day)).transpose()?;
        Ok(Search { day, die: self.die, after, before })
    }

    /// The address of a page with this filter.
    pub fn link(&self, place: Place) -> String {
        links::history(self, place)
    }

    pub fn title(&self) -> String {
        let with = self.die.map(|DieFilter { die, result }| match result {
            Some(result) => format!(" with {result} on {}", words::die_in_text(die)),
            None => format!(" with {}", words::die_in_text(die)),
        });
        let on = self.day.map(|day| format!(" on {day}"));
        match (on, with) {
            (None, None) => "All rolls".into(),
            (on, with) => format!("Rolls{}{}", on.unwrap_or_default(), with.unwrap_or_default()),
        }
    }
}

fn parse_day(zone: &Zone, text: &str) -> Result<Date, ValueError> {
    let day = text.parse::<Date>().ok().filter(|day| day.to_string() == text);
    let day = day.ok_or_else(|| ValueError::new("a day such as `2026-11-23`", text))?;
    zone.day(day)?;
    Ok(day)
}

fn parse_time(text: &str) -> Result<Time, ValueError> {
    text.parse().map_err(|_| ValueError::new("a time of day such as `13:37`", text))
}

fn parse_moment(zone: &Zone, text: &str) -> Result<RolledAt, ValueError> {
    let expected = "a timestamp such as `2026-11-23T01:37:40Z`, or without the `Z` in the time zone \
                    of the page";
    zone.moment(text).ok_or_else(|| ValueError::new(expected, text))
}

#[cfg(test)]
mod tests {
    use super::*;

    use rocket::form::Form;

    fn read(query: &str) -> (FormView, Option<Asked>) {
        let query: HistoryQuery<'_> = Form::parse(query).expect("a query");
        query.read()
    }

    fn asked(query: &str) -> Asked {
        read(query).1.unwrap_or_else(|| panic!("{query}: {:?}", read(query).0))
    }

    fn errors(query: &str) -> Vec<(&'static str, String)> {
        let form = read(query).0;
        form.errors().map(|(name, error)| (name, error.into())).collect()
    }

    const NEWEST: Goal = Goal::Between { after: None, before: None };

    #[test]
    fn empty_fields_mean_the_same_as_none() {
        for query in ["", "day=&time=&die=&result=&tz=", "at=&after=&before=&tz=UTC"] {
            let expected = Asked { filter: Filter::default(), goal: NEWEST };
            assert_eq!(asked(query), expected, "{query}");
        }
    }

    #[test]
    fn a_page_is_titled_by_what_it_shows() {
        let table = [
            ("", "All rolls"),
            ("tz=Europe/Berlin", "All rolls"),
            ("day=2026-11-23", "Rolls on 2026-11-23"),
            ("die=3D6", "Rolls with 3d6"),
            ("die=3D6&result=11", "Rolls with 11 on 3d6"),
            ("result=11&die=3d6&day=2026-11-23", "Rolls on 2026-11-23 with 11 on 3d6"),
        ];
        for (query, title) in table {
            assert_eq!(asked(query).filter.title(), title, "{query}");
        }
    }

    #[test]
    fn the_store_is_asked_for_every_field_of_the_query() {
        let query = "after=5&before=9&day=2026-11-23&die=1D6&result=4&tz=Europe/Berlin";
        let Asked { filter, goal } = asked(query);
        let expected = (Some(RollId(5)), Some(RollId(9)));
        assert_eq!(goal, Goal::Between { after: expected.0, before: expected.1 });
        let search = filter.search(expected.0, expected.1).expect("a search");
        let (from, until) = search.day.expect("a day");
        assert_eq!(from.to_string(), "2026-11-22T23:00:00.000Z");
        assert_eq!(until.to_string(), "2026-11-23T23:00:00.000Z");
        let die = DieFilter { die: "1D6".parse().expect("a die"), result: Some(4) };
        assert_eq!((search.die, search.after, search.before), (Some(die), expected.0, expected.1));
        let link = filter.link(Place::Newest);
        assert_eq!(link, "/rolls?day=2026-11-23&die=1D6&result=4&tz=Europe/Berlin");
    }

    #[test]
    fn a_time_is_in_the_zone_of_the_page() {
        let table = [
            ("day=2026-11-23&time=01:37", "2026-11-23T01:37:00.000Z"),
            ("day=2026-11-23&time=01:37:05&tz=Europe/Berlin", "2026-11-23T00:37:05.000Z"),
            ("at=2026-11-23T01:37&tz=Europe/Berlin", "2026-11-23T00:37:00.000Z"),
            ("at=2026-11-23T01:37:00Z&tz=Europe/Berlin", "2026-11-23T01:37:00.000Z"),
            ("at=2026-11-23&tz=Asia/Kolkata", "2026-11-22T18:30:00.000Z"),
            // The first of two, and a time that the clock skips.
            ("day=2026-10-25&time=02:30&tz=Europe/Berlin", "2026-10-25T00:30:00.000Z"),
            ("day=2026-03-29&time=02:30&tz=Europe/Berlin", "2026-03-29T01:30:00.000Z"),
        ];
        for (query, expected) in table {
            let at = expected.parse().expect("a time");
            assert_eq!(asked(query).goal, Goal::At(at), "{query}");
        }
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_at_its_field() {
        let table = [
            ("day=2026-1-2", "day", "`2026-1-2`"),
            ("day=2026-02-30", "day", "`2026-02-30`"),
            ("day=9999-12-31", "day", "`9999-12-31`"),
            ("time=12:00", "day", "choose the day"),
            ("day=2026-11-23&time=25:00", "time", "`25:00`"),
            ("result=4", "die", "choose the die"),
            ("die=W6&result=4", "die", "`W6`"),
            ("die=1D6&result=0", "result", "`0`"),
            ("die=1D6&result=7", "result", "`7`"),
            ("die=3D6&result=2", "result", "`2`"),
            ("tz=Mars", "tz", "`Mars`"),
            ("at=noon", "at", "`noon`"),
            ("after=x", "after", "`x`"),
            ("before=-1", "before", "`-1`"),
        ];
        for (query, name, text) in table {
            let errors = errors(query);
            let [(field, error)] = &errors[..] else { panic!("{query}: {errors:?}") };
            assert!(*field == name && error.contains(text), "{query}: {errors:?}");
            assert!(read(query).1.is_none(), "{query}");
        }
        let form = read("day=x&die=1D6&result=9&tz=Europe/Berlin").0;
        assert_eq!(form.errors().map(|(name, _)| name).collect::<Vec<_>>(), ["day", "result"]);
        let kept = [form.day.value, form.die.value, form.result.value, form.tz.value];
        assert_eq!(kept, ["x", "1D6", "9", "Europe/Berlin"]);
    }
}
