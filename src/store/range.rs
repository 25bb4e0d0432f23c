//! Ranges of the history, by cursor, by time and by id.

use crate::cursor::Cursor;
use crate::roll::{RollId, RolledAt};

/// Which rolls are stored: those after `oldest.previous()`, up to `head`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The oldest stored roll; the id after the head if none is stored.
    pub oldest: RollId,
    /// The cursor of the newest roll that was ever stored.
    pub head: Cursor,
}

impl Kept {
    /// How many rolls are stored.
    pub fn n_rolls(&self) -> i64 {
        self.head.id.0 - self.oldest.previous().0
    }

    /// The ids of all stored rolls.
    pub fn ids(&self) -> IdRange {
        IdRange { after: self.oldest.previous(), before: self.head.id.next() }
    }
}

/// A range of the history as a client names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RollRange {
    /// Only rolls after this one.
    pub after: Option<Cursor>,
    /// Only rolls before this one.
    pub before: Option<Cursor>,
    /// From the first roll on, in order of the ids, whose timestamp is at or after this time. `after`
    /// overrides it.
    pub since: Option<RolledAt>,
}

/// The order in which a range is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// From its beginning.
    OldestFirst,
    /// From its end.
    NewestFirst,
}

/// A range of ids, without both bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// The id before the first roll.
    pub after: RollId,
    /// The id after the last roll.
    pub before: RollId,
}

impl IdRange {
    /// How many ids it holds.
    pub fn n_rolls(self) -> u64 {
        u64::try_from(self.before.previous().0 - self.after.0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(oldest: i64, head: i64) -> Kept {
        Kept { oldest: RollId(oldest), head: RollId(head).into() }
    }

    #[test]
    fn kept_rolls_are_those_from_the_oldest_to_the_head() {
        for (oldest, head, n_rolls) in [(41, 101, 61), (101, 101, 1), (102, 101, 0), (1, 0, 0)] {
            let kept = kept(oldest, head);
            assert_eq!(kept.n_rolls(), n_rolls, "{kept:?}");
            assert_eq!(kept.ids().n_rolls(), n_rolls as u64, "{kept:?}");
        }
        let expected = IdRange { after: RollId(40), before: RollId(102) };
        assert_eq!(kept(41, 101).ids(), expected);
    }

    #[test]
    fn a_range_whose_bounds_cross_holds_no_roll() {
        let range = IdRange { after: RollId(9), before: RollId(5) };
        assert_eq!(range.n_rolls(), 0);
    }
}
