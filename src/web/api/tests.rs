//! The API through its handlers, without a network.

use rocket::http::Method;
use serde_json::Value;

use crate::web::SiteFiles;
use crate::web::http::error::code::ErrorCode;
use crate::web::test_site::{TestResponse, TestSite};

const FINAL: &str = "public, max-age=86400, immutable";

/// A server with rolls 1 to 6,000; roll `n` has `1 + n % 6` on its 1D6.
async fn site() -> TestSite {
    TestSite::new(6_000, "", SiteFiles::built_in()).await
}

fn json(response: &TestResponse) -> Value {
    serde_json::from_str(&response.body).expect("JSON")
}

fn ids(response: &TestResponse) -> Vec<i64> {
    let body = json(response);
    let rolls = body["rolls"].as_array().expect("rolls");
    rolls.iter().map(|roll| roll["id"].as_i64().expect("an id")).collect()
}

/// The address of a link by its relation.
fn linked(response: &TestResponse, rel: &str) -> Option<String> {
    let end = format!(">; rel=\"{rel}\"");
    let link = response.header("Link").split(", ").find_map(|link| link.strip_suffix(&end))?;
    Some(link.trim_start_matches('<').into())
}

/// The ids of page after page.
async fn walk(site: &TestSite, start: &str, rel: &str) -> Vec<Vec<i64>> {
    let (mut pages, mut next) = (Vec::new(), Some(start.to_string()));
    while let Some(path) = next {
        let page = site.get(&path).await;
        assert_eq!(page.status, 200, "{path}: {}", page.body);
        pages.push(ids(&page));
        assert!(pages.len() < 30, "paging does not end: {path}");
        next = linked(&page, rel);
    }
    pages
}

#[tokio::test]
async fn every_link_names_its_rolls_by_id_and_time() {
    let site = site().await;
    // Roll n fell at 1,795,392,000,123 ms + n s.
    let cursor = |id: i64| format!("{id}-{}", 1_795_392_000_123 + 1_000 * id);
    let table = [
        ("?limit=10", None, Some(format!("before={}&limit=10", cursor(5_991)))),
        (
            "?before=100&limit=10",
            Some(format!("before={}&limit=10", cursor(110))),
            Some(format!("before={}&limit=10", cursor(90))),
        ),
        // Without a roll after it, the page before is the newest one.
        (
            "?before=5995&limit=10",
            Some("limit=10".into()),
            Some(format!("before={}&limit=10", cursor(5_985))),
        ),
        (
            "?after=100&limit=10",
            Some(format!("after={}&before={}&limit=10", cursor(90), cursor(101))),
            Some(format!("after={}&limit=10", cursor(110))),
        ),
        // Before the first roll there is no time.
        (
            "?after=5&limit=10",
            Some(format!("after=0&before={}&limit=10", cursor(6))),
            Some(format!("after={}&limit=10", cursor(15))),
        ),
        ("?after=0&limit=10", None, Some(format!("after={}&limit=10", cursor(10)))),
        ("?after=6000&limit=10", None, None),
    ];
    for (query, prev, next) in table {
        let page = site.get(&format!("/api/rolls{query}")).await;
        let address = |query: String| format!("/api/rolls?{query}");
        assert_eq!(linked(&page, "prev"), prev.map(address), "{query}");
        assert_eq!(linked(&page, "next"), next.map(address), "{query}");
    }
}

#[tokio::test]
async fn links_in_both_directions_notice_another_history() {
    let site = site().await;
    for query in ["?before=100&limit=10", "?after=100&limit=10"] {
        let page = site.get(&format!("/api/rolls{query}")).await;
        for rel in ["prev", "next"] {
            let link = linked(&page, rel).expect("a link");
            assert_eq!(site.get(&link).await.status, 200, "{link}");
            // In a restored database the same roll fell at another time.
            let other = link.replace("123&", "124&");
            assert_ne!(other, link);
            let refused = site.get(&other).await;
            assert_eq!(refused.status, 409, "{other}");
            assert_eq!(json(&refused)["error"]["code"], "cursor_of_another_history");
        }
    }
}

#[tokio::test]
async fn rolls_with_a_result_come_page_by_page_in_both_orders() {
    let site = site().await;
    // Roll n has 1 + n % 6.
    let expected: Vec<i64> = (1..=6_000).filter(|n| n % 6 == 5).collect();
    let oldest_first = walk(&site, "/api/rolls?die=1D6&result=6&after=0&limit=300", "next").await;
    assert_eq!(oldest_first.concat(), expected);
    let mut newest_first =
        walk(&site, "/api/rolls?die=1d6&result=6&limit=300", "next").await.concat();
    newest_first.reverse();
    assert_eq!(newest_first, expected);
    let range = walk(&site, "/api/rolls?die=1D6&result=6&after=10&before=30&limit=2", "next").await;
    assert_eq!(range, [[11, 17], [23, 29]]);
    let since = site.get("/api/rolls?die=1D6&result=6&since=2026-11-23T00:01:00Z&limit=2").await;
    assert_eq!(ids(&since), [65, 71]);
}

#[tokio::test]
async fn a_search_is_bounded_and_tells_which_rolls_it_covers() {
    let site = site().await;
    let rare = site.get("/api/rolls?die=1D20&result=20").await;
    let searched =
        |oldest: i64, newest: i64| serde_json::json!({"oldest": oldest, "newest": newest});
    assert_eq!((ids(&rare), &json(&rare)["searched"]), (vec![], &searched(1_001, 6_000)));
    let next = linked(&rare, "next").expect("a link");
    assert!(next.contains("&die=1D20&result=20&limit=100"), "{next}");
    let rest = site.get(&next).await;
    assert_eq!((ids(&rest), &json(&rest)["searched"]), (vec![], &searched(1, 1_000)));
    assert_eq!(linked(&rest, "next"), None);
    let upward = site.get("/api/rolls?die=1D20&result=20&after=0").await;
    assert_eq!(json(&upward)["searched"], searched(1, 5_000));
    let full = site.get("/api/rolls?die=1D6&result=6&after=0&limit=2").await;
    assert_eq!((ids(&full), &json(&full)["searched"]), (vec![5, 11], &searched(1, 11)));
    let plain = site.get("/api/rolls?limit=2").await;
    assert_eq!(json(&plain).get("searched"), None, "only with a result");
}

#[tokio::test]
async fn only_a_page_with_a_result_that_no_later_roll_changes_is_cached() {
    let site = site().await;
    let table = [
        ("", false),
        ("&before=100", true),
        ("&before=6001", true),
        ("&before=6002", false),
        ("&after=0&limit=10", true),
        ("&after=5990", false),
        ("&after=5990&before=5999", true),
        ("&since=2026-11-23&limit=10", false),
    ];
    for (range, is_final) in table {
        let page = site.get(&format!("/api/rolls?die=1D6&result=6{range}")).await;
        assert_eq!(page.status, 200, "{range}: {}", page.body);
        let expected = if is_final { FINAL } else { "no-cache" };
        assert_eq!(page.header("Cache-Control"), expected, "{range}");
    }
}

#[tokio::test]
async fn every_error_has_a_code_that_says_what_is_wrong() {
    let site = site().await;
    let table = [
        (
            "/api/rolls?limit=0",
            422,
            "invalid_parameter",
            "limit: expected 1 to 1000 rolls, got `0`",
        ),
        (
            "/api/rolls?befor=1",
            422,
            "unknown_parameter",
            "after, before, since, limit, die, result",
        ),
        ("/api/rolls?befor=1", 422, "unknown_parameter", "got `befor`"),
        ("/api/rolls.csv?limit=1", 422, "unknown_parameter", "after, before, since, got `limit`"),
        ("/api/stats?x=1", 422, "unknown_parameter", "expected no parameters, got `x`"),
        ("/api/rolls?limit=1&limit=1", 422, "repeated_parameter", "`limit` once"),
        ("/api/rolls?die=1D6", 422, "invalid_parameter", "die: expected `result` with it"),
        ("/api/rolls?result=6", 422, "invalid_parameter", "result: expected `die` with it"),
        ("/api/rolls?die=1D6&result=7", 422, "invalid_parameter", "got `7`"),
        ("/api/rolls?die=1W6&result=6", 422, "invalid_parameter", "got `1W6`"),
        ("/api/rolls?after=6001", 409, "cursor_of_another_history", "got `6001`"),
        ("/api/rolls?die=1D6&result=6&before=5-1", 409, "cursor_of_another_history", "got `5-1`"),
        ("/api/rolls/6001", 404, "roll_not_found", "the newest is 6000"),
        ("/api/rolls/0", 404, "roll_not_found", "counted from 1"),
        ("/api/rolls/x", 422, "invalid_parameter", "got `x`"),
        ("/api/none", 404, "not_found", "`/api/none`"),
    ];
    for (path, status, code, text) in table {
        let response = site.get(path).await;
        assert_eq!((response.status, response.content_type.as_str()), (status, "application/json"));
        let error = &json(&response)["error"];
        assert_eq!(error["code"], code, "{path}");
        let message = error["message"].as_str().expect("a message");
        assert!(message.contains(text), "{path}: {message}");
    }
    let posted = site.request(Method::Post, "/api/rolls", &[]).await;
    assert_eq!((posted.status, posted.header("Allow")), (405, "GET, HEAD, OPTIONS"));
    assert_eq!(json(&posted)["error"]["code"], "method_not_allowed");
}

#[tokio::test]
async fn the_document_and_the_page_list_every_error_code() {
    let site = site().await;
    let document = json(&site.get("/api/openapi.json").await);
    let page = site.get("/developers").await;
    let names = document["components"]["schemas"]["ErrorCode"]["enum"].as_array().expect("names");
    assert_eq!(names.len(), ErrorCode::ALL.len());
    for code in ErrorCode::ALL {
        assert!(names.contains(&code.name().into()), "{}", code.name());
        let row = format!("<code>{}</code> ({})", code.name(), code.status().code);
        assert!(page.body.contains(&row), "expected {row} on the page");
    }
}

#[tokio::test]
async fn a_response_that_depends_on_accept_says_so() {
    let site = site().await;
    for path in ["/none", "/rolls/6001", "/rolls?before=x", "/readyz"] {
        let html = site.request(Method::Get, path, &[("Accept", "text/html")]).await;
        let json = site.request(Method::Get, path, &[("Accept", "Application/JSON")]).await;
        assert!(!html.content_type.contains("json"), "{path}");
        assert_eq!(json.content_type, "application/json", "{path}");
        assert_eq!((html.header("Vary"), json.header("Vary")), ("Accept", "Accept"), "{path}");
    }
    for path in ["/api/rolls", "/api/none", "/api/rolls?x=1"] {
        assert_eq!(site.get(path).await.header("Vary"), "", "{path} is always JSON");
    }
}

#[tokio::test]
async fn an_options_request_lists_the_methods_of_an_address() {
    let site = site().await;
    for path in ["/api/rolls", "/api/rolls/1", "/api/stats", "/api/rolls.csv"] {
        let response = site.request(Method::Options, path, &[]).await;
        assert_eq!((response.status, response.header("Allow")), (204, "GET, HEAD, OPTIONS"));
        assert_eq!(response.header("Access-Control-Allow-Origin"), "*", "{path}");
    }
}
