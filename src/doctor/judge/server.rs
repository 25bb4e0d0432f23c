//! The server: whom it takes its clients for, how many it serves, its clock and its roller.

use jiff::fmt::rfc2822;
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::cursor::Cursor;
use crate::doctor::client::{Answer, NoAnswer, Watch};
use crate::doctor::judge::way::{LIMITS, status_remedy};
use crate::doctor::judge::{Finding, fault, fine, seconds, unknown};
use crate::doctor::visit::{CLAIMS, FORGED, Seen, busy, told_address};

/// Clocks further apart than this mislead people.
const SKEW: SignedDuration = SignedDuration::from_secs(5);
const X_REAL_IP: &str = "nginx: `proxy_set_header X-Real-IP $remote_addr;` in the stream's location \
                         (one `proxy_set_header` there discards those of the levels above)";
const REAL_IP: &str = "nginx: `proxy_set_header X-Real-IP $remote_addr;`, and `set_real_ip_from` \
                       only for proxies of your own";
const TRUSTED_PROXIES: &str = "rollcast: the proxy's address in `trusted_proxies` in Rocket.toml";
const CLOCK: &str = "run a time service (chronyd, ntpd) on both machines";

/// Whom the server takes its clients for.
pub fn address(seen: &Seen) -> Finding {
    const NAME: &str = "address";
    let Some(honest) = &seen.honest else {
        return unknown(NAME, "the headers alone cannot be had");
    };
    let Some(told) = told_address(honest) else {
        return unknown(NAME, "the server does not tell whom it takes its clients for");
    };
    let local = seen.connection.local.to_canonical();
    // Asked as a proxy on this machine would: then it believes what it is told, as it should.
    if local.is_loopback() && honest.header("server").as_deref() == Some("rollcast") {
        return unknown(NAME, "rollcast itself answered, no proxy; ask through the public address");
    }
    let forged = seen.forged.as_ref().and_then(told_address).flatten();
    if forged.is_some_and(|address| address.to_string() == FORGED) {
        let saw = format!("whoever claims another address ({FORGED}) is believed");
        return match told {
            Some(_) => fault(NAME, saw, REAL_IP),
            None => fault(NAME, format!("{saw}, and yours is not forwarded"), X_REAL_IP),
        };
    }
    match told {
        None => fault(NAME, "the client's address is not forwarded", X_REAL_IP),
        Some(told) if told == local => fine(NAME, format!("you are {told}; {}", others(seen))),
        Some(told) if told.is_loopback() || local.is_loopback() => {
            let saw = format!("all clients are taken for {told}, the proxy, and share its limit");
            fault(NAME, saw, TRUSTED_PROXIES)
        }
        Some(told) => fine(
            NAME,
            format!(
                "you are {told} there (here {local}), right if that is your network's public \
                 address; {}",
                others(seen)
            ),
        ),
    }
}

/// In which headers another address was claimed in vain.
fn others(seen: &Seen) -> String {
    match seen.forged {
        Some(_) => format!("no other is believed in {} or Forwarded", CLAIMS.join(", ")),
        None => "whether another can be claimed was not seen".into(),
    }
}

/// Whether several people behind one address get streams.
pub fn limit(seen: &Seen) -> Finding {
    const NAME: &str = "limit";
    let n_streams = seen.crowd.len();
    for opened in &seen.crowd {
        match opened {
            Ok((answer, _)) if answer.status != 200 => {
                let saw = format!(
                    "one of {n_streams} streams at once got status {}: an EventSource gives up \
                     for good",
                    answer.status
                );
                let change = match answer.status {
                    429 | 503 => LIMITS,
                    status => status_remedy(status),
                };
                return fault(NAME, saw, change);
            }
            Ok((_, frames)) => {
                let Some(busy) = frames.iter().find_map(busy) else { continue };
                let limit = busy.get("limit").and_then(Value::as_u64).unwrap_or_default();
                let whose = busy.get("reason").and_then(Value::as_str).unwrap_or_default();
                return match whose {
                    "address" => fault(
                        NAME,
                        format!(
                            "{limit} streams a client address, and {n_streams} at once are too \
                             many: a household or a class shares one address"
                        ),
                        "rollcast: a higher `max_streams_per_address` in Rocket.toml",
                    ),
                    _ => fault(
                        NAME,
                        format!("all {limit} streams are in use"),
                        "rollcast: a higher `max_streams` in Rocket.toml",
                    ),
                };
            }
            Err(NoAnswer::Silent(after)) => {
                let saw = format!("one of {n_streams} streams at once got no answer in ");
                return unknown(NAME, saw + &seconds(*after));
            }
            Err(NoAnswer::Failed(why)) => {
                let saw = format!("one of {n_streams} streams at once: {why}");
                return fault(
                    NAME,
                    saw,
                    "nginx: more `worker_connections`, of which a stream takes two, and \
                     `worker_rlimit_nofile`",
                );
            }
        }
    }
    fine(NAME, format!("{n_streams} streams at once, all open"))
}

pub fn clock(seen: &Seen, watch: &Watch) -> Finding {
    const NAME: &str = "clock";
    let skew = skew(seen, watch);
    let quickest = watch
        .live_rolls()
        .map(|(arrival, rolled_at)| watch.time_of(arrival).duration_since(rolled_at.timestamp()))
        .min();
    match (skew, quickest) {
        (Some(skew), _) if skew.abs() > SKEW => {
            fault(NAME, format!("the server's clock is {} this machine's", apart(skew)), CLOCK)
        }
        (_, Some(age)) if age.abs() > SKEW => {
            fault(NAME, format!("rolls carry a time that is {} this machine's", apart(age)), CLOCK)
        }
        (Some(_), _) => fine(NAME, "the server's clock agrees with this machine's"),
        (None, Some(_)) => fine(NAME, "the times of rolls agree with this machine's clock"),
        (None, None) => unknown(NAME, "no `Date`, and no times in the events"),
    }
}

/// Whether rolls are made.
pub fn roller(seen: &Seen, watch: &Watch) -> Finding {
    const NAME: &str = "roller";
    let Some((page, rolls)) = seen.page_rolls() else {
        return match watch.live_rolls().count() {
            0 => unknown(NAME, "nothing says how often events are due"),
            n_rolls => fine(NAME, format!("{n_rolls} rolls were made meanwhile")),
        };
    };
    // What is known last: a roll that came, else the head that the stream told, else the page's.
    let live = watch.live_rolls().last();
    let live = live.map(|(_, rolled_at)| (rolled_at.timestamp(), watch.lasted));
    let millis = |cursor: Cursor| Timestamp::from_millisecond(cursor.unix_millis?).ok();
    let told = watch.head().and_then(millis).map(|moment| (moment, watch.lasted));
    let (newest, now) = match live.or(told) {
        Some((newest, lasted)) => {
            (newest, watch.started + SignedDuration::try_from(lasted).unwrap_or_default())
        }
        None => match rolls.newest.and_then(millis) {
            Some(newest) => (newest, page.at),
            None => return unknown(NAME, "no roll was ever made there"),
        },
    };
    let skew = skew(seen, watch).unwrap_or_default();
    let age = now.duration_since(newest) - skew;
    let patience = SignedDuration::try_from(rolls.every * 3).unwrap_or(SignedDuration::MAX);
    let saw = format!(
        "rolls are due every {:?}, the newest is {:.1} s old",
        rolls.every,
        age.as_secs_f64().max(0.0)
    );
    if age > patience + SignedDuration::from_secs(2) {
        fault(
            NAME,
            saw,
            "rollcast's own log says why none is stored; `rollcast check` looks at \
                          the database",
        )
    } else {
        fine(NAME, saw)
    }
}

/// How far this machine's clock is ahead of the server's, to a second.
fn skew(seen: &Seen, watch: &Watch) -> Option<SignedDuration> {
    let page = seen.page.as_ref().and_then(|page| page.as_ref().ok()).map(|page| &page.answer);
    // The stream's first: a page may come out of a cache, with the date of long ago.
    [Some(&watch.answer), page].into_iter().flatten().find_map(skew_of)
}

fn skew_of(answer: &Answer) -> Option<SignedDuration> {
    let date = answer.header("date")?;
    let date = rfc2822::DateTimeParser::new().parse_timestamp(&date).ok()?;
    let ahead = answer.at.duration_since(date);
    // The header leaves out fractions of a second.
    let ahead = ahead - SignedDuration::from_millis(500);
    // It may have been written at any time since the request, and held back on the way.
    let on_the_way = SignedDuration::try_from(answer.after).unwrap_or(SignedDuration::MAX);
    Some(ahead.min(SignedDuration::ZERO.max(ahead.saturating_sub(on_the_way))))
}

fn apart(ahead: SignedDuration) -> String {
    let way = if ahead.is_negative() { "ahead of" } else { "behind" };
    format!("{:.0} s {way}", ahead.abs().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use event_stream::parser::Frame;

    use super::*;
    use crate::doctor::client::End;
    use crate::doctor::judge::Verdict::{Fault, Fine, Unknown};
    use crate::doctor::judge::samples::{
        START_MS, answer, event, expect, foreign, rolls, seen, stream_answer, sync, watch,
    };

    #[test]
    fn an_address_is_forwarded_and_cannot_be_claimed() {
        let (own, proxy) = ("203.0.113.7", "127.0.0.1");
        let table = [
            // Here, there, and there for one who claims to be another.
            (own, own, own, Fine, "you are 203.0.113.7"),
            ("::ffff:203.0.113.7", own, own, Fine, "you are 203.0.113.7"),
            ("10.0.0.5", own, own, Fine, "your network's public address"),
            (own, "unknown", "unknown", Fault, "not forwarded"),
            (own, "unknown", FORGED, Fault, "and yours is not forwarded"),
            (own, own, FORGED, Fault, "`set_real_ip_from`"),
            (own, proxy, proxy, Fault, "`trusted_proxies`"),
            (proxy, "127.0.0.9", "127.0.0.9", Fault, "`trusted_proxies`"),
            (proxy, proxy, proxy, Fine, "you are 127.0.0.1"),
            (own, own, own, Fine, "in X-Real-IP, X-Forwarded-For, X-Client-IP, CF-Connecting-IP,"),
            (own, own, own, Fine, "True-Client-IP or Forwarded"),
        ];
        for (here, honest, forged, verdict, text) in table {
            let mut seen = seen();
            seen.connection.local = here.parse().expect("an address");
            seen.honest = Some(stream_answer(&[("rollcast-client", honest)]));
            seen.forged = Some(stream_answer(&[("rollcast-client", forged)]));
            expect(&format!("{here} {honest} {forged}"), &address(&seen), verdict, text);
        }
        let mut unasked = seen();
        unasked.forged = None;
        expect("no second answer", &address(&unasked), Fine, "was not seen");
        let mut direct = seen();
        let unknown = stream_answer(&[("rollcast-client", "unknown"), ("server", "rollcast")]);
        (direct.honest, direct.forged) = (Some(unknown.clone()), Some(unknown));
        expect("one that keeps the name", &address(&direct), Fault, "not forwarded");
        direct.connection.local = "127.0.0.1".parse().expect("an address");
        expect("direct", &address(&direct), Unknown, "no proxy");
        let foreign = foreign(watch(vec![], End::Left, 1_000));
        expect("foreign", &address(&foreign), Unknown, "does not tell");
    }

    #[test]
    fn several_streams_at_once_are_open_or_say_whose_limit_it_is() {
        let with = |status, frames: Vec<Frame>| {
            let mut answer = stream_answer(&[]);
            answer.status = status;
            Ok((answer, frames))
        };
        let busy = |reason| event("busy", None, &format!(r#"{{"reason":"{reason}","limit":4}}"#));
        let table = [
            ("open", with(200, vec![sync("live")]), Fine, "8 streams"),
            ("address", with(200, vec![busy("address")]), Fault, "`max_streams_per_address`"),
            ("total", with(200, vec![busy("total")]), Fault, "`max_streams`"),
            ("503", with(503, vec![]), Fault, "`limit_conn`"),
            ("500", with(500, vec![]), Fault, "`worker_connections`"),
            ("reset", Err(NoAnswer::Failed("reset".into())), Fault, "`worker_rlimit_nofile`"),
            ("silent", Err(NoAnswer::Silent(Duration::from_secs(5))), Unknown, "5.0 s"),
        ];
        for (case, one, verdict, text) in table {
            let mut seen = seen();
            seen.crowd[5] = one;
            expect(case, &limit(&seen), verdict, text);
        }
    }

    #[test]
    fn clocks_are_compared_by_the_date_and_by_the_rolls() {
        let late: Vec<_> = (1..=5).map(|n| (n * 100, n as i64 * 100 - 60_000)).collect();
        let table = [
            ("Mon, 23 Nov 2026 01:37:40 GMT", rolls(&[(100, 90)]), Fine, "agrees"),
            ("Mon, 23 Nov 2026 01:37:36 GMT", rolls(&[(100, 90)]), Fine, "agrees"),
            ("Mon, 23 Nov 2026 01:36:40 GMT", rolls(&[]), Fault, "60 s behind"),
            ("Mon, 23 Nov 2026 01:38:40 GMT", rolls(&[]), Fault, "60 s ahead of"),
            ("Mon, 23 Nov 2026 01:37:40 GMT", rolls(&late), Fault, "rolls carry"),
            ("no date", rolls(&[(100, 90)]), Fine, "the times of rolls"),
            ("no date", rolls(&[]), Unknown, "no `Date`"),
        ];
        for (date, frames, verdict, text) in table {
            let mut seen = foreign(watch(frames, End::Left, 1_000));
            seen.watched().answer = answer(&[("date", date)]);
            expect(date, &clock(&seen, seen.stream.as_ref().expect("one")), verdict, text);
        }
        let mut held_back = foreign(watch(rolls(&[]), End::Left, 1_000));
        held_back.watched().answer = Answer {
            after: Duration::from_secs(9),
            ..answer(&[("date", "Mon, 23 Nov 2026 01:37:31 GMT")])
        };
        let watch = held_back.stream.as_ref().expect("one");
        expect("held back", &clock(&held_back, watch), Fine, "agrees");
    }

    #[test]
    fn a_roller_is_stalled_when_nothing_is_made_for_long() {
        let of_another_clock = "Mon, 23 Nov 2026 00:37:40 GMT";
        let table = [
            ("rolling", rolls(&[(9_000, 8_998)]), 10_000, "", Fine),
            ("stalled", rolls(&[(1_000, 998)]), 10_000, "", Fault),
            ("just opened", rolls(&[]), 2_000, "", Fine),
            ("rolling", rolls(&[(9_000, 8_998 - 3_600_000)]), 10_000, of_another_clock, Fine),
            ("stalled", rolls(&[(1_000, 998 - 3_600_000)]), 10_000, of_another_clock, Fault),
        ];
        for (case, frames, lasted, date, verdict) in table {
            let mut seen = seen();
            *seen.watched() = watch(frames, End::Left, lasted);
            if !date.is_empty() {
                seen.watched().answer = answer(&[("date", date)]);
            }
            let finding = roller(&seen, seen.stream.as_ref().expect("one"));
            expect(case, &finding, verdict, "every 1s");
        }
        // Before a stream said anything, the page's newest roll counts.
        let mut seen = seen();
        *seen.watched() = watch(vec![], End::Left, 100);
        let Some(Ok(page)) = &mut seen.page else { panic!("a sample has a page") };
        let rolls = page.rolls.as_mut().expect("one");
        rolls.newest = format!("40-{}", START_MS - 60_000).parse().ok();
        expect("page", &roller(&seen, seen.stream.as_ref().expect("one")), Fault, "60.5 s");
        let foreign = foreign(watch(vec![], End::Left, 100));
        let finding = roller(&foreign, foreign.stream.as_ref().expect("one"));
        expect("foreign", &finding, Unknown, "how often");
    }
}
