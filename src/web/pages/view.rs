//! What templates get: plain rows, made at this wall.

use std::time::Duration;

use jiff::SignedDuration;
use rocket::Request;
use rocket::http::Status;
use serde::Serialize;

use crate::config::{Config, Keep};
use crate::dice::{Dice, Die, DieResult, Results};
use crate::roll::{Roll, RollId, RolledAt};
use crate::web::pages::assets::Assets;

/// The same for all pages.
pub struct Site {
    dice: Dice,
    every: Duration,
    keep: Keep,
}

impl Site {
    pub fn new(config: &Config) -> Site {
        let roller = config.roller.clone();
        Site { dice: roller.dice, every: roller.every, keep: config.store.keep }
    }

    /// Time between rolls.
    pub fn every(&self) -> Duration {
        self.every
    }

    /// What is rolled.
    pub fn dice(&self) -> impl Iterator<Item = Die> {
        self.dice.iter()
    }

    /// What every page says about the server.
    pub fn view(&self, assets: &Assets) -> SiteView {
        let every = SignedDuration::try_from(self.every).unwrap_or_default();
        SiteView {
            version: env!("CARGO_PKG_VERSION"),
            assets: assets.base(),
            dice: self.dice.to_string(),
            every: format!("{every:#}"),
            kept: match self.keep {
                Keep::Forever => "every roll".into(),
                Keep::Age(_) => format!("those of the last {}", self.keep),
                Keep::Count(_) => format!("the newest {}", self.keep),
            },
        }
    }

    /// A row with the configured dice, for the script to clone.
    pub fn blank_row(&self) -> RollRow {
        let faces = self.dice.iter().map(|die| DieResult { die, result: u32::from(die.n_dice()) });
        RollRow::from(&Roll {
            id: RollId::BEFORE_FIRST,
            rolled_at: RolledAt::truncate(jiff::Timestamp::UNIX_EPOCH),
            dice: Results(faces.collect()),
        })
    }
}

#[derive(Serialize)]
pub struct SiteView {
    version: &'static str,
    assets: String,
    dice: String,
    every: String,
    kept: String,
}

/// One roll of a list.
#[derive(Serialize)]
pub struct RollRow {
    id: i64,
    href: String,
    cursor: String,
    rolled_at: String,
    day: String,
    clock: String,
    dice: Vec<DieRow>,
}

/// One die of a roll.
#[derive(Serialize)]
struct DieRow {
    name: String,
    result: u32,
    /// The drawing: `d6-4` has its pips, others are a shape.
    symbol: String,
    /// Whether the result is written on the drawing.
    numbered: bool,
}

impl From<&Roll> for RollRow {
    fn from(roll: &Roll) -> RollRow {
        let moment = roll.rolled_at.timestamp();
        RollRow {
            id: roll.id.0,
            href: format!("/rolls/{}", roll.id),
            cursor: roll.cursor().to_string(),
            rolled_at: roll.rolled_at.to_string(),
            day: moment.strftime("%Y-%m-%d").to_string(),
            clock: moment.strftime("%H:%M:%S").to_string(),
            dice: roll.dice.0.iter().map(DieRow::from).collect(),
        }
    }
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

/// The page of an error.
#[derive(Serialize)]
pub struct ErrorView {
    site: SiteView,
    title: &'static str,
    status: u16,
    reason: &'static str,
    message: String,
}

impl ErrorView {
    pub fn new(request: &Request<'_>, status: Status, message: String) -> ErrorView {
        let rocket = request.rocket();
        let site = rocket.state::<Site>().expect("the site is managed");
        let assets = rocket.state::<Assets>().expect("static files are managed");
        ErrorView {
            site: site.view(assets),
            title: status.reason_lossy(),
            status: status.code,
            reason: status.reason_lossy(),
            message,
        }
    }
}
