//! The pages through their handlers, without a network.

use std::ops::RangeInclusive;

use rocket::http::Method;

use crate::config::WebConfig;
use crate::web::SiteFiles;
use crate::web::test_site::{TestResponse, TestSite};

/// The pages that exist where rolls 1 to 25 are stored, and pages of errors.
const PATHS: [(&str, u16); 15] = [
    ("/", 200),
    ("/rolls", 200),
    ("/rolls?day=2026-11-23&die=1D6&result=4&tz=Asia/Kolkata", 200),
    ("/rolls?day=%3Cb%3E&tz=%3Cb%3E", 422),
    ("/rolls/25?tz=Europe/Berlin", 200),
    ("/rolls/25", 200),
    ("/stats", 200),
    ("/stats/1D6", 200),
    ("/stats/1D8", 404),
    ("/stats/d6", 422),
    ("/developers", 200),
    ("/about", 200),
    ("/none", 404),
    ("/rolls/26", 404),
    ("/rolls/%3Cb%3E", 422),
];

async fn site(n_rolls: i64) -> TestSite {
    TestSite::new(n_rolls, "page_size = 10", SiteFiles::built_in()).await
}

/// The ids of the rows of a page, in their order.
fn ids(page: &TestResponse) -> Vec<i64> {
    let rows = page.body.split("<li id=\"roll-").skip(1);
    let ids = rows.map(|row| row.split('"').next().expect("an id").parse().expect("an id"));
    ids.filter(|id| *id > 0).collect()
}

/// The address of the first link with this text.
fn link(page: &TestResponse, text: &str) -> Option<String> {
    let (before, _) = page.body.split_once(&format!(">{text}</a>"))?;
    let (_, tag) = before.rsplit_once("<a ")?;
    let (_, address) = tag.split_once("href=\"")?;
    Some(address.split('"').next()?.replace("&amp;", "&"))
}

fn descending(range: RangeInclusive<i64>) -> Vec<i64> {
    range.rev().collect()
}

#[tokio::test]
async fn built_in_files_make_the_same_pages_as_the_folders_of_the_source_tree() {
    let tree = |name: &str| Some(format!("{}/{name}", env!("CARGO_MANIFEST_DIR")).into());
    let web = WebConfig {
        page_size: 10,
        max_streams: 10,
        max_streams_per_address: 10,
        trusted_proxies: Vec::new(),
        address_header: None,
        template_dir: tree("templates"),
        static_dir: tree("static"),
        lab_url: None,
    };
    let of_tree = SiteFiles::load(&web).expect("the source tree");
    assert!(of_tree.templates().contains("key `template_dir`"));
    assert_eq!(SiteFiles::built_in().templates(), "the built-in files");
    let (built_in, of_tree) = (site(25).await, TestSite::new(25, "page_size = 10", of_tree).await);
    for (path, status) in PATHS {
        let (page, same) = (built_in.get(path).await, of_tree.get(path).await);
        assert_eq!((page.status, page.content_type.as_str()), (status, "text/html; charset=utf-8"));
        assert!(page.body.trim_end().ends_with("</html>"), "{path}: {}", page.body);
        assert!(!page.body.contains("<b>"), "{path}: text of an address became markup");
        assert_eq!((page.status, page.body), (same.status, same.body), "{path}");
    }
}

/// The canonical address of a page.
fn canonical(page: &TestResponse) -> Option<String> {
    let (_, link) = page.body.split_once("<link rel=\"canonical\" href=\"")?;
    Some(link.split('"').next()?.replace("&amp;", "&"))
}

#[tokio::test]
async fn a_page_names_its_canonical_address_on_the_host_that_the_visitor_entered() {
    let site = site(25).await;
    let get = async |path: &str, host: &str| {
        let headers = [("Accept", "text/html"), ("Host", host)];
        canonical(&site.request(Method::Get, path, &headers).await)
    };
    for (path, address) in [
        ("/", "/"),
        ("/?x=1", "/"),
        ("/rolls/25", "/rolls/25"),
        ("/rolls?result=4&die=1D6&day=2026-11-23", "/rolls?day=2026-11-23&die=1D6&result=4"),
        ("/draw", "/draw"),
    ] {
        let expected = format!("http://dice.example.org:5000{address}");
        assert_eq!(get(path, "Dice.example.org:5000").await, Some(expected), "{path}");
        let without_host = canonical(&site.get(path).await);
        assert_eq!(without_host, Some(format!("http://localhost{address}")), "{path}");
    }
    assert_eq!(get("/none", "dice.example.org").await, None);
}

#[tokio::test]
async fn a_configured_origin_is_the_address_of_the_site_whatever_the_visitor_entered() {
    let site = TestSite::new(1, "origin = 'dice.example.org'", SiteFiles::built_in()).await;
    for host in ["127.0.0.1:5000", "other.example"] {
        let headers = [("Host", host), ("X-Forwarded-Proto", "http")];
        let page = site.request(Method::Get, "/rolls/1", &headers).await;
        assert_eq!(canonical(&page).as_deref(), Some("https://dice.example.org/rolls/1"));
    }
}

/// The ids of the rolls in the slots of the live page, in their order.
fn slots(page: &TestResponse) -> Vec<i64> {
    let (_, list) = page.body.split_once("<ol id=\"rolls\"").expect("a list");
    let (list, _) = list.split_once("</ol>").expect("the end of the list");
    let links = list.split("href=\"/rolls/").skip(1);
    links.map(|link| link.split('"').next().expect("an id").parse().expect("an id")).collect()
}

#[tokio::test]
async fn the_live_page_has_the_newest_rolls_and_the_cursor_of_the_newest() {
    let page = site(25).await.get("/").await;
    assert_eq!(slots(&page), (10..=25).collect::<Vec<_>>());
    assert!(page.body.contains("Roll <span class=\"newest-number\">25</span>"), "{}", page.body);
    assert_eq!(page.body.matches("aria-current=\"true\"").count(), 1);
    assert!(page.body.contains("<h1>One die, rolled every hour</h1>"), "{}", page.body);
    let (_, list) = page.body.split_once("<ol id=\"rolls\"").expect("a list");
    let (list, _) = list.split_once('>').expect("the end of a tag");
    assert!(list.contains("data-cursor=\"25-1795392025123\""), "{list}");
}

#[tokio::test]
async fn the_live_page_has_sixteen_slots_however_few_rolls_there_are() {
    for n_rolls in [0, 1, 10] {
        let page = site(n_rolls).await.get("/").await;
        assert_eq!(slots(&page), (1..=n_rolls).collect::<Vec<_>>());
        assert_eq!(page.body.matches("<li class=\"slot\"").count(), 16);
        let says_none = page.body.contains("<p data-notice=\"none\">No rolls yet.");
        assert_eq!(says_none, n_rolls == 0);
        assert_eq!(page.body.contains("not rolled yet"), n_rolls == 0);
    }
}

#[tokio::test]
async fn the_page_of_a_roll_links_its_neighbours_its_day_and_its_place_in_the_history() {
    let site = site(25).await;
    let table = [
        (1, None, Some("/rolls/2")),
        (12, Some("/rolls/11"), Some("/rolls/13")),
        (25, Some("/rolls/24"), None),
    ];
    for (id, previous, next) in table {
        let page = site.get(&format!("/rolls/{id}")).await;
        assert_eq!(link(&page, "Previous roll").as_deref(), previous, "roll {id}");
        assert_eq!(link(&page, "Next roll").as_deref(), next, "roll {id}");
        assert_eq!(link(&page, "All rolls of this day").as_deref(), Some("/rolls?day=2026-11-23"));
        let in_history = link(&page, "Find it in the history").expect("a link");
        assert_eq!(in_history, format!("/rolls?before={}#roll-{id}", id + 1));
        let (page, _) = in_history.split_once('#').expect("a row of the page");
        assert_eq!(ids(&site.get(page).await).first(), Some(&id), "roll {id}");
    }
}

#[tokio::test]
async fn older_and_newer_lead_through_the_history_and_back() {
    let site = site(25).await;
    let (mut path, mut seen) = (Some("/rolls".to_string()), Vec::new());
    let mut last = String::new();
    while let Some(address) = path {
        let page = site.get(&address).await;
        seen.push(ids(&page));
        path = link(&page, "Older rolls");
        last = address;
    }
    assert_eq!(seen, [descending(16..=25), descending(6..=15), descending(1..=5)]);
    let page = site.get(&last).await;
    assert_eq!(link(&page, "Newer rolls").as_deref(), Some("/rolls?before=16"));
    let page = site.get("/rolls?before=16").await;
    assert_eq!(link(&page, "Newer rolls").as_deref(), Some("/rolls"));
    assert_eq!(link(&site.get("/rolls").await, "Newer rolls"), None);
}

#[tokio::test]
async fn a_filter_stays_in_the_links_to_other_pages() {
    let site = TestSite::new(80, "page_size = 10", SiteFiles::built_in()).await;
    // Roll n shows 1 + n % 6, so 1 comes up on rolls 6, 12, 18, …, 78.
    let first = "/rolls?day=2026-11-23&die=1D6&result=1";
    let page = site.get(first).await;
    assert_eq!(ids(&page), (4..=13).map(|n| n * 6).rev().collect::<Vec<_>>());
    let older = link(&page, "Search older rolls").expect("an older page");
    assert_eq!(older, format!("{first}&before=24"));
    let page = site.get(&older).await;
    assert_eq!(ids(&page), [18, 12, 6]);
    let newer = link(&page, "Newer rolls").expect("a newer page");
    assert_eq!(newer, format!("{first}&after=23"));
    assert_eq!(ids(&site.get(&newer).await), (4..=13).map(|n| n * 6).rev().collect::<Vec<_>>());
    assert!(page.body.contains("has come up 13 times"), "{}", page.body);
}

#[tokio::test]
async fn a_die_alone_finds_its_rolls_without_reading_others() {
    let site = site(25).await;
    let page = site.get("/rolls?die=1d6").await;
    assert_eq!(ids(&page), descending(16..=25));
    assert!(page.body.contains("The d6 has been rolled 25 times."), "{}", page.body);
    assert!(page.body.contains("<option value=\"1D6\" selected>d6</option>"), "{}", page.body);
    let older = link(&page, "Search older rolls").expect("an older page");
    assert_eq!(older, "/rolls?die=1D6&before=16");
    let none = site.get("/rolls?die=1D12").await;
    assert_eq!((none.status, ids(&none)), (200, vec![]));
    assert!(none.body.contains("The d12 has never been rolled."), "{}", none.body);
    assert!(none.body.contains("<option value=\"1D12\" selected>d12</option>"), "{}", none.body);
    assert_eq!(link(&none, "Search older rolls"), None);
}

#[tokio::test]
async fn a_field_that_cannot_be_used_has_its_error_and_all_fields_keep_their_values() {
    let site = site(25).await;
    let query = "day=2026-13-01&time=12:00&die=1D6&result=9&tz=Europe/Berlin";
    let page = site.get(&format!("/rolls?{query}")).await;
    assert_eq!((page.status, ids(&page)), (422, vec![]));
    let fields = [
        "name=\"day\" value=\"\" aria-invalid=\"true\" aria-describedby=\"day-error\"",
        "<p id=\"day-error\" class=\"field-error\">expected a day such as <code>2026-11-23</code>",
        "name=\"time\" value=\"12:00\">",
        "<option value=\"1D6\" selected>d6</option>",
        "<p id=\"result-error\" class=\"field-error\">expected a result",
        "list=\"zones\" value=\"Europe/Berlin\">",
    ];
    for text in fields {
        assert!(page.body.contains(text), "{text} is not in {}", page.body);
    }
    let json = [("Accept", "application/json")];
    let error = site.request(Method::Get, &format!("/rolls?{query}"), &json).await;
    assert_eq!((error.status, error.content_type.as_str()), (422, "application/json"));
    assert!(error.body.contains("day: expected a day"), "{}", error.body);
    let file = site.get(&format!("/rolls.csv?{query}")).await;
    assert_eq!(file.status, 422);
}

#[tokio::test]
async fn a_page_has_one_time_zone_and_its_links_keep_it() {
    let site = site(25).await;
    // Rolls 1 to 25 are the first seconds of 2026-11-23 in UTC, and the last ones of 2026-11-22 in
    // New York minus five hours.
    let query = "day=2026-11-22&tz=America/New_York";
    let page = site.get(&format!("/rolls?{query}")).await;
    assert_eq!(ids(&page), descending(16..=25));
    let shown = "title=\"2026-11-23T00:00:25.123Z\"><span class=\"day\">2026-11-22</span> \
                 <span class=\"clock\">19:00:25</span>";
    assert!(page.body.contains(shown), "{}", page.body);
    assert!(page.body.contains("<h1>Rolls on 2026-11-22</h1>"), "{}", page.body);
    assert_eq!(link(&page, "Older rolls"), Some(format!("/rolls?{query}&before=16")));
    assert_eq!(link(&page, "Show UTC").as_deref(), Some("/rolls?day=2026-11-22"));
    let rows = page.body.split("class=\"entry-link\" href=\"").skip(1);
    let hrefs: Vec<&str> = rows.filter_map(|row| row.split('"').next()).collect();
    assert_eq!(hrefs[0], "/rolls/25?tz=America/New_York");

    let roll = site.get(hrefs[0]).await;
    assert!(roll.body.contains(shown), "{}", roll.body);
    assert_eq!(link(&roll, "Previous roll").as_deref(), Some("/rolls/24?tz=America/New_York"));
    assert_eq!(link(&roll, "All rolls of this day"), Some(format!("/rolls?{query}")));
    assert_eq!(link(&roll, "Show UTC").as_deref(), Some("/rolls/25"));
    let in_utc = site.get("/rolls/25").await;
    assert_eq!(link(&in_utc, "Show UTC"), None);
    let no_zone = site.get("/rolls/25?tz=Mars").await;
    assert_eq!(no_zone.status, 422);
}

#[tokio::test]
async fn a_page_of_the_history_is_also_a_file_with_the_same_rolls() {
    let site = TestSite::new(80, "page_size = 10", SiteFiles::built_in()).await;
    let page = site.get("/rolls?die=1D6&result=1&before=50").await;
    let shown = ids(&page);
    assert_eq!(shown, [48, 42, 36, 30, 24, 18, 12, 6]);
    let csv = site.get(&link(&page, "CSV").expect("a file")).await;
    assert_eq!((csv.status, csv.content_type.as_str()), (200, "text/csv; charset=utf-8"));
    assert_eq!(csv.header("Content-Disposition"), "attachment; filename=\"rolls.csv\"");
    let rows: Vec<&str> = csv.body.lines().collect();
    assert_eq!((rows[0], rows[1]), ("id,rolled_at,1D6", "48,2026-11-23T00:00:48.123Z,1"));
    let of_csv = rows[1..].iter().map(|row| row.split(',').next().expect("an id"));
    let of_csv: Vec<i64> = of_csv.map(|id| id.parse().expect("an id")).collect();
    assert_eq!(of_csv, shown);
    let json = site.get(&link(&page, "JSON").expect("a file")).await;
    let json: serde_json::Value = serde_json::from_str(&json.body).expect("JSON");
    let rolls = json.as_array().expect("an array").iter();
    let of_json: Vec<i64> = rolls.map(|roll| roll["id"].as_i64().expect("an id")).collect();
    assert_eq!(of_json, shown);

    let day = site.get("/rolls?day=2026-11-23").await;
    assert!(day.body.contains("href=\"/api/rolls.csv?after=0&amp;before=81\""), "{}", day.body);
    assert!(!page.body.contains("/api/rolls.csv?after"), "a day that nobody asked for");
}

#[tokio::test]
async fn the_page_of_a_roll_says_what_its_rarest_result_means() {
    let site = site(25).await;
    // 1 comes up on rolls 6, 12, 18 and 24.
    let table = [
        (
            18,
            "This is the 3rd 1 on d6; the one before was 6 rolls earlier, in <a href=\"/rolls/12\">roll 12</a>.",
        ),
        (6, "This is the first 1 on d6."),
    ];
    for (id, text) in table {
        let page = site.get(&format!("/rolls/{id}")).await;
        assert!(page.body.contains(text), "{id}: {}", page.body);
    }
}

#[tokio::test]
async fn a_moment_leads_to_the_page_that_has_it_in_its_middle() {
    let site = site(25).await;
    let table = [
        ("2026-11-23T00:00:12", "/rolls?before=18#roll-12"),
        ("2026-11-23", "/rolls?before=7#roll-1"),
        ("2999-12-31", "/rolls?before=31#roll-25"),
    ];
    for (at, location) in table {
        let redirect = site.get(&format!("/rolls?at={at}")).await;
        assert_eq!((redirect.status, redirect.location.as_str()), (303, location), "{at}");
    }
    let redirects = [
        ("at=2026-11-23T01:00:12&tz=Europe/Berlin", "?tz=Europe/Berlin&before=18#roll-12"),
        ("day=2026-11-23&time=00:00:12", "?day=2026-11-23&before=18#roll-12"),
        (
            "day=2026-11-23&time=00:00:12&die=1D6&result=1",
            "?day=2026-11-23&die=1D6&result=1&after=11",
        ),
    ];
    for (query, location) in redirects {
        let redirect = site.get(&format!("/rolls?{query}")).await;
        let location = format!("/rolls{location}");
        assert_eq!((redirect.status, redirect.location), (303, location), "{query}");
    }
    let empty = self::site(0).await.get("/rolls?at=2026-11-23").await;
    assert_eq!((empty.status, empty.location.as_str()), (303, "/rolls"));
}

#[tokio::test]
async fn the_page_about_the_fleet_exists_only_in_a_fleet() {
    let fleet = "[default.rollcast.fleet]\nservers = ['nats://127.0.0.1:4222']";
    let node = TestSite::new(3, fleet, SiteFiles::built_in()).await;
    let page = node.get("/fleet").await;
    assert_eq!((page.status, page.header("Cache-Control")), (200, "no-store"));
    assert!(page.body.contains("cannot reach the others"), "{}", page.body);
    assert!(page.body.contains("<a href=\"/rolls/3\">3</a>"), "{}", page.body);
    let json = node.request(Method::Get, "/fleet", &[("Accept", "application/json")]).await;
    let expected = "{\"state\":\"unreachable\",\"reason\":null,\"head\":3,\"log_last\":null,\
                    \"behind\":null}";
    assert_eq!(json.body, expected);
    assert_eq!(link(&node.get("/").await, "Fleet").as_deref(), Some("/fleet"));

    let single = site(3).await;
    assert_eq!(single.get("/fleet").await.status, 404);
    assert_eq!(link(&single.get("/").await, "Fleet"), None);
}

#[tokio::test]
async fn a_copy_that_is_current_is_not_sent_again() {
    let site = site(3).await;
    for (path, control) in [
        ("/static/css/die.css", "no-cache"),
        ("/favicon.ico", "public, max-age=86400"),
        ("/icon-192.png", "public, max-age=86400"),
        ("/picture.png", "public, max-age=86400"),
        ("/rolls/3/picture.png", "public, max-age=86400"),
    ] {
        let whole = site.get(path).await;
        let etag = whole.header("ETag");
        assert_eq!((whole.status, whole.header("Cache-Control")), (200, control), "{path}");
        for (known, status) in [(etag, 304), ("\"0123456789abcdef\"", 200)] {
            let answer = site.request(Method::Get, path, &[("If-None-Match", known)]).await;
            assert_eq!((answer.status, answer.header("ETag")), (status, etag), "{path}: {known}");
            assert_eq!(answer.header("Cache-Control"), control, "{path}: {known}");
            assert_eq!(answer.content_type.is_empty(), status == 304, "{path}: {known}");
        }
    }
}
