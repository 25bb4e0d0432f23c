//! When this node proposes a roll. Pure: it is told what happened and what time it is.
//!
//! There is no leader. The node that made the newest roll makes the next one on time; the others
//! wait a little longer, and step in when it is late.

use std::time::Duration;

use tokio::time::Instant;

/// How long after the due time the other nodes step in: at least, and at most.
const GRACE: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(750)];
/// How long a decided roll may take to appear in the log.
const READ: [Duration; 2] = [Duration::from_millis(500), Duration::from_millis(750)];
/// When a proposal without an answer is repeated.
const REPEAT: [Duration; 2] = [Duration::from_millis(100), Duration::from_millis(500)];

/// How a proposal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The log took this roll for its place.
    Won,
    /// The log has another roll in this place.
    Lost,
    /// There was no answer, so the log may have the roll or not.
    Unknown,
}

impl Outcome {
    /// The outcome in the metrics.
    pub fn word(self) -> &'static str {
        match self {
            Outcome::Won => "won",
            Outcome::Lost => "lost",
            Outcome::Unknown => "unknown",
        }
    }
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing before [`Turns::wake_at`].
    Wait,
    /// Draw the next roll and propose it.
    Draw,
    /// Propose the same roll again.
    Repeat,
    /// The log does not show a roll that it decided: compare the histories again.
    Compare,
}

/// The turns of one node, in one session.
#[derive(Debug)]
pub struct Turns {
    every: Duration,
    state: State,
}

#[derive(Debug)]
enum State {
    /// Nobody has decided the next roll yet. It is this node's turn at `due`.
    Waiting { due: Instant },
    /// A roll that was due then is proposed.
    Proposed { due: Instant },
    /// The next roll is decided, and must be read until then. `due` is that of the own proposal.
    Decided { due: Instant, until: Instant },
    /// Nobody knows whether the log has the own proposal.
    Unknown { due: Instant, again: Instant },
}

impl Turns {
    /// The turns of a node that has just caught up.
    pub fn new(every: Duration, now: Instant) -> Turns {
        Turns { every, state: State::Waiting { due: now + every + within(GRACE) } }
    }

    /// What to do at this time. A turn that is returned is taken.
    pub fn next(&mut self, now: Instant) -> Turn {
        match self.state {
            State::Waiting { due } if due <= now => {
                self.state = State::Proposed { due };
                Turn::Draw
            }
            State::Unknown { due, again } if again <= now => {
                self.state = State::Proposed { due };
                Turn::Repeat
            }
            State::Decided { until, .. } if until <= now => Turn::Compare,
            _ => Turn::Wait,
        }
    }

    /// When [`Turns::next`] has something to do; `None` while a proposal is under way.
    pub fn wake_at(&self) -> Option<Instant> {
        match self.state {
            State::Waiting { due } => Some(due),
            State::Proposed { .. } => None,
            State::Decided { until, .. } => Some(until),
            State::Unknown { again, .. } => Some(again),
        }
    }

    /// The proposal ended. Without effect if the roll was read before its outcome came.
    pub fn ended(&mut self, outcome: Outcome, now: Instant) {
        let State::Proposed { due } = self.state else { return };
        self.state = match outcome {
            Outcome::Won | Outcome::Lost => State::Decided { due, until: now + within(READ) },
            Outcome::Unknown => State::Unknown { due, again: now + within(REPEAT) },
        };
    }

    /// A roll was read and stored. `own` if it is the one that this node proposed.
    pub fn read(&mut self, own: bool, now: Instant) {
        let due = match self.state {
            // A roll that is late by more than an interval is followed by one roll, not by a burst.
            State::Proposed { due } | State::Decided { due, .. } | State::Unknown { due, .. }
                if own =>
            {
                (due + self.every).max(now)
            }
            _ => now + self.every + within(GRACE),
        };
        self.state = State::Waiting { due };
    }
}

/// A random time between two.
pub fn within([min, max]: [Duration; 2]) -> Duration {
    rand::random_range(min..=max)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(1);
    const MS: Duration = Duration::from_millis(1);

    /// Turns of a node whose own roll, due at the returned time, was just read.
    fn maker() -> (Turns, Instant) {
        let start = Instant::now();
        let mut turns = Turns::new(EVERY, start);
        let due = turns.wake_at().expect("a due time");
        assert_eq!(turns.next(due), Turn::Draw);
        turns.ended(Outcome::Won, due + 8 * MS);
        turns.read(true, due + 10 * MS);
        (turns, due)
    }

    #[test]
    fn the_maker_of_the_newest_roll_makes_the_next_one_exactly_an_interval_later() {
        let (mut turns, mut due) = maker();
        for _ in 0..100 {
            assert_eq!(turns.next(due + EVERY - MS), Turn::Wait);
            due += EVERY;
            assert_eq!(turns.wake_at(), Some(due));
            assert_eq!(turns.next(due), Turn::Draw);
            assert_eq!((turns.next(due), turns.wake_at()), (Turn::Wait, None), "one at a time");
            turns.ended(Outcome::Won, due + 8 * MS);
            turns.read(true, due + 9 * MS);
        }
    }

    #[test]
    fn the_others_step_in_when_a_roll_is_late_by_500_to_750_ms() {
        let (mut turns, now) = maker();
        for _ in 0..100 {
            turns.read(false, now);
            let due = turns.wake_at().expect("a due time");
            assert!((now + EVERY + GRACE[0]..=now + EVERY + GRACE[1]).contains(&due));
            assert_eq!(turns.next(due - MS), Turn::Wait);
        }
    }

    #[test]
    fn a_proposal_without_an_answer_is_repeated_and_an_outage_ends_with_one_roll() {
        let (mut turns, due) = maker();
        let mut now = due + EVERY;
        assert_eq!(turns.next(now), Turn::Draw);
        for _ in 0..100 {
            turns.ended(Outcome::Unknown, now);
            let again = turns.wake_at().expect("a time");
            assert!((now + REPEAT[0]..=now + REPEAT[1]).contains(&again));
            assert_eq!(turns.next(again - MS), Turn::Wait);
            assert_eq!(turns.next(again), Turn::Repeat);
            now = again + 2 * EVERY;
        }
        turns.ended(Outcome::Won, now);
        turns.read(true, now + MS);
        assert_eq!(turns.next(now + MS), Turn::Draw, "the next roll is due");
        turns.ended(Outcome::Won, now + 2 * MS);
        turns.read(true, now + 3 * MS);
        assert_eq!(turns.next(now + 3 * MS), Turn::Wait, "but only one");
        assert_eq!(turns.wake_at(), Some(now + MS + EVERY));
    }

    #[test]
    fn a_decided_roll_that_does_not_appear_ends_the_session() {
        for outcome in [Outcome::Won, Outcome::Lost] {
            let (mut turns, due) = maker();
            let now = due + EVERY;
            assert_eq!(turns.next(now), Turn::Draw);
            turns.ended(outcome, now);
            let until = turns.wake_at().expect("a time");
            assert!((now + READ[0]..=now + READ[1]).contains(&until));
            assert_eq!(turns.next(until - MS), Turn::Wait);
            assert_eq!(turns.next(until), Turn::Compare);
        }
    }

    #[test]
    fn a_roll_that_is_read_before_its_outcome_is_known_counts() {
        let (mut turns, due) = maker();
        assert_eq!(turns.next(due + EVERY), Turn::Draw);
        turns.read(true, due + EVERY + 5 * MS);
        turns.ended(Outcome::Unknown, due + EVERY + 6 * MS);
        assert_eq!(turns.wake_at(), Some(due + 2 * EVERY));
    }
}
