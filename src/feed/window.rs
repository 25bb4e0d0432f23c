//! The window: the newest rolls in memory, without gaps.

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::time::Instant;

use crate::cursor::Cursor;
use crate::feed::Sent;
use crate::roll::RollId;

/// The newest rolls, oldest first.
pub struct Window {
    rolls: VecDeque<Arc<Sent>>,
    n_most: usize,
    head: Cursor,
    pushed_at: Instant,
}

/// What comes after a cursor.
pub enum Next {
    /// This roll.
    Roll(Arc<Sent>),
    /// Nothing yet.
    CaughtUp,
    /// Rolls from before the window; its own first one, if it has any, comes later.
    Older(Option<Arc<Sent>>),
}

impl Window {
    /// An empty window at `head`, for `n_most` rolls (not 0).
    pub fn new(head: Cursor, n_most: usize) -> Window {
        Window { rolls: VecDeque::with_capacity(n_most), n_most, head, pushed_at: Instant::now() }
    }

    /// The place after the newest roll.
    pub fn head(&self) -> Cursor {
        self.head
    }

    /// When the newest roll came.
    pub fn pushed_at(&self) -> Instant {
        self.pushed_at
    }

    /// Adds a roll that is newer than all others.
    pub fn push(&mut self, sent: Sent) {
        if self.rolls.back().is_some_and(|newest| newest.cursor.id.next() != sent.cursor.id) {
            // Somebody else wrote to the database in between. Readers fetch from there what the
            // window lacks; here ids follow each other, so that they can be counted.
            self.rolls.clear();
        }
        if self.rolls.len() == self.n_most {
            self.rolls.pop_front();
        }
        self.head = sent.cursor;
        self.pushed_at = Instant::now();
        self.rolls.push_back(Arc::new(sent));
    }

    /// The roll `id`, if the window holds it.
    pub fn get(&self, id: RollId) -> Option<&Arc<Sent>> {
        let first = self.rolls.front()?.cursor.id;
        let index = usize::try_from(id.0 - first.0).ok()?;
        self.rolls.get(index)
    }

    /// What comes after `id`.
    pub fn after(&self, id: RollId) -> Next {
        if id >= self.head.id {
            return Next::CaughtUp;
        }
        match self.get(id.next()) {
            Some(sent) => Next::Roll(sent.clone()),
            None => Next::Older(self.rolls.front().cloned()),
        }
    }
}
