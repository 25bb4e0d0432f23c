//! Reading the history. Every query finds its rows by key: the cost does not depend on how many
//! rolls are stored, nor on how deep in the history they lie.

use std::fmt;

use rusqlite::{Connection, OptionalExtension, Row, params};

use crate::cursor::Cursor;
use crate::dice::Die;
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::{IdRange, Kept, Order, RollRange, StoreError, statistics};

/// A page of the history.
#[derive(Clone, Debug)]
pub struct Page {
    /// The rolls, in the [`Order`] of the request.
    pub rolls: Vec<Roll>,
    /// Which rolls were stored at that moment.
    pub kept: Kept,
}

/// The end of the history.
#[derive(Clone, Debug)]
pub struct Newest {
    /// The newest rolls, newest first.
    pub rolls: Vec<Roll>,
    /// The cursor of the newest roll that was ever stored, at that moment.
    pub head: Cursor,
}

/// A range of the history at one moment: it does not grow.
#[derive(Clone, Debug)]
pub struct Extent {
    /// The ids of its rolls.
    pub ids: IdRange,
    /// The dice of all rolls ever stored, by number and sides.
    pub dice: Vec<Die>,
}

pub fn after(connection: &Connection, id: RollId, limit: usize) -> Result<Vec<Roll>, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 order by id limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rolls = statement.query_map(params![id.0, limit as i64], |row| Ok(roll_of(row)))?;
    rolls.map(|roll| roll?).collect()
}

/// A stored roll, or why it cannot be read.
type Numbered = (RollId, Result<Roll, StoreError>);

/// The rolls after `id` with their ids, also those that cannot be read.
pub fn each_after(
    connection: &Connection,
    id: RollId,
    limit: usize,
) -> Result<Vec<Numbered>, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 order by id limit ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let rolls = statement
        .query_map(params![id.0, limit as i64], |row| Ok((RollId(row.get(0)?), roll_of(row))))?;
    Ok(rolls.collect::<Result<_, _>>()?)
}

/// The rolls of a part, as far as they are kept, and which rolls are.
pub fn page(
    connection: &mut Connection,
    range: &RollRange,
    order: Order,
    limit: usize,
) -> Result<Page, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let ids = resolve(&transaction, range, kept)?;
    let rolls = match order {
        Order::OldestFirst => between(&transaction, ids, limit)?,
        Order::NewestFirst => {
            let sql = "select id, rolled_at, dice from rolls where id > ?1 and id < ?2
                       order by id desc limit ?3";
            rolls(&transaction, sql, ids, limit)?
        }
    };
    Ok(Page { rolls, kept })
}

/// Where a part begins and ends now, and the dice of all rolls in it.
pub fn extent(connection: &mut Connection, range: &RollRange) -> Result<Extent, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    Ok(Extent { ids: resolve(&transaction, range, kept)?, dice: dice(&transaction)? })
}

/// The rolls of a ids, oldest first.
pub fn between(
    connection: &Connection,
    ids: IdRange,
    limit: usize,
) -> Result<Vec<Roll>, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id > ?1 and id < ?2
               order by id limit ?3";
    rolls(connection, sql, ids, limit)
}

fn rolls(
    connection: &Connection,
    sql: &str,
    ids: IdRange,
    limit: usize,
) -> Result<Vec<Roll>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let values = params![ids.after.0, ids.before.0, limit as i64];
    let rolls = statement.query_map(values, |row| Ok(roll_of(row)))?;
    rolls.map(|roll| roll?).collect()
}

fn resolve(connection: &Connection, range: &RollRange, kept: Kept) -> Result<IdRange, StoreError> {
    let head = kept.head.id;
    for cursor in range.after.iter().chain(&range.before) {
        let roll = find(connection, cursor.id)?.and_then(|roll| roll.cursor().unix_millis);
        let of_another = match cursor.unix_millis {
            Some(unix_millis) => {
                cursor.id > head || roll.is_some_and(|rolled_at| rolled_at != unix_millis)
            }
            // Without a moment, only what nobody can have seen tells.
            None => range.after.as_ref() == Some(cursor) && cursor.id > head,
        };
        if of_another {
            return Err(StoreError::OtherHistory(*cursor));
        }
    }
    let after = match (range.after, range.since) {
        (Some(cursor), _) => cursor.id,
        (None, Some(moment)) => first_at(connection, kept, moment)?.previous(),
        (None, None) => RollId::BEFORE_FIRST,
    };
    let before = range.before.map_or(head.next(), |cursor| cursor.id.min(head.next()));
    Ok(IdRange { after: after.max(kept.oldest.previous()), before })
}

/// The newest rolls, newest first, and the head. Does not look at the oldest, so that damage there
/// ends neither the feed nor its page.
pub fn newest(connection: &mut Connection, limit: usize) -> Result<Newest, StoreError> {
    // One transaction, so that both are of one moment.
    let transaction = connection.transaction()?;
    let head = head(&transaction)?;
    let sql = "select id, rolled_at, dice from rolls where id <= ?1 order by id desc limit ?2";
    let mut statement = transaction.prepare_cached(sql)?;
    let rolls = statement.query_map(params![head.id.0, limit as i64], |row| Ok(roll_of(row)))?;
    let rolls = rolls.map(|roll| roll?).collect::<Result<Vec<Roll>, StoreError>>()?;
    Ok(Newest { rolls, head })
}

pub fn roll(connection: &mut Connection, id: RollId) -> Result<(Option<Roll>, Kept), StoreError> {
    let transaction = connection.transaction()?;
    Ok((find(&transaction, id)?, kept(&transaction)?))
}

/// By halving the range of ids: they have no gaps, and moments grow with them.
pub fn at(connection: &mut Connection, moment: RolledAt) -> Result<Option<RollId>, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    if kept.oldest > kept.head.id {
        return Ok(None);
    }
    Ok(Some(first_at(&transaction, kept, moment)?.min(kept.head.id)))
}

pub fn since(connection: &mut Connection, moment: RolledAt) -> Result<Cursor, StoreError> {
    let transaction = connection.transaction()?;
    let kept = kept(&transaction)?;
    let last = first_at(&transaction, kept, moment)?.previous();
    Ok(find(&transaction, last)?.map_or(Cursor::from(last), |roll| roll.cursor()))
}

/// The first kept roll at or after `moment`, or the one that will be.
pub fn first_at(
    connection: &Connection,
    kept: Kept,
    moment: RolledAt,
) -> Result<RollId, StoreError> {
    let (mut low, mut high) = (kept.oldest.0, kept.head.id.next().0);
    while low < high {
        let middle = low + (high - low) / 2;
        // A row that is missing in the middle, deleted by hand, counts as too early.
        let too_early = find(connection, RollId(middle))?.is_none_or(|r| r.rolled_at < moment);
        if too_early {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    Ok(RollId(low))
}

/// The dice of all rolls ever stored, by number and sides. Names that are no dice are left out.
fn dice(connection: &Connection) -> Result<Vec<Die>, StoreError> {
    let sql = if statistics::exists(connection, "projections")? {
        "select die from die_statistics
         union select d.key from rolls r, json_each(r.dice) d
         where r.id > (select last_id from projections where name = 'statistics')"
    } else {
        // An older schema counted with every roll.
        "select distinct die from tallies"
    };
    let mut statement = connection.prepare_cached(sql)?;
    let names = statement.query_map([], |row| row.get::<_, String>(0))?;
    let names = names.collect::<Result<Vec<String>, _>>()?;
    let mut dice: Vec<Die> = names.iter().filter_map(|name| name.parse().ok()).collect();
    dice.sort_by_key(|die| (die.n_dice(), die.n_sides()));
    Ok(dice)
}

/// Which rolls are kept. The head comes from SQLite's own sequence, so that it never goes back,
/// whatever was deleted.
pub fn kept(connection: &Connection) -> Result<Kept, StoreError> {
    let head = head(connection)?;
    let sql = "select min(id) from rolls";
    let oldest: Option<i64> = connection.prepare_cached(sql)?.query_row([], |row| row.get(0))?;
    Ok(Kept { oldest: oldest.map_or(head.id.next(), RollId), head })
}

/// The newest roll that was ever made.
fn head(connection: &Connection) -> Result<Cursor, StoreError> {
    let sql = "select seq from sqlite_sequence where name = 'rolls'";
    let head: Option<i64> =
        connection.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?;
    let head = RollId(head.unwrap_or(RollId::BEFORE_FIRST.0));
    Ok(find(connection, head)?.map_or(Cursor::from(head), |roll| roll.cursor()))
}

/// The id of the next roll: never one that was used before, whatever was deleted.
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
pub fn is_stored_as(connection: &Connection, roll: &Roll) -> Result<Option<bool>, StoreError> {
    let sql = "select rolled_at = ?2 and dice = ?3 from rolls where id = ?1";
    let values = params![roll.id.0, roll.rolled_at.to_string(), roll.dice.to_string()];
    Ok(connection.prepare_cached(sql)?.query_row(values, |row| row.get(0)).optional()?)
}

pub fn find(connection: &Connection, id: RollId) -> Result<Option<Roll>, StoreError> {
    let sql = "select id, rolled_at, dice from rolls where id = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([id.0], |row| Ok(roll_of(row))).optional()?.transpose()
}

/// The roll of a row with the columns id, rolled_at and dice.
pub fn roll_of(row: &Row<'_>) -> Result<Roll, StoreError> {
    let id = RollId(row.get(0)?);
    let (rolled_at, dice): (String, String) = (row.get(1)?, row.get(2)?);
    let malformed = |why: &dyn fmt::Display| StoreError::Malformed(format!("roll {id}: {why}"));
    Ok(Roll {
        id,
        rolled_at: rolled_at.parse().map_err(|error| malformed(&error))?,
        dice: dice.parse().map_err(|error| malformed(&error))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::RefCell;

    use rusqlite::trace::{TraceEvent, TraceEventCodes};

    use crate::store::{Cutoff, prune};

    thread_local! {
        /// The statements that ran on this thread.
        static RUN: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    }

    fn history(n_rolls: i64) -> Connection {
        let connection = Connection::open_in_memory().expect("a database");
        let schema = include_str!("../../migrations/0001_rolls.sql");
        connection.execute_batch(schema).expect("the schema");
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

    #[test]
    fn every_query_finds_its_rows_by_key_at_any_depth() {
        type Query = fn(&mut Connection) -> bool;
        let queries: [(&str, Query); 8] = [
            ("after", |c| after(c, RollId(40), 10).is_ok()),
            ("newest", |c| newest(c, 10).is_ok()),
            ("roll", |c| roll(c, RollId(40)).is_ok()),
            ("at", |c| at(c, "1970-01-01T00:00:40Z".parse().expect("a moment")).is_ok()),
            ("kept", |c| kept(c).is_ok()),
            ("pruning by count", |c| prune::next_step(c, Cutoff::Count(40), RollId(100)).is_ok()),
            ("pruning by age", |c| {
                let moment = "1970-01-01T00:00:40Z".parse().expect("a moment");
                prune::next_step(c, Cutoff::Before(moment), RollId(100)).is_ok()
            }),
            ("the prune itself", |c| prune::delete(c, RollId(40)).is_ok_and(|n| n == 40)),
        ];
        for (name, query) in queries {
            let plan = plans(|connection| assert!(query(connection), "{name}"));
            assert!(!plan.is_empty(), "no plan of {name} was seen");
            for step in plan {
                // A table of one row, which says how far the ids are.
                let by_key = step.starts_with("SEARCH rolls") || step == "SCAN sqlite_sequence";
                assert!(by_key, "expected {name} to search rolls by key, got `{step}`");
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
