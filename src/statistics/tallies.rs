//! The tallies of all dice, as of one roll. Adds one roll after the other, in the order of ids.

use std::collections::BTreeMap;

use crate::dice::Die;
use crate::roll::{Roll, RollId};
use crate::statistics::DieTally;

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
}

impl Tallies {
    /// Tallies that were saved as of this roll.
    pub fn new(last_id: RollId, tallies: impl IntoIterator<Item = DieTally>) -> Tallies {
        let dice = tallies.into_iter().map(|tally| (tally.die.to_string(), tally)).collect();
        Tallies { last_id, dice }
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
        let mut changes = Vec::with_capacity(roll.dice.0.len());
        for result in &roll.dice.0 {
            let tally = self.tally(result.die);
            let n_blocks = tally.n_blocks;
            if let Some(index) = tally.add(roll.id, result.result) {
                let completes_block = tally.n_blocks > n_blocks;
                let cell = tally.fair.cell(index);
                let die = result.die.to_string();
                changes.push(Change { die, result: index, cell, completes_block });
            }
        }
        changes
    }

    /// Continues after this roll. The rolls up to it that were not added cannot be read.
    pub fn skip_to(&mut self, id: RollId) {
        self.last_id = id;
    }

    fn tally(&mut self, die: Die) -> &mut DieTally {
        self.dice.entry(die.to_string()).or_insert_with(|| DieTally::new(die))
    }
}
