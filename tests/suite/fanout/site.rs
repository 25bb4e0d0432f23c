//! What pages say about the door.

use crate::pages::{Answer, get};

use super::{Instance, both_doors};

/// Pages that open a stream.
const LIVE_PAGES: [&str; 5] = ["/", "/rolls", "/developers", "/screen", "/embed"];

/// The addresses of the streams on a page, and the source list of `connect-src`.
fn addresses(page: &Answer) -> (Vec<&str>, &str) {
    let streams = page.body.split("data-stream=\"").skip(1);
    let streams = streams.map(|rest| rest.split('"').next().unwrap()).collect();
    let policy = page.header("content-security-policy");
    let sources = policy.split("; ").find_map(|line| line.strip_prefix("connect-src "));
    (streams, sources.unwrap())
}

#[test]
fn pages_open_their_streams_at_public_url_and_may_connect_to_it() {
    let url = "https://dice.example.org:8443";
    let (instance, _server) = both_doors(&format!("every = '1h'\nfanout.public_url = '{url}/'"));
    for path in LIVE_PAGES {
        let page = get(&instance.url(path), &[]);
        let stream = format!("{url}/stream/");
        assert_eq!(addresses(&page), (vec![&*stream], &*format!("'self' {url}")), "{path}");
    }
    let page = get(&instance.url("/none"), &[]);
    assert_eq!(addresses(&page), (vec![], &*format!("'self' {url}")), "an error");
}

#[test]
fn without_public_url_pages_open_their_streams_at_the_server_as_without_a_door() {
    let (with_door, _server) = both_doors("every = '1h'");
    let without = Instance::new("every = '1h'");
    let _other = without.start();
    for path in LIVE_PAGES {
        for instance in [&with_door, &without] {
            let page = get(&instance.url(path), &[]);
            assert_eq!(addresses(&page), (vec!["/stream/"], "'self'"), "{path}");
        }
    }
    // Without a door, there are no metrics of one.
    let shows_door = |instance: &Instance| {
        get(&instance.url("/metrics"), &[]).body.contains("rollcast_fanout_connections")
    };
    assert!(shows_door(&with_door) && !shows_door(&without));
}
