//! Compares the rows of the history with the database.

use rusqlite::Connection;
use serde_json::Value;

use crate::common::{Instance, wait_for};
use crate::session::Session;

/// All rows of the page, read at once. A row that is not a roll has only text.
const SHOWN: &str = r##"[...document.querySelectorAll("#rolls > *")].map((row) =>
    row.matches("li.entry")
      ? {
          id: Number(row.querySelector(".roll-number").textContent),
          anchor: row.id,
          href: row.querySelector("a").getAttribute("href"),
          rolled_at: row.querySelector("time").getAttribute("datetime"),
          clock: row.querySelector("time").textContent,
          dice: `{${[...row.querySelectorAll(".entry-result")].map((cell) =>
            `"${cell.dataset.die}":${cell.querySelector(".die-result").textContent}`)}}`,
        }
      : row.textContent)"##;

/// One row, as a page shows it and as the database has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    pub id: i64,
    anchor: String,
    href: String,
    rolled_at: String,
    clock: String,
    dice: String,
}

impl Row {
    fn of_page(shown: &Value) -> Result<Row, String> {
        let id = shown["id"].as_i64().ok_or(format!("a row that is no roll: {shown}"))?;
        let text = |key: &str| shown[key].as_str().unwrap_or_default().to_string();
        Ok(Row {
            id,
            anchor: text("anchor"),
            href: text("href"),
            rolled_at: text("rolled_at"),
            clock: text("clock"),
            dice: text("dice"),
        })
    }

    fn of_database((id, rolled_at, dice): (i64, String, String)) -> Row {
        Row {
            id,
            anchor: format!("roll-{id}"),
            href: format!("/rolls/{id}"),
            clock: format!("{} {}", &rolled_at[..10], &rolled_at[11..19]),
            rolled_at,
            dice,
        }
    }
}

/// The current rows of the page, or how they differ from the database. They must hold every roll
/// from the newest row to the oldest, newest first, each once, as stored.
fn compare(browser: &dyn Session, instance: &Instance) -> Result<Vec<Row>, String> {
    let shown = browser.read(SHOWN);
    let shown: Result<Vec<Row>, _> = shown.as_array().unwrap().iter().map(Row::of_page).collect();
    let shown = shown?;
    let [newest, .., oldest] = &shown[..] else {
        return Err(format!("expected two rows or more, got {shown:?}"));
    };
    let stored: Vec<Row> = instance.stored().into_iter().map(Row::of_database).collect();
    let range = oldest.id..=newest.id;
    let expected = stored.into_iter().rev().filter(|row| range.contains(&row.id));
    let expected: Vec<Row> = expected.collect();
    if shown == expected {
        return Ok(shown);
    }
    let ids = |rows: &[Row]| rows.iter().map(|row| row.id).collect::<Vec<_>>();
    if ids(&shown) != ids(&expected) {
        return Err(format!("expected rows {:?}, got {:?}", ids(&expected), ids(&shown)));
    }
    let differs = shown.iter().zip(&expected).find(|(shown, stored)| shown != stored);
    Err(format!("expected each row as it is stored, got (shown, stored) {differs:#?}"))
}

/// The rows of the page, which must equal the database.
pub fn rows(browser: &dyn Session, instance: &Instance) -> Vec<Row> {
    compare(browser, instance).unwrap_or_else(|error| panic!("{error}"))
}

/// The newest stored roll's id.
pub fn head(instance: &Instance) -> i64 {
    let head = "select coalesce(max(id), 0) from rolls";
    instance.sqlite().query_row(head, [], |row| row.get(0)).unwrap()
}

/// Waits until a roll is stored.
pub fn roll_until(id: i64, instance: &Instance) {
    wait_for(&format!("roll {id} to be stored"), || (head(instance) >= id).then_some(()));
}

/// Locks the database, so that no roll can be stored, until the connection is dropped.
pub fn lock(instance: &Instance) -> Connection {
    let outside = Connection::open(instance.database()).unwrap();
    wait_for("the lock", || outside.execute_batch("begin immediate").ok());
    outside
}

/// Adds rolls that all show the highest results. No server may run.
pub fn insert_rolls(n_rolls: i64, instance: &Instance) {
    let insert = "insert into rolls (rolled_at, dice)
                  with recursive n(n) as (values (1) union all select n + 1 from n where n < ?1)
                  select (select max(rolled_at) from rolls), json_object('1D6', 6, '1D20', 20) from n";
    Connection::open(instance.database()).unwrap().execute(insert, [n_rolls]).unwrap();
}
