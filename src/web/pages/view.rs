//! What all templates get: the site, rows of rolls, and errors.

use std::time::Duration;

use rocket::Request;
use rocket::http::Status;
use serde::Serialize;

use crate::config::{Config, Keep, RollerConfig};
use crate::dice::{Dice, Die, DieResult};
use crate::health::Health;
use crate::roll::{Roll, RolledAt};
use crate::statistics::words::grouped;
use crate::store::Unreadable;
use crate::web::http::public_url::PublicUrl;
use crate::web::pages::assets::Assets;
use crate::web::pages::status::StatusView;
use crate::web::pages::zone::Zone;
use crate::web::pages::{links, words};

/// What is the same on all pages.
pub struct Site {
    assets: Assets,
    dice: Dice,
    every: Duration,
    keep: Keep,
    /// Where browsers open the stream.
    stream: String,
    is_in_fleet: bool,
    health: Health,
}

impl Site {
    pub fn new(config: &Config, assets: Assets, health: Health) -> Site {
        let RollerConfig { dice, every } = config.roller.clone();
        let is_in_fleet = config.fleet.is_some();
        let door = config.fanout.as_ref().and_then(|fanout| fanout.public_url.as_deref());
        let stream = format!("{}/stream/", door.unwrap_or_default());
        Site { assets, dice, every, keep: config.store.keep, stream, is_in_fleet, health }
    }

    pub fn assets(&self) -> &Assets {
        &self.assets
    }

    /// Time between rolls.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// The dice of each roll.
    pub fn dice(&self) -> impl Iterator<Item = Die> {
        self.dice.iter()
    }

    /// The part of every page that describes the server, for the visitor who sent `request`.
    pub fn view(&self, request: &Request<'_>) -> SiteView {
        SiteView {
            url: PublicUrl::of(request),
            path: request.uri().path().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            assets: links::static_files(&self.assets.version()),
            dice: words::dice_in_text(self.dice()),
            pace: words::pace(self.every),
            kept: self.kept(),
            stream: self.stream.clone(),
            is_in_fleet: self.is_in_fleet,
            status: StatusView::of(&self.health),
        }
    }

    /// What visitors can rely on, as a sentence.
    pub fn promise(&self) -> String {
        match self.keep {
            Keep::Forever => "Every roll is kept, numbered, and can be verified.".into(),
            _ => format!(
                "Every roll is numbered and can be verified. This server keeps {}.",
                self.kept()
            ),
        }
    }

    fn kept(&self) -> String {
        match self.keep {
            Keep::Forever => "every roll".into(),
            Keep::Age(age) => {
                format!("the rolls of the last {}", words::period(age.unsigned_abs()))
            }
            Keep::Count(1) => "the newest roll".into(),
            Keep::Count(n_rolls) => {
                format!("the newest {} rolls", grouped(n_rolls.unsigned_abs()))
            }
        }
    }
}

#[derive(Serialize)]
pub struct SiteView {
    /// The address of this server for links that leave the site.
    url: PublicUrl,
    /// The path of this page, as the visitor sent it.
    path: String,
    version: &'static str,
    assets: String,
    /// `d6 and d20`.
    dice: String,
    /// `every 5 minutes`, `twice a second`.
    pace: String,
    /// `every roll`, `the rolls of the last 30 days`.
    kept: String,
    /// The address of the stream: `/stream/`, or that of the fan-out door.
    stream: String,
    is_in_fleet: bool,
    status: StatusView,
}

/// One roll of a list.
#[derive(Serialize)]
pub struct RollRow {
    id: i64,
    /// The id for people: `12,345`.
    number: String,
    href: String,
    cursor: String,
    #[serde(flatten)]
    rolled_at: Moment,
    dice: Vec<DieRow>,
}

/// A timestamp as a page shows it.
#[derive(Serialize)]
pub struct Moment {
    rolled_at: String,
    day: String,
    clock: String,
}

/// One die, of a roll or before the first roll.
#[derive(Hash, Serialize)]
pub struct DieRow {
    name: String,
    pub label: String,
    result: Option<u32>,
    /// The drawing: `d6-4` shows four pips, `cup` holds the dice of a sum, other dice are an empty
    /// shape.
    pub symbol: String,
    /// What is written on the drawing.
    pub mark: String,
}

impl From<&Roll> for RollRow {
    fn from(roll: &Roll) -> RollRow {
        RollRow {
            id: roll.id.0,
            number: grouped(roll.id.0.unsigned_abs()),
            href: links::roll(roll.id),
            cursor: roll.cursor().to_string(),
            rolled_at: Moment::from(roll.rolled_at),
            dice: roll.dice.0.iter().map(DieRow::from).collect(),
        }
    }
}

impl From<RolledAt> for Moment {
    fn from(rolled_at: RolledAt) -> Moment {
        Moment::in_zone(&Zone::default(), rolled_at)
    }
}

impl Moment {
    /// A timestamp as a page in this time zone shows it.
    pub fn in_zone(zone: &Zone, rolled_at: RolledAt) -> Moment {
        let shown = zone.civil(rolled_at);
        Moment {
            rolled_at: rolled_at.to_string(),
            day: shown.strftime("%Y-%m-%d").to_string(),
            clock: shown.strftime("%H:%M:%S").to_string(),
        }
    }
}

impl From<&DieResult> for DieRow {
    fn from(&DieResult { die, result }: &DieResult) -> DieRow {
        DieRow::new(die, Some(result))
    }
}

impl DieRow {
    /// A die with a result, or one that was not rolled yet.
    pub fn new(die: Die, result: Option<u32>) -> DieRow {
        let (is_sum, n_sides) = (die.n_dice() > 1, die.n_sides());
        let symbol = match (n_sides, result) {
            _ if is_sum => "cup".into(),
            (6, Some(result)) => format!("d6-{result}"),
            (4 | 6 | 8 | 10 | 12 | 20, _) => format!("d{n_sides}"),
            _ => "die".into(),
        };
        let has_pips = !is_sum && n_sides == 6;
        let mark = result.filter(|_| !has_pips).map(|result| result.to_string());
        DieRow {
            name: die.to_string(),
            label: words::die(die),
            result,
            symbol,
            mark: mark.unwrap_or_default(),
        }
    }
}

/// The template `error`.
#[derive(Serialize)]
pub struct ErrorView {
    title: &'static str,
    status: u16,
    reason: &'static str,
    message: String,
}

impl ErrorView {
    pub fn new(status: Status, message: String) -> ErrorView {
        ErrorView {
            title: status.reason_lossy(),
            status: status.code,
            reason: status.reason_lossy(),
            message,
        }
    }
}

/// Which rolls of a page are left out because their rows cannot be read.
pub fn unreadable_notice(unreadable: &[Unreadable]) -> Option<String> {
    let ids = || unreadable.iter().map(|unreadable| unreadable.id);
    let (first, last) = Option::zip(ids().min(), ids().max())?;
    Some(match unreadable.len() {
        1 => format!("Roll {first} cannot be read and is left out."),
        n => format!("{n} rolls between {first} and {last} cannot be read and are left out."),
    })
}
