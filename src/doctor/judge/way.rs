//! The way there: encryption, page, connections, redirects, the answer.

use rustls::CertificateError;

use crate::doctor::client::{NoAnswer, Tls};
use crate::doctor::judge::delivery::PROXY_BUFFERING;
use crate::doctor::judge::headers::{CACHE_CONTROL, stored};
use crate::doctor::judge::{Finding, fault, fine, in_ms, note, seconds, unknown};
use crate::doctor::visit::Seen;

pub const LIMITS: &str = "nginx: a higher `limit_conn`, or none in the stream's location: any status \
                      but 200 ends an EventSource for good";
const CONTENT_TYPE: &str = "nginx: the stream's location must `proxy_pass` to the application, \
                            without `proxy_hide_header Content-Type;` and `default_type`";
const STRAIGHT: &str = "nginx: `proxy_pass` in the stream's location, of the page's own server, \
                        instead of `return 301` or `rewrite`";
const HTTP2: &str =
    "nginx: `http2 on;` beside `listen 443 ssl;` (before 1.25.1: `listen 443 ssl http2;`)";

/// Whether a browser shows the page at all.
pub fn tls(seen: &Seen) -> Option<Finding> {
    const NAME: &str = "tls";
    Some(match seen.connection.tls.as_ref()? {
        Tls::Trusted { expires_soon: false, .. } => fine(NAME, "the certificate is good"),
        Tls::Trusted { expires_soon: true, .. } => note(
            NAME,
            "the certificate expires within 14 days",
            "renew it; nginx: reload after, `ssl_certificate`",
        ),
        Tls::Refused(why) => {
            let saw = format!("a browser refuses the certificate: {why}");
            let change = match why {
                CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                    "renew the certificate; nginx: `ssl_certificate`, then reload"
                }
                CertificateError::NotValidForName
                | CertificateError::NotValidForNameContext { .. } => {
                    "nginx: `ssl_certificate` with this name, in the server with this \
                     `server_name`"
                }
                CertificateError::UnknownIssuer => {
                    "nginx: `ssl_certificate` with the whole chain (fullchain.pem); for an \
                     authority of your own, `rollcast doctor --cafile FILE`"
                }
                _ => "nginx: `ssl_certificate`",
            };
            fault(NAME, saw, change)
        }
    })
}

pub fn page(seen: &Seen) -> Option<Finding> {
    const NAME: &str = "page";
    Some(match seen.page.as_ref()? {
        Err(NoAnswer::Silent(after)) => fault(
            NAME,
            format!("no answer in {}", seconds(*after)),
            "nginx: `proxy_pass` to where the application listens",
        ),
        Err(NoAnswer::Failed(why)) => {
            fault(NAME, why.clone(), "nginx: `proxy_pass`, and the error log")
        }
        Ok(page) if page.answer.status != 200 => {
            let status = page.answer.status;
            fault(NAME, format!("status {status}"), status_remedy(status))
        }
        Ok(page) => {
            let cached = stored(&page.answer);
            match cached {
                Some(header) if page.rolls.is_some() => {
                    fault(NAME, format!("browsers may show it stale: `{header}`"), CACHE_CONTROL)
                }
                _ => fine(NAME, format!("200, {}", in_ms(page.answer.after))),
            }
        }
    })
}

/// How many streams a browser opens at once.
pub fn connections(seen: &Seen) -> Option<Finding> {
    const NAME: &str = "connections";
    const SIX: &str = "a browser opens at most six streams here, in all of its tabs together";
    Some(match seen.connection.tls {
        Some(Tls::Trusted { http2: true, .. }) => {
            fine(NAME, "HTTP/2: as many streams as a browser wants, on one connection")
        }
        Some(Tls::Trusted { http2: false, .. }) => {
            fault(NAME, format!("HTTP/1.1 over TLS: {SIX}"), HTTP2)
        }
        Some(Tls::Refused(_)) => unknown(NAME, "the certificate is refused"),
        None => note(
            NAME,
            format!("HTTP/1.1: {SIX}"),
            "browsers speak HTTP/2 only over TLS; nginx: `listen 443 ssl http2;`",
        ),
    })
}

/// Whether an `EventSource` may go where the page and redirects send it.
/// <https://fetch.spec.whatwg.org/#http-redirect-fetch>
pub fn redirects(seen: &Seen) -> Option<Finding> {
    const NAME: &str = "redirect";
    let answer = &seen.stream.as_ref().ok()?.answer;
    let page = match &seen.page {
        Some(Ok(page)) => &page.answer.url,
        _ => &seen.url,
    };
    let is_elsewhere = answer.url.origin() != page.origin();
    let saw = match answer.hops.first() {
        Some((status, _)) => format!("{} is sent on to {} ({status})", seen.url, answer.url),
        None if is_elsewhere => format!("{page} listens to {}", answer.url),
        None => return None,
    };
    let mut stops = answer.hops.iter().map(|(_, url)| url).chain([&seen.url]);
    let is_allowed = answer.header("access-control-allow-origin").as_deref() == Some("*");
    Some(if page.is_tls() && stops.any(|url| !url.is_tls()) {
        fault(NAME, format!("{saw}: no browser goes from https to http"), STRAIGHT)
    } else if is_elsewhere && !is_allowed {
        let saw = format!("{saw}, another origin, which does not allow it: no browser reads it");
        fault(NAME, saw, STRAIGHT)
    } else if is_elsewhere {
        note(NAME, format!("{saw}, another origin, which allows it"), STRAIGHT)
    } else {
        note(NAME, format!("{saw}: each reconnect asks twice"), STRAIGHT)
    })
}

/// Whether an `EventSource` listens to what comes, or gives up for good.
pub fn answer(seen: &Seen) -> Option<Finding> {
    const NAME: &str = "answer";
    let answer = match &seen.stream {
        Ok(watch) => &watch.answer,
        Err(NoAnswer::Silent(after)) if seen.is_rollcast() => {
            let saw = format!(
                "no answer in {}, not even a header: rollcast sends it at once",
                seconds(*after)
            );
            return Some(fault("buffering", saw, PROXY_BUFFERING));
        }
        Err(NoAnswer::Silent(after)) => {
            let saw = format!(
                "no answer in {}, not even a header: an EventSource is not open until it comes",
                seconds(*after)
            );
            let change = format!(
                "the application: send the header before the first event; {PROXY_BUFFERING}"
            );
            return Some(fault(NAME, saw, &change));
        }
        Err(NoAnswer::Failed(why)) => {
            return Some(fault(NAME, why.clone(), "nginx: `proxy_pass`, and the error log"));
        }
    };
    let content_type = answer.content_type();
    Some(if answer.status != 200 {
        let saw = format!("status {}: an EventSource gives up for good", answer.status);
        fault(NAME, saw, status_remedy(answer.status))
    } else if content_type != "text/event-stream" {
        let saw = match &*content_type {
            "" => "no content type: an EventSource gives up for good".into(),
            other => format!("content type `{other}`: an EventSource gives up for good"),
        };
        fault(NAME, saw, CONTENT_TYPE)
    } else {
        fine(NAME, format!("200, text/event-stream, {}", in_ms(answer.after)))
    })
}

pub fn status_remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => "nginx: no `auth_basic`, `allow` or `deny` in this location",
        404 | 405 => {
            "nginx: `location` and `proxy_pass` that lead to the stream; for a page that \
                      does not name its stream, `rollcast doctor --stream URL`"
        }
        429 => LIMITS,
        500 => {
            "nginx: more `worker_connections`, of which a stream takes two; else the \
                application's log"
        }
        502 => "nginx: `proxy_pass` to where the application listens; and is it running?",
        503 => LIMITS,
        504 => "nginx: `proxy_pass`, `proxy_connect_timeout`; and does the application answer?",
        _ => "nginx: its access and error log say who answered so",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::doctor::judge::Verdict::{self, Fault, Fine, Note, Unknown};
    use crate::doctor::judge::samples::{answer as answered, expect, foreign, seen, watch};

    #[test]
    fn what_is_wrong_with_a_certificate_is_said() {
        let trusted = |http2, expires_soon| Tls::Trusted { http2, expires_soon };
        let table = [
            (trusted(true, false), Fine, Fine, "good"),
            (trusted(true, true), Note, Fine, "within 14 days"),
            (trusted(false, false), Fine, Fault, "good"),
            (Tls::Refused(CertificateError::Expired), Fault, Unknown, "renew"),
            (Tls::Refused(CertificateError::UnknownIssuer), Fault, Unknown, "--cafile"),
            (Tls::Refused(CertificateError::NotValidForName), Fault, Unknown, "`server_name`"),
            (Tls::Refused(CertificateError::Revoked), Fault, Unknown, "`ssl_certificate`"),
        ];
        for (state, verdict, of_connections, text) in table {
            let mut seen = seen();
            seen.connection.tls = Some(state.clone());
            expect(&format!("{state:?}"), &tls(&seen).expect("one"), verdict, text);
            let finding = connections(&seen).expect("one");
            expect(&format!("{state:?}"), &finding, of_connections, "");
        }
        assert_eq!(tls(&seen()), None, "plain HTTP has no certificate");
        expect("plain", &connections(&seen()).expect("one"), Note, "at most six streams");
    }

    #[test]
    fn a_redirect_is_followed_where_a_browser_follows_it() {
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
            let mut seen = seen();
            let url = |text: &str| text.parse::<crate::remote::Url>().expect("an address");
            seen.url = url(page).join("/stream/").expect("an address");
            let Some(Ok(of_page)) = &mut seen.page else { panic!("a sample has a page") };
            of_page.answer.url = url(page);
            let origin = [("access-control-allow-origin", "*")];
            let answer = answered(if is_public { &origin } else { &[] });
            seen.watched().answer = answer;
            let answer = &mut seen.watched().answer;
            answer.hops = hops.iter().map(|hop| (302, url(hop))).collect();
            answer.url = answer.hops.last().map_or(url(page), |(_, url)| url.clone());
            let case = format!("{page} {hops:?} {is_public}");
            match (redirects(&seen), verdict) {
                (Some(finding), Some(verdict)) => expect(&case, &finding, verdict, "`proxy_pass`"),
                (finding, verdict) => assert_eq!(finding.map(|f| f.verdict), verdict, "{case}"),
            }
        }
    }

    #[test]
    fn a_page_may_listen_to_another_origin_that_allows_it() {
        for (page, is_public, verdict) in [
            ("http://b.example/", true, Note),
            ("http://b.example/", false, Fault),
            ("https://dice.example.org/", true, Fault),
        ] {
            let mut seen = seen();
            let Some(Ok(of_page)) = &mut seen.page else { panic!("a sample has a page") };
            of_page.answer.url = page.parse().expect("an address");
            if !is_public {
                seen.watched().answer = answered(&[]);
            }
            expect(page, &redirects(&seen).expect("one"), verdict, "listens to");
        }
    }

    #[test]
    fn an_answer_other_than_a_stream_ends_an_event_source() {
        let stream = ("content-type", "text/event-stream; charset=utf-8");
        let html = ("content-type", "text/html");
        let table = [
            (200, Some(stream), Fine, "200"),
            (200, Some(html), Fault, "content type `text/html`"),
            (200, None, Fault, "no content type"),
            (204, Some(stream), Fault, "status 204"),
            (404, Some(html), Fault, "`location`"),
            (403, Some(html), Fault, "`deny`"),
            (429, Some(html), Fault, "`limit_conn`"),
            (500, Some(html), Fault, "`worker_connections`"),
            (502, Some(html), Fault, "is it running?"),
            (504, Some(html), Fault, "`proxy_connect_timeout`"),
        ];
        for (status, content_type, verdict, text) in table {
            let mut seen = seen();
            let headers: Vec<_> = content_type.into_iter().collect();
            seen.watched().answer = answered(&headers);
            seen.watched().answer.status = status;
            expect(&format!("{status}"), &answer(&seen).expect("one"), verdict, text);
        }
        // Silence is a fault where the server speaks first.
        let mut silent = seen();
        silent.stream = Err(NoAnswer::Silent(Duration::from_secs(9)));
        expect("ours", &answer(&silent).expect("one"), Fault, "`proxy_buffering off;`");
        let left = crate::doctor::client::End::Left;
        let mut silent = foreign(watch(vec![], left, 0));
        silent.stream = Err(NoAnswer::Silent(Duration::from_secs(9)));
        expect("foreign", &answer(&silent).expect("one"), Fault, "the header before");
        silent.stream = Err(NoAnswer::Failed("reset".into()));
        expect("failed", &answer(&silent).expect("one"), Fault, "reset");
    }

    #[test]
    fn a_page_must_come_and_must_not_be_kept() {
        let table = [
            (200, "no-cache", Fine, "200"),
            (200, "max-age=3600", Fault, "`Cache-Control: max-age=3600`"),
            (502, "no-cache", Fault, "status 502"),
        ];
        for (status, control, verdict, text) in table {
            let mut seen = seen();
            let Some(Ok(of_page)) = &mut seen.page else { panic!("a sample has a page") };
            of_page.answer = answered(&[("cache-control", control)]);
            of_page.answer.status = status;
            expect(control, &page(&seen).expect("one"), verdict, text);
        }
    }
}
