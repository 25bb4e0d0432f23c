//! Entries of the log as a node writes them, made by hand, so that a test can falsify each part.

use jiff::Timestamp;
use rollcast::dice::Dice;
use rollcast::draw;
use rollcast::log::SigningKey;
use rollcast::roll::RollId;
use rollcast::seeds::{Secret, Seeds};
use serde_json::Value;

use crate::engine::Engine;

/// Makes the entries that nodes with a secret expect.
pub struct Author {
    seeds: Seeds,
    key: String,
}

/// The parts of an entry.
#[derive(Clone)]
pub struct Parts {
    pub id: i64,
    pub after: String,
    pub key: String,
    pub rolled_at: String,
    pub dice: String,
}

impl Author {
    pub fn new(secret: &str) -> Author {
        let parse = || Secret::parse(secret).unwrap();
        let id = SigningKey::new(&parse(), None).verifier().id();
        let key = id.iter().map(|byte| format!("{byte:02x}")).collect();
        Author { seeds: Seeds::new(parse()), key }
    }

    /// The entry that may follow the newest one of the log now.
    pub fn next(&self, engine: &Engine) -> Parts {
        if let Some(last) = engine.entries().pop() {
            return self.after(&last.text);
        }
        let info = engine.stream_info();
        let origin = info["config"]["metadata"]["rollcast.origin"].as_str().unwrap();
        self.parts(info["state"]["first_seq"].as_i64().unwrap(), origin.into())
    }

    /// The entry that may follow another one now.
    pub fn after(&self, entry: &str) -> Parts {
        let before: Value = serde_json::from_str(entry).unwrap();
        let rolled_at: Timestamp = before["rolled_at"].as_str().unwrap().parse().unwrap();
        let id = before["id"].as_i64().unwrap();
        self.parts(id + 1, format!("{id}-{}", rolled_at.as_millisecond()))
    }

    fn parts(&self, id: i64, after: String) -> Parts {
        let dice: Dice = vec!["1D6".parse().unwrap(), "1D20".parse().unwrap()].try_into().unwrap();
        let dice = draw::results(self.seeds.seed(RollId(id)), RollId(id), &dice).to_string();
        let rolled_at = format!("{:.3}", Timestamp::now());
        Parts { id, after, key: self.key.clone(), rolled_at, dice }
    }
}

impl Parts {
    pub fn text(&self) -> String {
        let Parts { id, after, key, rolled_at, dice } = self;
        format!(
            "{{\"id\":{id},\"after\":\"{after}\",\"key\":\"{key}\",\
             \"rolled_at\":\"{rolled_at}\",\"dice\":{dice}}}"
        )
    }
}
