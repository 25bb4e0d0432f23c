//! Exports from the database.

use std::io::Write;

use jiff::Timestamp;

use crate::cli::export::gap_counter::GapCounter;
use crate::cli::export::output::Output;
use crate::cli::export::{ExportError, Progress, Selection};
use crate::config::StoreConfig;
use crate::export_format::Encoder;
use crate::store::{Archive, Extent, RollRange};

/// How many rolls are read at a time.
const BATCH: usize = 1_000;

/// Writes the selected rolls that are stored now.
///
/// # Errors
///
/// The database cannot be read, or `out` cannot be written to.
pub fn export(
    selection: &Selection,
    config: &StoreConfig,
    gaps: &mut GapCounter,
    out: &mut Output,
) -> Result<(), ExportError> {
    let mut archive = Archive::open(config)?;
    let Selection { format, after, before, since } = *selection;
    let since = since.map(|since| since.moment(Timestamp::now()));
    let Extent { mut ids, dice, .. } = archive.extent(&RollRange { after, before, since })?;
    let mut encoder = Encoder::new(format, dice);
    let mut progress = Progress::new(ids.n_rolls());
    out.write_all(&encoder.head())?;
    loop {
        let rows = archive.between(ids, BATCH)?;
        let Some(last) = rows.newest() else { break };
        ids.after = last;
        let mut unreadable = rows.unreadable.iter().map(|row| row.id).peekable();
        for roll in &rows.rolls {
            while let Some(id) = unreadable.next_if(|id| *id < roll.id) {
                gaps.add_unreadable(id);
            }
            gaps.add(roll.id);
        }
        unreadable.for_each(|id| gaps.add_unreadable(id));
        let text = encoder.rolls(&rows.rolls).map_err(|error| ExportError::Read(error.into()))?;
        out.write_all(&text)?;
        progress.add(rows.len() as u64);
    }
    gaps.skip_to(ids.before);
    Ok(out.write_all(&encoder.foot())?)
}
