//! The page of one roll, `/rolls/<id>`.

use rocket::{State, get};
use serde::Serialize;

use crate::log::Leaf;
use crate::roll::{Roll, RollId};
use crate::store::{Kept, StoreError};
use crate::web::http::ahead::Ahead;
use crate::web::http::error::HttpError;
use crate::web::pages::meaning::MeaningView;
use crate::web::pages::proof::ProofView;
use crate::web::pages::templates::Page;
use crate::web::pages::view::{Moment, RollRow};
use crate::web::pages::zone::{Zone, ZoneView};
use crate::web::pages::{Pages, links};

/// The template `roll`.
#[derive(Serialize)]
struct RollView {
    title: String,
    description: String,
    /// The picture of link previews.
    picture: String,
    roll: RollRow,
    zone: ZoneView,
    /// When it was made, in that zone.
    made: Moment,
    meaning: Option<MeaningView>,
    proof: ProofView,
    previous: Option<String>,
    next: Option<String>,
    /// The roll in the history.
    in_history: String,
    /// All rolls of its day.
    day: String,
}

/// The page of one roll.
///
/// # Errors
///
/// `id` is not the id of a roll, `tz` is no time zone, the roll is not stored, this node of a fleet
/// does not have it yet, or it cannot be read.
#[get("/rolls/<id>?<tz>")]
pub async fn page(
    id: &str,
    tz: Option<&str>,
    pages: &State<Pages>,
    ahead: &State<Ahead>,
) -> Result<Page, HttpError> {
    let id = id.parse::<RollId>().map_err(|error| HttpError::invalid("roll", error))?;
    let zone = tz.filter(|tz| !tz.is_empty()).map(str::parse::<Zone>).transpose();
    let zone = zone.map_err(|error| HttpError::invalid("tz", error))?.unwrap_or_default();
    ahead.wait_for_any(id).await?;
    let (roll, kept) = pages.store.roll(id).await?;
    let roll = roll.ok_or_else(|| HttpError::no_roll(id, kept))?;
    let proof = match pages.store.leaf(id).await {
        Ok((leaf, _)) => {
            let begins = match leaf {
                Leaf::Proven { next: Some(_), .. } => pages.store.chain(id).await?,
                _ => None,
            };
            let fixed = begins.and_then(|chain| chain.fixed);
            ProofView::new(&leaf, fixed, pages.store.key())
        }
        Err(changed @ StoreError::Changed { .. }) => {
            ProofView::changed(id, &changed, pages.store.key())
        }
        Err(error) => return Err(error.into()),
    };
    // It reads thousands of rows. A page of a busy server is complete without it.
    let meaning = pages.store.occurrence(&roll).await.ok().flatten();
    let meaning = meaning.map(|place| MeaningView::new(id, place, &zone));
    Ok(Page::render("roll", RollView::new(&roll, &zone, meaning, proof, kept)))
}

impl RollView {
    fn new(
        roll: &Roll,
        zone: &Zone,
        meaning: Option<MeaningView>,
        proof: ProofView,
        kept: Kept,
    ) -> RollView {
        let neighbour = |id: RollId| {
            let is_kept = kept.oldest <= id && id <= kept.head.id;
            is_kept.then(|| links::roll_in(zone, id))
        };
        RollView {
            title: format!("Roll {}", roll.id),
            description: description(roll),
            picture: links::picture(roll.id),
            roll: RollRow::from(roll),
            zone: zone.view(links::roll(roll.id)),
            made: Moment::in_zone(zone, roll.rolled_at),
            meaning,
            proof,
            previous: neighbour(roll.id.previous()),
            next: neighbour(roll.id.next()),
            in_history: links::in_history(zone, roll.id),
            day: links::day(zone, zone.date(roll.rolled_at)),
        }
    }
}

/// What link previews and search engines show: `1D6 4, 1D20 17.` and the time.
fn description(roll: &Roll) -> String {
    let dice = roll.dice.0.iter().map(|it| format!("{} {}", it.die, it.result));
    let time = roll.rolled_at.timestamp().strftime("%Y-%m-%d at %H:%M:%S UTC");
    format!("{}. Rolled on {time}; anyone can verify it.", dice.collect::<Vec<_>>().join(", "))
}
