//! Rolls by time, compared with a scan of all rolls, while a clock is set back and anybody changes
//! rows.

use std::collections::BTreeMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use rusqlite::{Connection, params};

use crate::roll::{RollId, RolledAt};
use crate::store::clock_steps::runs;
use crate::store::history::{at, kept, since};
use crate::store::search::{Search, search};
use crate::store::test_history::{history, second};
use crate::store::times::first_at;
use crate::store::{Found, prune};

/// Rolls on a page.
const LIMIT: usize = 13;

/// The stored rolls and the second of each.
fn rolls(connection: &Connection) -> BTreeMap<i64, i64> {
    let mut statement = connection.prepare("select id, rolled_at from rolls").expect("a query");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get::<_, String>(1)?)));
    let seconds = |text: String| text.parse::<RolledAt>().expect("a time").unix_millis() / 1_000;
    let rows = rows.expect("rows").map(|row| row.expect("a row"));
    rows.map(|(id, text)| (id, seconds(text))).collect()
}

fn insert(connection: &Connection, id: Option<i64>, time: i64) {
    let sql = "insert into rolls (id, rolled_at, dice) values (?1, ?2, '{\"1D6\":1}')";
    connection.execute(sql, params![id, second(time).to_string()]).expect("a roll");
}

/// A page of the rolls from one second on, before another one.
fn page(connection: &mut Connection, day: (i64, i64), search: Search) -> Found {
    let day = Some((second(day.0), second(day.1)));
    super::search::search(connection, &Search { day, ..search }, LIMIT).expect("a page")
}

/// The ids on page after page, in the order in which they are read.
fn walk(connection: &mut Connection, day: (i64, i64), upward: bool) -> Vec<i64> {
    let (mut ids, mut place) = (Vec::new(), Search::default());
    if upward {
        place.after = Some(RollId::BEFORE_FIRST);
    }
    loop {
        let found = page(connection, day, place);
        let mut page: Vec<i64> = found.rolls.iter().map(|roll| roll.id.0).collect();
        assert!(page.is_sorted_by(|newer, older| newer > older), "{page:?}");
        if upward {
            page.reverse();
        }
        ids.extend(page);
        let (all, read) = (found.all.hull(), found.looked_at);
        let is_last = if upward { read.before >= all.before } else { read.after <= all.after };
        if is_last {
            return ids;
        }
        match upward {
            true => place.after = Some(read.before.previous()),
            false => place.before = Some(read.after.next()),
        }
    }
}

/// Compares each query by time with a scan.
fn compare(connection: &mut Connection, times: (i64, i64), case: &str) {
    let kept = kept(connection).expect("the ids");
    let mut rolls = rolls(connection);
    // A row that was moved beyond the newest roll is not shown before there is such a roll.
    rolls.retain(|id, _| *id <= kept.head.id.0);
    let (from, until) = times;
    let mut expected: Vec<i64> =
        rolls.iter().filter(|(_, time)| (from..until).contains(*time)).map(|(id, _)| *id).collect();
    assert_eq!(walk(connection, times, true), expected, "{case}: {times:?}, oldest first");
    expected.reverse();
    assert_eq!(walk(connection, times, false), expected, "{case}: {times:?}, newest first");

    let found = page(connection, times, Search::default());
    let ends = rolls.values().min().zip(rolls.values().max());
    let ends = ends.map(|(oldest, newest)| (second(*oldest), second(*newest)));
    assert_eq!(found.kept_from_to, ends, "{case}");

    let not_before = || rolls.iter().filter(|(_, time)| **time >= from);
    // The place is before this roll, and not before one that is stored between.
    let first = not_before().next().map_or(kept.head.id.next().0, |(id, _)| *id);
    let place = first_at(connection, kept, second(from)).expect("a place").0;
    let between = rolls.range(place..first).count();
    assert!(place <= first && between == 0, "{case}: since {from}: {place}, not {first}");
    let start = since(connection, second(from)).expect("a start").id.0;
    assert_eq!(start, place - 1, "{case}: since {from}");

    let nearest = not_before().min_by_key(|(id, time)| (**time, **id)).map(|(id, _)| *id);
    let expected = (!rolls.is_empty()).then(|| nearest.unwrap_or(kept.head.id.0));
    let found = at(connection, second(from)).expect("a roll").map(|id| id.0);
    assert_eq!(found, expected, "{case}: at {from}");
}

#[test]
fn rolls_are_found_by_their_own_timestamps_whatever_the_clock_did_and_whoever_changes_rows() {
    for seed in 0..15 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut connection = history(0);
        // From a clock that is set back once in a while, to timestamps without any order.
        let n_between_steps = [40, 10, 1][seed as usize % 3];
        let mut now = 500;
        for step in 0..120 {
            let stored: Vec<i64> = rolls(&connection).into_keys().collect();
            let any = |random: &mut StdRng| stored.get(random.random_range(0..stored.len().max(1)));
            now += random.random_range(0..3);
            if random.random_range(0..n_between_steps) == 0 {
                now = random.random_range(1..1_000);
            }
            match (random.random_range(0..20), any(&mut random)) {
                (0, Some(id)) => {
                    let sql = "update rolls set rolled_at = ?2 where id = ?1";
                    let time = second(random.random_range(1..1_000)).to_string();
                    connection.execute(sql, params![id, time]).expect("a change");
                }
                (1, Some(id)) => {
                    connection.execute("delete from rolls where id = ?1", [id]).expect("a change");
                }
                (2, Some(id)) => {
                    let sql = "update or ignore rolls set id = ?2 where id = ?1";
                    let to = random.random_range(1..200);
                    connection.execute(sql, params![id, to]).expect("a change");
                }
                (3, Some(_)) => {
                    let id = random.random_range(1..200);
                    if !stored.contains(&id) {
                        insert(&connection, Some(id), random.random_range(1..1_000));
                    }
                }
                (4, Some(id)) => {
                    prune::delete(&connection, RollId(*id)).expect("a prune");
                }
                _ => insert(&connection, None, now),
            }
            if step % 5 == 0 {
                let from = random.random_range(0..1_000);
                let until = from + random.random_range(0..300);
                compare(&mut connection, (from, until), &format!("seed {seed}, step {step}"));
            }
        }
        // A database of an older schema has no such table.
        connection
            .execute_batch(
                "drop view earlier_than_the_roll_before; drop trigger note_clock_step_insert;
                 drop trigger note_clock_step_update; drop table clock_steps;",
            )
            .expect("an older schema");
        for from in (0..1_000).step_by(100) {
            compare(&mut connection, (from, from + 150), &format!("seed {seed}, older schema"));
        }
    }
}

#[test]
fn a_migration_and_the_triggers_find_the_same_steps() {
    let times = [3, 4, 4, 2, 9, 8, 8, 1];
    let connection = history(0);
    times.iter().for_each(|time| insert(&connection, None, *time));
    let steps = || {
        let mut statement = connection.prepare("select id from clock_steps").expect("a query");
        let ids = statement.query_map([], |row| row.get(0)).expect("ids");
        ids.map(|id| id.expect("an id")).collect::<Vec<i64>>()
    };
    assert_eq!(steps(), [4, 6, 8]);
    let migration = "delete from clock_steps;
                     insert into clock_steps (id) select id from earlier_than_the_roll_before;";
    connection.execute_batch(migration).expect("the migration");
    assert_eq!(steps(), [4, 6, 8]);
    prune::delete(&connection, RollId(6)).expect("a prune");
    assert_eq!(steps(), [8], "a step before the oldest roll is of no use");
    let kept = kept(&connection).expect("the ids");
    assert_eq!(runs(&connection, kept).expect("runs").len(), 2);
}

#[test]
fn texts_that_do_not_sort_like_their_times_are_found_by_their_times() {
    let mut connection = history(0);
    // As schema 2 stored what others inserted. As texts, these grow; as times, they do not.
    connection.execute("drop trigger refuse_unreadable_insert", []).expect("a change");
    let texts = [
        "1970-01-01T00:00:05.000Z",
        "1970-01-01T00:00:06.000Z",
        "1970-01-01T00:00:06Z",
        "1970-01-01T02:00:03+02:00",
        "1970-01-01T02:00:04.000Z",
    ];
    for text in texts {
        let sql = "insert into rolls (rolled_at, dice) values (?1, '{\"1D6\":1}')";
        connection.execute(sql, [text]).expect("a roll");
    }
    for from in 0..8 {
        compare(&mut connection, (from, from + 2), "texts");
    }
}

#[test]
fn a_search_for_a_result_on_a_day_reads_only_that_day() {
    let mut connection = history(10);
    // Roll 11 is of a day in the future; the clock is corrected before roll 12.
    insert(&connection, None, 500);
    insert(&connection, None, 9);
    let die = "1D6".parse().expect("a die");
    let die = Some(crate::dice::DieFilter { die, result: Some(1) });
    let of_day = Search { day: Some((second(6), second(100))), die, ..Search::default() };
    let found = search(&mut connection, &of_day, LIMIT).expect("a page");
    // Roll n has 1 + n % 6 on its 1D6.
    let ids: Vec<i64> = found.rolls.iter().map(|roll| roll.id.0).collect();
    assert_eq!(ids, [12, 6]);
    assert_eq!(found.all.n_rolls(), 6);
}
