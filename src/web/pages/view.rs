//! What all templates get: the site, rows of rolls, and errors.

use std::time::Duration;

use jiff::SignedDuration;
use jiff::civil::Date;
use jiff::tz::Offset;
use rocket::Request;
use rocket::http::Status;
use serde::Serialize;

use crate::config::{Config, Keep, RollerConfig};
use crate::dice::{Dice, Die, DieResult, Results};
use crate::roll::{Roll, RollId, RolledAt};
use crate::store::Unreadable;
use crate::web::http::public_url::PublicUrl;
use crate::web::pages::assets::Assets;
use crate::web::pages::links;

/// What is the same on all pages.
pub struct Site {
    assets: Assets,
    dice: Dice,
    every: Duration,
    keep: Keep,
    is_in_fleet: bool,
}

impl Site {
    pub fn new(config: &Config, assets: Assets) -> Site {
        let RollerConfig { dice, every } = config.roller.clone();
        let is_in_fleet = config.fleet.is_some();
        Site { assets, dice, every, keep: config.store.keep, is_in_fleet }
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
        let every = SignedDuration::try_from(self.every).unwrap_or_default();
        SiteView {
            url: PublicUrl::of(request),
            path: request.uri().path().to_string(),
            version: env!("CARGO_PKG_VERSION"),
            assets: links::static_files(&self.assets.version()),
            dice: self.dice.to_string(),
            every: format!("{every:#}"),
            kept: match self.keep {
                Keep::Forever => "every roll".into(),
                Keep::Age(_) => format!("the rolls of the last {}", self.keep),
                Keep::Count(_) => format!("the newest {}", self.keep),
            },
            is_in_fleet: self.is_in_fleet,
        }
    }

    /// A row with the configured dice, for the script to clone.
    pub fn blank_row(&self) -> RollRow {
        let lowest = |die: Die| DieResult { die, result: u32::from(die.n_dice()) };
        RollRow::from(&Roll {
            id: RollId::BEFORE_FIRST,
            rolled_at: RolledAt::truncate(jiff::Timestamp::UNIX_EPOCH),
            dice: Results(self.dice.iter().map(lowest).collect()),
        })
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
    dice: String,
    every: String,
    kept: String,
    is_in_fleet: bool,
}

/// One roll of a list.
#[derive(Serialize)]
pub struct RollRow {
    id: i64,
    href: String,
    cursor: String,
    #[serde(flatten)]
    rolled_at: Moment,
    dice: Vec<DieRow>,
}

/// A timestamp as a page shows it, in UTC.
#[derive(Serialize)]
pub struct Moment {
    rolled_at: String,
    day: String,
    clock: String,
}

/// One die of a roll.
#[derive(Serialize)]
struct DieRow {
    name: String,
    result: u32,
    /// The drawing: `d6-4` shows four pips, other dice are an empty shape.
    symbol: String,
    /// Whether the result is written on the drawing.
    numbered: bool,
}

impl From<&Roll> for RollRow {
    fn from(roll: &Roll) -> RollRow {
        RollRow {
            id: roll.id.0,
            href: links::roll(roll.id),
            cursor: roll.cursor().to_string(),
            rolled_at: Moment::from(roll.rolled_at),
            dice: roll.dice.0.iter().map(DieRow::from).collect(),
        }
    }
}

impl From<RolledAt> for Moment {
    fn from(rolled_at: RolledAt) -> Moment {
        let moment = rolled_at.timestamp();
        Moment {
            rolled_at: rolled_at.to_string(),
            day: moment.strftime("%Y-%m-%d").to_string(),
            clock: moment.strftime("%H:%M:%S").to_string(),
        }
    }
}

/// The day of a roll, in UTC.
pub fn date(rolled_at: RolledAt) -> Date {
    Offset::UTC.to_datetime(rolled_at.timestamp()).date()
}

impl From<&DieResult> for DieRow {
    fn from(&DieResult { die, result }: &DieResult) -> DieRow {
        let pips = die.n_dice() == 1 && die.n_sides() == 6;
        let symbol = match die.n_sides() {
            6 if pips => format!("d6-{result}"),
            sides @ (4 | 6 | 8 | 10 | 12 | 20) => format!("d{sides}"),
            _ => "die".into(),
        };
        DieRow { name: die.to_string(), result, symbol, numbered: !pips }
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
