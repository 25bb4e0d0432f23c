//! The page of a draw, `/draw`. A draw is bound to a roll by its number, and to a label. Nothing is
//! stored.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use rocket::form::FromForm;
use rocket::http::Status;
use rocket::http::uri::Origin;
use rocket::response::Redirect;
use rocket::{Either, State, get};
use serde::Serialize;

use crate::dice::{Dice, Die};
use crate::draw::{self, Label};
use crate::log::Leaf;
use crate::roll::{Roll, RollId, RolledAt};
use crate::seeds::Seed;
use crate::store::{Chain, Fixed, Kept, StoreError};
use crate::text::ValueError;
use crate::web::http::error::HttpError;
use crate::web::http::require_path;
use crate::web::pages::form::{Field, field};
use crate::web::pages::proof::why_without_seed;
use crate::web::pages::templates::Page;
use crate::web::pages::view::{Moment, Site};
use crate::web::pages::{Pages, links};

/// The fields of the query. A form also sends empty fields, which mean the same as missing ones.
#[derive(FromForm)]
pub struct DrawQuery<'r> {
    roll: Option<&'r str>,
    dice: Option<&'r str>,
    label: Option<&'r str>,
}

/// A draw, as requested.
struct Draw {
    id: RollId,
    dice: Dice,
    label: Option<Label>,
}

/// The template `draw`.
#[derive(Serialize)]
struct View {
    title: String,
    canonical: String,
    form: FormView,
    newest: Option<RollLink>,
    /// The last roll that is already fixed; 0 if no roll has a seed.
    last_fixed: i64,
    draw: Option<DrawView>,
}

#[derive(Default, Serialize)]
struct FormView {
    roll: Field,
    dice: Field,
    label: Field,
}

#[derive(Serialize)]
struct RollLink {
    id: i64,
    href: String,
}

/// A draw: its roll is a future one, or it shows faces, or there is no draw.
#[derive(Serialize)]
struct DrawView {
    roll: i64,
    /// Names of dice, joined by commas.
    dice: String,
    /// Empty without a label.
    label: String,
    /// `waiting`, `shown` or `none`.
    state: &'static str,
    link: String,
    fixed_since: Option<FixedView>,
    waiting: Option<Waiting>,
    shown: Option<Shown>,
    /// Why there is no draw.
    reason: Option<String>,
}

/// The roll since which the draw's roll is fixed.
#[derive(Serialize)]
struct FixedView {
    id: i64,
    href: String,
    /// `None` if that roll is pruned.
    at: Option<Moment>,
    is_break: bool,
}

/// The roll is a future one.
#[derive(Serialize)]
struct Waiting {
    n_rolls: i64,
    seconds: u64,
    due: Moment,
}

/// What the dice show.
#[derive(Serialize)]
struct Shown {
    href: String,
    file: String,
    #[serde(flatten)]
    rolled_at: Moment,
    seed: String,
    dice: Vec<ShownDie>,
}

#[derive(Serialize)]
struct ShownDie {
    name: String,
    faces: Vec<ShownFace>,
    sum: u32,
    /// The faces in order, without repeats.
    different: Vec<u16>,
}

#[derive(Serialize)]
struct ShownFace {
    face: u16,
    /// Whether an earlier die shows the same face.
    is_again: bool,
}

/// The page of a draw, or of the form that makes one. A draw has one link, to which all others
/// redirect: then everybody publishes and compares the same one.
///
/// # Errors
///
/// Another spelling of the path, or the history cannot be read. A field that cannot be used is shown
/// with the form, with status 422.
#[get("/draw?<query..>")]
pub async fn page(
    query: DrawQuery<'_>,
    uri: &Origin<'_>,
    pages: &State<Pages>,
    site: &State<Site>,
) -> Result<Either<(Status, Page), Redirect>, HttpError> {
    require_path(uri, "/draw")?;
    let (form, draw) = query.read(site);
    if let Some(link) = draw.as_ref().map(Draw::link).filter(|link| !has_fields_of(uri, link)) {
        return Ok(Either::Right(Redirect::to(link)));
    }
    let kept = pages.store.kept().await?;
    let id = draw.as_ref().map_or(kept.head.id, |draw| draw.id);
    let chain = pages.store.chain(id).await?;
    let has_error = form.has_error();
    let draw = match draw {
        Some(draw) => Some(DrawView::read(draw, kept, chain, pages, site).await?),
        None => None,
    };
    let newest = kept.head.id;
    let title = draw.as_ref().map_or("Draw".into(), |draw| format!("Draw of roll {}", draw.roll));
    let canonical = draw.as_ref().map_or("/draw".into(), |draw| draw.link.clone());
    let view = View {
        title,
        canonical,
        form,
        newest: (newest > RollId::BEFORE_FIRST).then(|| RollLink::from(newest)),
        last_fixed: chain.map_or(0, |chain| chain.last_fixed.0),
        draw,
    };
    let status = if has_error { Status::UnprocessableEntity } else { Status::Ok };
    Ok(Either::Left((status, Page::render("draw", view))))
}

/// Whether a request has exactly the fields of a link. They are compared decoded and in any order,
/// because a proxy may write them in another way, and a redirect would not end.
fn has_fields_of(uri: &Origin<'_>, link: &str) -> bool {
    let fields = |uri: &Origin<'_>| {
        let pairs = uri.query().into_iter().flat_map(|query| query.segments());
        let owned = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut fields: Vec<_> = owned.collect();
        fields.sort_unstable();
        fields
    };
    Origin::parse(link).is_ok_and(|link| fields(&link) == fields(uri))
}

impl Draw {
    /// The names of the dice, joined by commas.
    fn names(&self) -> String {
        let names: Vec<String> = self.dice.iter().map(|die| die.to_string()).collect();
        names.join(",")
    }

    fn link(&self) -> String {
        links::draw(self.id, &self.names(), self.label.as_ref())
    }
}

impl DrawQuery<'_> {
    /// The form with the fields as sent, and the draw if all can be used.
    fn read(&self, site: &Site) -> (FormView, Option<Draw>) {
        let is_given =
            [self.roll, self.dice, self.label].into_iter().flatten().any(|it| !it.is_empty());
        let first_die = site.dice().next().map_or(String::new(), |die| die.to_string());
        if !is_given {
            let form = FormView { dice: Field::of(first_die), ..FormView::default() };
            return (form, None);
        }
        let (roll, id) = field(self.roll, parse_id);
        let (dice, names) = field(self.dice, parse_dice);
        let (label_field, label) = match self.label.filter(|label| !label.is_empty()) {
            Some(label) => field(Some(label), |label| label.parse::<Label>().map(Some)),
            None => (Field::default(), Some(None)),
        };
        let draw = match (id, names, label) {
            (Some(id), Some(dice), Some(label)) => Some(Draw { id, dice, label }),
            _ => None,
        };
        (FormView { roll, dice, label: label_field }, draw)
    }
}

impl FormView {
    fn has_error(&self) -> bool {
        [&self.roll, &self.dice, &self.label].into_iter().any(|field| field.error.is_some())
    }
}

fn parse_id(text: &str) -> Result<RollId, ValueError> {
    let id: RollId = text.trim().parse()?;
    if id == RollId::BEFORE_FIRST {
        return Err(ValueError::new("a roll id from 1 on", text));
    }
    Ok(id)
}

fn parse_dice(text: &str) -> Result<Dice, ValueError> {
    let dice = text.split(',').map(|name| name.trim().parse::<Die>());
    Dice::try_from(dice.collect::<Result<Vec<Die>, _>>()?)
}

impl DrawView {
    async fn read(
        draw: Draw,
        kept: Kept,
        chain: Option<Chain>,
        pages: &Pages,
        site: &Site,
    ) -> Result<DrawView, HttpError> {
        let Draw { id, label, .. } = &draw;
        let fixed = chain.and_then(|chain| chain.fixed);
        let fixed_since = match fixed {
            Some(fixed) => Some(FixedView::read(fixed, pages).await?),
            None => None,
        };
        let mut view = DrawView {
            roll: id.0,
            link: draw.link(),
            label: label.as_ref().map(Label::to_string).unwrap_or_default(),
            dice: draw.names(),
            state: "none",
            fixed_since,
            waiting: None,
            shown: None,
            reason: None,
        };
        if *id > kept.head.id {
            view.state = "waiting";
            view.waiting = Some(Waiting::of(id.0 - kept.head.id.0, site.every()));
            return Ok(view);
        }
        let leaf = match pages.store.leaf(*id).await {
            Ok((leaf, _)) => leaf,
            Err(changed @ StoreError::Changed { .. }) => {
                view.reason = Some(changed.to_string());
                return Ok(view);
            }
            Err(error) => return Err(error.into()),
        };
        match leaf {
            Leaf::Proven { roll, seed, .. } => {
                view.state = "shown";
                view.shown = Some(Shown::of(&roll, seed, &draw));
            }
            _ if *id < kept.oldest => {
                view.reason = Some(format!("roll {id} is no longer kept"));
            }
            leaf => {
                view.reason = why_without_seed(&leaf)
                    .map(|why| format!("roll {id} has no seed, because {why}"))
            }
        }
        Ok(view)
    }
}

impl FixedView {
    async fn read(fixed: Fixed, pages: &Pages) -> Result<FixedView, HttpError> {
        let Fixed { since, is_break } = fixed;
        let at = match pages.store.leaf(since).await {
            Ok((leaf, _)) => leaf.roll().map(|roll| Moment::from(roll.rolled_at)),
            Err(StoreError::Changed { .. }) => None,
            Err(error) => return Err(error.into()),
        };
        Ok(FixedView { id: since.0, href: links::roll(since), at, is_break })
    }
}

impl Waiting {
    fn of(n_rolls: i64, every: Duration) -> Waiting {
        let n = u32::try_from(n_rolls).unwrap_or(u32::MAX);
        let wait = every.saturating_mul(n);
        let due = Timestamp::now().checked_add(wait).unwrap_or(Timestamp::MAX);
        let due = Moment::from(RolledAt::truncate(due));
        Waiting { n_rolls, seconds: wait.as_secs(), due }
    }
}

impl Shown {
    fn of(roll: &Roll, seed: Seed, draw: &Draw) -> Shown {
        let Draw { id, dice, label } = draw;
        let key = seed.key();
        let dice = dice.iter().map(|die| {
            let faces: Vec<u16> = draw::faces(&key, *id, die, label.as_ref()).collect();
            let mut seen = BTreeSet::new();
            let again: Vec<bool> = faces.iter().map(|face| !seen.insert(*face)).collect();
            let shown = faces.iter().zip(&again);
            ShownDie {
                name: die.to_string(),
                sum: faces.iter().copied().map(u32::from).sum(),
                different: shown
                    .clone()
                    .filter(|(_, again)| !**again)
                    .map(|(face, _)| *face)
                    .collect(),
                faces: shown
                    .map(|(face, again)| ShownFace { face: *face, is_again: *again })
                    .collect(),
            }
        });
        Shown {
            href: links::roll(*id),
            file: links::proof(*id),
            rolled_at: Moment::from(roll.rolled_at),
            seed: seed.to_string(),
            dice: dice.collect(),
        }
    }
}

impl From<RollId> for RollLink {
    fn from(id: RollId) -> RollLink {
        RollLink { id: id.0, href: links::roll(id) }
    }
}
