//! `/screen`, `/embed` and `/oembed` through their handlers.

use rocket::http::Method;
use serde_json::Value;

use crate::web::SiteFiles;
use crate::web::test_site::{TestResponse, TestSite};

async fn site(n_rolls: i64) -> TestSite {
    TestSite::new(n_rolls, "", SiteFiles::built_in()).await
}

/// The results of the only die: the newest and those before it, as far as there are places.
fn results(page: &TestResponse) -> Vec<String> {
    let (_, list) = page.body.split_once("class=\"columns\"").expect("a list");
    let texts = |marker: &str| -> Vec<String> {
        let parts = list.split(marker).skip(1);
        parts.map(|part| part.split('<').next().unwrap_or_default().to_owned()).collect()
    };
    let (newest, before) = (texts("class=\"die-result\">"), texts("<li>"));
    [newest, before].concat()
}

#[tokio::test]
async fn a_screen_has_the_newest_result_and_those_before_it() {
    let site = site(10).await;
    // Roll n shows 1 + n % 6.
    let page = site.get("/screen?tail=3").await;
    assert_eq!(results(&page), ["5", "4", "3", "2"]);
    assert!(page.body.contains("data-cursor=\"10-1795392010123\""), "{}", page.body);
    assert_eq!(results(&site.get("/embed?tail=0").await), ["5"]);

    let young = self::site(2).await.get("/screen?tail=3").await;
    assert_eq!(results(&young), ["3", "2", "", ""]);
    let empty = self::site(0).await.get("/screen").await;
    assert_eq!((empty.status, empty.body.contains("not rolled yet")), (200, true));
}

#[tokio::test]
async fn a_parameter_that_cannot_be_used_is_named() {
    let site = site(1).await;
    for (query, message) in [
        ("bg=red", "bg: expected <code>felt</code>, <code>none</code> or a colour"),
        ("dice=1D20", "dice: expected dice that this server rolls, got <code>1D20</code>"),
        ("tail=99", "tail: expected 0 to 50 results, got <code>99</code>"),
        ("sound=x", "sound: expected <code>0</code> or <code>1</code>"),
    ] {
        for path in ["/screen", "/embed"] {
            let page = site.get(&format!("{path}?{query}")).await;
            assert_eq!(page.status, 422, "{path}?{query}");
            assert!(page.body.contains(message), "{path}?{query}: {}", page.body);
        }
    }
}

#[tokio::test]
async fn only_the_embedded_page_may_be_framed() {
    let site = site(1).await;
    for path in ["/", "/screen", "/rolls/1", "/none", "/embed?tail=x"] {
        let page = site.get(path).await;
        assert_eq!(page.header("X-Frame-Options"), "DENY", "{path}");
        let policy = page.header("Content-Security-Policy");
        assert!(policy.ends_with("; frame-ancestors 'none'"), "{path}: {policy}");
    }
    let page = site.get("/embed").await;
    assert_eq!((page.status, page.header("X-Frame-Options")), (200, ""));
    let policy = page.header("Content-Security-Policy");
    assert!(policy.starts_with("default-src 'none'; script-src 'self'"), "{policy}");
    assert!(!policy.contains("frame-ancestors"), "{policy}");
}

const HOST: (&str, &str) = ("Host", "dice.example.org");

/// The answer of `/oembed` to a server that embeds a link.
async fn oembed(site: &TestSite, query: &str) -> TestResponse {
    site.request(Method::Get, &format!("/oembed?{query}"), &[HOST]).await
}

#[tokio::test]
async fn a_link_becomes_a_frame_that_shows_the_same() {
    let site = site(1).await;
    let query = "url=https%3A%2F%2Fdice.example.org%2Fscreen%3Fdice%3Dd6%26tail%3D2%26x%3D%22%23a\
                 &maxwidth=300&maxheight=9999&format=json";
    let answer = oembed(&site, query).await;
    assert_eq!((answer.status, answer.content_type.as_str()), (200, "application/json"));
    assert_eq!(answer.header("Access-Control-Allow-Origin"), "*");
    let frame: Value = serde_json::from_str(&answer.body).expect("JSON");
    let expected = "<iframe src=\"http://dice.example.org/embed?dice=1D6&amp;tail=2\" width=\"300\" \
                    height=\"270\" title=\"One die, rolled every hour\" frameborder=\"0\" loading=\"lazy\"></iframe>";
    assert_eq!(frame["html"], expected);
    assert_eq!((&frame["type"], &frame["version"]), (&"rich".into(), &"1.0".into()));
    assert_eq!((&frame["width"], &frame["height"]), (&300.into(), &270.into()));

    let screen =
        site.request(Method::Get, "/screen?sound=1&tail=2&dice=d6&x=1", &[HOST]).await.body;
    let link = "/oembed?url=http%3A%2F%2Fdice%2Eexample%2Eorg%2Fscreen%3Fdice%3D1D6%26tail%3D2%26sound%3D1\"";
    assert!(screen.contains(link), "{screen}");

    for link in
        ["https://dice.example.org", "http://dice.example.org/", "http://dice.example.org/embed"]
    {
        let answer = oembed(&site, &format!("url={link}")).await;
        assert!(answer.body.contains("/embed\\\" width=\\\"480\\\""), "{link}: {}", answer.body);
    }
}

#[tokio::test]
async fn other_links_and_formats_are_refused_as_the_specification_says() {
    let site = site(1).await;
    for (query, status) in [
        ("url=https://other.example.org/", 404),
        ("url=https://dice.example.org.evil.example/", 404),
        ("url=https://dice.example.org/rolls/1", 404),
        ("url=x", 404),
        ("url=https://dice.example.org/&format=xml", 501),
        ("url=https://dice.example.org/&maxwidth=0", 422),
        ("url=https://dice.example.org/screen?tail=x", 422),
    ] {
        let answer = oembed(&site, query).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
    }
}
