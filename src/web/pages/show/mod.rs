//! The pages that only show the newest roll: `/screen` for a projector or a video stream, and
//! `/embed` for a frame in another site's page. Both have the same view and the same parameters.

mod query;
pub mod screen;
pub mod embed;
pub mod oembed;
#[cfg(test)]
mod tests;

use serde::Serialize;

use crate::roll::Roll;
use crate::statistics::words::grouped;
use crate::store::StoreError;
use crate::web::pages::live::DRAWN_EVERY;
use crate::web::pages::view::{DieRow, Site};
use crate::web::pages::{Pages, links, words};

use self::query::{Backdrop, Show, ShowQuery};

/// The templates `screen` and `embed`.
#[derive(Serialize)]
struct ShowView {
    title: String,
    /// `felt`, `none` or `colour`.
    backdrop: &'static str,
    /// The colour behind the dice, such as `#00ff00`.
    colour: Option<String>,
    /// Whether text is dark, because the colour is light.
    is_ink_dark: bool,
    has_sound: bool,
    /// The parameters, such as `?dice=1D6`, without those that have their default.
    query: String,
    /// Whether all dice of a roll are shown.
    shows_all: bool,
    roll: Option<NewestRoll>,
    columns: Vec<Column>,
    /// The cursor of the newest roll, where the stream continues.
    cursor: String,
    every_ms: u128,
    /// How often there is a roll, if that is more often than the script draws them.
    fast: Option<String>,
}

#[derive(Serialize)]
struct NewestRoll {
    number: String,
    href: String,
}

/// One die of the newest roll.
#[derive(Serialize)]
struct Column {
    die: DieRow,
    /// The results before it, newest first; `None` where there are fewer rolls or other dice.
    tail: Vec<Option<u32>>,
}

impl ShowView {
    /// Reads what a page shows.
    async fn read(show: &Show, pages: &Pages, site: &Site) -> Result<ShowView, StoreError> {
        let newest = pages.store.newest(1 + show.tail).await?;
        Ok(ShowView {
            title: words::headline(site.dice(), site.every()),
            backdrop: show.backdrop.name(),
            colour: match show.backdrop {
                Backdrop::Colour(colour) => Some(colour.to_string()),
                Backdrop::Felt | Backdrop::None => None,
            },
            is_ink_dark: matches!(show.backdrop, Backdrop::Colour(colour) if colour.is_light()),
            has_sound: show.has_sound,
            query: show.query(),
            shows_all: show.shows_all(),
            cursor: newest.rolls.first().map_or(newest.head, Roll::cursor).to_string(),
            roll: newest.rolls.first().map(NewestRoll::from),
            columns: columns(&newest.rolls, show, site),
            every_ms: site.every().as_millis(),
            fast: (site.every() < DRAWN_EVERY).then(|| words::pace(site.every())),
        })
    }
}

impl From<&Roll> for NewestRoll {
    fn from(roll: &Roll) -> NewestRoll {
        NewestRoll { number: grouped(roll.id.0.unsigned_abs()), href: links::roll(roll.id) }
    }
}

/// The wanted dice of the newest roll, in its order, each with its results before. Before the first
/// roll, the dice of this server.
fn columns(rolls: &[Roll], show: &Show, site: &Site) -> Vec<Column> {
    let Some((newest, before)) = rolls.split_first() else {
        let wanted = site.dice().filter(|die| show.has(*die));
        let empty = |die| Column { die: DieRow::new(die, None), tail: vec![None; show.tail] };
        return wanted.map(empty).collect();
    };
    let wanted = newest.dice.0.iter().filter(|shown| show.has(shown.die));
    wanted
        .map(|shown| {
            let mut tail: Vec<Option<u32>> =
                before.iter().map(|roll| roll.dice.of(shown.die)).collect();
            tail.resize(show.tail, None);
            Column { die: DieRow::from(shown), tail }
        })
        .collect()
}
