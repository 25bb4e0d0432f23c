//! A page of rolls with a result, within a range that a client names by cursors.

use rusqlite::Connection;

use crate::cursor::Cursor;
use crate::dice::DieResult;
use crate::roll::{Roll, RollId};
use crate::store::history::{kept, resolve};
use crate::store::row::{Rows, Unreadable};
use crate::store::search::{MAX_READ, matching};
use crate::store::times::cursor_at;
use crate::store::{IdRange, Kept, Order, RollRange, Search, StoreError};

/// A page of rolls with a result.
#[derive(Clone, Debug)]
pub struct FilteredPage {
    /// The rolls, in the [`Order`] of the request.
    pub rolls: Vec<Roll>,
    /// Rows among them that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Which rolls were stored at that moment.
    pub kept: Kept,
    /// The ids that were searched.
    pub searched: IdRange,
    /// The cursor of the oldest roll that was searched.
    pub oldest_searched: Cursor,
    /// The cursor of the newest roll that was searched.
    pub newest_searched: Cursor,
    /// Whether the range has rolls that were not searched.
    pub goes_on: bool,
}

/// The rolls of a range that show a result, at most `limit` of them.
///
/// # Errors
///
/// [`StoreError::OtherHistory`] if a bound belongs to another history; otherwise the database
/// cannot be read.
pub fn filtered(
    connection: &mut Connection,
    range: &RollRange,
    result: DieResult,
    order: Order,
    limit: usize,
) -> Result<FilteredPage, StoreError> {
    // One transaction, so that the rolls and the cursors agree.
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let all = resolve(&transaction, range, kept)?;
    let oldest_first = order == Order::OldestFirst;
    let mut searched = bounded(all, order);
    let after = oldest_first.then_some(searched.after);
    let search = Search { die: Some(result.into()), after, before: None, day: None };
    let rows = matching(&transaction, searched, &search, limit)?;
    // A full page ends at its last row, even if more rows were searched.
    if let (Some(oldest), Some(newest), true) = (rows.oldest(), rows.newest(), rows.len() == limit)
    {
        match order {
            Order::OldestFirst => searched.before = newest.next(),
            Order::NewestFirst => searched.after = oldest.previous(),
        }
    }
    let Rows { mut rolls, mut unreadable } = rows;
    if oldest_first {
        rolls.reverse();
        unreadable.reverse();
    }
    let cursor = |id| cursor_at(&transaction, id);
    Ok(FilteredPage {
        rolls,
        unreadable,
        kept,
        searched,
        oldest_searched: cursor(searched.after.next())?,
        newest_searched: cursor(searched.before.previous())?,
        goes_on: searched.n_rolls() < all.n_rolls(),
    })
}

/// The first [`MAX_READ`] ids of a range in this order.
fn bounded(all: IdRange, order: Order) -> IdRange {
    let n = MAX_READ as i64 + 1;
    match order {
        Order::OldestFirst => {
            IdRange { before: all.before.min(RollId(all.after.0.saturating_add(n))), ..all }
        }
        Order::NewestFirst => {
            IdRange { after: all.after.max(RollId(all.before.0.saturating_sub(n))), ..all }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::store::test_history::history;

    #[test]
    fn a_page_covers_every_roll_up_to_its_last_one() {
        let mut connection = history(100);
        let result = DieResult { die: "1D6".parse().expect("a die"), result: 6 };
        let cursor = |id| Some(Cursor::from(RollId(id)));
        let range = |after, before| RollRange { after, before, since: None };
        let (all, part) = (range(None, None), range(cursor(10), cursor(30)));
        // The rolls, those that were searched without both bounds, and whether there are more.
        let table = [
            (all, Order::OldestFirst, 3, vec![5, 11, 17], (0, 18), true),
            (all, Order::NewestFirst, 3, vec![95, 89, 83], (82, 101), true),
            (all, Order::OldestFirst, 17, (0..16).map(|n| 5 + 6 * n).collect(), (0, 101), false),
            (part, Order::OldestFirst, 3, vec![11, 17, 23], (10, 24), true),
            (part, Order::OldestFirst, 4, vec![11, 17, 23, 29], (10, 30), false),
            (part, Order::NewestFirst, 3, vec![29, 23, 17], (16, 30), true),
            // The last roll is the first of the range.
            (part, Order::NewestFirst, 4, vec![29, 23, 17, 11], (10, 30), false),
            (range(cursor(100), None), Order::OldestFirst, 3, vec![], (100, 101), false),
        ];
        for (range, order, limit, ids, (after, before), goes_on) in table {
            let case = format!("{range:?} {order:?} {limit}");
            let page = filtered(&mut connection, &range, result, order, limit).expect(&case);
            assert_eq!(page.rolls.iter().map(|roll| roll.id.0).collect::<Vec<_>>(), ids, "{case}");
            let searched = IdRange { after: RollId(after), before: RollId(before) };
            assert_eq!((page.searched, page.goes_on), (searched, goes_on), "{case}");
            let (oldest, newest) = (page.oldest_searched.id, page.newest_searched.id);
            assert_eq!((oldest.previous(), newest.next()), (searched.after, searched.before));
        }
    }

    #[test]
    fn a_search_is_bounded_at_the_end_where_it_begins() {
        let range = |after, before| IdRange { after: RollId(after), before: RollId(before) };
        let all = range(100, 20_000);
        assert_eq!(bounded(all, Order::OldestFirst), range(100, 5_101));
        assert_eq!(bounded(all, Order::NewestFirst), range(14_999, 20_000));
        let few = range(100, 200);
        assert_eq!(bounded(few, Order::OldestFirst), few);
        assert_eq!(bounded(few, Order::NewestFirst), few);
        assert_eq!(bounded(few, Order::OldestFirst).n_rolls(), 99);
    }
}
