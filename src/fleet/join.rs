//! The start of a session: compares this node's history with the fleet's log.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::error;

use crate::cursor::Cursor;
use crate::fleet::Node;
use crate::fleet::entry::{Entry, is_drawn};
use crate::fleet::error::FleetError;
use crate::fleet::jetstream::{JetStream, StreamInfo};
use crate::fleet::turns::{Outcome, within};
use crate::roll::{Roll, RollId};
use crate::store::StoreError;

/// Rolls that are read at once to be given back.
const BATCH: usize = 128;
/// A roll that is given back is proposed again after this time without an answer.
const REPEAT: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];
/// How long one roll may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Compares the histories, and gives the rolls back that the log has lost. Returns the newest roll
/// of the log, which this node may not have yet.
///
/// # Errors
///
/// The histories differ, the log begins after the newest roll of this node, or there is no answer.
pub async fn join(node: &Node, jetstream: &JetStream) -> Result<RollId, FleetError> {
    let (info, head) = (jetstream.info().await?, node.head().id);
    if let Some(common) = common(head, jetstream, &info).await? {
        common.compare(own(node, common.id).await?.as_ref())?;
    }
    match verdict(head, &info) {
        Verdict::Follow => Ok(info.last),
        Verdict::GiveBack => {
            give_back(node, jetstream, info.last).await?;
            Ok(node.head().id)
        }
    }
}

/// What a node does whose history agrees with the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It has the beginning of the log, or all of it.
    Follow,
    /// The log ends before the node does.
    GiveBack,
}

/// What a node with this `head` does if its history agrees with the log.
pub fn verdict(head: RollId, info: &StreamInfo) -> Verdict {
    if head > info.last { Verdict::GiveBack } else { Verdict::Follow }
}

/// What the log has in the newest place that it shares with a history.
pub struct Common {
    /// The place.
    pub id: RollId,
    theirs: Theirs,
}

enum Theirs {
    Roll(Roll),
    /// The log begins with the next place, and knows what it follows.
    Cursor(Cursor),
}

/// What the log has in the newest place that it shares with a history that ends with `head`. `None`
/// if the log has no such place: then its next entry names the roll that it follows.
///
/// # Errors
///
/// [`FleetError::TooFarBehind`] if the history ends before the log begins, [`FleetError::Junk`], or
/// there is no answer.
pub async fn common(
    head: RollId,
    jetstream: &JetStream,
    info: &StreamInfo,
) -> Result<Option<Common>, FleetError> {
    if head.next() < info.first {
        return Err(FleetError::TooFarBehind { first: info.first, head });
    }
    let id = head.min(info.last);
    if id == RollId::BEFORE_FIRST {
        return Ok(None);
    }
    if id < info.first {
        let origin = Some(info.origin).filter(|origin| origin.id == id);
        return Ok(origin.map(|origin| Common { id, theirs: Theirs::Cursor(origin) }));
    }
    let text = jetstream.entry(id).await?.ok_or(FleetError::NotShown(id))?;
    let entry = text.parse::<Entry>();
    let entry = entry.map_err(|error| FleetError::Junk { id, text: error.to_string() })?;
    if entry.roll.id != id {
        return Err(FleetError::Junk { id, text });
    }
    Ok(Some(Common { id, theirs: Theirs::Roll(entry.roll) }))
}

impl Common {
    /// Compares it with the roll that the history has in this place.
    ///
    /// # Errors
    ///
    /// [`FleetError::Different`].
    pub fn compare(&self, ours: Option<&Roll>) -> Result<(), FleetError> {
        let (agrees, theirs) = match &self.theirs {
            Theirs::Roll(theirs) => (ours == Some(theirs), described(theirs)),
            Theirs::Cursor(theirs) => (ours.map(Roll::cursor) == Some(*theirs), theirs.to_string()),
        };
        if agrees {
            return Ok(());
        }
        let ours = ours.map_or("no longer kept".into(), described);
        Err(FleetError::Different { id: self.id, ours, theirs })
    }
}

/// The place and the dice of a roll, as messages show them.
fn described(roll: &Roll) -> String {
    format!("{} {}", roll.cursor(), roll.dice)
}

/// The roll `id` of this node, if it is kept.
async fn own(node: &Node, id: RollId) -> Result<Option<Roll>, FleetError> {
    let (roll, _) = node.store.roll(id).await.map_err(unreadable)?;
    Ok(roll)
}

fn unreadable(error: StoreError) -> FleetError {
    FleetError::Unreachable(format!("cannot read the own history: {:#}", anyhow::Error::new(error)))
}

/// Proposes the rolls after `last` that this node has, each for its own place. Another node may give
/// back the same ones, so a lost proposal is followed by a new comparison.
async fn give_back(node: &Node, jetstream: &JetStream, last: RollId) -> Result<(), FleetError> {
    let mut given = last;
    let result = give_back_after(node, jetstream, &mut given).await;
    if given > last {
        let first = last.next();
        error!(
            from = first.0,
            to = given.0,
            "gave rolls {first} to {given} back to the fleet's log, which had lost them"
        );
    }
    result
}

/// Gives back the rolls after `given`, and sets it to the newest one that the log took.
async fn give_back_after(
    node: &Node,
    jetstream: &JetStream,
    given: &mut RollId,
) -> Result<(), FleetError> {
    let head = node.head().id;
    let mut place = own(node, *given).await?.map_or(Cursor::from(*given), |roll| roll.cursor());
    while *given < head {
        let rows = node.store.after(*given, BATCH).await.map_err(unreadable)?;
        if rows.rolls.is_empty() {
            return Err(FleetError::NotGivenBack { id: given.next() });
        }
        for roll in rows.rolls {
            if roll.id != given.next() || !is_drawn(&roll, &node.seeds) {
                return Err(FleetError::NotGivenBack { id: given.next() });
            }
            let next = roll.cursor();
            let entry = Entry { after: place, key: node.key, roll };
            propose(jetstream, &entry, node.every).await?;
            node.metrics.fleet().returned();
            (*given, place) = (next.id, next);
        }
    }
    Ok(())
}

async fn propose(jetstream: &JetStream, entry: &Entry, every: Duration) -> Result<(), FleetError> {
    let start = Instant::now();
    loop {
        match jetstream.propose(entry.roll.id, entry.to_string(), every).await {
            Outcome::Won => return Ok(()),
            Outcome::Lost => return Err(FleetError::NotShown(entry.roll.id)),
            Outcome::Unknown if jetstream.may_not_propose() => {
                let action = "give lost rolls back".into();
                return Err(FleetError::Forbidden { action });
            }
            Outcome::Unknown if start.elapsed() > TIMEOUT => {
                return Err(FleetError::NoAnswer(TIMEOUT));
            }
            Outcome::Unknown => sleep(within(REPEAT)).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn common(theirs: Theirs) -> Common {
        Common { id: RollId(41), theirs }
    }

    #[test]
    fn a_history_agrees_with_the_log_only_if_its_roll_is_the_same_in_all_parts() {
        let roll = Roll::example(41);
        let other = |dice: &str, seconds: i64| {
            let dice = dice.parse().expect("results");
            Roll { dice, rolled_at: Roll::example(seconds).rolled_at, ..roll.clone() }
        };
        let log = common(Theirs::Roll(roll.clone()));
        log.compare(Some(&roll)).expect("the same");
        for ours in [Some(other(r#"{"1D6":5}"#, 41)), Some(other(r#"{"1D6":4}"#, 42)), None] {
            let error = log.compare(ours.as_ref()).expect_err("another history").to_string();
            assert!(error.starts_with("different histories: roll 41 is `41-41000 {"), "{error}");
        }
    }

    #[test]
    fn an_empty_log_knows_only_the_cursor_of_the_roll_that_it_follows() {
        let roll = Roll::example(41);
        let log = common(Theirs::Cursor(roll.cursor()));
        log.compare(Some(&roll)).expect("the same");
        let later = Roll { rolled_at: Roll::example(42).rolled_at, ..roll };
        for ours in [Some(&later), None] {
            log.compare(ours).expect_err("another history");
        }
    }

    #[test]
    fn a_node_that_is_ahead_of_the_log_gives_its_rolls_back() {
        let log = |first, last| StreamInfo {
            origin: Cursor::from(RollId(first - 1)),
            first: RollId(first),
            last: RollId(last),
            replicas: Vec::new(),
        };
        for (head, first, last, expected) in [
            (41, 1, 41, Verdict::Follow),
            (40, 1, 41, Verdict::Follow),
            (42, 1, 41, Verdict::GiveBack),
            (41, 42, 41, Verdict::Follow),
            (0, 1, 0, Verdict::Follow),
        ] {
            assert_eq!(verdict(RollId(head), &log(first, last)), expected, "{head} {first} {last}");
        }
    }
}
