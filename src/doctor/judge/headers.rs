//! The headers of the stream: what caches, proxies and pages from elsewhere may do.

use crate::doctor::client::{Answer, Watch};
use crate::doctor::judge::delivery::{AT_ONCE, buffering};
use crate::doctor::judge::{Finding, Verdict, fault, fine, note, unknown};
use crate::doctor::visit::Seen;

const GZIP: &str = "nginx: `gzip off;` in the stream's location, or take `text/event-stream` and \
                    `*` out of `gzip_types`";
pub const CACHE_CONTROL: &str = "nginx: no `expires`, no `add_header Cache-Control` and no \
                             `proxy_hide_header Cache-Control;` in this location";
const CORS: &str = "nginx: no `add_header Access-Control-Allow-Origin` and no `proxy_hide_header \
                    Access-Control-Allow-Origin;` in the stream's location: rollcast sends it";

pub fn cache(seen: &Seen, watch: &Watch) -> Finding {
    const NAME: &str = "cache";
    let control = watch.answer.header("cache-control").unwrap_or_default();
    let has = |name: &str| directives(&control).any(|(directive, _)| directive == name);
    if let Some(header) = stored(&watch.answer) {
        fault(NAME, format!("caches may keep the stream: `{header}`"), CACHE_CONTROL)
    } else if seen.is_rollcast() && !(has("no-cache") && has("no-transform")) {
        let saw = format!("`Cache-Control` is `{control}`, and not `no-cache, no-transform`");
        fault(NAME, saw, CACHE_CONTROL)
    } else if !has("no-cache") && !has("no-store") {
        note(NAME, "no `Cache-Control`", "the application: `Cache-Control: no-cache, no-transform`")
    } else if !has("no-transform") {
        let saw = format!("`Cache-Control: {control}`: proxies may compress it");
        note(NAME, saw, "the application: `Cache-Control: no-cache, no-transform`")
    } else {
        fine(NAME, control)
    }
}

/// The application's own request not to buffer, which nginx obeys and takes out.
pub fn header(seen: &Seen, watch: &Watch) -> Finding {
    const NAME: &str = "header";
    let server = watch.answer.header("server").unwrap_or_default().to_lowercase();
    match watch.answer.header("x-accel-buffering").as_deref() {
        Some("no") => fine(NAME, "X-Accel-Buffering: no"),
        Some(other) => fault(
            NAME,
            format!("X-Accel-Buffering: {other}"),
            "the application, or a proxy's `add_header`: `X-Accel-Buffering: no`, once",
        ),
        None if server.starts_with("nginx") || server.starts_with("openresty") => {
            let saw = "nginx keeps X-Accel-Buffering to itself";
            match buffering(seen, watch).verdict {
                Verdict::Fine => fine(NAME, format!("{saw}, and holds nothing back")),
                _ => unknown(NAME, format!("{saw}, whether it obeys it or not")),
            }
        }
        None if seen.is_rollcast() => note(
            NAME,
            "X-Accel-Buffering is lost on the way, and a further nginx would buffer",
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

pub fn compression(seen: &Seen, watch: &Watch) -> Finding {
    const NAME: &str = "compression";
    let encoding = |watch: &Watch| watch.answer.header("content-encoding");
    match &seen.compressed {
        Some(Ok(first)) => {
            let encoding = encoding(first).unwrap_or_default();
            let saw = format!("compressed ({encoding}): a compressor holds events back");
            fault(NAME, saw, GZIP)
        }
        // Not heard at once either way: something else holds it back.
        Some(Err(_)) if watch.arrivals.first().is_none_or(|first| first.at > AT_ONCE) => {
            unknown(NAME, "the first try, which offered to decompress, got no answer in time")
        }
        Some(Err(_)) => {
            fault(NAME, "no answer to a browser, which offers to decompress; one without", GZIP)
        }
        None => match encoding(watch) {
            Some(encoding) => fault(NAME, format!("compressed ({encoding})"), GZIP),
            None => fine(NAME, "none, though it was offered"),
        },
    }
}

/// Whether pages from elsewhere may listen.
pub fn cross_origin(seen: &Seen, watch: &Watch) -> Finding {
    const NAME: &str = "cross-origin";
    let allowed = watch.answer.header("access-control-allow-origin");
    match allowed.as_deref() {
        Some("*") => fine(NAME, "pages from elsewhere may listen"),
        Some(several) if several.contains(',') => {
            fault(NAME, format!("`{several}`: browsers take only one value"), CORS)
        }
        Some(one) => fine(NAME, format!("pages of {one} may listen")),
        None if seen.is_rollcast() => note(NAME, "pages from elsewhere may not listen", CORS),
        None => fine(NAME, "pages from elsewhere may not listen"),
    }
}

/// The header that lets caches keep a response, if one does.
pub fn stored(answer: &Answer) -> Option<String> {
    let control = answer.header("cache-control").unwrap_or_default();
    let keeps = |(name, value): (&str, &str)| match name {
        "max-age" | "s-maxage" => value != "0",
        "public" | "immutable" => true,
        _ => false,
    };
    let asks_first = directives(&control).any(|(name, _)| matches!(name, "no-cache" | "no-store"));
    if !asks_first && directives(&control).any(keeps) {
        return Some(format!("Cache-Control: {control}"));
    }
    let age = answer.header("age").filter(|age| age.trim() != "0");
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
    use super::*;
    use crate::doctor::client::{End, NoAnswer};
    use crate::doctor::judge::Verdict::{Fault, Fine, Note, Unknown};
    use crate::doctor::judge::samples::{
        answer, expect, foreign, rolls, seen, stream_answer, watch,
    };

    /// Judges our stream, and a foreign one, with these headers besides the usual ones.
    fn both(judge: fn(&Seen, &Watch) -> Finding, headers: &[(&str, &str)]) -> [Finding; 2] {
        let headers = [&[("content-type", "text/event-stream")], headers].concat();
        [seen(), foreign(watch(vec![], End::Left, 1_000))].map(|mut seen| {
            seen.watched().answer = answer(&headers);
            judge(&seen, seen.stream.as_ref().expect("one"))
        })
    }

    #[test]
    fn nobody_may_keep_a_stream() {
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
    fn the_request_not_to_buffer_may_stay_with_nginx_but_not_get_lost() {
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
    fn compression_is_a_fault_also_where_it_swallows_the_stream() {
        let judged = |first, came_after: u64| {
            let mut seen = seen();
            seen.compressed = first;
            if came_after > 0 {
                let mut frames = rolls(&[]);
                frames[0].0 = came_after;
                *seen.watched() = watch(frames, End::Left, 9_000);
            }
            compression(&seen, seen.stream.as_ref().expect("one"))
        };
        expect("none", &judged(None, 0), Fine, "none");
        let mut gzipped = watch(vec![], End::Left, 5);
        gzipped.answer = stream_answer(&[("content-encoding", "gzip")]);
        expect("gzip", &judged(Some(Ok(gzipped)), 0), Fault, "`gzip off;`");
        let silent = || Some(Err(NoAnswer::Silent(std::time::Duration::from_secs(5))));
        expect("swallowed", &judged(silent(), 3), Fault, "`gzip off;`");
        expect("slow either way", &judged(silent(), 3_000), Unknown, "in time");
    }

    #[test]
    fn pages_from_elsewhere_may_listen_if_one_header_says_so() {
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
