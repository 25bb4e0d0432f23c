//! Tests of the queries: they find rows by key, and times beside damaged rows.

use std::cell::RefCell;
use std::ops::RangeInclusive;

use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use crate::cursor::Cursor;
use crate::dice::{DieFilter, DieResult};
use crate::roll::{RollId, RolledAt};
use crate::store::extent::extent;
use crate::store::history::{after, at, between, cursor, kept, newest, page, roll, since};
use crate::store::occurrence::{Counted, occurrence};
use crate::store::search::{Search, search};
use crate::store::times::{first_at, nearest_at};
use crate::store::{Cutoff, IdRange, Kept, Order, RollRange, log, prune, schema};

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
        for n in 1..=101 {
            let found = first_at(&connection, kept, second(n)).expect("a place").0;
            // From there on, the first row with a time is the roll of this second, or the next.
            let is_usable = |id: &i64| !unusable.contains(id);
            let next = |from: i64| (from..=100).find(is_usable);
            assert_eq!(next(found), next(n), "{change} {unusable:?}: second {n}");
        }
    }
}

#[test]
fn a_time_is_searched_only_between_steps_of_the_clock_that_contain_it() {
    let connection = history(64);
    // The clock is set back by 4 s after each minute.
    for start in (1..20).map(|n| 60 * n) {
        insert(&connection, start + 1..=start + 64);
    }
    let kept = Kept { oldest: RollId(1), head: Cursor::from(RollId(20 * 64)) };
    RUN.take();
    let found = nearest_at(&connection, kept, second(600)).expect("a roll");
    assert_eq!(found, Some(RollId(9 * 64 + 60)));
    // Both ends of 20 ranges, and about 6 rows in one of them.
    let n_statements = RUN.take().len();
    assert!((40..=50).contains(&n_statements), "{n_statements} statements");
}

fn history(n_rolls: i64) -> Connection {
    let mut connection = Connection::open_in_memory().expect("a database");
    schema::migrate(&mut connection).expect("the schema");
    insert(&connection, 1..=n_rolls);
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

/// Inserts a roll of each second.
fn insert(connection: &Connection, seconds: RangeInclusive<i64>) {
    let sql = "insert into rolls (rolled_at, dice) values (?1, '{\"1D6\":1}')";
    for n in seconds {
        connection.execute(sql, [second(n).to_string()]).expect("a roll");
    }
}

fn second(n: i64) -> RolledAt {
    RolledAt::truncate(jiff::Timestamp::from_second(n).expect("a time"))
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
const OTHER_STEPS: [&str; 13] = [
    // One row: the last id.
    "SCAN sqlite_sequence",
    "SCAN sqlite_schema",
    "SCAN die_statistics",
    "SEARCH result_statistics",
    "SEARCH projections",
    // One row for each time that the clock was set back.
    "SEARCH clock_steps",
    // The dice of one roll.
    "SCAN d VIRTUAL TABLE",
    "SCAN CONSTANT ROW",
    "SCALAR SUBQUERY",
    "CORRELATED SCALAR SUBQUERY",
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
    let queries: [(&str, Query); 20] = [
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
            let by_result = Search { die: Some(result.into()), ..Search::default() };
            search(c, &by_result, 10).is_ok_and(|found| found.n_ever == Some(100))
        }),
        ("a search for a die", |c| {
            let die = DieFilter { die: "1D6".parse().expect("a die"), result: None };
            let by_die = Search { die: Some(die), ..Search::default() };
            search(c, &by_die, 10).is_ok_and(|found| found.rolls.len() == 10)
        }),
        ("the place of a result", |c| {
            let die = "1D6".parse().expect("a die");
            let counted = Counted { n_rolls: 100, up_to: RollId(100) };
            occurrence(c, RollId(40), DieResult { die, result: 1 }, counted)
                .is_ok_and(|found| found.nth == Some(40))
        }),
        ("a search by day", |c| {
            let of_day = Search { day: Some((time(40), time(50))), ..Search::default() };
            search(c, &of_day, 20).is_ok_and(|found| found.rolls.len() == 10)
        }),
        ("a search from below", |c| {
            let upward = Search { after: Some(RollId(40)), ..Search::default() };
            search(c, &upward, 10).is_ok_and(|found| found.rolls.len() == 10)
        }),
        ("pruning by count", |c| prune::next_step(c, Cutoff::Count(40), RollId(100), 100).is_ok()),
        ("pruning by age", |c| {
            prune::next_step(c, Cutoff::Before(time(40)), RollId(100), 100).is_ok()
        }),
        ("the prune itself", |c| prune::delete(c, RollId(40)).is_ok_and(|n| n == 40)),
        ("a leaf", |c| log::leaf(c, RollId(40)).is_ok()),
    ];
    for (name, query) in queries {
        let plan = plans(|connection| assert!(query(connection), "{name}"));
        assert!(!plan.is_empty(), "no plan of {name} was seen");
        for step in plan {
            let by_key = step.starts_with("SEARCH ");
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
