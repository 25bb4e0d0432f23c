//! Where the clock was set back. Between two such steps, timestamps grow with ids.

use rusqlite::Connection;

use crate::roll::{RollId, RolledAt};
use crate::store::{IdRange, Kept, StoreError, statistics};

/// The stored rolls as ranges within which timestamps grow with ids, in order of the ids. Damaged
/// rows may have any time.
///
/// # Errors
///
/// The database cannot be read.
pub fn runs(connection: &Connection, kept: Kept) -> Result<Vec<IdRange>, StoreError> {
    let all = kept.ids();
    let mut after = all.after;
    let mut runs = Vec::new();
    for first in steps(connection, kept)? {
        runs.push(IdRange { after, before: first });
        after = first.previous();
    }
    runs.push(IdRange { after, before: all.before });
    Ok(runs)
}

/// The ids after the oldest roll at which a new range begins, in ascending order.
fn steps(connection: &Connection, kept: Kept) -> Result<Vec<RollId>, StoreError> {
    if !statistics::exists(connection, "clock_steps")? {
        return find_steps(connection);
    }
    let sql = "select id from clock_steps where id > ?1 and id <= ?2 order by id";
    let mut statement = connection.prepare_cached(sql)?;
    let ids = statement.query_map([kept.oldest.0, kept.head.id.0], |row| row.get(0).map(RollId))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

/// The same for a database of an older schema, which a command reads. Reads every roll.
fn find_steps(connection: &Connection) -> Result<Vec<RollId>, StoreError> {
    let mut statement = connection.prepare("select id, rolled_at from rolls order by id")?;
    let mut rows = statement.query([])?;
    let (mut steps, mut newest) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let time = row.get_ref(1)?.as_str().ok().and_then(|text| text.parse::<RolledAt>().ok());
        let Some(time) = time else { continue };
        if newest.is_some_and(|newest| time < newest) {
            steps.push(RollId(row.get(0)?));
        }
        newest = Some(time);
    }
    Ok(steps)
}
