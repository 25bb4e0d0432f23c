//! The stream's headers: what caches, proxies and pages of other origins may do with it.

use crate::judge::buffering::{AT_ONCE, buffering};
use crate::judge::{Finding, Verdict, fault, fine, note, unknown};
use crate::response::Head;
use crate::visit::Observations;
use crate::watch::Watch;

/// How to keep caches from storing a response.
pub const CACHE_CONTROL: &str = "nginx: no `expires`, no `add_header Cache-Control` and no \
                                 `proxy_hide_header Cache-Control;` in this location";
const GZIP: &str = "nginx: `gzip off;` in the stream's location, or take `text/event-stream` and \
                    `*` out of `gzip_types`";
const CORS: &str = "nginx: no `add_header Access-Control-Allow-Origin` and no `proxy_hide_header \
                    Access-Control-Allow-Origin;` in the stream's location: rollcast sends it";
const NO_CACHE: &str = "the application: `Cache-Control: no-cache, no-transform`";

/// Whether caches may store the stream, and proxies compress it.
pub fn cache(seen: &Observations, watch: &Watch) -> Finding {
    const NAME: &str = "cache";
    let control = watch.head.header("cache-control").unwrap_or_default();
    let has = |name: &str| directives(&control).any(|(directive, _)| directive == name);
    if let Some(header) = cached(&watch.head) {
        fault(NAME, format!("caches may store the stream: `{header}`"), CACHE_CONTROL)
    } else if seen.is_rollcast() && !(has("no-cache") && has("no-transform")) {
        let saw = format!("`Cache-Control` is `{control}`, not `no-cache, no-transform`");
        fault(NAME, saw, CACHE_CONTROL)
    } else if !has("no-cache") && !has("no-store") {
        note(NAME, "no `Cache-Control`", NO_CACHE)
    } else if !has("no-transform") {
        note(NAME, format!("`Cache-Control: {control}`: proxies may compress it"), NO_CACHE)
    } else {
        fine(NAME, control)
    }
}

/// Whether the application's request not to buffer gets through; nginx obeys and removes it.
pub fn header(seen: &Observations, watch: &Watch) -> Finding {
    const NAME: &str = "header";
    let server = watch.head.header("server").unwrap_or_default().to_lowercase();
    match watch.head.header("x-accel-buffering").as_deref() {
        Some("no") => fine(NAME, "X-Accel-Buffering: no"),
        Some(other) => fault(
            NAME,
            format!("X-Accel-Buffering: {other}"),
            "the application, or a proxy's `add_header`: `X-Accel-Buffering: no`, once",
        ),
        None if server.starts_with("nginx") || server.starts_with("openresty") => {
            let saw = "nginx removes X-Accel-Buffering";
            match buffering(seen, watch).verdict {
                Verdict::Fine => fine(NAME, format!("{saw}, and holds nothing back")),
                _ => unknown(NAME, format!("{saw}, so the doctor cannot see whether it was sent")),
            }
        }
        None if seen.is_rollcast() => note(
            NAME,
            "X-Accel-Buffering is lost on the way, so another nginx in front would buffer",
            "the proxy in front of rollcast must pass it on; nginx: `proxy_pass_header \
             X-Accel-Buffering;`",
        ),
        None => note(
            NAME,
            "no X-Accel-Buffering: an nginx in front would buffer",
            "the application: `X-Accel-Buffering: no`",
        ),
    }
}

/// Whether the stream is compressed; compressors hold events back.
pub fn compression(seen: &Observations, watch: &Watch) -> Finding {
    const NAME: &str = "compression";
    let encoding = |watch: &Watch| watch.head.header("content-encoding");
    match &seen.compressed {
        Some(Ok(first)) => {
            let encoding = encoding(first).unwrap_or_default();
            let saw = format!("compressed ({encoding}): a compressor holds events back");
            fault(NAME, saw, GZIP)
        }
        // Not fast without compression either: something else holds it back.
        Some(Err(_)) if watch.arrivals.first().is_none_or(|first| first.at > AT_ONCE) => {
            unknown(NAME, "the first request, which offered compression, got no answer in time")
        }
        Some(Err(_)) => {
            fault(NAME, "only a request that does not offer compression gets an answer", GZIP)
        }
        None => match encoding(watch) {
            Some(encoding) => fault(NAME, format!("compressed ({encoding})"), GZIP),
            None => fine(NAME, "none, though the request offered it"),
        },
    }
}

/// Whether pages of other origins may read the stream.
pub fn cross_origin(seen: &Observations, watch: &Watch) -> Finding {
    const NAME: &str = "cross-origin";
    const REFUSED: &str = "pages of other origins may not read it";
    let allowed = watch.head.header("access-control-allow-origin");
    match allowed.as_deref() {
        Some("*") => fine(NAME, "pages of all origins may read it"),
        Some(several) if several.contains(',') => {
            fault(NAME, format!("`{several}`: browsers accept only one value"), CORS)
        }
        Some(one) => fine(NAME, format!("pages of {one} may read it")),
        None if seen.is_rollcast() => note(NAME, REFUSED, CORS),
        None => fine(NAME, REFUSED),
    }
}

/// The header that lets a cache reuse the response without asking, or shows that one did.
pub fn cached(head: &Head) -> Option<String> {
    let control = head.header("cache-control").unwrap_or_default();
    let allows_reuse = |(name, value): (&str, &str)| match name {
        "max-age" | "s-maxage" => value != "0",
        "public" | "immutable" => true,
        _ => false,
    };
    let asks_first = directives(&control).any(|(name, _)| matches!(name, "no-cache" | "no-store"));
    if !asks_first && directives(&control).any(allows_reuse) {
        return Some(format!("Cache-Control: {control}"));
    }
    let age = head.header("age").filter(|age| age.trim() != "0");
    age.map(|age| format!("Age: {age}"))
}

fn directives(control: &str) -> impl Iterator<Item = (&str, &str)> {
    control.split(',').map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        (name.trim(), value.trim())
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::judge::Verdict::{Fault, Fine, Note, Unknown};
    use crate::judge::samples::{expect, foreign, head, rollcast, rolls, stream_head, watch};
    use crate::response::NoResponse;
    use crate::watch::End;

    /// Judges a stream of rollcast, and another one, with these headers.
    fn both(judge: fn(&Observations, &Watch) -> Finding, headers: &[(&str, &str)]) -> [Finding; 2] {
        let headers = [&[("content-type", "text/event-stream")], headers].concat();
        [rollcast(), foreign(watch(vec![], End::Open, 1_000))].map(|mut seen| {
            seen.watched().head = head(&headers);
            judge(&seen, seen.stream.as_ref().expect("one"))
        })
    }

    #[test]
    fn a_cache_must_not_store_a_stream() {
        let table = [
            ("no-cache, no-transform", Fine, Fine, "no-cache"),
            ("no-store, no-transform", Fault, Fine, "no-"),
            ("no-cache", Fault, Note, "no-transform"),
            ("private", Fault, Note, "no-"),
            ("max-age=3600", Fault, Fault, "`Cache-Control: max-age=3600`"),
            ("no-cache, no-transform, max-age=60", Fine, Fine, "no-cache"),
            ("public", Fault, Fault, "no `expires`"),
            ("no-cache, no-transform, max-age=0", Fine, Fine, "no-cache"),
        ];
        for (control, ours, theirs, text) in table {
            let [first, second] = both(cache, &[("cache-control", control)]);
            expect(control, &first, ours, text);
            expect(control, &second, theirs, "");
        }
        let [aged, _] = both(cache, &[("cache-control", "no-cache, no-transform"), ("age", "17")]);
        expect("age", &aged, Fault, "`Age: 17`");
    }

    #[test]
    fn nginx_may_remove_the_request_not_to_buffer_and_no_other_proxy() {
        let table = [
            (&[("x-accel-buffering", "no")][..], Fine, Fine),
            (&[("x-accel-buffering", "yes")], Fault, Fault),
            (&[("x-accel-buffering", "no"), ("x-accel-buffering", "no")], Fault, Fault),
            (&[], Fine, Unknown),
            (&[("server", "Caddy")], Note, Note),
        ];
        for (headers, ours, theirs) in table {
            let [first, second] = both(header, headers);
            expect(&format!("{headers:?}"), &first, ours, "");
            expect(&format!("{headers:?}"), &second, theirs, "");
        }
    }

    #[test]
    fn compression_is_a_fault_also_if_nothing_gets_through_it() {
        let judged = |first, came_after: u64| {
            let mut seen = rollcast();
            seen.compressed = first;
            if came_after > 0 {
                let mut frames = rolls(&[]);
                frames[0].0 = came_after;
                *seen.watched() = watch(frames, End::Open, 9_000);
            }
            compression(&seen, seen.stream.as_ref().expect("one"))
        };
        expect("none", &judged(None, 0), Fine, "none");
        let mut gzipped = watch(vec![], End::Open, 5);
        gzipped.head = stream_head(&[("content-encoding", "gzip")]);
        expect("gzip", &judged(Some(Ok(gzipped)), 0), Fault, "`gzip off;`");
        let silent = || Some(Err(NoResponse::TimedOut(Duration::from_secs(5))));
        expect("swallowed", &judged(silent(), 3), Fault, "`gzip off;`");
        expect("slow either way", &judged(silent(), 3_000), Unknown, "in time");
    }

    #[test]
    fn pages_of_other_origins_may_read_it_if_exactly_one_header_says_so() {
        let table = [
            (&[("access-control-allow-origin", "*")][..], Fine, Fine),
            (
                &[("access-control-allow-origin", "*"), ("access-control-allow-origin", "*")],
                Fault,
                Fault,
            ),
            (&[], Note, Fine),
        ];
        for (headers, ours, theirs) in table {
            let [first, second] = both(cross_origin, headers);
            expect(&format!("{headers:?}"), &first, ours, "");
            expect(&format!("{headers:?}"), &second, theirs, "");
        }
    }
}
