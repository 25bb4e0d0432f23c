//! Health: whether rolls are being stored, and if not, why; in a fleet, also how this node keeps up.
//! The readiness probe, the pages and the metrics read it; the pump reports to it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// Timers and commits are not exact: how late a roll may be beyond three intervals.
const TOLERANCE: Duration = Duration::from_secs(1);
/// A report of [`Replication`] is current for this long. A node that follows the fleet reports
/// every 500 ms, unless it waits for its disk.
const FRESH: Duration = Duration::from_secs(2);

/// The health of one server; cheap to clone.
#[derive(Clone)]
pub struct Health(Arc<Shared>);

struct Shared {
    /// The time between rolls.
    every: Duration,
    state: Mutex<State>,
}

struct State {
    /// The last commit, or the start.
    progress_at: Instant,
    last_commit: Option<Timestamp>,
    /// Why the last attempt to store a roll failed, if it did.
    fault: Option<String>,
    /// `None` on a single machine.
    replication: Option<Replication>,
    /// When `replication` was last reported.
    replicated_at: Instant,
}

/// How a node of a fleet keeps up with the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replication {
    /// It has all rolls of the fleet.
    Following,
    /// It reads older rolls first.
    CatchingUp {
        /// How many rolls it still needs, as far as it knows.
        n_behind: u64,
    },
    /// The other nodes cannot be reached now.
    Unreachable(String),
    /// A person must act before this node follows the fleet again.
    Refused(String),
}

impl Replication {
    /// Why this node does not have all rolls of the fleet; `None` if it does.
    fn problem(&self, audience: Audience) -> Option<String> {
        let (problem, why) = match self {
            Replication::Following => return None,
            Replication::CatchingUp { n_behind } => {
                return Some(format!("catching up with the fleet: {n_behind} rolls behind"));
            }
            Replication::Unreachable(why) => ("the fleet cannot be reached", why),
            Replication::Refused(why) => ("this node does not follow the fleet", why),
        };
        Some(match audience {
            Audience::ThisMachine => format!("{problem}: {why}"),
            Audience::Anyone => problem.into(),
        })
    }
}

/// Where a request comes from, which decides how much detail a problem has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// From the server's own machine. Problems contain the errors of SQLite, with paths.
    ThisMachine,
    /// From anywhere else. Problems contain no errors of SQLite.
    Anyone,
}

impl Health {
    /// The health of a server that starts now and makes a roll `every` so often.
    pub fn new(every: Duration) -> Health {
        let progress_at = Instant::now();
        let state = State {
            progress_at,
            last_commit: None,
            fault: None,
            replication: None,
            replicated_at: progress_at,
        };
        Health(Arc::new(Shared { every, state: Mutex::new(state) }))
    }

    /// Reports a commit of rolls.
    pub fn committed(&self) {
        let mut state = self.0.state();
        state.last_commit = Some(Timestamp::now());
        state.progress_at = Instant::now();
        state.fault = None;
    }

    /// Reports a failed attempt to store a roll.
    pub fn failed(&self, fault: String) {
        self.0.state().fault = Some(fault);
    }

    /// Reports how this node keeps up with its fleet.
    pub fn replicates(&self, replication: Replication) {
        let mut state = self.0.state();
        state.replication = Some(replication);
        state.replicated_at = Instant::now();
    }

    /// Whether this node follows its fleet and has just said so.
    pub fn is_in_touch(&self) -> bool {
        let state = self.0.state();
        state.replication == Some(Replication::Following) && state.replicated_at.elapsed() <= FRESH
    }

    /// How this node keeps up with its fleet; `None` on a single machine.
    pub fn replication(&self) -> Option<Replication> {
        self.0.state().replication.clone()
    }

    /// The time of the last commit since the start.
    pub fn last_commit(&self) -> Option<Timestamp> {
        self.0.state().last_commit
    }

    /// Why there are no new rolls, in words. Empty if rolls are being stored.
    pub fn problems(&self, audience: Audience) -> Vec<String> {
        let state = self.0.state();
        let mut problems = Vec::new();
        if let Some(fault) = &state.fault {
            problems.push(match audience {
                Audience::ThisMachine => format!("no roll can be stored: {fault}"),
                Audience::Anyone => "no roll can be stored".into(),
            });
        }
        problems.extend(state.replication.as_ref().and_then(|it| it.problem(audience)));
        let (silence, every) = (state.progress_at.elapsed(), self.0.every);
        if silence > 3 * every + TOLERANCE {
            let seconds = silence.as_secs_f64();
            problems.push(format!("no roll for {seconds:.1} s, expected one every {every:?}"));
        }
        problems
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::Audience::{Anyone, ThisMachine};
    use super::*;

    use tokio::time::advance;

    #[tokio::test(start_paused = true)]
    async fn a_roll_is_late_after_three_intervals_and_a_second_since_the_start_or_a_commit() {
        let health = Health::new(Duration::from_secs(2));
        let late = ["no roll for 7.0 s, expected one every 2s"];
        advance(Duration::from_secs(7)).await;
        assert!(health.problems(ThisMachine).is_empty());
        advance(Duration::from_millis(1)).await;
        assert_eq!(health.problems(ThisMachine), late);
        health.committed();
        assert!(health.problems(ThisMachine).is_empty());
        advance(Duration::from_millis(7_001)).await;
        assert_eq!(health.problems(ThisMachine), late);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_does_not_have_all_rolls_of_the_fleet_says_why() {
        let health = Health::new(Duration::from_secs(2));
        for (replication, here, elsewhere) in [
            (Replication::Following, None, None),
            (
                Replication::CatchingUp { n_behind: 7 },
                Some("catching up with the fleet: 7 rolls behind"),
                Some("catching up with the fleet: 7 rolls behind"),
            ),
            (
                Replication::Unreachable("no route to 10.0.0.1".into()),
                Some("the fleet cannot be reached: no route to 10.0.0.1"),
                Some("the fleet cannot be reached"),
            ),
            (
                Replication::Refused("another secret".into()),
                Some("this node does not follow the fleet: another secret"),
                Some("this node does not follow the fleet"),
            ),
        ] {
            health.replicates(replication.clone());
            assert_eq!(health.replication(), Some(replication));
            let expected = |problem: Option<&str>| Vec::from_iter(problem.map(String::from));
            assert_eq!(health.problems(ThisMachine), expected(here));
            assert_eq!(health.problems(Anyone), expected(elsewhere));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_fault_is_a_problem_until_the_next_commit() {
        let health = Health::new(Duration::from_secs(2));
        assert_eq!(health.last_commit(), None);
        health.failed("the disk is full".into());
        health.failed("the database is locked".into());
        assert_eq!(health.problems(ThisMachine), ["no roll can be stored: the database is locked"]);
        assert_eq!(health.problems(Anyone), ["no roll can be stored"]);
        assert_eq!(health.last_commit(), None);
        health.committed();
        assert!(health.problems(ThisMachine).is_empty());
        assert!(health.last_commit().is_some());
    }
}
