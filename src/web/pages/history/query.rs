//! The query of the history's address: which rolls it asks for.

use jiff::civil::Date;
use jiff::tz::Offset;
use rocket::form::FromForm;

use crate::dice::{Die, DieResult};
use crate::roll::{RollId, RolledAt};
use crate::store::Search;
use crate::text::ValueError;
use crate::web::http::error::HttpError;
use crate::web::pages::links::{self, Place};

/// The fields of the query. A form sends empty ones too, which mean the same as none.
#[derive(FromForm)]
pub struct HistoryQuery<'r> {
    at: Option<&'r str>,
    before: Option<&'r str>,
    after: Option<&'r str>,
    day: Option<&'r str>,
    die: Option<&'r str>,
    result: Option<&'r str>,
}

/// Which rolls are shown: those of a day, those with a result, or all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    pub day: Option<Date>,
    pub result: Option<DieResult>,
}

impl<'r> HistoryQuery<'r> {
    /// The moment to jump to.
    pub fn at(&self) -> Option<&'r str> {
        given(self.at)
    }

    /// # Errors
    ///
    /// The day, the die or the result cannot be used.
    pub fn filter(&self) -> Result<Filter, HttpError> {
        let day = given(self.day).map(parse_day).transpose();
        let day = day.map_err(|error| HttpError::invalid("day", error))?;
        // The form always sends a die. Without a result it means nothing.
        let Some(result) = given(self.result) else {
            return Ok(Filter { day, result: None });
        };
        let die = given(self.die).unwrap_or_default().parse::<Die>();
        let die = die.map_err(|error| HttpError::invalid("die", error))?;
        let result = DieResult::parse(die, result);
        let result = result.map_err(|error| HttpError::invalid("result", error))?;
        Ok(Filter { day, result: Some(result) })
    }

    /// The store's query for these rolls.
    ///
    /// # Errors
    ///
    /// An id cannot be used, or the day lies outside the calendar.
    pub fn search(&self, filter: Filter) -> Result<Search, HttpError> {
        let id = |name: &str, text: Option<&str>| {
            let id = given(text).map(str::parse::<RollId>).transpose();
            id.map_err(|error| HttpError::invalid(name, error))
        };
        let (after, before) = (id("after", self.after)?, id("before", self.before)?);
        let day = filter.day.map(bounds).transpose();
        let day = day.map_err(|error| HttpError::invalid("day", error))?;
        Ok(Search { day, result: filter.result, after, before })
    }
}

impl Filter {
    /// The address of a page with this filter.
    pub fn link(&self, place: Place) -> String {
        links::history(self.day, self.result, place)
    }

    pub fn title(&self) -> String {
        let with = self.result.map(|DieResult { die, result }| format!(" with {result} on {die}"));
        let of = self.day.map(|day| format!(" of {day}"));
        match (with, of) {
            (None, None) => "Past rolls".into(),
            (with, of) => format!("Rolls{}{}", with.unwrap_or_default(), of.unwrap_or_default()),
        }
    }
}

fn parse_day(text: &str) -> Result<Date, ValueError> {
    let day = text.parse::<Date>().ok().filter(|day| day.to_string() == text);
    day.ok_or_else(|| ValueError::new("a day such as `2026-11-23`", text))
}

/// The first moment of a day in UTC, and of the next day.
fn bounds(day: Date) -> Result<(RolledAt, RolledAt), ValueError> {
    let start = |day: Date| Offset::UTC.to_timestamp(day.at(0, 0, 0, 0)).ok();
    let bounds = Option::zip(start(day), day.tomorrow().ok().and_then(start));
    let (from, until) = bounds.ok_or_else(|| ValueError::new("a day within the calendar", day))?;
    Ok((RolledAt::truncate(from), RolledAt::truncate(until)))
}

fn given(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    use rocket::form::Form;

    fn parse(query: &str) -> HistoryQuery<'_> {
        Form::parse(query).expect("a query")
    }

    fn filter(query: &str) -> Result<Filter, HttpError> {
        parse(query).filter()
    }

    fn search(query: &str) -> Result<Search, HttpError> {
        parse(query).search(filter(query)?)
    }

    #[test]
    fn empty_fields_mean_the_same_as_none() {
        for query in ["", "day=&die=&result=", "die=1D6", "day=&die=1D6&result="] {
            assert_eq!(filter(query).expect(query), Filter::default(), "{query}");
        }
        for query in ["", "at=&after=&before="] {
            assert_eq!(parse(query).at(), None, "{query}");
            assert_eq!(search(query).expect(query), Search::default(), "{query}");
        }
        assert_eq!(parse("at=2026-11-23T12:00").at(), Some("2026-11-23T12:00"));
    }

    #[test]
    fn a_page_is_titled_by_what_it_shows() {
        let table = [
            ("", "Past rolls"),
            ("day=2026-11-23", "Rolls of 2026-11-23"),
            ("die=3D6&result=11", "Rolls with 11 on 3D6"),
        ];
        for (query, title) in table {
            assert_eq!(filter(query).expect(query).title(), title, "{query}");
        }
    }

    #[test]
    fn the_store_is_asked_for_every_field_of_the_query() {
        let query = "after=5&before=9&day=2026-11-23&die=1D6&result=4";
        let day = bounds("2026-11-23".parse().expect("a day")).expect("bounds");
        let expected = Search {
            day: Some(day),
            result: Some(DieResult { die: "1D6".parse().expect("a die"), result: 4 }),
            after: Some(RollId(5)),
            before: Some(RollId(9)),
        };
        assert_eq!(search(query).expect(query), expected);
    }

    #[test]
    fn a_day_and_a_result_are_read_and_written_back() {
        let read = filter("result=11&die=3d6&day=2026-11-23").expect("a filter");
        assert_eq!(read.title(), "Rolls with 11 on 3D6 of 2026-11-23");
        assert_eq!(read.link(Place::Newest), "/rolls?day=2026-11-23&die=3D6&result=11");
    }

    #[test]
    fn a_value_that_cannot_be_used_is_named_with_its_field() {
        let table = [
            ("day=2026-1-2", "day: ", "`2026-1-2`"),
            ("day=2026-02-30", "day: ", "`2026-02-30`"),
            ("result=4", "die: ", "``"),
            ("die=W6&result=4", "die: ", "`W6`"),
            ("die=1D6&result=0", "result: ", "`0`"),
            ("die=1D6&result=7", "result: ", "`7`"),
            ("die=3D6&result=2", "result: ", "`2`"),
            ("after=x", "after: ", "`x`"),
            ("before=-1", "before: ", "`-1`"),
            ("day=9999-12-31", "day: ", "`9999-12-31`"),
        ];
        for (query, field, value) in table {
            let error = format!("{:?}", search(query).expect_err(query));
            assert!(error.contains(field) && error.contains(value), "{query}: {error}");
        }
    }

    #[test]
    fn a_day_lasts_from_midnight_to_midnight_in_utc() {
        let (from, until) = bounds("2026-11-23".parse().expect("a day")).expect("bounds");
        assert_eq!(from.to_string(), "2026-11-23T00:00:00.000Z");
        assert_eq!(until.to_string(), "2026-11-24T00:00:00.000Z");
        assert!(bounds(Date::MAX).is_err());
    }
}
