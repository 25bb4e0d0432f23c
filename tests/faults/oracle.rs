//! The oracle: what a client saw, held against what is stored. Whatever a client is, its log must
//! be the rolls in order, each once, none left out, each as it is stored.

use std::collections::BTreeMap;

use rusqlite::Connection;

use crate::common::House;
use crate::common::listener::Story;

/// The rolls that a house has stored, as `41-1763861860123 {"1D6":4}`, from number 1 on.
pub struct Stored(Vec<String>);

impl Stored {
    /// All rolls of a house whose server has ended, and which keeps all of them; complains about a
    /// database that is not whole.
    pub fn read(house: &House) -> Stored {
        let rolls = house.stored();
        for ((id, ..), expected) in rolls.iter().zip(1..) {
            assert_eq!(*id, expected, "stored ids have a gap");
        }
        // As a writer: after a kill the log has to be taken in first.
        let database = Connection::open(house.database()).unwrap();
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

/// A roll in the one form in which logs are compared.
pub fn roll_text(id: i64, rolled_at: &str, dice: &str) -> String {
    let rolled_at: jiff::Timestamp = rolled_at.parse().unwrap();
    format!("{id}-{} {dice}", rolled_at.as_millisecond())
}

/// The same from a line of JSON, as downloads and `rollcast tail --json` write them.
pub fn roll_of_line(line: &str) -> Option<(i64, String)> {
    let rest = line.strip_prefix("{\"id\":")?;
    let (id, rest) = rest.split_once(",\"rolled_at\":\"")?;
    let (rolled_at, dice) = rest.split_once("\",\"dice\":")?;
    let id = id.parse().ok()?;
    Some((id, roll_text(id, rolled_at, dice.strip_suffix('}')?)))
}

/// What a client saw, roll after roll, and what is wrong with that.
#[derive(Default)]
pub struct Log {
    /// Where it goes on; `None` where anything may come.
    last: Option<i64>,
    seen: BTreeMap<i64, String>,
    pub n_lost: usize,
    pub n_repeated: usize,
    /// Seen otherwise than stored, or in two forms.
    pub n_wrong: usize,
    complaints: Vec<String>,
}

impl Log {
    /// Of a client that asks for all rolls after this one.
    pub fn after(id: i64) -> Log {
        Log { last: Some(id), ..Log::default() }
    }

    /// The client turns to another place in the history.
    pub fn turn_to(&mut self, after: i64) {
        self.last = Some(after);
    }

    /// A roll comes.
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

    /// Everything was seen: what of it is not so stored?
    pub fn settle(&mut self, stored: &Stored) {
        for (id, text) in std::mem::take(&mut self.seen) {
            let expected = stored.get(id);
            if expected == Some(&text) {
                continue;
            }
            // Who has seen a roll that is not kept has lost it.
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

    /// How many things are wrong.
    pub fn n_faults(&self) -> usize {
        self.n_lost + self.n_repeated + self.n_wrong
    }

    pub fn assert_is_whole(&self, who: &str) {
        assert_eq!(
            self.n_faults(),
            0,
            "{who}: {} lost, {} repeated, {} wrong, such as {:#?}",
            self.n_lost,
            self.n_repeated,
            self.n_wrong,
            self.complaints
        );
    }

    fn complain(&mut self, complaint: String) {
        // A few show what it is about.
        if self.complaints.len() < 3 {
            self.complaints.push(complaint);
        }
    }
}

/// The log of a listener that asked for all rolls after this one.
pub fn log_of(story: &Story, after: i64) -> Log {
    assert_eq!(story.gave_up, None, "a listener gave up");
    let mut log = Log::after(after);
    for seen in &story.rolls {
        log.see(seen.number(), format!("{} {}", seen.id, seen.dice));
    }
    log
}

#[test]
fn the_oracle_sees_what_is_lost_repeated_changed_or_not_stored() {
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
