//! The tallies of all dice, as of one roll. Adds one roll after the other, in the order of ids.

use std::collections::BTreeMap;

use crate::dice::Die;
use crate::roll::{Roll, RollId};
use crate::statistics::{DieTally, alarm};

/// The tallies of all dice that were ever rolled.
#[derive(Clone, Debug, Default)]
pub struct Tallies {
    /// The last roll that is counted.
    last_id: RollId,
    /// By the name of the die.
    dice: BTreeMap<String, DieTally>,
}

/// What a roll changed in the tally of one die.
pub struct Change {
    /// The name of the die.
    pub die: String,
    /// The index of its result.
    pub result: usize,
    /// The cell of the current block that its result belongs to.
    pub cell: usize,
    /// Whether it completed the block, so that no cell of the next one holds a roll.
    pub completes_block: bool,
    /// The index of the first peak of the evidence that it added or raised.
    pub peak: Option<usize>,
}

impl Tallies {
    /// Tallies that were saved as of this roll.
    pub fn new(last_id: RollId, tallies: impl IntoIterator<Item = DieTally>) -> Tallies {
        let dice = tallies.into_iter().map(|tally| (tally.die.to_string(), tally)).collect();
        let mut tallies = Tallies { last_id, dice };
        tallies.set_alarms();
        tallies
    }

    /// The last roll that is counted; [`RollId::BEFORE_FIRST`] before the first.
    pub fn last_id(&self) -> RollId {
        self.last_id
    }

    /// The tally of each die, by name.
    pub fn iter(&self) -> impl Iterator<Item = &DieTally> {
        self.dice.values()
    }

    /// The tally of a die.
    pub fn get(&self, die: &str) -> Option<&DieTally> {
        self.dice.get(die)
    }

    /// Adds the next roll. Returns the changes. A result that the die cannot show is left out.
    pub fn add(&mut self, roll: &Roll) -> Vec<Change> {
        self.last_id = roll.id;
        let n_dice = self.dice.len();
        let mut changes = Vec::with_capacity(roll.dice.0.len());
        for result in &roll.dice.0 {
            let tally = self.tally(result.die);
            let n_blocks = tally.n_blocks;
            let (n_peaks, peak) = (tally.peaks.len(), tally.peaks.last().copied());
            if let Some(index) = tally.add(roll.id, result.result) {
                let completes_block = tally.n_blocks > n_blocks;
                let cell = tally.fair.cell(index);
                let die = result.die.to_string();
                let is_higher = tally.peaks.last().copied() != peak;
                let peak = is_higher.then(|| n_peaks.min(tally.peaks.len() - 1));
                changes.push(Change { die, result: index, cell, completes_block, peak });
            }
        }
        if self.dice.len() > n_dice {
            self.set_alarms();
        }
        changes
    }

    /// Judges all dice by the alarm of their number. A die that is no longer rolled counts too: it
    /// had its chance of a false alarm.
    fn set_alarms(&mut self) {
        let alarm = alarm(self.dice.len());
        self.dice.values_mut().for_each(|tally| tally.set_alarm(alarm));
    }

    /// Continues after this roll. The rolls up to it that were not added cannot be read.
    pub fn skip_to(&mut self, id: RollId) {
        self.last_id = id;
    }

    fn tally(&mut self, die: Die) -> &mut DieTally {
        self.dice.entry(die.to_string()).or_insert_with(|| DieTally::new(die))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::dice::{DieResult, Results};

    fn roll(id: i64, dice: &[(&str, u32)]) -> Roll {
        let result = |(die, result): &(&str, u32)| DieResult {
            die: die.parse().expect("a die"),
            result: *result,
        };
        Roll { dice: Results(dice.iter().map(result).collect()), ..Roll::example(id) }
    }

    #[test]
    fn a_new_die_raises_the_alarm_of_all_dice() {
        let mut tallies = Tallies::default();
        let mut id = 0;
        while tallies.get("1D6").is_none_or(|tally| tally.alarm_id.is_none()) {
            id += 1;
            tallies.add(&roll(id, &[("1D6", 6)]));
        }
        let alarms =
            |tallies: &Tallies| -> Vec<f64> { tallies.iter().map(|tally| tally.alarm).collect() };
        assert_eq!(alarms(&tallies), [20.0]);
        tallies.add(&roll(id + 1, &[("1D20", 1), ("2D6", 7)]));
        assert_eq!(alarms(&tallies), [60.0; 3]);
        assert_eq!(tallies.get("1D6").and_then(|tally| tally.alarm_id), None, "20 is too little");
        // As the database gives them back.
        let mut saved: Vec<DieTally> = tallies.iter().cloned().collect();
        for tally in &mut saved {
            tally.alarm = 20.0;
            tally.alarm_id = Some(RollId(id));
        }
        let loaded = Tallies::new(RollId(id + 1), saved);
        assert_eq!(alarms(&loaded), [60.0; 3]);
        assert!(loaded.iter().all(|tally| tally.alarm_id.is_none()), "judged again");
    }
}
