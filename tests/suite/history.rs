//! The history by day, by die and by result.

use rusqlite::Connection;

use crate::common::{Instance, Server, run, wait_for};
use crate::pages::{descending, get, link, quiet_instance, row_ids};

/// The ids on page after page.
fn walk(instance: &Instance, start: &str, rel: &str) -> Vec<Vec<i64>> {
    let (mut seen, mut next) = (Vec::new(), Some(start.to_string()));
    while let Some(path) = next {
        let page = get(&instance.url(&path.replace("&amp;", "&")), &[]);
        assert_eq!(page.status, 200, "{path}");
        seen.push(row_ids(&page.body));
        assert!(seen.len() < 60, "paging does not end: {path}");
        next = link(&page.body, rel);
    }
    seen
}

/// Starts a server and waits until it has added one roll.
fn start(instance: &Instance, n_rolls: i64) -> Server {
    let server = instance.start();
    let newest = "select max(id) from rolls";
    wait_for("another roll", || {
        let id: i64 = instance.sqlite().query_row(newest, [], |row| row.get(0)).unwrap();
        (id > n_rolls).then_some(())
    });
    server
}

#[test]
fn a_search_shows_the_newest_match_first() {
    let (instance, _server) = quiet_instance(21);
    // Roll n has 1 + n % 20 on its D20; the roll that the server adds is random.
    let stored = |id: &i64| *id <= 120;
    let page = get(&instance.url("/rolls?die=1D20&result=20"), &[]);
    assert_eq!(page.status, 200);
    let seen: Vec<i64> = row_ids(&page.body).into_iter().filter(stored).collect();
    assert_eq!(seen, [119, 99, 79, 59, 39]);
    assert!(page.body.contains("A result of 20 on d20 has come up"), "{}", page.body);
    // A form also sends its empty fields.
    let empty = get(&instance.url("/rolls?day=&die=1D20&result="), &[]);
    assert_eq!(row_ids(&empty.body), descending(121, 112));
    let of_a_day = get(&instance.url("/rolls?day=2026-11-23&die=1D6&result=1"), &[]);
    assert_eq!(row_ids(&of_a_day.body), (4..=20).rev().map(|n| n * 6).take(10).collect::<Vec<_>>());
    let never = get(&instance.url("/rolls?die=1D12&result=12"), &[]);
    assert_eq!((row_ids(&never.body), link(&never.body, "next")), (vec![], None));
    assert!(never.body.contains("A result of 12 on d12 has never come up."), "{}", never.body);
}

#[test]
fn a_search_for_a_rare_result_continues_page_by_page_in_both_directions() {
    let instance = Instance::new("every = '1h'\npage_size = 10");
    instance.fill(12_000, 1);
    let rare = [11_000, 4_000, 3_999, 7];
    let connection = Connection::open(instance.database()).unwrap();
    for id in rare {
        let sql = "update rolls set dice = '{\"1D6\":6,\"1D100\":77}' where id = ?1";
        connection.execute(sql, [id]).unwrap();
    }
    drop(connection);
    let _server = start(&instance, 12_000);

    let pages = walk(&instance, "/rolls?die=1D100&result=77", "next");
    assert_eq!(pages, [vec![11_000], vec![4_000, 3_999], vec![7]], "5,000 rolls a page");
    let mut back = walk(&instance, "/rolls?die=1D100&result=77&before=100", "prev");
    back.reverse();
    assert_eq!(back.concat(), rare);
    let page = get(&instance.url("/rolls?die=1D100&result=77&before=10000"), &[]);
    assert!(page.body.contains("A result of 77 on d100 has come up 4 times."), "{}", page.body);
    assert!(page.body.contains("rolls 5000 to 9999"), "{}", page.body);
    // A full page ends at its last roll, and the next page continues without a gap.
    let mut of_many = walk(&instance, "/rolls?die=1D20&result=5&before=1000", "next").concat();
    of_many.retain(|id| *id <= 12_000);
    let expected: Vec<i64> = (1..1_000).rev().filter(|n| 1 + n % 20 == 5).collect();
    assert_eq!(of_many, expected);
    let mut newer = walk(&instance, "/rolls?die=1D20&result=5&after=11000", "prev").concat();
    newer.retain(|id| *id <= 12_000);
    newer.sort_unstable();
    let expected: Vec<i64> = (11_001..=12_000).filter(|n| 1 + n % 20 == 5).collect();
    assert_eq!(newer, expected);
}

#[test]
fn a_day_has_its_own_rolls_and_links_to_the_days_around_it() {
    let instance = Instance::new("every = '1h'\npage_size = 500");
    // From 2026-11-23T00:00:01.123Z on, one a second: the next day begins with roll 86,400.
    instance.fill(90_000, 70_001);
    let _server = start(&instance, 90_000);
    let first = walk(&instance, "/rolls?day=2026-11-23", "next").concat();
    assert_eq!(first, descending(86_399, 70_001));
    let second = walk(&instance, "/rolls?day=2026-11-24", "next").concat();
    assert_eq!(second, descending(90_000, 86_400));
    let mut back = walk(&instance, "/rolls?day=2026-11-24&before=86900", "prev");
    back.reverse();
    assert_eq!(back.first().unwrap(), &descending(90_000, 89_501), "up to the newest of the day");

    let page = get(&instance.url("/rolls?day=2026-11-23"), &[]).body;
    assert!(page.contains("href=\"/rolls?day=2026-11-24\""), "expected a link to the next day");
    assert!(!page.contains("href=\"/rolls?day=2026-11-22\""), "linked a day without stored rolls");
    let one = get(&instance.url("/rolls/86400"), &[]).body;
    assert!(one.contains("href=\"/rolls?day=2026-11-24\""), "{one}");
    assert_eq!(walk(&instance, "/rolls?day=1999-12-31", "next"), [Vec::<i64>::new()]);
    assert_eq!(walk(&instance, "/rolls?day=2999-12-31", "next"), [Vec::<i64>::new()]);
}

#[test]
fn a_day_of_another_time_zone_has_the_rolls_between_its_own_midnights() {
    let instance = Instance::new("every = '1h'\npage_size = 500");
    instance.fill(90_000, 70_001);
    let _server = start(&instance, 90_000);
    // In Berlin the next day begins an hour earlier, with roll 82,800.
    let first = walk(&instance, "/rolls?day=2026-11-23&tz=Europe/Berlin", "next").concat();
    assert_eq!(first, descending(82_799, 70_001));
    let second = walk(&instance, "/rolls?day=2026-11-24&tz=Europe/Berlin", "next").concat();
    assert_eq!(second, descending(90_000, 82_800));
    let page = get(&instance.url("/rolls?day=2026-11-23&tz=Europe/Berlin"), &[]).body;
    let next = "href=\"/rolls?day=2026-11-24&amp;tz=Europe/Berlin\"";
    assert!(page.contains(next), "expected a link to the next day in the same zone: {page}");
    let file = link_of(&page, "/api/rolls.csv?after");
    let csv = get(&instance.url(&file), &[]).body;
    let ids: Vec<&str> = csv.lines().skip(1).map(|row| row.split(',').next().unwrap()).collect();
    assert_eq!((ids.len(), ids[0], *ids.last().unwrap()), (12_799, "70001", "82799"));
}

/// The first address on a page that begins like this.
fn link_of(page: &str, start: &str) -> String {
    let (_, address) = page.split_once(&format!("href=\"{start}")).expect("a link");
    let (address, _) = address.split_once('"').unwrap();
    format!("{start}{}", address.replace("&amp;", "&"))
}

#[test]
fn an_invalid_search_is_an_error_that_names_the_value() {
    let (instance, _server) = quiet_instance(1);
    let table = [
        ("day=yesterday", "expected a day"),
        ("day=2026-11-31", "got `2026-11-31`"),
        ("day=2026-11-23T01", "got `2026-11-23T01`"),
        ("day=9999-12-31", "calendar"),
        ("result=5", "choose the die of this result"),
        ("time=12:00", "choose the day of this time"),
        ("tz=Mars", "got `Mars`"),
        ("die=W6&result=5", "got `W6`"),
        ("die=1D20&result=21", "expected a result that the die can show, got `21`"),
        ("die=2D6&result=1", "got `1`"),
        ("die=1D6&result=x", "got `x`"),
        ("after=x", "expected a roll"),
    ];
    for (query, text) in table {
        let page = get(&instance.url(&format!("/rolls?{query}")), &[]);
        assert_eq!(page.status, 422, "{query}");
        assert!(page.says(text), "{query}: {}", page.body);
    }
    let far = get(&instance.url("/rolls?after=900000000000000000"), &[]);
    assert_eq!((far.status, row_ids(&far.body)), (200, vec![]));
}

#[test]
fn after_the_clock_was_set_back_rolls_are_found_by_their_own_timestamps() {
    let instance = Instance::new("every = '1h'\npage_size = 10");
    // From 2026-11-23T00:00:01.123Z on, one a second.
    instance.fill(100, 1);
    let connection = Connection::open(instance.database()).unwrap();
    // A day ahead for 25 rolls, and then right again.
    let ahead = "update rolls set rolled_at = replace(rolled_at, '-23T', '-24T')
                 where id between 31 and 55";
    connection.execute(ahead, []).unwrap();
    drop(connection);
    let _server = start(&instance, 100);

    let ahead = walk(&instance, "/rolls?day=2026-11-24", "next");
    assert_eq!(ahead, [descending(55, 46), descending(45, 36), descending(35, 31)]);
    let day = walk(&instance, "/rolls?day=2026-11-23", "next");
    assert_eq!(day.concat(), [descending(100, 56), descending(30, 1)].concat());
    assert_eq!(day[4], [descending(60, 56), descending(30, 26)].concat(), "a page of both parts");
    let mut back = walk(&instance, "/rolls?day=2026-11-23&before=26", "prev");
    back.reverse();
    assert_eq!(back.concat(), [descending(100, 56), descending(30, 16)].concat());
    let six = walk(&instance, "/rolls?day=2026-11-23&die=1D6&result=1", "next").concat();
    assert_eq!(six, [96, 90, 84, 78, 72, 66, 60, 30, 24, 18, 12, 6]);

    let at = |moment: &str| {
        let page = get(&instance.url(&format!("/rolls?at={moment}")), &[]);
        page.header("location").split('#').nth(1).map(str::to_string)
    };
    assert_eq!(at("2026-11-23T00:00:40").as_deref(), Some("roll-56"), "the nearest time");
    assert_eq!(at("2026-11-24T00:00:40").as_deref(), Some("roll-40"));

    // No roll before the first one of these has such a time, and the rolls after it follow.
    let ids = |query: &str| -> Vec<i64> {
        let body = get(&instance.url(query), &[]).body;
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        body["rolls"].as_array().unwrap().iter().map(|roll| roll["id"].as_i64().unwrap()).collect()
    };
    let since = |time: &str| ids(&format!("/api/rolls?since={time}&limit=1000"));
    assert_eq!(since("2026-11-24T00:00:50"), (50..=101).collect::<Vec<_>>());
    assert_eq!(since("2026-11-23T00:00:50"), (31..=101).collect::<Vec<_>>());
    let export = ["export", "--format", "csv", "--since", "2026-11-24T00:00:50Z"];
    let (code, csv, stderr) = run(instance.command().args(export));
    assert_eq!((code, csv.lines().count()), (0, 1 + 52), "{stderr}");
}
