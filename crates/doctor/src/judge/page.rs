//! The page, and whether a browser may follow it to its stream.

use crate::judge::answer::{no_answer_remedy, status_remedy};
use crate::judge::headers::{CACHE_CONTROL, cached};
use crate::judge::{Finding, fault, fine, in_ms, note, seconds};
use crate::response::NoResponse;
use crate::visit::{Observations, Page};

const SAME_ORIGIN: &str = "nginx: `proxy_pass` in the stream's location, of the page's own server, \
                           instead of `return 301` or `rewrite`";

const PUBLIC_URL: &str = "rollcast: `public_url` in `[default.rollcast.fanout]` with the address of the \
                          fan-out door itself: `https://` if it has TLS";
const OWN_HOST: &str = "rollcast does not work below a path, and needs a host name or a port of \
                        its own; nginx: a `server` of its own, with `location /`";
/// The pages of rollcast that open a stream.
const OWN_PATHS: [&str; 2] = ["/", "/stats"];

/// Whether it is a page of rollcast at a path that is not rollcast's own.
fn is_below_a_path(page: &Page) -> bool {
    page.rolls.is_some() && !OWN_PATHS.contains(&page.head.url.path())
}

/// Whether the page comes, and comes fresh; `None` if there is no page.
pub fn page(seen: &Observations) -> Option<Finding> {
    const NAME: &str = "page";
    Some(match seen.page.as_ref()? {
        Err(NoResponse::TimedOut(after)) => fault(
            NAME,
            format!("no answer in {}", seconds(*after)),
            "nginx: `proxy_pass` to where the application listens",
        ),
        Err(NoResponse::Failed(why)) => fault(NAME, why.clone(), &no_answer_remedy(seen)),
        Ok(page) if page.head.status != 200 => {
            let status = page.head.status;
            fault(NAME, format!("status {status}"), status_remedy(seen, status))
        }
        Ok(page) if is_below_a_path(page) => {
            let path = page.head.url.path();
            let saw =
                format!("the page is at `{path}`, but it links to its stream and files at `/`");
            fault(NAME, saw, OWN_HOST)
        }
        Ok(page) => match cached(&page.head) {
            Some(header) if page.rolls.is_some() => {
                fault(NAME, format!("browsers may show an old copy: `{header}`"), CACHE_CONTROL)
            }
            _ => fine(NAME, format!("200, {}", in_ms(page.head.after))),
        },
    })
}

/// Whether an `EventSource` may follow the page and redirects to the stream; `None` if the stream
/// is on the page's origin and not redirected.
/// <https://fetch.spec.whatwg.org/#http-redirect-fetch>
pub fn redirects(seen: &Observations) -> Option<Finding> {
    const NAME: &str = "redirect";
    let head = &seen.stream.as_ref().ok()?.head;
    let page = match &seen.page {
        Some(Ok(page)) => &page.head.url,
        _ => &seen.url,
    };
    let is_other_origin = head.url.origin() != page.origin();
    let saw = match head.redirects.first() {
        Some((status, _)) => format!("{} redirects to {} ({status})", seen.url, head.url),
        None if is_other_origin => format!("{page} opens {}", head.url),
        None => return None,
    };
    let mut on_the_way = head.redirects.iter().map(|(_, url)| url).chain([&seen.url]);
    let change = if seen.is_door { PUBLIC_URL } else { SAME_ORIGIN };
    let is_allowed = head.header("access-control-allow-origin").as_deref() == Some("*");
    Some(if page.is_tls() && on_the_way.any(|url| !url.is_tls()) {
        fault(NAME, format!("{saw}: browsers refuse to go from https to http"), change)
    } else if is_other_origin && !is_allowed {
        let saw =
            format!("{saw}, another origin that does not allow it: browsers refuse to read it");
        fault(NAME, saw, change)
    } else if seen.is_door && head.redirects.is_empty() {
        fine(NAME, format!("{saw}, another origin that allows it"))
    } else if is_other_origin {
        note(NAME, format!("{saw}, another origin that allows it"), SAME_ORIGIN)
    } else {
        note(NAME, format!("{saw}: each reconnect costs two requests"), SAME_ORIGIN)
    })
}

#[cfg(test)]
mod tests {
    use event_stream::http_url::HttpUrl;

    use super::*;
    use crate::judge::Verdict::{self, Fault, Fine, Note};
    use crate::judge::samples::{door, expect, head, rollcast};

    #[test]
    fn a_redirect_that_browsers_refuse_is_a_fault() {
        let table: [(&str, &[&str], bool, Option<Verdict>); 7] = [
            ("http://a.example/", &[], false, None),
            ("http://a.example/", &["http://a.example/s"], false, Some(Note)),
            ("http://a.example/", &["http://b.example/s"], true, Some(Note)),
            ("http://a.example/", &["http://b.example/s"], false, Some(Fault)),
            ("http://a.example/", &["https://a.example/s"], false, Some(Fault)),
            ("https://a.example/", &["http://a.example/s"], true, Some(Fault)),
            (
                "https://a.example/",
                &["http://a.example/s", "https://a.example/s"],
                true,
                Some(Fault),
            ),
        ];
        for (page, hops, is_public, verdict) in table {
            let mut seen = rollcast();
            let url = |text: &str| text.parse::<HttpUrl>().expect("an address");
            seen.url = url(page).join("/stream/").expect("an address");
            let Some(Ok(of_page)) = &mut seen.page else { panic!("a sample has a page") };
            of_page.head.url = url(page);
            let origin = [("access-control-allow-origin", "*")];
            seen.watched().head = head(if is_public { &origin } else { &[] });
            let head = &mut seen.watched().head;
            head.redirects = hops.iter().map(|hop| (302, url(hop))).collect();
            head.url = head.redirects.last().map_or(url(page), |(_, url)| url.clone());
            let case = format!("{page} {hops:?} {is_public}");
            match (redirects(&seen), verdict) {
                (Some(finding), Some(verdict)) => expect(&case, &finding, verdict, "`proxy_pass`"),
                (finding, verdict) => assert_eq!(finding.map(|f| f.verdict), verdict, "{case}"),
            }
        }
    }

    #[test]
    fn a_page_may_open_a_stream_of_another_origin_that_allows_it() {
        for (page, is_public, verdict) in [
            ("http://b.example/", true, Note),
            ("http://b.example/", false, Fault),
            ("https://dice.example.org/", true, Fault),
        ] {
            let mut seen = rollcast();
            let Some(Ok(of_page)) = &mut seen.page else { panic!("a sample has a page") };
            of_page.head.url = page.parse().expect("an address");
            if !is_public {
                seen.watched().head = head(&[]);
            }
            expect(page, &redirects(&seen).expect("one"), verdict, "opens");
        }
    }

    #[test]
    fn a_page_may_open_its_stream_at_the_fan_out_door() {
        expect("door", &redirects(&door()).expect("one"), Fine, "dice.example.org:8443/stream/");
        let mut plain = door();
        plain.url = "http://dice.example.org:5001/stream/".parse().expect("an address");
        plain.watched().head.url = plain.url.clone();
        expect("plain", &redirects(&plain).expect("one"), Fault, "`public_url`");
        let mut foreign = door();
        foreign.watched().head.headers = head(&[]).headers;
        expect("foreign", &redirects(&foreign).expect("one"), Fault, "does not allow it");
    }

    #[test]
    fn a_page_with_an_error_status_or_from_a_cache_is_a_fault() {
        let table = [
            (200, "no-cache", Fine, "200"),
            (200, "max-age=3600", Fault, "`Cache-Control: max-age=3600`"),
            (502, "no-cache", Fault, "status 502"),
        ];
        for (status, control, verdict, text) in table {
            let mut seen = rollcast();
            let Some(Ok(of_page)) = &mut seen.page else { panic!("a sample has a page") };
            of_page.head.headers = head(&[("cache-control", control)]).headers;
            of_page.head.status = status;
            expect(control, &page(&seen).expect("one"), verdict, text);
        }
    }

    #[test]
    fn a_page_of_rollcast_below_a_path_is_a_fault() {
        let table = [
            ("http://dice.example.org/", Fine, "200"),
            ("http://dice.example.org/?x", Fine, "200"),
            ("http://dice.example.org/stats", Fine, "200"),
            ("http://example.org/dice/", Fault, "the page is at `/dice/`"),
            ("http://example.org/dice/stats", Fault, "needs a host name or a port of its own"),
        ];
        for (url, verdict, text) in table {
            let mut seen = rollcast();
            if let Some(Ok(page)) = &mut seen.page {
                page.head.url = url.parse().expect("a URL");
            }
            expect(url, &page(&seen).expect("one"), verdict, text);
        }
    }
}
