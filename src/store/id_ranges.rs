//! Ranges of ids: rolls of a time, where the clock was set back.

use crate::roll::RollId;
use crate::store::IdRange;

/// Ranges of ids in ascending order, with other ids between them. There is at least one; only a
/// single one may be empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdRanges(Vec<IdRange>);

impl From<IdRange> for IdRanges {
    fn from(ids: IdRange) -> IdRanges {
        IdRanges(vec![ids])
    }
}

impl IdRanges {
    /// These ranges, in ascending order. Leaves out empty ones and joins neighbours. If no id is
    /// left, an empty range before `place`.
    pub fn new(ranges: impl IntoIterator<Item = IdRange>, place: RollId) -> IdRanges {
        let mut joined: Vec<IdRange> = Vec::new();
        for ids in ranges.into_iter().filter(|ids| ids.n_rolls() > 0) {
            match joined.last_mut() {
                Some(last) if last.before == ids.after.next() => last.before = ids.before,
                _ => joined.push(ids),
            }
        }
        if joined.is_empty() {
            joined.push(IdRange { after: place.previous(), before: place });
        }
        IdRanges(joined)
    }

    /// From the first id to the last one.
    pub fn hull(&self) -> IdRange {
        let (first, last) = (self.0.first(), self.0.last());
        let (first, last) = Option::zip(first, last).expect("there is at least one range");
        IdRange { after: first.after, before: last.before }
    }

    /// How many ids they hold.
    pub fn n_rolls(&self) -> u64 {
        self.0.iter().map(|ids| ids.n_rolls()).sum()
    }

    /// The ranges, in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = IdRange> + '_ {
        self.0.iter().copied()
    }

    /// The ids within `bounds`.
    pub fn within(&self, bounds: IdRange) -> IdRanges {
        let ranges = self.iter().map(|ids| IdRange {
            after: ids.after.max(bounds.after),
            before: ids.before.min(bounds.before),
        });
        IdRanges::new(ranges, bounds.after.next())
    }

    /// The first `n` ids.
    pub fn first(&self, n: usize) -> IdRanges {
        let mut left = n as u64;
        let ranges = self.iter().map(|ids| {
            let n = left.min(ids.n_rolls());
            left -= n;
            IdRange { before: RollId(ids.after.0 + n as i64 + 1), ..ids }
        });
        IdRanges::new(ranges, self.hull().after.next())
    }

    /// The last `n` ids.
    pub fn last(&self, n: usize) -> IdRanges {
        let mut left = n as u64;
        let ranges = self.iter().rev().map(|ids| {
            let n = left.min(ids.n_rolls());
            left -= n;
            IdRange { after: RollId(ids.before.0 - n as i64 - 1), ..ids }
        });
        let mut ranges: Vec<IdRange> = ranges.collect();
        ranges.reverse();
        IdRanges::new(ranges, self.hull().before)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(bounds: &[(i64, i64)]) -> IdRanges {
        let range = |(after, before): &(i64, i64)| IdRange {
            after: RollId(*after),
            before: RollId(*before),
        };
        IdRanges::new(bounds.iter().map(range), RollId(7))
    }

    #[test]
    fn neighbours_are_joined_and_empty_ranges_left_out() {
        type Bounds = &'static [(i64, i64)];
        let table: [(Bounds, Bounds); 5] = [
            (&[(0, 11), (10, 21), (20, 21), (30, 41)], &[(0, 21), (30, 41)]),
            (&[(0, 11), (11, 21)], &[(0, 11), (11, 21)]),
            (&[(5, 6), (9, 4)], &[(6, 7)]),
            (&[], &[(6, 7)]),
            (&[(0, 5)], &[(0, 5)]),
        ];
        for (given, expected) in table {
            let bounds: Vec<_> =
                ranges(given).iter().map(|ids| (ids.after.0, ids.before.0)).collect();
            assert_eq!(bounds, expected, "{given:?}");
        }
    }

    #[test]
    fn a_part_has_the_ids_of_all_ranges_in_order() {
        // Ids 1 to 10 and 31 to 40.
        let all = ranges(&[(0, 11), (30, 41)]);
        assert_eq!((all.n_rolls(), all.hull()), (20, ranges(&[(0, 41)]).hull()));
        let within =
            |after, before| all.within(IdRange { after: RollId(after), before: RollId(before) });
        let table = [
            (all.first(3), ranges(&[(0, 4)])),
            (all.first(12), ranges(&[(0, 11), (30, 33)])),
            (all.first(50), all.clone()),
            (all.last(3), ranges(&[(37, 41)])),
            (all.last(12), ranges(&[(8, 11), (30, 41)])),
            (all.last(50), all.clone()),
            (within(5, 33), ranges(&[(5, 11), (30, 33)])),
            (within(12, 20), IdRange { after: RollId(12), before: RollId(13) }.into()),
            (within(35, 99), ranges(&[(35, 41)])),
        ];
        for (part, expected) in table {
            assert_eq!(part, expected);
        }
    }
}
