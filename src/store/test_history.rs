//! A history in memory, for tests of queries.

use rusqlite::{Connection, params};

use crate::roll::RolledAt;
use crate::store::schema;

/// Rolls `1..=n_rolls`, one a second. Roll `n` has `1 + n % 6` on its 1D6 and a 6 on its 1D8.
pub fn history(n_rolls: i64) -> Connection {
    let mut connection = Connection::open_in_memory().expect("a database");
    schema::migrate(&mut connection).expect("the schema");
    let sql = "insert into rolls (rolled_at, dice) values (?1, json_object('1D6', ?2, '1D8', 6))";
    for n in 1..=n_rolls {
        connection.execute(sql, params![second(n).to_string(), 1 + n % 6]).expect("a roll");
    }
    connection
}

/// The time of roll `n`.
pub fn second(n: i64) -> RolledAt {
    RolledAt::truncate(jiff::Timestamp::from_second(n).expect("a time"))
}
