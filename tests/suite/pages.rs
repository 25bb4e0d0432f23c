//! Pages and static files, requested over HTTP.

use serde_json::Value;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, http, wait_for};

/// The response to a request.
pub struct Answer {
    pub status: u16,
    pub headers: ureq::http::HeaderMap,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Whether a page contains this text. In a page, a value in backticks is a `code` element.
    pub fn says(&self, text: &str) -> bool {
        self.body.replace("<code>", "`").replace("</code>", "`").contains(text)
    }
}

pub fn get(url: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = http().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut response = request.call().unwrap();
    Answer {
        status: response.status().as_u16(),
        headers: response.headers().clone(),
        body: response.body_mut().read_to_string().unwrap(),
    }
}

/// A folder with rolls `oldest` to 120, and a server that adds only roll 121.
pub fn quiet_instance(oldest: i64) -> (Instance, Server) {
    let instance = Instance::new("every = '1h'\npage_size = 10");
    instance.fill(120, oldest);
    let server = instance.start();
    wait_for_head(&instance, 121);
    (instance, server)
}

/// Waits until streams get this roll. It is stored a moment before.
pub fn wait_for_head(instance: &Instance, id: i64) {
    wait_for(&format!("roll {id} in the feed"), || {
        let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).ok()?;
        let sync = stream.find_map(|frame| frame.sync())?;
        sync["head"].as_str()?.starts_with(&format!("{id}-")).then_some(())
    });
}

/// The ids of the rows of a page, in their order.
pub fn row_ids(html: &str) -> Vec<i64> {
    let list = html.split("id=\"rolls\"").nth(1).unwrap_or_default();
    let list = list.split("</ol>").next().unwrap();
    let links = list.split("href=\"/rolls/").skip(1);
    links.map(|link| link.split(['"', '?']).next().unwrap().parse().unwrap()).collect()
}

/// The address of a link with this relation, if the page has one.
pub fn link(html: &str, rel: &str) -> Option<String> {
    let tag = html.split("<a ").find(|tag| {
        let tag = tag.split('>').next().unwrap();
        tag.contains(&format!("rel=\"{rel}\""))
    })?;
    let href = tag.split("href=\"").nth(1)?;
    Some(href.split('"').next()?.to_string())
}

pub fn descending(from: i64, to: i64) -> Vec<i64> {
    (to..=from).rev().collect()
}

#[test]
fn the_first_page_has_the_newest_rolls_and_the_cursor_of_the_newest() {
    let (instance, _server) = quiet_instance(1);
    let page = get(&instance.url("/"), &[]);
    assert_eq!(page.status, 200);
    assert_eq!(row_ids(&page.body), (106..=121).collect::<Vec<_>>());
    let stored = instance.stored();
    let rolled_at: jiff::Timestamp = stored.last().unwrap().1.parse().unwrap();
    let cursor = format!("data-cursor=\"121-{}\"", rolled_at.as_millisecond());
    let list = page.body.split("<ol").nth(1).unwrap().split('>').next().unwrap();
    assert!(list.contains(&cursor), "expected {cursor} in {list}");
    let (_, newest, _) = stored.last().unwrap();
    assert!(page.body.contains(newest), "expected {newest} in the page");
}

#[test]
fn a_page_without_rolls_says_so_and_its_stream_starts_at_the_first_roll() {
    let instance = Instance::new("every = '1h'");
    instance.fill(0, 1);
    // The server waits for the lock while another writer holds it.
    let writer = rusqlite::Connection::open(instance.database()).unwrap();
    writer.execute_batch("begin immediate").unwrap();
    let _server = instance.start();
    let page = get(&instance.url("/"), &[]);
    assert_eq!((page.status, row_ids(&page.body)), (200, vec![]));
    assert!(page.body.contains("data-cursor=\"0\""), "{}", page.body);
    assert!(page.body.contains("<p data-notice=\"none\">No rolls yet."), "{}", page.body);
    assert_eq!(get(&instance.url("/rolls"), &[]).status, 200);
    assert_eq!(get(&instance.url("/rolls?at=2026-11-23"), &[]).status, 303);
    assert_eq!(get(&instance.url("/rolls/1"), &[]).status, 404);
}

#[test]
fn links_lead_through_the_whole_history_and_back() {
    for oldest in [1, 37] {
        let (instance, _server) = quiet_instance(oldest);
        let walk = |start: &str, rel: &str| {
            let mut seen = Vec::new();
            let mut url = Some(start.to_string());
            while let Some(path) = url {
                let page = get(&instance.url(&path), &[]);
                assert_eq!(page.status, 200, "{path}");
                seen.push(row_ids(&page.body));
                assert!(seen.len() < 30, "paging does not end: {path}");
                url = link(&page.body, rel);
            }
            seen
        };
        let older = walk("/rolls", "next");
        assert_eq!(older.concat(), descending(121, oldest), "from the newest to the oldest");
        let last = format!("/rolls?before={}", oldest + 3);
        let mut newer = walk(&last, "prev");
        newer.reverse();
        // The newest page is always full, so it may repeat rolls of the page before.
        let mut ids = newer.concat();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        assert_eq!(ids, descending(121, oldest), "and back, page by page");
        assert_eq!(newer[0], descending(121, 112), "up to the newest page");
    }
}

#[test]
fn a_moment_leads_to_the_page_that_has_it() {
    let (instance, _server) = quiet_instance(21);
    // Roll n has the Unix time 1795392000 + n seconds and 123 ms: n seconds into 2026-11-23.
    let table = [
        ("2026-11-23T00:01:00Z", 60),
        ("2026-11-23T00:01:00.123Z", 60),
        ("2026-11-23T00:01:00.124Z", 61),
        ("2026-11-23T01:01:00%2B01:00", 60),
        ("2026-11-23T00:01:00", 60),
        ("2026-11-23T00:01", 60),
        ("2026-11-23", 21),
        ("1999-12-31", 21),
        ("2999-12-31T23:59", 121),
    ];
    for (at, expected) in table {
        let answer = get(&instance.url(&format!("/rolls?at={at}")), &[]);
        assert_eq!(answer.status, 303, "{at}");
        let location = answer.header("location").to_string();
        assert!(location.ends_with(&format!("#roll-{expected}")), "{at} led to {location}");
        let page = get(&instance.url(location.split('#').next().unwrap()), &[]);
        assert!(row_ids(&page.body).contains(&expected), "{at} led to {location}");
    }
}

#[test]
fn the_page_of_a_roll_links_its_neighbours() {
    let (instance, _server) = quiet_instance(21);
    let page = get(&instance.url("/rolls/60"), &[]);
    assert_eq!(page.status, 200);
    assert!(page.body.contains("2026-11-23T00:01:00.123Z"), "{}", page.body);
    assert_eq!(link(&page.body, "prev").as_deref(), Some("/rolls/59"));
    assert_eq!(link(&page.body, "next").as_deref(), Some("/rolls/61"));
    assert_eq!(link(&get(&instance.url("/rolls/21"), &[]).body, "prev"), None);
    assert_eq!(link(&get(&instance.url("/rolls/121"), &[]).body, "next"), None);
}

#[test]
fn errors_name_the_value_as_a_page_or_as_json_if_the_client_prefers_it() {
    let (instance, _server) = quiet_instance(21);
    let table = [
        ("/rolls/122", 404, "the newest is 121"),
        ("/rolls/20", 410, "the oldest that is kept is 21"),
        ("/rolls/abc", 422, "got `abc`"),
        ("/rolls?before=-1", 422, "got `-1`"),
        ("/rolls?at=yesterday", 422, "got `yesterday`"),
        ("/rolls?at=2026-13-01", 422, "got `2026-13-01`"),
        ("/no/such/page", 404, "/no/such/page"),
        ("/static/no.css", 404, "no.css"),
        ("/static/../Cargo.toml", 404, ""),
        ("/static/%2e%2e/Cargo.toml", 404, ""),
        ("/static/..%2fCargo.toml", 404, ""),
    ];
    for (path, status, text) in table {
        let page = get(&instance.url(path), &[("Accept", "text/html")]);
        assert_eq!(page.status, status, "{path}");
        assert!(page.header("content-type").starts_with("text/html"), "{path}");
        let whole = page.body.contains("</html>");
        assert!(page.says(text) && whole, "{path}: {}", page.body);

        let json = get(&instance.url(path), &[("Accept", "application/json")]);
        assert_eq!(json.status, status, "{path}");
        assert_eq!(json.header("content-type"), "application/json", "{path}");
        let body: Value = serde_json::from_str(&json.body).unwrap();
        assert!(body["error"]["message"].as_str().unwrap().contains(text), "{path}: {body}");
        assert!(body["error"]["code"].is_string(), "{path}: {body}");
    }
    let script = "/rolls/%3Cscript%3Ealert(1)%3C%2Fscript%3E";
    let page = get(&instance.url(script), &[]);
    assert!(!page.body.contains("<script>alert"), "text of an address must not become markup");
}

#[test]
fn every_response_has_the_security_headers_and_no_cookie() {
    let (instance, _server) = quiet_instance(1);
    let csp = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
               connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
    let expected = [
        ("content-security-policy", csp),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
    ];
    for path in [
        "/",
        "/rolls",
        "/rolls/1",
        "/stats",
        "/api/stats",
        "/rolls/x",
        "/developers",
        "/about",
        "/robots.txt",
        "/events.atom",
        "/api",
        "/none",
        "/static/css/base.css",
        "/static/none",
        "/api/rolls",
        "/api/rolls/x",
        "/healthz",
        "/readyz",
        "/metrics",
    ] {
        let answer = get(&instance.url(path), &[]);
        for (name, value) in expected {
            assert_eq!(answer.header(name), value, "{path}: {name}");
        }
        assert!(answer.header("permissions-policy").contains("interest-cohort"), "{path}");
        assert!(!answer.headers.contains_key("set-cookie"), "{path} sets a cookie");
        assert!(!answer.header("cache-control").is_empty(), "{path} may be cached forever");
        for inline in [" style=", "<style", "javascript:", " onclick="] {
            assert!(!answer.body.contains(inline), "{path} has `{inline}`");
        }
    }
}

#[test]
fn static_files_are_cached_forever_under_their_version_and_revalidated_otherwise() {
    let (instance, _server) = quiet_instance(1);
    let page = get(&instance.url("/"), &[]).body;
    let links = page.split("\"").filter(|part| part.starts_with("/static/"));
    let links: Vec<&str> = links.collect();
    assert!(links.iter().any(|link| link.ends_with(".js")), "{links:?}");
    assert!(links.iter().any(|link| link.ends_with(".css")), "{links:?}");
    for path in links {
        let file = get(&instance.url(path), &[]);
        assert_eq!(file.status, 200, "{path}");
        assert_eq!(file.header("cache-control"), "public, max-age=31536000, immutable", "{path}");
        let content_type = match path.rsplit('.').next().unwrap() {
            "js" => "text/javascript",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            other => panic!("expected a script, a style sheet or an icon, got .{other}"),
        };
        assert_eq!(file.header("content-type"), content_type, "{path}");

        let etag = file.header("etag");
        for known in [etag.to_string(), format!("W/{etag}"), format!("\"x\", {etag}"), "*".into()] {
            let unchanged = get(&instance.url(path), &[("If-None-Match", &known)]);
            assert_eq!((unchanged.status, unchanged.body.as_str()), (304, ""), "{path} {known}");
            assert_eq!(unchanged.header("etag"), etag, "{path}");
        }
        assert_eq!(get(&instance.url(path), &[("If-None-Match", "\"x\"")]).status, 200, "{path}");

        // Under another version, or without one, a browser revalidates each time.
        let name = path.splitn(4, '/').nth(3).unwrap();
        for other in [format!("/static/{name}"), format!("/static/0000000000000000/{name}")] {
            let same = get(&instance.url(&other), &[]);
            assert_eq!((same.status, &same.body), (200, &file.body), "{other}");
            assert_eq!(same.header("cache-control"), "no-cache", "{other}");
        }
        for prefix in ["x", "css", "000000000000000", "000000000000000G", "x/0000000000000000"] {
            let other = format!("/static/{prefix}/{name}");
            assert_eq!(get(&instance.url(&other), &[]).status, 404, "{other}");
        }
    }
}
