//! The oracle compares what a client saw with what is stored. Every client must see all rolls in
//! order, each once, exactly as they are stored.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::common::Instance;
use crate::common::listener::Received;

/// All stored rolls from id 1, as `41-1763861860123 {"1D6":4}`.
pub struct Stored(Vec<String>);

impl Stored {
    /// Reads all rolls of a stopped server that keeps all of them. Panics if the database is
    /// damaged or ids have a gap.
    pub fn read(instance: &Instance) -> Stored {
        let rolls = instance.stored();
        for ((id, ..), expected) in rolls.iter().zip(1..) {
            assert_eq!(*id, expected, "stored ids have a gap");
        }
        // Opened for writing, because after a kill SQLite has to recover the write-ahead log first.
        let database = Connection::open(instance.database()).unwrap();
        let one = |sql: &str| database.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(one("pragma integrity_check"), "ok");
        let tallied = "select cast(coalesce(sum(n_rolls), 0) as text) from tallies
                       where die = '1D6'";
        assert_eq!(one(tallied), rolls.len().to_string(), "rolls that are not in the tallies");
        let text = |(id, rolled_at, dice): (i64, String, String)| roll_text(id, &rolled_at, &dice);
        Stored(rolls.into_iter().map(text).collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    fn get(&self, id: i64) -> Option<&String> {
        self.0.get(usize::try_from(id - 1).ok()?)
    }
}

/// A roll in the form in which logs are compared.
pub fn roll_text(id: i64, rolled_at: &str, dice: &str) -> String {
    let rolled_at: jiff::Timestamp = rolled_at.parse().unwrap();
    format!("{id}-{} {dice}", rolled_at.as_millisecond())
}

/// The id and [`roll_text`] of a line of NDJSON, as downloads and `rollcast tail --json` write it.
pub fn roll_of_line(line: &str) -> Option<(i64, String)> {
    let rest = line.strip_prefix("{\"id\":")?;
    let (id, rest) = rest.split_once(",\"rolled_at\":\"")?;
    let (rolled_at, dice) = rest.split_once("\",\"dice\":")?;
    let id = id.parse().ok()?;
    Some((id, roll_text(id, rolled_at, dice.strip_suffix('}')?)))
}

/// What a client saw, roll by roll, and the errors in it.
#[derive(Default)]
pub struct Log {
    /// The last seen id; `None` if any roll may come next.
    last: Option<i64>,
    seen: BTreeMap<i64, String>,
    pub n_lost: usize,
    pub n_repeated: usize,
    /// Rolls that differ from the stored ones, or that were seen in two forms.
    pub n_wrong: usize,
    complaints: Vec<String>,
}

impl Log {
    /// The log of a client that requests all rolls after `id`.
    pub fn after(id: i64) -> Log {
        Log { last: Some(id), ..Log::default() }
    }

    /// The client continues after another roll.
    pub fn continue_after(&mut self, after: i64) {
        self.last = Some(after);
    }

    /// Adds a roll.
    pub fn see(&mut self, id: i64, text: String) {
        let expected = self.last.map_or(id, |last| last + 1);
        if id > expected {
            self.n_lost += (id - expected) as usize;
            self.complain(format!("expected roll {expected}, got {id}"));
        } else if id < expected {
            self.n_repeated += 1;
            self.complain(format!("expected roll {expected}, got {id} again"));
        }
        self.last = Some(id);
        if let Some(before) = self.seen.insert(id, text.clone())
            && before != text
        {
            self.n_wrong += 1;
            self.complain(format!("`{before}` was later `{text}`"));
        }
    }

    /// Compares all seen rolls with the stored ones. Call it once, at the end.
    pub fn settle(&mut self, stored: &Stored) {
        for (id, text) in std::mem::take(&mut self.seen) {
            let expected = stored.get(id);
            if expected == Some(&text) {
                continue;
            }
            // A seen roll that is not stored is lost.
            match expected {
                None => self.n_lost += 1,
                Some(_) => self.n_wrong += 1,
            }
            self.complain(format!("expected the stored {expected:?}, saw `{text}`"));
        }
    }

    pub fn n_seen(&self) -> usize {
        self.seen.len()
    }

    pub fn last(&self) -> i64 {
        self.last.unwrap_or(0)
    }

    /// The number of lost, repeated and wrong rolls.
    pub fn n_faults(&self) -> usize {
        self.n_lost + self.n_repeated + self.n_wrong
    }

    pub fn assert_is_whole(&self, client: &str) {
        assert_eq!(
            self.n_faults(),
            0,
            "{client}: {} lost, {} repeated, {} wrong, such as {:#?}",
            self.n_lost,
            self.n_repeated,
            self.n_wrong,
            self.complaints()
        );
    }

    /// The first few errors, in words.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    fn complain(&mut self, complaint: String) {
        // The first three are enough to find the cause.
        if self.complaints.len() < 3 {
            self.complaints.push(complaint);
        }
    }
}

/// The log of a listener that requested all rolls after an id.
pub fn log_of(received: &Received, after: i64) -> Log {
    assert_eq!(received.gave_up, None, "a listener gave up");
    let mut log = Log::after(after);
    for seen in &received.rolls {
        log.see(seen.number(), format!("{} {}", seen.id, seen.dice));
    }
    log
}

#[test]
fn the_oracle_detects_lost_repeated_changed_and_unstored_rolls() {
    let stored = Stored((1..=5).map(|id| format!("{id}-0 {{}}")).collect());
    let judge = |seen: &[(i64, &str)]| {
        let mut log = Log::after(0);
        seen.iter().for_each(|(id, dice)| log.see(*id, format!("{id}-0 {dice}")));
        log.settle(&stored);
        (log.n_lost, log.n_repeated, log.n_wrong)
    };
    assert_eq!(judge(&[(1, "{}"), (2, "{}"), (3, "{}")]), (0, 0, 0));
    assert_eq!(judge(&[(2, "{}"), (4, "{}")]), (2, 0, 0));
    assert_eq!(judge(&[(1, "{}"), (1, "{}")]), (0, 1, 0));
    assert_eq!(judge(&[(1, "{}"), (2, "{2}")]), (0, 0, 1));
    assert_eq!(
        judge(&[(1, "{}"), (2, "{}"), (3, "{}"), (4, "{}"), (5, "{}"), (6, "{}")]),
        (1, 0, 0)
    );
    let line = r#"{"id":2,"rolled_at":"2026-11-23T00:00:02.123Z","dice":{"1D6":5}}"#;
    assert_eq!(roll_of_line(line), Some((2, r#"2-1795392002123 {"1D6":5}"#.into())));
    assert_eq!(
        roll_of_line(&line[..line.len() - 1]),
        Some((2, r#"2-1795392002123 {"1D6":5"#.into()))
    );
    assert_eq!(roll_of_line(&line[..20]), None);
}
