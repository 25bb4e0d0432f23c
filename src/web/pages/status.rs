//! The status of the server in plain words, for every page. `/readyz` and the log have details.

use jiff::Timestamp;
use serde::Serialize;

use crate::health::{Audience, Health, Replication};
use crate::web::pages::words;

/// Whether new rolls are stored, and what that means for visitors.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct StatusView {
    /// `well`, `catching_up` or `stopped`.
    name: &'static str,
    words: String,
    /// How many rolls of the others this server still lacks.
    n_behind: u64,
}

impl StatusView {
    /// The status at this moment.
    pub fn of(health: &Health) -> StatusView {
        if health.problems(Audience::Anyone).is_empty() {
            let words = "All is well: new rolls arrive.".into();
            return StatusView { name: "well", words, n_behind: 0 };
        }
        if let Some(Replication::CatchingUp { n_behind }) = health.replication() {
            let rolls = words::rolls(n_behind);
            let words = format!("This server is {rolls} behind the others and is catching up.");
            return StatusView { name: "catching_up", words, n_behind };
        }
        let words = stopped(health.last_commit(), Timestamp::now());
        StatusView { name: "stopped", words, n_behind: 0 }
    }
}

fn stopped(last_commit: Option<Timestamp>, now: Timestamp) -> String {
    let since = match last_commit {
        Some(at) if now.duration_since(at).as_hours() < 24 => at.strftime("since %H:%M:%S UTC"),
        Some(at) => at.strftime("since %Y-%m-%d %H:%M:%S UTC"),
        None => now.strftime("since this server started"),
    };
    format!("No new rolls {since}. The server keeps trying.")
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::time::Duration;

    use tokio::time::advance;

    #[test]
    fn a_stop_names_the_last_roll_and_its_day_if_that_is_not_recent() {
        let at: Timestamp = "2026-11-23T12:18:56.9Z".parse().expect("a timestamp");
        let after = |hours: i64| at + jiff::SignedDuration::from_hours(hours);
        let text = "The server keeps trying.";
        for (last, now, since) in [
            (Some(at), after(23), "since 12:18:56 UTC"),
            (Some(at), after(24), "since 2026-11-23 12:18:56 UTC"),
            (None, at, "since this server started"),
        ] {
            assert_eq!(stopped(last, now), format!("No new rolls {since}. {text}"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_server_has_stopped_until_a_roll_is_stored() {
        let health = Health::new(Duration::from_secs(1));
        assert_eq!(StatusView::of(&health).name, "well");
        advance(Duration::from_secs(60)).await;
        assert_eq!(StatusView::of(&health).name, "stopped");
        health.committed();
        assert_eq!(StatusView::of(&health).name, "well");
        health.failed("/srv/rolls.db is locked".into());
        let status = StatusView::of(&health);
        assert_eq!(status.name, "stopped");
        assert!(!status.words.contains("rolls.db"), "{status:?}");
        health.committed();
        for (n_behind, rolls) in [(7, "7 rolls"), (1, "1 roll")] {
            health.replicates(Replication::CatchingUp { n_behind });
            let status = StatusView::of(&health);
            assert_eq!(status.name, "catching_up");
            let words = format!("This server is {rolls} behind the others and is catching up.");
            assert_eq!((status.words, status.n_behind), (words, n_behind));
        }
    }
}
