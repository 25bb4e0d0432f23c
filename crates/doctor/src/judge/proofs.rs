//! Whether rolls can be verified through this address.

use jiff::SignedDuration;

use crate::judge::headers::cached;
use crate::judge::{Finding, fault, fine, note, unknown};
use crate::response::{Head, NoResponse};
use crate::rollcast::{Checkpoint, Cursor};
use crate::visit::{Log, Observations};

const NAME: &str = "proofs";
/// rollcast signs a roll within a second. A checkpoint that lacks an older roll is an old copy.
const MAX_DELAY: SignedDuration = SignedDuration::from_secs(5);

const NO_CACHE: &str = "nginx: no `proxy_cache`, no `expires` and no `add_header Cache-Control` for \
                        `/checkpoint`";
const PASS_ON: &str = "nginx: `proxy_pass` for `/checkpoint` and `/tile/`, without `limit_req`, \
                       `rewrite` and filters of bodies";
const IS_THERE: &str =
    "rollcast: a version that keeps a log; nginx: `proxy_pass` for `/checkpoint`";

/// Whether the newest checkpoint and its tile come as rollcast sends them; `None` if the stream is
/// not rollcast's, or has no roll yet.
pub fn proofs(seen: &Observations) -> Option<Finding> {
    let log = match &seen.log {
        None if seen.is_door => {
            return Some(unknown(
                NAME,
                "the fan-out door has no log: examine a page of the server",
            ));
        }
        None => return None,
        Some(log) => log,
    };
    let log = match log {
        Ok(log) => log,
        Err(error) => return Some(fault(NAME, format!("`/checkpoint`: {error}"), PASS_ON)),
    };
    let newest_roll =
        |before: SignedDuration| seen.stream.as_ref().ok()?.newest_roll_until(log.head.at - before);
    Some(match (log.head.status, &log.newest) {
        (200, Some((checkpoint, tile))) => old_copy(log, *checkpoint, newest_roll(MAX_DELAY))
            .unwrap_or_else(|| whole_tile(*checkpoint, tile)),
        (200, None) => fault(NAME, "`/checkpoint` is not a checkpoint", PASS_ON),
        (404, _) => {
            newest_roll(SignedDuration::ZERO)?;
            note(NAME, "`/checkpoint` has status 404: nobody can verify the rolls", IS_THERE)
        }
        (status, _) => fault(NAME, format!("`/checkpoint` has status {status}"), PASS_ON),
    })
}

/// The fault if the checkpoint is an old copy, or may be one for other clients.
fn old_copy(log: &Log, checkpoint: Checkpoint, newest: Option<Cursor>) -> Option<Finding> {
    if let Some(header) = cached(&log.head) {
        let saw = format!("verifiers may get an old checkpoint: `{header}`");
        return Some(fault(NAME, saw, NO_CACHE));
    }
    let missing = newest.filter(|newest| newest.id > checkpoint.n_rolls)?;
    let saw = format!(
        "an old checkpoint: it covers {} rolls, and roll {} came more than {} s before it",
        checkpoint.n_rolls,
        missing.id,
        MAX_DELAY.as_secs()
    );
    Some(fault(NAME, saw, NO_CACHE))
}

/// Whether the tile with the newest leaf has its length.
fn whole_tile(checkpoint: Checkpoint, tile: &Result<(Head, usize), NoResponse>) -> Finding {
    let (path, expected) = checkpoint.newest_tile();
    match tile {
        Ok((head, _)) if head.status != 200 => {
            fault(NAME, format!("`{path}` has status {}", head.status), PASS_ON)
        }
        Ok((_, len)) if *len != expected => {
            fault(NAME, format!("`{path}` has {len} bytes, expected {expected}"), PASS_ON)
        }
        Ok(_) => fine(NAME, format!("the checkpoint covers {} rolls", checkpoint.n_rolls)),
        Err(error) => fault(NAME, format!("`{path}`: {error}"), PASS_ON),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Note, Unknown};
    use crate::judge::samples::{door, event, expect, foreign, head, log, rollcast, watch};
    use crate::watch::End;

    fn judged(log: Result<Log, NoResponse>) -> Finding {
        proofs(&Observations { log: Some(log), ..rollcast() }).expect("one")
    }

    #[test]
    fn a_checkpoint_that_caches_may_store_is_a_fault() {
        let table = [
            (&[("cache-control", "no-cache")][..], Fine, "49 rolls"),
            (&[("cache-control", "max-age=60")], Fault, "`Cache-Control: max-age=60`"),
            (&[("cache-control", "no-cache"), ("age", "17")], Fault, "`Age: 17`"),
        ];
        for (headers, verdict, text) in table {
            let mut log = log(49);
            log.head.headers = head(headers).headers;
            expect(&format!("{headers:?}"), &judged(Ok(log)), verdict, text);
        }
    }

    #[test]
    fn a_checkpoint_that_lacks_a_roll_of_more_than_five_seconds_ago_is_a_fault() {
        // Roll 46 came 6 s before the checkpoint, and roll 47 came 5 s before it.
        for (n_rolls, verdict, text) in
            [(45, Fault, "roll 46 came"), (46, Fine, "46 rolls"), (99, Fine, "99 rolls")]
        {
            expect(&format!("{n_rolls}"), &judged(Ok(log(n_rolls))), verdict, text);
        }
        // The newest roll when the stream was opened counts too.
        let mut seen = rollcast();
        seen.watched().arrivals.truncate(2);
        for (n_rolls, verdict) in [(39, Fault), (40, Fine)] {
            seen.log = Some(Ok(log(n_rolls)));
            expect(&format!("{n_rolls}"), &proofs(&seen).expect("one"), verdict, "rolls");
        }
    }

    #[test]
    fn a_tile_of_another_length_or_status_is_a_fault() {
        let gone = || NoResponse::TimedOut(Duration::from_secs(9));
        let limited = Head { status: 429, ..head(&[]) };
        let table = [
            (Ok((head(&[]), 49 * 32)), Fine, "49 rolls"),
            (Ok((head(&[]), 49 * 32 - 1)), Fault, "1567 bytes, expected 1568"),
            (Ok((limited, 49 * 32)), Fault, "`limit_req`"),
            (Err(gone()), Fault, "`/tile/0/000.p/49`: no answer"),
        ];
        for (tile, verdict, text) in table {
            let case = format!("{tile:?}");
            let newest = Some((Checkpoint { n_rolls: 49 }, tile));
            expect(&case, &judged(Ok(Log { newest, ..log(49) })), verdict, text);
        }
        expect("no answer", &judged(Err(gone())), Fault, "`/checkpoint`: no answer");
    }

    #[test]
    fn another_answer_than_a_checkpoint_is_a_fault_and_a_server_without_a_log_is_not() {
        let answer = |status| {
            let mut log = log(49);
            log.head.status = status;
            Log { newest: None, ..log }
        };
        for (status, verdict, text) in [
            (200, Fault, "not a checkpoint"),
            (429, Fault, "status 429"),
            (404, Note, "nobody can verify"),
        ] {
            expect(&format!("{status}"), &judged(Ok(answer(status))), verdict, text);
        }
        // Before the first roll there is no checkpoint.
        let mut empty = rollcast();
        let sync = event("sync", None, r#"{"mode":"live","head":"0","replay":0,"lost":0}"#);
        *empty.watched() = watch(vec![(3, sync)], End::Open, 9_000);
        empty.log = Some(Ok(answer(404)));
        assert_eq!(proofs(&empty), None);
        // The log of the door's page counts, and the door alone has none.
        expect("page", &proofs(&door()).expect("one"), Fine, "49 rolls");
        let alone = Observations { page: None, log: None, ..door() };
        expect("door", &proofs(&alone).expect("one"), Unknown, "a page of the server");
        assert_eq!(proofs(&foreign(watch(vec![], End::Open, 1_000))), None);
    }
}
