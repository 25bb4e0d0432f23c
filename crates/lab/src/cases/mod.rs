//! All cases.

mod parsing;
mod ids;
mod latency;
mod http;
mod status;
mod resume;
mod retry;
mod storm;
mod quiet;
mod size;

use std::sync::OnceLock;

use crate::case::Case;

/// All cases, in the order in which they are shown.
pub fn all() -> &'static [Case] {
    static CASES: OnceLock<Vec<Case>> = OnceLock::new();
    CASES.get_or_init(|| {
        let kinds = [
            parsing::cases,
            ids::cases,
            latency::cases,
            http::cases,
            status::cases,
            resume::cases,
            retry::cases,
            storm::cases,
            quiet::cases,
            size::cases,
        ];
        kinds.iter().flat_map(|cases| cases()).collect()
    })
}

/// The case with this id.
pub fn find(id: &str) -> Option<&'static Case> {
    all().iter().find(|case| case.id == id)
}

/// Whether `id` matches one of these patterns, divided by commas. `*` stands for any characters.
pub fn matches(patterns: &str, id: &str) -> bool {
    patterns.split(',').any(|pattern| matches_one(pattern.trim().as_bytes(), id.as_bytes()))
}

fn matches_one(pattern: &[u8], id: &[u8]) -> bool {
    match pattern.split_first() {
        None => id.is_empty(),
        Some((b'*', rest)) => (0..=id.len()).any(|n| matches_one(rest, &id[n..])),
        Some((byte, rest)) => id.first() == Some(byte) && matches_one(rest, &id[1..]),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::case::{Needs, Script};

    #[test]
    fn there_are_at_least_120_cases_and_each_has_its_own_id() {
        let ids: HashSet<&str> = all().iter().map(|case| case.id).collect();
        assert_eq!(ids.len(), all().len());
        assert!(ids.len() >= 120, "{}", ids.len());
    }

    #[test]
    fn each_case_asks_for_something_and_says_what_happens() {
        for case in all() {
            let expect = &case.expect;
            let is_asked = expect.reports.is_some()
                || expect.reaches_end
                || expect.stops.is_some()
                || expect.at_most.is_some();
            assert!(is_asked, "{}", case.id);
            assert!(case.what.len() > 4 && !case.what.ends_with('.'), "{}", case.id);
            if let Script::Replies(replies) | Script::Redirected(_, replies) = &case.script {
                assert!(!replies.is_empty(), "{}", case.id);
            }
            let asks_for_more_requests =
                !expect.last_event_ids.is_empty() || !expect.pauses.is_empty();
            assert!(!asks_for_more_requests || case.needs == Needs::Reconnect, "{}", case.id);
        }
    }

    #[test]
    fn a_pattern_has_stars_and_commas() {
        for (patterns, id, expected) in [
            ("*", "p-basic", true),
            ("p-*", "p-basic", true),
            ("r-*", "p-basic", false),
            ("r-*, p-*", "p-basic", true),
            ("p-basic", "p-basic", true),
            ("p-basi", "p-basic", false),
            ("*-retry-*", "r-retry-0", true),
            ("", "p-basic", false),
        ] {
            assert_eq!(matches(patterns, id), expected, "{patterns} {id}");
        }
    }
}
