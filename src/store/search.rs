//! Searching for rolls: by day, by die and by result.
//!
//! A day is found by binary search between clock steps. A result is found by reading rolls, at most
//! [`MAX_READ`] at a time: at 0.3 to 0.8 µs a roll this keeps a page within its 5 ms, however large
//! the history and however rare the result. The next page continues where the search stopped. An
//! index over the results would find the rarest at once, but it needs a row per die of each roll:
//! about as much space and writing as the rolls themselves.
//!
//! A die alone is found by the statistics, which know the last roll of each die: the search begins
//! there. Rolls usually have the same dice as their neighbours, so it reads little more than a page.

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::dice::{Die, DieFilter};
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::history::kept;
use crate::store::row::{Rows, Unreadable};
use crate::store::times::{Period, period, time};
use crate::store::{IdRange, IdRanges, Kept, StoreError};

/// The most rolls that a search for a die or a result reads for one page.
pub const MAX_READ: usize = 5_000;

/// Whether a row matches: `?1` is the path of a die, `$` for any, and `?2` its result, or null.
pub const MATCHES: &str = "case
    when ?1 = '$' then true
    when json_valid(dice) then
      case when ?2 is null then json_type(dice, ?1) is not null else json_extract(dice, ?1) = ?2 end
    end";

/// What to search for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// Only rolls whose timestamp is at or after the first time, and before the second one.
    pub day: Option<(RolledAt, RolledAt)>,
    /// Only rolls with this die, or with this result.
    pub die: Option<DieFilter>,
    /// The page of the oldest rolls after this one.
    pub after: Option<RollId>,
    /// The page of the newest rolls before this one.
    pub before: Option<RollId>,
}

impl Search {
    /// The most rows that a page of `limit` rolls reads.
    pub fn max_rows(&self, limit: usize) -> usize {
        if self.die.is_some() { MAX_READ } else { limit }
    }
}

/// A page of matching rolls.
#[derive(Clone, Debug)]
pub struct Found {
    /// The rolls, newest first.
    pub rolls: Vec<Roll>,
    /// Rows among them that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Which rolls were stored at that moment.
    pub kept: Kept,
    /// The rolls of the day, or all stored rolls; of a die alone, up to its last roll.
    pub all: IdRanges,
    /// From the first to the last roll that was read for this page. Rolls of other days between them
    /// were not read.
    pub looked_at: IdRange,
    /// How many rolls have ever matched the search for a die or a result.
    pub n_ever: Option<u64>,
    /// The time of the oldest stored roll, if it can be read.
    pub oldest_rolled_at: Option<RolledAt>,
    /// In a search by day: the earliest and the latest timestamp of all stored rolls.
    pub kept_from_to: Option<(RolledAt, RolledAt)>,
}

/// A page of matching rolls.
///
/// # Errors
///
/// The database cannot be read.
pub fn search(
    connection: &mut Connection,
    search: &Search,
    limit: usize,
) -> Result<Found, StoreError> {
    // One transaction, so that the rows and the links around them agree.
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let Period { ids: mut all, kept: kept_from_to } = match search.day {
        Some(day) => period(&transaction, kept, day)?,
        None => Period { ids: kept.ids().into(), kept: None },
    };
    let ever = search.die.map(|die| ever(&transaction, die)).transpose()?;
    if let Some(Ever { last: Some(last), .. }) = ever {
        all = all.within(IdRange { before: last.next().min(all.hull().before), ..all.hull() });
    }
    let ids = search.ids_to_read(&all, limit);
    let rows = matching_in(&transaction, &ids, search, limit)?;
    let looked_at = search.ids_read(ids.hull(), &rows, limit);
    let n_ever = ever.map(|ever| ever.n_rolls);
    let oldest_rolled_at = time(&transaction, kept.oldest)?;
    let Rows { rolls, unreadable } = rows;
    Ok(Found { rolls, unreadable, kept, all, looked_at, n_ever, oldest_rolled_at, kept_from_to })
}

impl Search {
    /// Whether the page holds the oldest rolls after an id, not the newest ones before it.
    fn is_upward(&self) -> bool {
        self.after.is_some() && self.before.is_none()
    }

    /// The part of `all` to read for a page of `limit` rolls.
    fn ids_to_read(&self, all: &IdRanges, limit: usize) -> IdRanges {
        let IdRange { after, before } = all.hull();
        let ids = all.within(IdRange {
            after: self.after.unwrap_or(after).clamp(after, before.previous()),
            before: self.before.unwrap_or(before).clamp(after.next(), before),
        });
        let n_ids = self.max_rows(limit);
        if self.is_upward() { ids.first(n_ids) } else { ids.last(n_ids) }
    }

    /// The part of `ids` that was read for these rows. A full page ends at its last row, even if
    /// more could have been read.
    fn ids_read(&self, ids: IdRange, rows: &Rows, limit: usize) -> IdRange {
        match (rows.oldest(), rows.newest()) {
            (Some(oldest), Some(newest)) if rows.len() == limit => match self.is_upward() {
                true => IdRange { before: newest.next(), ..ids },
                false => IdRange { after: oldest.previous(), ..ids },
            },
            _ => ids,
        }
    }
}

/// The rows of `ids` that match, newest first.
///
/// # Errors
///
/// The database cannot be read.
fn matching_in(
    connection: &Connection,
    ids: &IdRanges,
    search: &Search,
    limit: usize,
) -> Result<Rows, StoreError> {
    let ranges: Vec<IdRange> =
        if search.is_upward() { ids.iter().collect() } else { ids.iter().rev().collect() };
    let mut rows = Rows::default();
    for ids in ranges {
        if rows.len() >= limit {
            break;
        }
        let mut next = matching(connection, ids, search, limit - rows.len())?;
        if search.is_upward() {
            std::mem::swap(&mut rows, &mut next);
        }
        rows.rolls.append(&mut next.rolls);
        rows.unreadable.append(&mut next.unreadable);
    }
    Ok(rows)
}

/// The rows of `ids` that match, newest first.
///
/// # Errors
///
/// The database cannot be read.
pub fn matching(
    connection: &Connection,
    ids: IdRange,
    search: &Search,
    limit: usize,
) -> Result<Rows, StoreError> {
    let upward = search.is_upward();
    let (path, result) = match search.die {
        Some(DieFilter { die, result }) => (path(die), result),
        None => ("$".into(), None),
    };
    let direction = if upward { "asc" } else { "desc" };
    let sql = format!(
        "select id, rolled_at, dice from rolls where {MATCHES} and id > ?3 and id < ?4
         order by id {direction} limit ?5"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let values = params![path, result, ids.after.0, ids.before.0, limit as i64];
    let mut rows = Rows::read(statement.query(values)?)?;
    if upward {
        rows.rolls.reverse();
        rows.unreadable.reverse();
    }
    Ok(rows)
}

/// The JSON path of a die's result.
pub fn path(die: Die) -> String {
    format!("$.\"{die}\"")
}

/// The rolls of all time that match a filter.
struct Ever {
    n_rolls: u64,
    /// No later roll matches; `None` if that is not known.
    last: Option<RollId>,
}

/// The rolls of all time that match: those in the saved statistics, and the rolls after them.
fn ever(connection: &Connection, DieFilter { die, result }: DieFilter) -> Result<Ever, StoreError> {
    let sql = "select n_rolls, null from result_statistics where die = ?1 and result = ?2
               union all
               select n_rolls, last_id from die_statistics where die = ?1 and ?2 is null";
    let read = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
    let mut statement = connection.prepare_cached(sql)?;
    let saved = statement.query_row(params![die.to_string(), result], read).optional()?;
    let (n_saved, saved_last): (u64, Option<i64>) = saved.unwrap_or_default();
    let sql = format!(
        "select count(*), max(id) from rolls where {MATCHES}
         and id > (select last_id from projections where name = 'statistics')"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (n_later, later): (u64, Option<i64>) =
        statement.query_row(params![path(die), result], read)?;
    // The statistics do not know the last roll of a result.
    let last = result.is_none().then(|| later.or(saved_last).map_or(RollId::BEFORE_FIRST, RollId));
    Ok(Ever { n_rolls: n_saved + n_later, last })
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::store::test_history::{history, second};

    const ALL: IdRange = IdRange { after: RollId(100), before: RollId(20_001) };

    fn range((after, before): (i64, i64)) -> IdRange {
        IdRange { after: RollId(after), before: RollId(before) }
    }

    /// A search for any roll or for a 6 on 1D6, with these bounds.
    fn search(result: bool, after: Option<i64>, before: Option<i64>) -> Search {
        let die = "1D6".parse().expect("a die");
        Search {
            die: result.then_some(DieFilter { die, result: Some(6) }),
            after: after.map(RollId),
            before: before.map(RollId),
            day: None,
        }
    }

    fn ids(found: &Found) -> Vec<i64> {
        found.rolls.iter().map(|roll| roll.id.0).collect()
    }

    #[test]
    fn a_search_finds_the_matches_newest_first_and_says_what_it_read() {
        let mut connection = history(100);
        let table = [
            (search(true, None, None), vec![95, 89, 83], (82, 101)),
            (search(true, None, Some(20)), vec![17, 11, 5], (4, 20)),
            (search(true, None, Some(17)), vec![11, 5], (0, 17)),
            (search(true, Some(20), None), vec![35, 29, 23], (20, 36)),
            (search(true, Some(89), None), vec![95], (89, 101)),
            (search(false, None, Some(20)), vec![19, 18, 17], (16, 20)),
            (search(false, Some(20), None), vec![23, 22, 21], (20, 24)),
        ];
        for (search, expected, looked_at) in table {
            let found = super::search(&mut connection, &search, 3).expect("a page");
            assert_eq!((ids(&found), found.looked_at), (expected, range(looked_at)), "{search:?}");
            assert_eq!(found.n_ever, search.die.map(|_| 16), "{search:?}");
            assert_eq!(found.oldest_rolled_at, Some(second(1)), "{search:?}");
            assert_eq!(found.all, range((0, 101)).into(), "{search:?}");
            assert_eq!(found.kept_from_to, None, "{search:?}");
        }
    }

    #[test]
    fn a_search_for_a_die_begins_at_its_last_roll() {
        let mut connection = history(20_000);
        // Rolls 1 to 8,000 have a 1D12 too.
        let rolls = "
            update rolls set dice = '{\"1D6\":1,\"1D12\":7}' where id <= 8000;
            insert into die_statistics
              values ('1D12', 8000, 8000, 0, 0, 0, 0, 0, 0, 0, 0, null, 0, 0, null, null, null);
            update projections set last_id = 19900 where name = 'statistics';";
        connection.execute_batch(rolls).expect("rolls");
        let of = |die: &str, before: Option<i64>| {
            let die = DieFilter { die: die.parse().expect("a die"), result: None };
            Search { die: Some(die), before: before.map(RollId), ..Search::default() }
        };
        let mut find = |search: &Search| {
            let found = super::search(&mut connection, search, 3).expect("a page");
            (ids(&found), found.looked_at, found.all.hull(), found.n_ever)
        };
        let all = range((0, 8_001));
        let newest = (vec![8_000, 7_999, 7_998], range((7_997, 8_001)), all, Some(8_000));
        assert_eq!(find(&of("1D12", None)), newest);
        assert_eq!(find(&of("1D12", Some(15_000))), newest);
        let next = (vec![7_997, 7_996, 7_995], range((7_994, 7_998)), all, Some(8_000));
        assert_eq!(find(&of("1D12", Some(7_998))), next);
        let none = range((0, 1));
        assert_eq!(find(&of("1D4", None)), (vec![], none, none, Some(0)));
        // The statistics do not know this die yet: its rolls come after them.
        let d6 = find(&of("1D6", None));
        assert_eq!((d6.0, d6.3), (vec![20_000, 19_999, 19_998], Some(100)));
    }

    #[test]
    fn a_search_by_day_reads_no_other_day() {
        let mut connection = history(100);
        let day = Some((second(10), second(20)));
        let of_day = Search { day, ..search(true, None, None) };
        let found = super::search(&mut connection, &of_day, 3).expect("a page");
        assert_eq!((ids(&found), found.looked_at), (vec![17, 11], range((9, 20))));
        assert_eq!(found.all, range((9, 20)).into());
        assert_eq!(found.kept_from_to, Some((second(1), second(100))));
    }

    #[test]
    fn a_result_counts_in_the_saved_statistics_and_in_the_rolls_after_them() {
        let mut connection = history(100);
        // Saved after roll 40. Rolls 21 to 40 are still stored and must not count twice. Of the rolls
        // after them, 10 show a 6.
        let saved = "
            insert into result_statistics (die, result, n_rolls, last_n, longest_drought)
              values ('1D6', 6, 1000, 40, 5), ('1D8', 6, 7, 40, 5);
            update projections set last_id = 40 where name = 'statistics';
            delete from rolls where id <= 20;";
        connection.execute_batch(saved).expect("the saved statistics");
        let found = super::search(&mut connection, &search(true, None, None), 3).expect("a page");
        assert_eq!(found.n_ever, Some(1_010));
    }

    #[test]
    fn a_page_reads_its_own_rolls_and_never_beyond_the_history() {
        let table = [
            // The newest ten, those before an id, those after one.
            (search(false, None, None), (19_990, 20_001)),
            (search(false, None, Some(500)), (489, 500)),
            (search(false, Some(500), None), (500, 511)),
            (search(false, Some(500), Some(505)), (500, 505)),
            (search(false, Some(500), Some(900)), (889, 900)),
            // At both ends, and beyond them.
            (search(false, None, Some(105)), (100, 105)),
            (search(false, None, Some(7)), (100, 101)),
            (search(false, Some(7), None), (100, 111)),
            (search(false, Some(19_998), None), (19_998, 20_001)),
            (search(false, Some(i64::MAX), None), (20_000, 20_001)),
            (search(false, None, Some(i64::MAX)), (19_990, 20_001)),
            // For a result, many more.
            (search(true, None, None), (15_000, 20_001)),
            (search(true, None, Some(500)), (100, 500)),
            (search(true, Some(500), None), (500, 5_501)),
        ];
        for (search, expected) in table {
            let ids = search.ids_to_read(&ALL.into(), 10);
            assert_eq!(ids, range(expected).into(), "{search:?}");
        }
        let nothing = IdRanges::from(range((20_000, 20_001)));
        assert_eq!(search(false, None, None).ids_to_read(&nothing, 10), nothing);
    }

    #[test]
    fn the_next_page_continues_after_the_last_row_of_a_full_page() {
        let rows = |ids: &[i64]| {
            let unreadable = |id: &i64| Unreadable { id: RollId(*id), reason: String::new() };
            Rows { unreadable: ids.iter().map(unreadable).collect(), ..Rows::default() }
        };
        let ids = range((100, 200));
        let (down, up) = (search(true, None, Some(200)), search(true, Some(100), None));
        let table = [
            // Not full: everything was read.
            (&down, rows(&[]), (100, 200)),
            (&down, rows(&[150]), (100, 200)),
            (&up, rows(&[150]), (100, 200)),
            // Full at two rolls.
            (&down, rows(&[150, 130]), (129, 200)),
            (&up, rows(&[150, 130]), (100, 151)),
        ];
        for (search, rows, expected) in table {
            assert_eq!(search.ids_read(ids, &rows, 2), range(expected), "{search:?} {rows:?}");
        }
    }
}
