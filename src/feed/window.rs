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
    max_rolls: usize,
    head: Cursor,
    pushed_at: Instant,
}

/// What comes after a cursor.
pub enum Next {
    /// This roll.
    Roll(Arc<Sent>),
    /// No roll yet.
    CaughtUp,
    /// Rolls that are older than the window. With the window's oldest roll, if it has any.
    Older(Option<Arc<Sent>>),
}

impl Window {
    /// An empty window at `head`, for at most `max_rolls` rolls (at least 1).
    pub fn new(head: Cursor, max_rolls: usize) -> Window {
        let rolls = VecDeque::with_capacity(max_rolls);
        Window { rolls, max_rolls, head, pushed_at: Instant::now() }
    }

    /// The position after the newest roll.
    pub fn head(&self) -> Cursor {
        self.head
    }

    /// When the newest roll was added.
    pub fn pushed_at(&self) -> Instant {
        self.pushed_at
    }

    /// Adds a roll that is newer than all others.
    pub fn push(&mut self, sent: Sent) {
        if self.rolls.back().is_some_and(|newest| newest.cursor.id.next() != sent.cursor.id) {
            // Somebody else wrote to the database. Readers fetch the missing rolls from there;
            // the ids in the window have no gaps, so that an index can be computed from an id.
            self.rolls.clear();
        }
        if self.rolls.len() == self.max_rolls {
            self.rolls.pop_front();
        }
        self.head = sent.cursor;
        self.pushed_at = Instant::now();
        self.rolls.push_back(Arc::new(sent));
    }

    /// The roll `id`, if it is in the window.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::roll::Roll;

    fn window(ids: impl IntoIterator<Item = i64>) -> Window {
        let mut window = Window::new(RollId::BEFORE_FIRST.into(), 3);
        ids.into_iter().for_each(|id| window.push(Sent::from(&Roll::example(id))));
        window
    }

    fn next(window: &Window, id: i64) -> String {
        match window.after(RollId(id)) {
            Next::Roll(sent) => sent.cursor.to_string(),
            Next::CaughtUp => "caught up".into(),
            Next::Older(None) => "older than an empty window".into(),
            Next::Older(Some(oldest)) => format!("older than {}", oldest.cursor.id),
        }
    }

    #[test]
    fn the_newest_rolls_stay_and_older_ones_are_left_to_the_store() {
        let window = window(1..=5);
        let after = [0, 1, 2, 4, 5, 9].map(|id| next(&window, id));
        let older = "older than 3".to_string();
        let expected = [
            older.clone(),
            older,
            "3-3000".into(),
            "5-5000".into(),
            "caught up".into(),
            "caught up".into(),
        ];
        assert_eq!(after, expected);
    }

    #[test]
    fn a_gap_empties_the_window_so_that_an_index_follows_from_an_id() {
        let window = window([1, 2, 5]);
        assert_eq!([2, 3].map(|id| next(&window, id)), ["older than 5", "older than 5"]);
        assert_eq!(next(&window, 4), "5-5000");
        assert!(window.get(RollId(2)).is_none());
    }

    #[test]
    fn ids_far_outside_are_not_in_the_window() {
        let window = window(1..=3);
        for id in [i64::MIN / 2, 0, 4, i64::MAX] {
            assert!(window.get(RollId(id)).is_none(), "{id}");
        }
    }
}
