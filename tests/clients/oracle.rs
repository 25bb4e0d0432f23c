//! Checks for all clients: a client must receive the rolls of the database, each once and in order.

use jiff::Timestamp;
use serde_json::Value;

use crate::common::Instance;

/// A roll as a client saw it, or as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Roll {
    pub id: i64,
    pub unix_millis: i64,
    pub dice: String,
}

/// What a client received over all of its connections.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    pub rolls: Vec<Roll>,
    pub syncs: Vec<Value>,
}

impl Seen {
    /// Adds a roll. `event_id` is the id of its event, such as `41-1763861860123`.
    pub fn see_roll(&mut self, event_id: &str, dice: &str) {
        let numbers = event_id.split_once('-').map(|(id, millis)| (id.parse(), millis.parse()));
        let Some((Ok(id), Ok(unix_millis))) = numbers else {
            panic!("expected an id like 41-1763861860123, saw `{event_id}`")
        };
        self.rolls.push(Roll { id, unix_millis, dice: dice.into() });
    }

    /// Appends what the same client received on a later connection.
    pub fn and_then(mut self, later: Seen) -> Seen {
        self.rolls.extend(later.rolls);
        self.syncs.extend(later.syncs);
        self
    }

    /// The event id of the newest roll, to resume after it.
    pub fn last_event_id(&self) -> String {
        let last = self.rolls.last().expect("a roll was seen");
        format!("{}-{}", last.id, last.unix_millis)
    }

    /// Asserts the mode of each connection, such as `live` or `resumed`, and that every connection
    /// after the first replayed rolls.
    #[track_caller]
    pub fn assert_modes(&self, modes: &[&str]) {
        let seen: Vec<&str> = self.syncs.iter().filter_map(|sync| sync["mode"].as_str()).collect();
        assert_eq!(seen, modes, "expected one sync a connection: {:#?}", self.syncs);
        for sync in self.syncs.iter().skip(1).filter(|sync| sync["mode"] == "resumed") {
            let replay = sync["replay"].as_i64();
            let enough = replay.is_some_and(|replay| replay >= super::client::N_MISSED);
            assert!(enough, "expected a replay, saw {sync}");
        }
    }

    /// The id of the first roll after the head in a `sync`.
    pub fn first_after(sync: &Value) -> i64 {
        let head = sync["head"].as_str().unwrap_or_default();
        let id = head.split('-').next().and_then(|id| id.parse::<i64>().ok());
        id.unwrap_or_else(|| panic!("expected a sync with a head, saw {sync}")) + 1
    }
}

/// Compares the received rolls with the stored ones from roll `first` on.
pub fn compare(seen: &[Roll], first: i64, instance: &Instance) -> Result<(), String> {
    let stored = stored(instance);
    let mut expected = stored.iter().skip_while(|roll| roll.id < first);
    for (roll, id) in seen.iter().zip(first..) {
        if roll.id != id {
            return Err(format!("expected roll {id}, saw roll {}", roll.id));
        }
        match expected.next() {
            Some(stored) if stored == roll => {}
            stored => return Err(format!("expected the stored {stored:?}, saw {roll:?}")),
        }
    }
    if seen.is_empty() { Err(format!("expected roll {first}, saw none")) } else { Ok(()) }
}

/// The same, and no stored roll may be missing at the end.
pub fn compare_all(seen: &[Roll], first: i64, instance: &Instance) -> Result<(), String> {
    compare(seen, first, instance)?;
    let (last, head) = (seen.last().map(|roll| roll.id), head(instance));
    if last == Some(head) { Ok(()) } else { Err(format!("expected up to {head}, saw {last:?}")) }
}

/// All stored rolls.
pub fn stored(instance: &Instance) -> Vec<Roll> {
    let rolls = instance.stored().into_iter().map(|(id, rolled_at, dice)| {
        let rolled_at: Timestamp = rolled_at.parse().unwrap();
        Roll { id, unix_millis: rolled_at.as_millisecond(), dice }
    });
    rolls.collect()
}

/// The newest stored roll; 0 if there is none.
pub fn head(instance: &Instance) -> i64 {
    let newest = "select coalesce(max(id), 0) from rolls";
    instance.sqlite().query_row(newest, [], |row| row.get(0)).unwrap()
}
