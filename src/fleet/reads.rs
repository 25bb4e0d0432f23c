//! Reads the log in order: one entry at a time when caught up, many at once when behind.
//!
//! There is no JetStream consumer. A node asks for the next sequence after a proposal was heard,
//! and every 500 ms. So the death of a server costs a request, not a consumer.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::fleet::error::FleetError;
use crate::roll::RollId;

/// The time between two requests if nothing was heard, and after one without an answer.
const PAUSE: Duration = Duration::from_millis(500);
/// The first pause after a proposal was heard. It doubles up to [`PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(2);
/// The most entries that are requested at once.
const MAX_WINDOW: i64 = 256;
/// A node that requests this many entries at once is behind by at least as many.
const FAR: i64 = 8;
/// The most requests without an answer, some of them for the same entry.
const MAX_REQUESTS: usize = 2 * MAX_WINDOW as usize;

/// An entry that was requested, and what the log says.
pub type Answer = (RollId, Result<Option<String>, FleetError>);

/// The reads of one session.
pub struct Reads {
    requests: FuturesUnordered<Pin<Box<dyn Future<Output = Answer> + Send>>>,
    found: BTreeMap<RollId, String>,
    /// How many entries are requested at once.
    window: i64,
    /// The last entry that is requested, and since when.
    requested: RollId,
    requested_at: Option<Instant>,
    /// The newest place for which a proposal was heard. The log has all entries before it.
    announced: RollId,
    pause: Duration,
    next_request: Instant,
    answered_at: Instant,
}

impl Reads {
    /// Reads from now on.
    pub fn new(now: Instant) -> Reads {
        Reads {
            requests: FuturesUnordered::new(),
            found: BTreeMap::new(),
            window: 1,
            requested: RollId::BEFORE_FIRST,
            requested_at: None,
            announced: RollId::BEFORE_FIRST,
            pause: PAUSE,
            next_request: now,
            answered_at: now,
        }
    }

    /// A proposal for the place `id` was heard, so the log will have it soon.
    pub fn heard(&mut self, id: RollId, now: Instant) {
        self.announced = self.announced.max(id);
        self.pause = FIRST_PAUSE;
        self.next_request = self.next_request.min(now + FIRST_PAUSE);
    }

    /// Requests the entries after `head` that are due.
    pub fn request<F>(&mut self, head: RollId, now: Instant, entry: impl Fn(RollId) -> F)
    where
        F: Future<Output = Result<Option<String>, FleetError>> + Send + 'static,
    {
        if now < self.next_request {
            return;
        }
        self.next_request = now + PAUSE;
        // Requests without an answer are repeated.
        let repeats = self.requested_at.is_none_or(|at| at + PAUSE <= now);
        let from = if repeats { head } else { head.max(self.requested) };
        self.requested = RollId(head.0 + self.window).max(from);
        self.requested_at = Some(now);
        for id in (from.0 + 1..=head.0 + self.window).map(RollId) {
            if self.requests.len() < MAX_REQUESTS && !self.found.contains_key(&id) {
                let entry = entry(id);
                self.requests.push(Box::pin(async move { (id, entry.await) }));
            }
        }
    }

    /// When [`Reads::request`] has something to do.
    pub fn next_request(&self) -> Instant {
        self.next_request
    }

    /// Waits for the next answer. It never comes if nothing is requested.
    pub async fn answer(&mut self) -> Answer {
        match self.requests.next().await {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }

    /// Takes an answer. `head` is the newest roll of this node. Returns whether it says that there
    /// is no entry after `head`.
    ///
    /// # Errors
    ///
    /// The answer is an error that no later answer can change. Others are left to
    /// [`Reads::silence`].
    pub fn take(
        &mut self,
        (id, entry): Answer,
        head: RollId,
        now: Instant,
    ) -> Result<bool, FleetError> {
        let entry = match entry {
            Err(error) if error.is_passing() => return Ok(false),
            entry => entry?,
        };
        self.answered_at = now;
        match entry {
            // Another request for it was answered before.
            _ if id <= head => Ok(false),
            Some(text) => {
                self.found.insert(id, text);
                if id == self.requested {
                    if id == self.announced {
                        self.pause = PAUSE;
                        self.next_request = now + PAUSE;
                    } else {
                        // More were announced; or this one was not, so there may be many more.
                        self.window = (self.window * 2).min(MAX_WINDOW);
                        self.next_request = now;
                    }
                }
                Ok(false)
            }
            None if id == head.next() => {
                self.window = 1;
                self.requested = head;
                self.next_request = now + self.pause;
                if self.pause >= PAUSE {
                    // The proposal failed, or it was for another place.
                    self.announced = head;
                }
                self.pause = (self.pause * 2).min(PAUSE);
                Ok(true)
            }
            None => {
                if self.window > 1 {
                    // The end of the log is near.
                    self.window = 1;
                    self.next_request = now;
                }
                self.requested = self.requested.min(id.previous());
                Ok(false)
            }
        }
    }

    /// The entries that follow `head` without a gap.
    pub fn ready(&mut self, head: RollId) -> Vec<(RollId, String)> {
        let mut ready = Vec::new();
        let mut id = head.next();
        while let Some(text) = self.found.remove(&id) {
            ready.push((id, text));
            id = id.next();
        }
        ready
    }

    /// How long there has been no answer.
    pub fn silence(&self, now: Instant) -> Duration {
        now - self.answered_at
    }

    /// Whether many entries are requested at once.
    pub fn is_far_behind(&self) -> bool {
        self.window >= FAR
    }

    /// Whether this node has all entries after `head` that it knows of.
    pub fn is_caught_up(&self, head: RollId) -> bool {
        self.window == 1 && self.found.is_empty() && self.announced <= head.next()
    }

    /// The newest entry that the log has, as far as a proposal told.
    pub fn last(&self) -> RollId {
        self.announced.previous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::cell::RefCell;

    const MS: Duration = Duration::from_millis(1);

    /// A log with entries up to `last`, and every request to it.
    struct Log {
        last: i64,
        requests: RefCell<Vec<i64>>,
    }

    impl Log {
        fn entry(
            &self,
            id: RollId,
        ) -> impl Future<Output = Result<Option<String>, FleetError>> + use<> {
            self.requests.borrow_mut().push(id.0);
            let entry = (id.0 <= self.last).then(|| id.to_string());
            async move { Ok(entry) }
        }
    }

    /// Reads until there is no more entry; returns how many rounds of requests it took.
    async fn catch_up(reads: &mut Reads, log: &Log, head: &mut RollId, now: Instant) -> usize {
        let mut n_rounds = 0;
        loop {
            reads.request(*head, now, |id| log.entry(id));
            n_rounds += 1;
            let mut is_over = false;
            while !reads.requests.is_empty() {
                let answer = reads.answer().await;
                is_over |= reads.take(answer, *head, now).expect("no error");
                // As in a session: an entry is stored as soon as it is there.
                for (id, text) in reads.ready(*head) {
                    assert_eq!((id, text), (head.next(), head.next().to_string()), "in order");
                    *head = id;
                }
            }
            if is_over {
                return n_rounds;
            }
        }
    }

    #[tokio::test]
    async fn a_node_that_is_behind_reads_many_entries_at_once_and_each_of_them_once() {
        let log = Log { last: 10_000, requests: RefCell::default() };
        let now = Instant::now();
        let (mut reads, mut head) = (Reads::new(now), RollId(0));
        let n_rounds = catch_up(&mut reads, &log, &mut head, now).await;
        assert_eq!(head, RollId(10_000));
        assert!(n_rounds < 60, "{n_rounds} rounds");
        let n_requests = log.requests.borrow().len();
        assert!(n_requests <= 10_000 + 2 * MAX_WINDOW as usize, "{n_requests} requests");
        assert!(reads.is_caught_up(head));
        assert_eq!(reads.next_request(), now + PAUSE);
    }

    #[tokio::test]
    async fn a_proposal_that_is_heard_costs_one_request_if_the_entry_is_there() {
        let mut log = Log { last: 0, requests: RefCell::default() };
        let now = Instant::now();
        let (mut reads, mut head) = (Reads::new(now), RollId(0));
        catch_up(&mut reads, &log, &mut head, now).await;
        log.requests.borrow_mut().clear();
        reads.heard(RollId(1), now);
        assert_eq!(reads.next_request(), now + FIRST_PAUSE);
        log.last = 1;
        reads.request(head, now + 2 * MS, |id| log.entry(id));
        let answer = reads.answer().await;
        reads.take(answer, head, now + 3 * MS).expect("no error");
        assert_eq!(reads.ready(head).len(), 1);
        assert_eq!(*log.requests.borrow(), [1]);
        assert_eq!(reads.next_request(), now + 3 * MS + PAUSE);
    }

    #[tokio::test]
    async fn a_node_that_is_behind_catches_up_although_it_hears_proposals_all_the_time() {
        let mut log = Log { last: 0, requests: RefCell::default() };
        let mut now = Instant::now();
        let (mut reads, mut head) = (Reads::new(now), RollId(0));
        catch_up(&mut reads, &log, &mut head, now).await;
        log.last = 1_000;
        for _ in 0..40 {
            log.last += 1;
            now += 10 * MS;
            reads.heard(RollId(log.last + 1), now);
            assert!(!reads.is_caught_up(head) || head.0 >= log.last);
            reads.request(head, now + FIRST_PAUSE, |id| log.entry(id));
            while !reads.requests.is_empty() {
                let answer = reads.answer().await;
                reads.take(answer, head, now + FIRST_PAUSE).expect("no error");
                head = reads.ready(head).last().map_or(head, |(id, _)| *id);
            }
        }
        assert!(log.last - head.0 < 2, "{} of {}", head.0, log.last);
    }

    #[tokio::test]
    async fn after_a_proposal_the_pauses_double_until_the_entry_is_there() {
        let log = Log { last: 0, requests: RefCell::default() };
        let mut now = Instant::now();
        let (mut reads, mut head) = (Reads::new(now), RollId(0));
        catch_up(&mut reads, &log, &mut head, now).await;
        reads.heard(RollId(1), now);
        for pause_ms in [2, 2, 4, 8, 16, 32, 64, 128, 256, 500, 500] {
            let due = reads.next_request();
            assert_eq!(due - now, Duration::from_millis(pause_ms));
            now = due;
            reads.request(head, now, |id| log.entry(id));
            let answer = reads.answer().await;
            assert!(reads.take(answer, head, now).expect("no error"));
        }
    }

    #[tokio::test]
    async fn without_an_answer_the_entry_is_requested_again_and_the_silence_grows() {
        let start = Instant::now();
        let mut reads = Reads::new(start);
        for n in 0..10 {
            let now = start + n * PAUSE;
            assert_eq!((reads.next_request(), reads.silence(now)), (now, n * PAUSE));
            reads.request(RollId(7), now, |_| std::future::pending());
        }
        assert_eq!(reads.requests.len(), 10);
        let passing = (RollId(8), Err(FleetError::NoAnswer(PAUSE)));
        reads.take(passing, RollId(7), start + PAUSE).expect("it may pass");
        assert_eq!(reads.silence(start + PAUSE), PAUSE, "an error is no answer");
        let answer = (RollId(8), Ok(None));
        reads.take(answer, RollId(7), start + PAUSE).expect("no error");
        assert_eq!(reads.silence(start + PAUSE), Duration::ZERO);
        let lost = (RollId(8), Err(FleetError::NoStream { stream: "ROLLS".into() }));
        reads.take(lost, RollId(7), start).expect_err("a person must act");
    }
}
