//! What crawlers, phones, feed readers and link previews ask for.

use std::io::Read;

use serde_json::Value;

use crate::common::{Instance, http};
use crate::pages::{get, quiet_instance, wait_for_head};

/// The content of a meta element.
fn meta<'p>(page: &'p str, name: &str) -> &'p str {
    let (_, rest) = page
        .split_once(&format!("\"{name}\" content=\""))
        .unwrap_or_else(|| panic!("no {name} in {page}"));
    rest.split('"').next().unwrap()
}

fn bytes(url: &str) -> (String, Vec<u8>) {
    let mut response = http().get(url).call().unwrap();
    assert_eq!(response.status(), 200, "{url}");
    for name in ["content-security-policy", "x-content-type-options", "cache-control", "etag"] {
        assert!(response.headers().contains_key(name), "{url} lacks {name}");
    }
    let content_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    let mut bytes = Vec::new();
    response.body_mut().as_reader().read_to_end(&mut bytes).unwrap();
    (content_type, bytes)
}

/// Width and height of a PNG.
fn size(png: &[u8]) -> (u32, u32) {
    assert!(png.starts_with(b"\x89PNG\r\n\x1a\n"), "no PNG");
    let number = |at: usize| u32::from_be_bytes(png[at..at + 4].try_into().unwrap());
    (number(16), number(20))
}

#[test]
fn the_preview_of_a_roll_shows_its_dice() {
    let (instance, _server) = quiet_instance(1);
    let page = get(&instance.url("/rolls/60"), &[]).body;
    assert_eq!(meta(&page, "og:title"), "Roll 60");
    assert_eq!(meta(&page, "og:url"), instance.url("/rolls/60"));
    let description = meta(&page, "og:description");
    assert!(description.starts_with("1D6 1, 1D20 "), "{description}");
    assert!(description.contains("Rolled on 2026-11-23 at 00:01:00 UTC"), "{description}");
    let picture = meta(&page, "og:image");
    assert_eq!(picture, instance.url("/rolls/60/picture.png"));
    let (content_type, of_60) = bytes(picture);
    assert_eq!((content_type.as_str(), size(&of_60)), ("image/png", (1_200, 630)));
    let (_, of_61) = bytes(&instance.url("/rolls/61/picture.png"));
    assert_ne!(of_60, of_61, "the pictures of two rolls are the same");
    assert!(of_60.len() < 100_000, "{} bytes", of_60.len());

    let front = get(&instance.url("/"), &[]).body;
    let (_, of_site) = bytes(meta(&front, "og:image"));
    assert_eq!(size(&of_site), (1_200, 630));
    for (path, status) in [("/rolls/999/picture.png", 404), ("/rolls/x/picture.png", 422)] {
        assert_eq!(get(&instance.url(path), &[]).status, status, "{path}");
    }
    let error = get(&instance.url("/none"), &[("Accept", "text/html")]).body;
    assert!(!error.contains("og:") && error.contains("content=\"noindex\""), "{error}");
}

#[test]
fn phones_and_old_browsers_find_their_icons() {
    let (instance, _server) = quiet_instance(1);
    let page = get(&instance.url("/"), &[]).body;
    assert!(page.contains("<link rel=\"manifest\" href=\"/manifest.webmanifest\">"));
    let manifest = get(&instance.url("/manifest.webmanifest"), &[]);
    assert_eq!(manifest.header("content-type"), "application/manifest+json");
    let manifest: Value = serde_json::from_str(&manifest.body).unwrap();
    let icons = manifest["icons"].as_array().unwrap();
    assert_eq!(icons.len(), 2);
    for icon in icons {
        let (_, png) = bytes(&instance.url(icon["src"].as_str().unwrap()));
        let (width, height) = size(&png);
        assert_eq!(icon["sizes"], format!("{width}x{height}"));
    }
    assert_eq!(size(&bytes(&instance.url("/apple-touch-icon.png")).1), (180, 180));
    let (content_type, icon) = bytes(&instance.url("/favicon.ico"));
    assert_eq!(content_type, "image/x-icon");
    assert_eq!(size(&icon[22..]), (32, 32));
}

#[test]
fn crawlers_are_kept_from_addresses_without_end() {
    let (instance, _server) = quiet_instance(1);
    let robots = get(&instance.url("/robots.txt"), &[]);
    assert!(robots.header("content-type").starts_with("text/plain"));
    let rules: Vec<&str> =
        robots.body.lines().filter_map(|line| line.strip_prefix("Disallow: ")).collect();
    let is_kept_out = |path: &str| {
        rules.iter().any(|rule| match rule.split_once('*') {
            None => path.starts_with(rule),
            Some((start, end)) => path.starts_with(start) && path[start.len()..].contains(end),
        })
    };
    for path in ["/rolls?before=3", "/api/rolls", "/stream/", "/rolls/4/proof", "/tile/0/000"] {
        assert!(is_kept_out(path), "{path}");
    }
    for path in ["/", "/rolls", "/rolls/4", "/rolls/4/picture.png", "/stats", "/developers"] {
        assert!(!is_kept_out(path), "{path}");
    }
}

#[test]
fn developers_find_the_lab_where_there_is_one() {
    let instance = Instance::new("every = '1h'\nlab_url = 'http://lab.example.org:8002/lab/'");
    let _server = instance.start();
    wait_for_head(&instance, 1);
    let page = get(&instance.url("/developers"), &[]).body;
    let link = "<a class=\"button\" href=\"http://lab.example.org:8002/lab/\">Open the lab</a>";
    assert!(page.contains(link), "{page}");

    let without = Instance::new("every = '1h'");
    let _server = without.start();
    wait_for_head(&without, 1);
    let page = get(&without.url("/developers"), &[]).body;
    assert!(page.contains("rollcast lab run") && !page.contains("Open the lab"), "{page}");
}

#[test]
fn a_contact_is_in_security_txt_and_on_the_page_about_the_site() {
    let silent = Instance::new("every = '1h'");
    let _server = silent.start();
    wait_for_head(&silent, 1);
    assert_eq!(get(&silent.url("/.well-known/security.txt"), &[]).status, 404);
    let about = get(&silent.url("/about"), &[]).body;
    assert!(about.contains("has not given a name"), "{about}");

    let instance = Instance::new(
        "every = '1h'\noperator = 'Ada & Co'\ncontact = 'mailto:ada@example.org'\n\
         source = 'https://example.org/rollcast'\norigin = 'dice.example.org'",
    );
    let _server = instance.start();
    wait_for_head(&instance, 1);
    let security = get(&instance.url("/.well-known/security.txt"), &[]).body;
    let fields: Vec<_> = security.lines().filter_map(|line| line.split_once(": ")).collect();
    assert_eq!(fields[0], ("Contact", "mailto:ada@example.org"));
    let (name, expires) = fields[1];
    let expires: jiff::Timestamp = expires.parse().unwrap();
    let days = expires.duration_since(jiff::Timestamp::now()).as_hours() / 24;
    assert!(name == "Expires" && (28..=30).contains(&days), "{security}");
    let canonical = ("Canonical", "https://dice.example.org/.well-known/security.txt");
    assert!(fields.contains(&canonical), "{security}");
    let about = get(&instance.url("/about"), &[]).body;
    for text in [
        "Ada &amp; Co runs this server.",
        "<a href=\"mailto:ada@example.org\" rel=\"me\">ada@example.org</a>",
        "<a href=\"https://example.org/rollcast\">",
    ] {
        assert!(about.contains(text), "expected {text} in {about}");
    }
}

#[test]
fn the_feed_of_rare_events_has_the_first_roll_and_the_longest_streak() {
    let (instance, _server) = quiet_instance(1);
    let feed = get(&instance.url("/events.atom"), &[]);
    assert_eq!(feed.header("content-type"), "application/atom+xml");
    assert!(feed.body.starts_with("<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<feed"));
    let entries: Vec<&str> = feed.body.split("<entry>").skip(1).collect();
    let last = entries.last().unwrap();
    assert!(last.contains("<title>The first roll</title>"), "{}", feed.body);
    assert!(last.contains(&format!("<id>{}</id>", instance.url("/rolls/1#milestone"))));
    assert!(last.contains("<updated>2026-11-23T00:00:01.123Z</updated>"), "{last}");
    let updated: Vec<&str> =
        feed.body.split("<updated>").skip(1).map(|rest| rest.split('<').next().unwrap()).collect();
    assert!(updated.windows(2).all(|times| times[0] >= times[1]), "newest first: {updated:?}");
    let page = get(&instance.url("/"), &[]).body;
    assert!(
        page.contains("type=\"application/atom+xml\" title=\"Rare events\" href=\"/events.atom\"")
    );
}

#[test]
fn the_footer_says_in_words_whether_rolls_arrive() {
    let (instance, _server) = quiet_instance(1);
    for path in ["/", "/rolls", "/stats", "/developers", "/about", "/verify", "/draw"] {
        let page = get(&instance.url(path), &[]).body;
        let (_, footer) = page.split_once("<footer").unwrap();
        assert!(footer.contains("All is well: new rolls arrive."), "{path}: {footer}");
        assert!(footer.contains("rollcast 0."), "{path}: {footer}");
        assert!(footer.contains("<span class=\"zone\">UTC</span>"), "{path}: {footer}");
    }
}
