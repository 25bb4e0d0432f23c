//! Notices rolls that are missing from an export.

use std::fmt;

use crate::cli::note;
use crate::cursor::Cursor;
use crate::roll::RollId;

/// Counts the gaps in a sequence of ids, and reports each on standard error. The rolls of a gap were
/// pruned before they were read, or cannot be read.
pub struct GapCounter {
    /// The id that comes next; `None` where the first may be any.
    next: Option<RollId>,
    n_gaps: u64,
}

impl GapCounter {
    /// Expects the ids after `cursor`, or any if there is none.
    pub fn after(cursor: Option<Cursor>) -> GapCounter {
        GapCounter { next: cursor.map(|cursor| cursor.id.next()), n_gaps: 0 }
    }

    /// How many gaps there are so far.
    pub fn n_gaps(&self) -> u64 {
        self.n_gaps
    }

    /// Takes the next roll.
    pub fn add(&mut self, id: RollId) {
        self.skip_to(id);
        self.next = Some(id.next());
    }

    /// No roll before `id` follows. Without a first id to expect, that is no gap.
    pub fn skip_to(&mut self, id: RollId) {
        match self.gap_before(id) {
            None => {}
            Some((first, last)) if first == last => {
                self.report(format_args!("roll {first} is no longer kept"));
            }
            Some((first, last)) => {
                self.report(format_args!("rolls {first} to {last} are no longer kept"));
            }
        }
    }

    /// Takes a row that cannot be read as a roll.
    pub fn add_unreadable(&mut self, id: RollId) {
        self.skip_to(id);
        self.next = Some(id);
        self.skip_unreadable_to(id.next());
    }

    /// The rolls that are missing before `id` cannot be read.
    pub fn skip_unreadable_to(&mut self, id: RollId) {
        match self.gap_before(id) {
            None => return,
            Some((first, last)) if first == last => {
                self.report(format_args!("roll {first} cannot be read"));
            }
            Some((first, last)) => {
                self.report(format_args!("rolls {first} to {last} cannot be read"));
            }
        }
        self.next = Some(id);
    }

    fn report(&mut self, gap: fmt::Arguments<'_>) {
        self.n_gaps += 1;
        note(format_args!("gap: {gap}"));
    }

    /// The first and the last id that are missing before `id`.
    fn gap_before(&self, id: RollId) -> Option<(RollId, RollId)> {
        let first = self.next.filter(|next| *next < id)?;
        Some((first, id.previous()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_run_of_missing_ids_is_one_gap() {
        // The cursor, the ids, the first id that does not belong to the export, the gaps.
        let table: [(Option<i64>, &[i64], i64, u64); 8] = [
            (None, &[7, 8, 9], 10, 0),
            (None, &[7, 9, 12], 13, 2),
            (None, &[], 13, 0),
            (Some(6), &[7, 8], 9, 0),
            (Some(3), &[7, 8], 9, 1),
            (Some(3), &[], 4, 0),
            (Some(3), &[], 5, 1),
            (None, &[7], 9, 1),
        ];
        for (after, ids, end, n_gaps) in table {
            let mut gaps = GapCounter::after(after.map(|id| RollId(id).into()));
            ids.iter().for_each(|id| gaps.add(RollId(*id)));
            gaps.skip_to(RollId(end));
            assert_eq!(gaps.n_gaps(), n_gaps, "{after:?} {ids:?} {end}");
        }
    }

    #[test]
    fn a_gap_is_named_by_its_first_and_last_roll() {
        let mut gaps = GapCounter::after(Some(RollId(3).into()));
        assert_eq!(gaps.gap_before(RollId(4)), None);
        assert_eq!(gaps.gap_before(RollId(5)), Some((RollId(4), RollId(4))));
        gaps.add(RollId(8));
        assert_eq!(gaps.gap_before(RollId(12)), Some((RollId(9), RollId(11))));
    }
}
