//! A session: connects, compares the histories, then follows the log and takes turns. Any doubt
//! ends it, and the next one begins with the comparison.

use std::future::{Future, pending};
use std::pin::{Pin, pin};
use std::time::Duration;

use futures::FutureExt;
use jiff::Timestamp;
use tokio::select;
use tokio::time::{Instant, sleep_until};
use tracing::debug;

use crate::cursor::Cursor;
use crate::dice::Dice;
use crate::draw;
use crate::fleet::entry::{Entry, roll_after};
use crate::fleet::error::FleetError;
use crate::fleet::jetstream::{Heard, JetStream};
use crate::fleet::join::join;
use crate::fleet::reads::{Answer, Reads};
use crate::fleet::turns::{Outcome, Turn, Turns};
use crate::fleet::{Node, Reported};
use crate::health::Replication;
use crate::pump::{Commits, PumpError};
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::StoreError;

/// Without an answer for this time, the node counts as out of touch.
const SILENCE: Duration = Duration::from_secs(2);
/// Without an answer for this time, the session ends, and the next one connects again.
const MAX_SILENCE: Duration = Duration::from_secs(10);
/// A node that is behind by at most this many rolls follows: they are on their way.
const FEW: u64 = 4;

/// Why a session ended.
pub enum End {
    Shutdown,
    Error(FleetError),
}

impl From<FleetError> for End {
    fn from(error: FleetError) -> End {
        End::Error(error)
    }
}

/// One session of a node.
pub struct Session<'a> {
    node: &'a Node,
    reported: &'a mut Reported,
    jetstream: JetStream,
    reads: Reads,
    turns: Turns,
    /// This node's roll for the next place, while nobody's roll for it was read.
    candidate: Option<Roll>,
    proposal: Option<Pin<Box<dyn Future<Output = Outcome> + Send>>>,
    /// The newest roll of the log that this node knows of.
    last: RollId,
}

impl<'a> Session<'a> {
    /// Runs one session to its end.
    ///
    /// # Errors
    ///
    /// No more rolls can be stored.
    pub async fn run(
        node: &'a Node,
        reported: &'a mut Reported,
        shutdown: impl Future<Output = ()> + Clone,
    ) -> Result<End, PumpError> {
        let start = async {
            let jetstream = JetStream::connect(&node.config).await?;
            let last = join(node, &jetstream).await?;
            Ok((jetstream, last))
        };
        let (jetstream, last) = select! {
            biased;
            () = shutdown.clone() => return Ok(End::Shutdown),
            started = start => match started {
                Ok(started) => started,
                Err(error) => return Ok(End::Error(error)),
            },
        };
        let now = Instant::now();
        let session = Session {
            node,
            reported,
            jetstream,
            reads: Reads::new(now),
            turns: Turns::new(node.every, now),
            candidate: None,
            proposal: None,
            last,
        };
        session.follow(shutdown).await
    }

    async fn follow(
        mut self,
        shutdown: impl Future<Output = ()> + Clone,
    ) -> Result<End, PumpError> {
        self.show_progress();
        let mut shut_down = pin!(shutdown.clone());
        loop {
            // All answers that are here, because one commit stores all of their rolls.
            while let Some(answer) = self.reads.answer().now_or_never() {
                if let Err(error) = self.take_answer(answer) {
                    return Ok(error.into());
                }
            }
            let head = self.node.head();
            let ready = self.reads.ready(head.id);
            if !ready.is_empty() {
                match self.store(head, ready, &shutdown).await? {
                    Some(end) => return Ok(end),
                    None => continue,
                }
            }
            let now = Instant::now();
            if let Some(end) = self.take_turn(head, now) {
                return Ok(end);
            }
            let turn_at = self.turns.wake_at().filter(|_| self.may_take_turns());
            let Session { reads, jetstream, proposal, .. } = &mut self;
            reads.request(head.id, now, |id| jetstream.entry(id));
            let wake_at = turn_at.map_or(reads.next_request(), |at| at.min(reads.next_request()));
            let proposed = async {
                match proposal {
                    Some(proposal) => proposal.await,
                    None => pending().await,
                }
            };
            select! {
                biased;
                () = &mut shut_down => return Ok(End::Shutdown),
                answer = reads.answer() => {
                    if let Err(error) = self.take_answer(answer) {
                        return Ok(error.into());
                    }
                }
                heard = jetstream.ring() => self.heard(&heard),
                outcome = proposed => self.proposal_ended(outcome),
                () = sleep_until(wake_at) => {
                    let silence = self.reads.silence(Instant::now());
                    if silence > MAX_SILENCE {
                        return Ok(FleetError::NoAnswer(MAX_SILENCE).into());
                    }
                    self.show_progress();
                }
            }
        }
    }

    fn heard(&mut self, Heard { id, every }: &Heard) {
        self.reads.heard(*id, Instant::now());
        if let Some(theirs) = every.filter(|theirs| *theirs != self.node.every) {
            self.reported.every_differs(theirs, self.node.every);
        }
    }

    fn take_answer(&mut self, answer: Answer) -> Result<(), FleetError> {
        let head = self.node.head().id;
        if self.reads.take(answer, head, Instant::now())? {
            // The log may have grown, but not shrunk: then the next proposal would be lost.
            self.last = head;
        }
        self.show_progress();
        Ok(())
    }

    /// Checks and stores entries, and publishes their rolls. The first entry that is refused ends the
    /// session, after those before it are stored.
    async fn store(
        &mut self,
        head: Cursor,
        ready: Vec<(RollId, String)>,
        shutdown: &(impl Future<Output = ()> + Clone),
    ) -> Result<Option<End>, PumpError> {
        let mut rolls: Vec<Roll> = Vec::with_capacity(ready.len());
        let mut refused = None;
        for (_, text) in ready {
            let place = rolls.last().map_or(head, Roll::cursor);
            match roll_after(place, &text, self.node.key, &self.node.seeds) {
                Ok(roll) => rolls.push(roll),
                Err(error) => {
                    refused = Some(End::Error(error));
                    break;
                }
            }
        }
        if rolls.is_empty() {
            return Ok(refused);
        }
        let node = self.node;
        let mut commits = Commits::new(&node.metrics, &node.health);
        loop {
            let commit = node.store.apply(rolls.clone());
            match commits.wait_for(commit, rolls.len(), shutdown).await? {
                Ok(()) => break,
                Err(StoreError::NotNext { .. } | StoreError::Conflict { .. }) => {
                    return Ok(Some(FleetError::Foreign { head: head.id }.into()));
                }
                Err(error) => {
                    let pause = commits.failed(error)?;
                    select! {
                        () = shutdown.clone() => return Ok(Some(End::Shutdown)),
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        }
        node.feed.publish(&rolls);
        self.published(&rolls);
        Ok(refused)
    }

    fn published(&mut self, rolls: &[Roll]) {
        let now = Instant::now();
        let is_live = self.reads.is_caught_up(self.node.head().id);
        for roll in rolls {
            debug!(roll.id = roll.id.0, "stored roll {}", roll.id);
            let own = self.candidate.as_ref() == Some(roll);
            self.turns.read(own, now);
            self.candidate = None;
            if self.proposal.take().is_some() {
                // The log shows the outcome before the acknowledgement comes.
                let outcome = if own { Outcome::Won } else { Outcome::Lost };
                self.node.metrics.fleet().proposed(outcome.word());
            }
            if !own && is_live {
                let skew = roll.rolled_at.timestamp().duration_since(Timestamp::now());
                self.node.metrics.fleet().skew(skew.as_secs_f64());
                self.compare_dice(roll);
            }
            self.last = self.last.max(roll.id);
        }
        self.show_progress();
    }

    fn compare_dice(&mut self, roll: &Roll) {
        let dice: Vec<_> = roll.dice.0.iter().map(|result| result.die).collect();
        if !self.node.dice.iter().eq(dice.iter().copied())
            && let Ok(theirs) = Dice::try_from(dice)
        {
            self.reported.dice_differ(theirs.to_string(), &self.node.dice);
        }
    }

    /// Proposes a roll if it is this node's turn.
    fn take_turn(&mut self, head: Cursor, now: Instant) -> Option<End> {
        if self.jetstream.may_not_propose() {
            self.reported.only_follows();
        }
        if !self.may_take_turns() {
            return None;
        }
        let id = head.id.next();
        match self.turns.next(now) {
            Turn::Wait => return None,
            Turn::Compare => return Some(FleetError::NotShown(id).into()),
            Turn::Draw => {
                let rolled_at = RolledAt::truncate(Timestamp::now());
                let Node { seeds, dice, .. } = self.node;
                let dice = draw::results(seeds.draw(id), id, dice);
                self.candidate = Some(Roll { id, rolled_at, dice });
            }
            Turn::Repeat => {}
        }
        let roll = self.candidate.clone()?;
        let entry = Entry { after: head, key: self.node.key, roll };
        let every = self.node.every;
        self.proposal = Some(Box::pin(self.jetstream.propose(id, entry.to_string(), every)));
        None
    }

    /// Whether this node may propose the roll after its newest one, and has no reason to wait.
    fn may_take_turns(&self) -> bool {
        self.reads.is_caught_up(self.node.head().id)
            && self.jetstream.is_connected()
            && !self.jetstream.may_not_propose()
    }

    fn proposal_ended(&mut self, outcome: Outcome) {
        self.proposal = None;
        self.node.metrics.fleet().proposed(outcome.word());
        self.turns.ended(outcome, Instant::now());
        if outcome != Outcome::Unknown {
            // The entry is there now, whether its proposal was heard or not.
            self.reads.heard(self.node.head().id.next(), Instant::now());
        }
    }

    /// Tells the probes and the log how far this node is.
    fn show_progress(&mut self) {
        let last = self.last.max(self.reads.last());
        let n_behind = (last.0 - self.node.head().id.0).max(0) as u64;
        let silence = self.reads.silence(Instant::now());
        self.node.health.replicates(if silence > SILENCE {
            let error = FleetError::NoAnswer(SILENCE).to_string();
            self.reported.error(error.clone(), true);
            Replication::Unreachable(error)
        } else {
            self.reported.follows(self.node.head());
            match self.reads.is_far_behind() || n_behind > FEW {
                true => Replication::CatchingUp { n_behind },
                false => Replication::Following,
            }
        });
    }
}
