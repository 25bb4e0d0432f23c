//! Reading the history. Every query finds its rows by key: the cost does not depend on how many
//! rolls are stored, nor on how deep in the history they lie.

use rusqlite::{Connection, OptionalExtension, params};

use crate::cursor::Cursor;
use crate::dice::Die;
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::row::{self, Rows, Unreadable, edges};
use crate::store::{IdRange, Kept, Order, RollRange, StoreError, statistics};

/// A page of the history.
#[derive(Clone, Debug)]
pub struct Page {
    /// The rolls, in the [`Order`] of the request.
    pub rolls: Vec<Roll>,
    /// The rows of the page that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// Which rolls were stored at that moment.
    pub kept: Kept,
}

impl Page {
    /// The rows with the smallest and the greatest id. The cursor of a row that cannot be read has
    /// no time.
    pub fn edges(&self) -> Option<(Cursor, Cursor)> {
        edges(&self.rolls, &self.unreadable)
    }

    /// How many rows the page has, also such that cannot be read.
    pub fn n_rows(&self) -> usize {
        self.rolls.len() + self.unreadable.len()
    }
}

/// The end of the history.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The newest rolls, newest first.
    pub rolls: Vec<Roll>,
    /// Rows among them that cannot be read.
    pub unreadable: Vec<Unreadable>,
    /// The cursor of the newest roll that was ever stored, at that moment.
    pub head: Cursor,
}

impl Newest {
    /// The smallest id among the rows.
    pub fn oldest(&self) -> Option<RollId> {
        edges(&self.rolls, &self.unreadable).map(|(oldest, _)| oldest.id)
    }
}

/// A range of the history at one moment: it does not grow.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The ids of its rolls.
    pub ids: IdRange,
    /// The last of its rolls that can be read; [`RollId::BEFORE_FIRST`] if there is none.
    pub last: RollId,
    /// The rows before its first and after its last roll that can be read.
    pub unreadable_ends: Vec<RollId>,
    /// The dice of all rolls ever stored, by number and sides.
    pub dice: Vec<Die>,
}

/// The rows after `id`, oldest first.
///
/// # Errors
///
/// The database cannot be read.
pub fn after(connection: &Connection, id: RollId, limit: usize) -> Result<Rows, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 order by id limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    Ok(Rows::read(statement.query(params![id.0, limit as i64])?)?)
}

/// The first or last rows of a range.
///
/// # Errors
///
/// [`StoreError::OtherHistory`] if a bound belongs to another history; otherwise the database
/// cannot be read.
pub fn page(
    connection: &mut Connection,
    range: &RollRange,
    order: Order,
    limit: usize,
) -> Result<Page, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let ids = resolve(&transaction, range, kept)?;
    let Rows { rolls, unreadable } = match order {
        Order::OldestFirst => between(&transaction, ids, limit)?,
        Order::NewestFirst => last_rows(&transaction, ids, limit)?,
    };
    Ok(Page { rolls, unreadable, kept })
}

/// The ids of a range at this moment, and the dice of all rolls.
///
/// `counted` holds a roll and all dice that were rolled up to it, where the caller knows them.
///
/// # Errors
///
/// [`StoreError::OtherHistory`] if a bound belongs to another history; otherwise the database
/// cannot be read.
pub fn extent(
    connection: &mut Connection,
    range: &RollRange,
    counted: Option<(RollId, Vec<Die>)>,
) -> Result<Extent, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let ids = resolve(&transaction, range, kept)?;
    let (first, mut unreadable_ends) = end(&transaction, ids, Order::OldestFirst)?;
    let mut last = RollId::BEFORE_FIRST;
    if let Some(first) = first {
        let others = IdRange { after: first.previous(), ..ids };
        let (found, unreadable) = end(&transaction, others, Order::NewestFirst)?;
        last = found.unwrap_or(first);
        unreadable_ends.extend(unreadable.into_iter().rev());
    }
    Ok(Extent { ids, last, unreadable_ends, dice: dice(&transaction, counted)? })
}

/// The first roll in this order that can be read, and the rows before it that cannot.
fn end(
    connection: &Connection,
    mut ids: IdRange,
    order: Order,
) -> Result<(Option<RollId>, Vec<RollId>), StoreError> {
    let mut unreadable = Vec::new();
    loop {
        let rows = match order {
            Order::OldestFirst => between(connection, ids, 1)?,
            Order::NewestFirst => last_rows(connection, ids, 1)?,
        };
        if let Some(roll) = rows.rolls.first() {
            return Ok((Some(roll.id), unreadable));
        }
        let Some(row) = rows.unreadable.first() else { return Ok((None, unreadable)) };
        match order {
            Order::OldestFirst => ids.after = row.id,
            Order::NewestFirst => ids.before = row.id,
        }
        unreadable.push(row.id);
    }
}

/// The rows of a range, oldest first.
///
/// # Errors
///
/// The database cannot be read.
pub fn between(connection: &Connection, ids: IdRange, limit: usize) -> Result<Rows, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 and id < ?2
               order by id limit ?3";
    rows(connection, sql, ids, limit)
}

/// The rows of a range, newest first.
fn last_rows(connection: &Connection, ids: IdRange, limit: usize) -> Result<Rows, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 and id < ?2
               order by id desc limit ?3";
    rows(connection, sql, ids, limit)
}

fn rows(
    connection: &Connection,
    sql: &str,
    ids: IdRange,
    limit: usize,
) -> Result<Rows, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    Ok(Rows::read(statement.query(params![ids.after.0, ids.before.0, limit as i64])?)?)
}

/// The ids of a range, of which `kept` are stored.
///
/// # Errors
///
/// [`StoreError::OtherHistory`] if a bound belongs to another history; otherwise the database
/// cannot be read.
pub fn resolve(
    connection: &Connection,
    range: &RollRange,
    kept: Kept,
) -> Result<IdRange, StoreError> {
    let head = kept.head.id;
    for cursor in range.after.iter().chain(&range.before) {
        let stored = time(connection, cursor.id)?.map(RolledAt::unix_millis);
        let of_another = match cursor.unix_millis {
            Some(unix_millis) => {
                cursor.id > head || stored.is_some_and(|stored| stored != unix_millis)
            }
            // Without a time, only an id that nobody can have seen tells.
            None => range.after.as_ref() == Some(cursor) && cursor.id > head,
        };
        if of_another {
            return Err(StoreError::OtherHistory(*cursor));
        }
    }
    let after = match (range.after, range.since) {
        (Some(cursor), _) => cursor.id,
        (None, Some(time)) => first_at(connection, kept, time)?.previous(),
        (None, None) => RollId::BEFORE_FIRST,
    };
    let before = range.before.map_or(head.next(), |cursor| cursor.id.min(head.next()));
    Ok(IdRange { after: after.max(kept.oldest.previous()), before })
}

/// The newest rows, newest first, and the head. Does not read the oldest, so that damage there
/// matters neither to the feed nor to its page.
///
/// # Errors
///
/// The database cannot be read.
pub fn newest(connection: &mut Connection, limit: usize) -> Result<Newest, StoreError> {
    // One transaction, so that both are of one moment.
    let transaction = connection.transaction()?;
    let head = head(&transaction)?;
    let sql = "select id, rolled_at, dice from rolls where id <= ?1 order by id desc limit ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let rows = Rows::read(statement.query(params![head.id.0, limit as i64])?)?;
    Ok(Newest { rolls: rows.rolls, unreadable: rows.unreadable, head })
}

/// One roll, if it is stored, and which rolls are.
///
/// # Errors
///
/// [`StoreError::Unreadable`] if the row is damaged; otherwise the database cannot be read.
pub fn roll(connection: &mut Connection, id: RollId) -> Result<(Option<Roll>, Kept), StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let sql = "select id, rolled_at, dice from rolls where id = ?1";
    let mut statement = transaction.prepare_cached(sql)?;
    let roll = statement.query_row([id.0], row::read).optional()?.transpose()?;
    Ok((roll, kept))
}

/// The cursor of a stored row, without a time if that cannot be read, and which rolls are stored.
///
/// # Errors
///
/// The database cannot be read.
pub fn cursor(
    connection: &mut Connection,
    id: RollId,
) -> Result<(Option<Cursor>, Kept), StoreError> {
    let transaction = connection.transaction()?;
    Ok((time(&transaction, id)?.map(|time| cursor_of(id, time)), kept(&transaction)?))
}

/// By binary search: ids have no gaps, and times grow with them.
///
/// # Errors
///
/// The database cannot be read.
pub fn at(connection: &mut Connection, time: RolledAt) -> Result<Option<RollId>, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    if kept.oldest > kept.head.id {
        return Ok(None);
    }
    Ok(Some(first_at(&transaction, kept, time)?.min(kept.head.id)))
}

/// The cursor before the first roll at or after `moment`, or the head.
///
/// # Errors
///
/// The database cannot be read.
pub fn since(connection: &mut Connection, moment: RolledAt) -> Result<Cursor, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let last = first_at(&transaction, kept, moment)?.previous();
    Ok(time(&transaction, last)?.map_or(Cursor::from(last), |time| cursor_of(last, time)))
}

/// The first stored roll at or after `moment`, or the next one.
///
/// # Errors
///
/// The database cannot be read.
pub fn first_at(
    connection: &Connection,
    kept: Kept,
    moment: RolledAt,
) -> Result<RollId, StoreError> {
    let (mut low, mut high) = (kept.oldest.0, kept.head.id.next().0);
    while low < high {
        let middle = low + (high - low) / 2;
        // The row in the middle may be missing, or its time may be unreadable. Then the next one
        // with a time decides.
        let ids = IdRange { after: RollId(middle - 1), before: RollId(high) };
        match first_time(connection, ids, Order::OldestFirst)? {
            Some((id, time)) if time < moment => low = id.0 + 1,
            _ => high = middle,
        }
    }
    Ok(RollId(low))
}

/// The first row of a range, in this order, whose time can be read.
///
/// # Errors
///
/// The database cannot be read.
pub fn first_time(
    connection: &Connection,
    ids: IdRange,
    order: Order,
) -> Result<Option<(RollId, RolledAt)>, StoreError> {
    let sql = match order {
        Order::OldestFirst => {
            "select id, rolled_at from rolls where id > ?1 and id < ?2 order by id"
        }
        Order::NewestFirst => {
            "select id, rolled_at from rolls where id > ?1 and id < ?2 order by id desc"
        }
    };
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([ids.after.0, ids.before.0])?;
    while let Some(row) = rows.next()? {
        if let Some(time) = row.get_ref(1)?.as_str().ok().and_then(|text| text.parse().ok()) {
            return Ok(Some((RollId(row.get(0)?), time)));
        }
    }
    Ok(None)
}

/// The dice of all rolls ever stored, by number and sides. Names that are no dice are left out.
fn dice(
    connection: &Connection,
    counted: Option<(RollId, Vec<Die>)>,
) -> Result<Vec<Die>, StoreError> {
    let (last_id, mut dice) = counted.unwrap_or((RollId::BEFORE_FIRST, Vec::new()));
    let sql = if last_id > RollId::BEFORE_FIRST {
        "select d.key from rolls r, json_each(case when json_valid(r.dice) then r.dice else '{}' end) d
         where r.id > ?1"
    } else if statistics::exists(connection, "projections")? {
        "select die from die_statistics
         union all select d.key
         from rolls r, json_each(case when json_valid(r.dice) then r.dice else '{}' end) d
         where r.id > (select last_id from projections where name = 'statistics') and ?1 = 0"
    } else {
        // An older schema counted with every roll.
        "select distinct die from tallies where ?1 = 0"
    };
    let mut statement = connection.prepare_cached(sql)?;
    let names = statement.query_map([last_id.0], |row| row.get::<_, String>(0))?;
    let names = names.collect::<Result<Vec<String>, _>>()?;
    dice.extend(names.iter().filter_map(|name| name.parse::<Die>().ok()));
    dice.sort_by_key(|die| (die.n_dice(), die.n_sides()));
    dice.dedup();
    Ok(dice)
}

/// Which rolls are stored. The head comes from SQLite's own sequence, so that it never goes back,
/// whatever was deleted.
///
/// # Errors
///
/// The database cannot be read.
pub fn kept(connection: &Connection) -> Result<Kept, StoreError> {
    let head = head(connection)?;
    let sql = "select min(id) from rolls";
    let oldest: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(Kept { oldest: oldest.map_or(head.id.next(), RollId), head })
}

/// The newest roll that was ever stored.
fn head(connection: &Connection) -> Result<Cursor, StoreError> {
    let sql = "select seq from sqlite_sequence where name = 'rolls'";
    let head: Option<i64> =
        connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    let head = RollId(head.unwrap_or(RollId::BEFORE_FIRST.0));
    Ok(time(connection, head)?.map_or(Cursor::from(head), |time| cursor_of(head, time)))
}

/// The time of a stored row; `None` if it is not stored or cannot be read.
///
/// # Errors
///
/// The database cannot be read.
pub fn time(connection: &Connection, id: RollId) -> Result<Option<RolledAt>, StoreError> {
    let sql = "select rolled_at from rolls where id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let time = statement.query_row([id.0], |row| {
        Ok(row.get_ref(0)?.as_str().ok().and_then(|text| text.parse().ok()))
    });
    Ok(time.optional()?.flatten())
}

/// The cursor of a row, without a time if that cannot be read.
///
/// # Errors
///
/// The database cannot be read.
pub fn cursor_at(connection: &Connection, id: RollId) -> Result<Cursor, StoreError> {
    Ok(time(connection, id)?.map_or(Cursor::from(id), |time| cursor_of(id, time)))
}

fn cursor_of(id: RollId, time: RolledAt) -> Cursor {
    Cursor { id, unix_millis: Some(time.unix_millis()) }
}

/// The id of the next roll: never one that was used before, whatever was deleted.
///
/// # Errors
///
/// [`StoreError::Malformed`] if the greatest id is in use; otherwise the database cannot be read.
pub fn next_id(connection: &Connection) -> Result<RollId, StoreError> {
    let sql = "select max(coalesce((select seq from sqlite_sequence where name = 'rolls'), 0),
                          coalesce((select max(id) from rolls), 0))";
    let newest: i64 = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    let next = newest.checked_add(1);
    let next = next.ok_or_else(|| StoreError::Malformed(format!("roll {newest}, the last id")))?;
    Ok(RollId(next))
}

/// Whether the row with the roll's id holds this roll; `None` if there is no such row. The row
/// need not be readable as a roll.
///
/// # Errors
///
/// The database cannot be read.
pub fn is_stored_as(connection: &Connection, roll: &Roll) -> Result<Option<bool>, StoreError> {
    let sql = "select rolled_at = ?2 and dice = ?3 from rolls where id = ?1";
    let values = params![roll.id.0, roll.rolled_at.to_string(), roll.dice.to_string()];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::RefCell;

    use rusqlite::trace::{TraceEvent, TraceEventCodes};

    use crate::dice::DieResult;
    use crate::store::search::{Search, search};
    use crate::store::{Cutoff, file, prune};

    thread_local! {
        /// The statements that ran on this thread.
        static RUN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    #[test]
    fn a_time_is_found_whichever_rows_are_missing_or_unreadable() {
        for (change, unusable) in [
            ("delete from rolls where id between ?1 and ?2", 41..=60),
            ("update rolls set rolled_at = 'garbage' where id between ?1 and ?2", 41..=60),
            ("update rolls set rolled_at = 'garbage' where id between ?1 and ?2", 51..=51),
            ("update rolls set rolled_at = 'garbage' where id between ?1 and ?2", 1..=100),
        ] {
            let connection = history(100);
            let triggers = "drop trigger refuse_unreadable_update";
            connection.execute(triggers, []).expect("a change of the schema");
            connection.execute(change, [unusable.start(), unusable.end()]).expect("a change");
            let kept = Kept { oldest: RollId(1), head: Cursor::from(RollId(100)) };
            for second in 1..=101 {
                let time = jiff::Timestamp::from_second(second).expect("a time");
                let found =
                    first_at(&connection, kept, RolledAt::truncate(time)).expect("a place").0;
                // From there on, the first row with a time is the roll of this second, or the next.
                let is_usable = |id: &i64| !unusable.contains(id);
                let next = |from: i64| (from..=100).find(is_usable);
                assert_eq!(next(found), next(second), "{change} {unusable:?}: second {second}");
            }
        }
    }

    fn history(n_rolls: i64) -> Connection {
        let mut connection = Connection::open_in_memory().expect("a database");
        file::migrate(&mut connection).expect("the schema");
        let sql = "insert into rolls (rolled_at, dice) values (?1, '{\"1D6\":1}')";
        for n in 1..=n_rolls {
            let rolled_at = RolledAt::truncate(jiff::Timestamp::from_second(n).expect("a time"));
            connection.execute(sql, [rolled_at.to_string()]).expect("a roll");
        }
        connection.trace_v2(
            TraceEventCodes::SQLITE_TRACE_STMT,
            Some(|event| {
                if let TraceEvent::Stmt(_, sql) = event {
                    RUN.with_borrow_mut(|run| run.push(sql.to_string()));
                }
            }),
        );
        connection
    }

    /// How SQLite goes about each statement that `query` runs.
    fn plans(query: impl FnOnce(&mut Connection)) -> Vec<String> {
        let mut connection = history(100);
        query(&mut connection);
        let run = RUN.take();
        connection.trace_v2(TraceEventCodes::empty(), None);
        let mut plans = Vec::new();
        for sql in run.iter().filter(|sql| {
            !sql.starts_with("BEGIN") && !sql.starts_with("COMMIT") && !sql.starts_with("ROLLBACK")
        }) {
            let mut plan = connection.prepare(&format!("explain query plan {sql}")).expect(sql);
            let steps = plan.raw_query().mapped(|row| row.get::<_, String>("detail"));
            plans.extend(steps.map(|step| step.expect("a step")));
        }
        plans
    }

    /// Steps that read no more than a row per die, or the rows of one key.
    const OTHER_STEPS: [&str; 11] = [
        // One row: the last id.
        "SCAN sqlite_sequence",
        "SCAN sqlite_schema",
        "SCAN die_statistics",
        "SEARCH result_statistics",
        "SEARCH projections",
        // The dice of one roll.
        "SCAN d VIRTUAL TABLE",
        "SCAN CONSTANT ROW",
        "SCALAR SUBQUERY",
        "COMPOUND QUERY",
        "LEFT-MOST SUBQUERY",
        "UNION ALL",
    ];

    #[test]
    fn every_query_finds_its_rows_by_key_at_any_depth() {
        type Query = fn(&mut Connection) -> bool;
        fn time(seconds: u8) -> RolledAt {
            format!("1970-01-01T00:00:{seconds}Z").parse().expect("a time")
        }
        let queries: [(&str, Query); 17] = [
            ("after", |c| after(c, RollId(40), 10).is_ok()),
            ("between", |c| between(c, IdRange { after: RollId(4), before: RollId(9) }, 3).is_ok()),
            ("newest", |c| newest(c, 10).is_ok()),
            ("roll", |c| roll(c, RollId(40)).is_ok()),
            ("cursor", |c| cursor(c, RollId(40)).is_ok()),
            ("at", |c| at(c, time(40)).is_ok()),
            ("since", |c| since(c, time(40)).is_ok()),
            ("kept", |c| kept(c).is_ok()),
            ("an extent", |c| extent(c, &RollRange::default(), None).is_ok()),
            ("a page from the start", |c| {
                let range = RollRange { since: Some(time(40)), ..RollRange::default() };
                page(c, &range, Order::OldestFirst, 10).is_ok()
            }),
            ("a page from the end", |c| {
                let before = Some(Cursor::from(RollId(40)));
                let range = RollRange { before, ..RollRange::default() };
                page(c, &range, Order::NewestFirst, 10).is_ok()
            }),
            ("a search for a result", |c| {
                let result = DieResult { die: "1D6".parse().expect("a die"), result: 1 };
                let by_result = Search { result: Some(result), ..Search::default() };
                search(c, &by_result, 10).is_ok_and(|found| found.n_ever == Some(100))
            }),
            ("a search by day", |c| {
                let of_day = Search { day: Some((time(40), time(50))), ..Search::default() };
                search(c, &of_day, 20).is_ok_and(|found| found.rolls.len() == 10)
            }),
            ("a search from below", |c| {
                let upward = Search { after: Some(RollId(40)), ..Search::default() };
                search(c, &upward, 10).is_ok_and(|found| found.rolls.len() == 10)
            }),
            ("pruning by count", |c| prune::next_step(c, Cutoff::Count(40), RollId(100)).is_ok()),
            ("pruning by age", |c| {
                prune::next_step(c, Cutoff::Before(time(40)), RollId(100)).is_ok()
            }),
            ("the prune itself", |c| prune::delete(c, RollId(40)).is_ok_and(|n| n == 40)),
        ];
        for (name, query) in queries {
            let plan = plans(|connection| assert!(query(connection), "{name}"));
            assert!(!plan.is_empty(), "no plan of {name} was seen");
            for step in plan {
                let by_key = step.starts_with("SEARCH rolls") || step.starts_with("SEARCH r ");
                let fits = by_key || OTHER_STEPS.iter().any(|other| step.starts_with(other));
                assert!(fits, "expected {name} to search rolls by key, got `{step}`");
            }
        }
    }

    #[test]
    fn the_check_of_the_plans_sees_a_scan_and_a_sort() {
        for sql in [
            "select id from rolls where rolled_at > '2026' order by id",
            "select id from rolls where id > 5 order by rolled_at",
        ] {
            let plan = plans(|connection| {
                let mut statement = connection.prepare(sql).expect("a statement");
                statement.query([]).expect("rows").next().expect("a row");
            });
            let told = plan.iter().any(|step| step.contains("SCAN") || step.contains("B-TREE"));
            assert!(told, "expected a scan or a sort of `{sql}`, got {plan:?}");
        }
    }
}
