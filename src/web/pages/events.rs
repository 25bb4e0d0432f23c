//! The feed of rare events, `/events.atom`: round numbers, record streaks, and alarms of fairness.
//!
//! Source: <https://www.rfc-editor.org/rfc/rfc4287>.

use std::time::Duration;

use jiff::Timestamp;
use rocket::http::ContentType;
use rocket::{State, get};
use serde::Serialize;

use crate::config::AboutConfig;
use crate::roll::RollId;
use crate::statistics::words::grouped;
use crate::statistics::{DieReport, Statistics};
use crate::store::StoreError;
use crate::web::http::error::HttpError;
use crate::web::pages::stats::Stats;
use crate::web::pages::templates::Page;
use crate::web::pages::view::Site;
use crate::web::pages::{Pages, links, words};

const MAX_MILESTONES: i64 = 10;
/// Milestones are at least this far apart.
const MILESTONE_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// The template `events`.
#[derive(Serialize)]
struct EventsView {
    author: String,
    /// The time of the newest event.
    updated: String,
    events: Vec<EventView>,
}

#[derive(Serialize)]
struct EventView {
    /// The path of the roll, with a fragment that no other event has.
    path: String,
    title: String,
    summary: String,
    updated: String,
}

/// A rare event.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Event {
    roll: RollId,
    /// What distinguishes it from other events of the same roll.
    name: String,
    title: String,
    summary: String,
}

/// The feed, newest event first.
///
/// # Errors
///
/// The history cannot be read.
#[get("/events.atom")]
pub async fn feed(
    stats: &State<Stats>,
    pages: &State<Pages>,
    about: &State<AboutConfig>,
    site: &State<Site>,
) -> Result<Page, HttpError> {
    let statistics = stats.newest().await?;
    let mut views = Vec::new();
    for event in events(&statistics, site.every()) {
        // The time of a pruned or damaged roll is not known.
        match pages.store.roll(event.roll).await {
            Ok((Some(roll), _)) => views.push(EventView::new(event, roll.rolled_at.to_string())),
            Ok((None, _)) | Err(StoreError::Unreadable(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let first = || Timestamp::UNIX_EPOCH.to_string();
    let view = EventsView {
        author: about.operator.clone().unwrap_or_else(|| "rollcast".into()),
        updated: views.iter().map(|event| event.updated.clone()).max().unwrap_or_else(first),
        events: views,
    };
    let content_type = ContentType::new("application", "atom+xml");
    Ok(Page::render("events", view).with_type(content_type))
}

impl EventView {
    fn new(event: Event, updated: String) -> EventView {
        let Event { roll, name, title, summary } = event;
        EventView { path: format!("{}#{name}", links::roll(roll)), title, summary, updated }
    }
}

/// All events, newest first.
fn events(statistics: &Statistics, every: Duration) -> Vec<Event> {
    let mut events = milestones(RollId(statistics.as_of), every);
    for die in &statistics.dice {
        events.extend(streak(die));
        events.extend(alarm(die));
    }
    events.sort_by(|a, b| (b.roll, &a.name).cmp(&(a.roll, &b.name)));
    events
}

/// The first roll, and the newest round numbers.
fn milestones(head: RollId, every: Duration) -> Vec<Event> {
    let mut step: i64 = 10;
    while every * u32::try_from(step).unwrap_or(u32::MAX) < MILESTONE_EVERY {
        step *= 10;
    }
    let last = head.0 / step;
    let round = (last - MAX_MILESTONES + 1).max(1)..=last;
    let first = (head.0 >= 1).then_some(1);
    let ids = first.into_iter().chain(round.map(|n| n * step));
    ids.map(|id| Event {
        roll: RollId(id),
        name: "milestone".into(),
        title: if id == 1 {
            "The first roll".into()
        } else {
            format!("Roll {}", grouped(id as u64))
        },
        summary: if id == 1 {
            "The history begins with this roll.".into()
        } else {
            format!("With this roll, the history reached {} rolls.", grouped(id as u64))
        },
    })
    .collect()
}

/// The longest streak of a die, once it has ended and says something about the die.
fn streak(die: &DieReport) -> Option<Event> {
    let run = &die.longest_streak;
    let (id, result) = run.id.zip(run.result)?;
    let (length, name) = (grouped(run.length), in_text(die));
    (run.is_telling(die.n_rolls) && run.length > 2).then(|| Event {
        roll: RollId(id),
        name: format!("streak-{}", die.die),
        title: format!("{name}: {length} times {result} in a row"),
        summary: format!("The longest streak of the {name} so far ended with this roll."),
    })
}

/// The first alarm of a die.
fn alarm(die: &DieReport) -> Option<Event> {
    let name = in_text(die);
    die.fairness.alarm_id.map(|id| Event {
        roll: RollId(id),
        name: format!("alarm-{}", die.die),
        title: format!("{name}: evidence that it is unfair"),
        summary: format!(
            "The evidence against the {name} reached its alarm with this roll. That is a reason to \
             look closer, and not a proof.",
        ),
    })
}

/// The name of the die within a sentence: `d20`.
fn in_text(die: &DieReport) -> String {
    die.die.parse().map_or_else(|_| die.die.clone(), words::die_in_text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(head: i64, every: Duration) -> Vec<i64> {
        milestones(RollId(head), every).into_iter().map(|event| event.roll.0).collect()
    }

    #[test]
    fn milestones_are_round_numbers_about_a_day_or_more_apart() {
        let second = Duration::from_secs(1);
        assert!(ids(0, second).is_empty());
        assert_eq!(ids(99_999, second), [1]);
        assert_eq!(ids(250_000, second), [1, 100_000, 200_000]);
        let newest: Vec<i64> = (3..=12).map(|n| n * 100_000).collect();
        assert_eq!(ids(1_299_999, second)[1..], newest);
        assert_eq!(ids(100, 3_600 * second), [1, 100]);
        assert_eq!(ids(1_000_000_000, Duration::from_millis(1)).last(), Some(&1_000_000_000));
    }
}
