//! A row that cannot be read stops nothing but itself: everything else goes on around it, and says
//! which row is left out. Newer schemas refuse such rows.

use rusqlite::Connection;
use serde_json::Value;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, Server, run, wait_for};
use crate::pages::{get, row_ids, wait_for_head};

/// Before schema 3, SQLite took every text for a time.
const NO_TRIGGERS: &str = "
    pragma busy_timeout = 5000;
    drop trigger if exists refuse_unreadable_insert;
    drop trigger if exists refuse_unreadable_update;";

fn sqlite(instance: &Instance) -> Connection {
    let connection = Connection::open(instance.database()).unwrap();
    connection.execute_batch("pragma busy_timeout = 5000").unwrap();
    connection
}

/// Stores a row that cannot be read as the newest one, and returns its id.
fn damage(instance: &Instance) -> i64 {
    let connection = sqlite(instance);
    connection.execute_batch(NO_TRIGGERS).unwrap();
    connection
        .execute("insert into rolls (rolled_at, dice) values ('garbage', '{\"x\":1}')", [])
        .unwrap();
    connection.last_insert_rowid()
}

/// How many log lines there are about a row that cannot be read.
fn n_logged(server: &Server, id: i64) -> usize {
    let text = format!("roll {id} cannot be read");
    server.log().iter().filter(|line| line.contains(&text)).count()
}

#[test]
fn the_schema_refuses_rows_that_cannot_be_read() {
    let instance = Instance::new("every = '1h'");
    instance.fill(3, 1);
    let connection = sqlite(&instance);
    let time = "2026-11-23T01:37:40.123Z";
    let dice = r#"{"1D6":4,"1D20":17}"#;
    let bad_times = [
        "garbage",
        "",
        "now",
        "2026-11-23",
        "2026-11-23 01:37:40.123",
        "2026-11-23T01:37:40Z",
        "2026-11-23T01:37:40.123",
        "2026-02-29T01:37:40.123Z",
        "2026-11-23T24:00:00.000Z",
        "2026-11-23T01:37:60.000Z",
        "2026-11-23T01:37:40.123+01:00",
    ];
    let bad_dice = [
        r#"{"x":1}"#,
        "[]",
        "4",
        "{",
        "",
        r#"{"1d6":4}"#,
        r#"{"01D6":4}"#,
        r#"{"1D6 ":4}"#,
        r#"{"D6":4}"#,
        r#"{"0D6":0}"#,
        r#"{"101D6":200}"#,
        r#"{"1D1":1}"#,
        r#"{"1D1001":4}"#,
        r#"{"1D6":0}"#,
        r#"{"1D6":7}"#,
        r#"{"3D6":2}"#,
        r#"{"1D6":4.0}"#,
        r#"{"1D6":"4"}"#,
        r#"{"1D6":null}"#,
        r#"{"1D6":{"a":4}}"#,
        r#"{"1D6":4,"1D6":4}"#,
        r#"{"1D\u0036":4}"#,
    ];
    let rows = bad_times.map(|time| (time, dice)).into_iter();
    for row in rows.chain(bad_dice.map(|dice| (time, dice))) {
        let insert = "insert into rolls (rolled_at, dice) values (?1, ?2)";
        connection.execute(insert, row).expect_err(&format!("{row:?} was stored"));
        let update = "update rolls set rolled_at = ?1, dice = ?2 where id = 2";
        connection.execute(update, row).expect_err(&format!("{row:?} was stored"));
    }
    let error = connection
        .execute("insert into rolls (rolled_at, dice) values ('garbage', '{\"x\":1}')", [])
        .expect_err("a row that cannot be read");
    assert!(error.to_string().starts_with("expected a roll such as ("), "{error}");
    // The control: what rollcast stores, and the limits of dice.
    for row in [
        (time, dice),
        ("1970-01-01T00:00:00.000Z", "{}"),
        ("2024-02-29T23:59:59.999Z", r#"{"100D1000":100000,"1D2":1}"#),
    ] {
        connection.execute("insert into rolls (rolled_at, dice) values (?1, ?2)", row).unwrap();
    }
    assert_eq!(instance.stored().len(), 6);
}

#[test]
fn the_views_leave_out_a_row_whose_dice_are_not_json() {
    let instance = Instance::new("every = '1h'");
    // The statistics of these rolls are not saved yet, so both views read them all.
    instance.fill(3, 1);
    let connection = sqlite(&instance);
    connection.execute_batch(NO_TRIGGERS).unwrap();
    connection
        .execute_batch(
            "pragma ignore_check_constraints = on;
             update rolls set dice = '{' where id = 2;",
        )
        .unwrap();
    let lines = |columns: &str, from: &str| -> String {
        let line = format!("select {columns} as line from {from} order by line");
        let sql = format!("select group_concat(line, ', ') from ({line})");
        connection.query_row(&sql, [], |row| row.get(0)).unwrap()
    };
    let faces = lines("id || ' ' || die || ' ' || face", "faces");
    assert_eq!(faces, "1 1D20 2, 1 1D6 2, 3 1D20 4, 3 1D6 4");
    let tallies = lines("die || ' ' || face || ' ' || n_rolls", "tallies");
    assert_eq!(tallies, "1D20 2 1, 1D20 4 1, 1D6 2 1, 1D6 4 1");
}

#[test]
fn a_row_that_cannot_be_read_is_left_out_and_everything_else_goes_on() {
    let instance = Instance::new("every = '20ms'\npage_size = 500");
    let mut server = instance.start();
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    stream.rolls(5);
    let bad = damage(&instance);

    // The open stream says that one roll is missing, and goes on with the next one.
    let mut last = 5;
    let sync = stream
        .find_map(|frame| {
            if let Some((id, _)) = frame.roll() {
                last += 1;
                assert_eq!(id.split('-').next(), Some(&*last.to_string()), "a silent gap");
            }
            frame.sync().filter(|sync| sync["mode"] != "resumed")
        })
        .unwrap();
    assert_eq!(last, bad - 1);
    let why = (&sync["mode"], &sync["reason"], &sync["lost"]);
    assert_eq!(why, (&"reset".into(), &"unreadable".into(), &1.into()), "{sync}");
    let next = stream.rolls(3);
    assert!(next[0].0.starts_with(&format!("{}-", bad + 1)), "{next:?}");
    let metrics = get(&instance.url("/metrics"), &[]).body;
    assert!(metrics.contains("rollcast_syncs_total{verdict=\"unreadable\"} 1\n"), "{metrics}");
    assert!(metrics.contains("rollcast_syncs_total{verdict=\"pruned\"} 0\n"), "{metrics}");

    assert_readable(&instance, bad);
    assert_eq!(get(&instance.url("/readyz"), &[]).status, 200, "rolls are being stored");
    assert_eq!(n_logged(&server, bad), 1, "{:#?}", server.log());

    // Also after a restart, with the row among the newest rolls.
    server.stop();
    let server = instance.start();
    wait_for("new rolls", || (instance.stored().last().unwrap().0 > bad + 10).then_some(()));
    assert_readable(&instance, bad);
    assert!(n_logged(&server, bad) <= 1, "{:#?}", server.log());

    // Once it is deleted, nothing of it is left.
    sqlite(&instance).execute("delete from rolls where id = ?1", [bad]).unwrap();
    let csv = get(&instance.url("/api/rolls.csv"), &[]);
    assert!(csv.body.starts_with("id,rolled_at,1D6,1D20\r\n"), "{}", csv.body);
    let (code, stdout, _) = run(instance.command().arg("check"));
    assert_eq!(code, 0, "{stdout}");
}

/// Reads the history around a bad row in every way.
fn assert_readable(instance: &Instance, bad: i64) {
    let url = |path: &str| instance.url(path);
    let notice = format!("Roll {bad} cannot be read");
    // The live page has only the newest few rolls.
    for path in [format!("/rolls?before={}", bad + 3), "/rolls".into()] {
        let page = get(&url(&path), &[]);
        assert_eq!(page.status, 200, "{path}");
        assert!(!row_ids(&page.body).contains(&bad), "{path}");
        assert!(row_ids(&page.body).contains(&(bad - 1)), "{path}: {}", page.body);
        assert!(page.body.contains(&notice), "{path}: {}", page.body);
    }
    for path in ["/rolls", "/api/rolls"] {
        let answer = get(&url(&format!("{path}/{bad}")), &[]);
        assert_eq!(answer.status, 500, "{path}: {}", answer.body);
        assert!(answer.body.contains(&notice), "{path}: {}", answer.body);
        assert_eq!(get(&url(&format!("{path}/{}", bad - 1)), &[]).status, 200);
    }

    // The API leaves it out and names it; paging goes on behind it, also by single rolls.
    let ids = |body: &str| -> Vec<i64> {
        let rolls: Value = serde_json::from_str(body).unwrap();
        rolls["rolls"].as_array().unwrap().iter().map(|roll| roll["id"].as_i64().unwrap()).collect()
    };
    let page = get(&url(&format!("/api/rolls?after={}&limit=3", bad - 2)), &[]);
    assert_eq!(ids(&page.body), [bad - 1, bad + 1]);
    assert_eq!(page.header("rollcast-unreadable"), bad.to_string());
    let page = get(&url(&format!("/api/rolls?after={}&limit=1", bad - 1)), &[]);
    assert_eq!(ids(&page.body), [] as [i64; 0]);
    let link = page.header("link");
    assert!(link.contains(&format!("after={bad}&")), "expected a next page in {link}");
    let page = get(&url(&format!("/api/rolls?before={}&limit=1", bad + 1)), &[]);
    assert!(page.header("link").contains(&format!("before={bad}&")), "{}", page.header("link"));

    // Files have all other rolls.
    let others = |first: i64| (1..bad).chain(bad + 1..).take_while(move |id| *id <= first);
    let csv = get(&url(&format!("/api/rolls.csv?before={}", bad + 2)), &[]).body;
    let csv: Vec<i64> =
        csv.lines().skip(1).map(|line| line.split(',').next().unwrap().parse().unwrap()).collect();
    assert_eq!(csv, others(bad + 1).collect::<Vec<_>>());
    let before = (bad + 2).to_string();
    for from in [None, Some(url("/"))] {
        let mut export = instance.command();
        export.args(["export", "--format", "ndjson", "--before", &before]).args(&from);
        let (code, stdout, stderr) = run(&mut export);
        assert_eq!(code, 3, "{from:?}: {stderr}");
        assert_eq!(stdout.lines().count() as i64, bad, "{from:?}: {stderr}");
        assert!(stderr.contains(&format!("gap: roll {bad}")), "{from:?}: {stderr}");
    }

    // A stream from before it, from it and from behind it.
    for (after, lost) in [(bad - 2, 1), (bad - 1, 1), (bad, 0), (bad + 1, 0)] {
        let stream = Stream::open(&url(&format!("/stream/?after={after}")), Ask::default());
        let (mut n_lost, mut ids) = (0, Vec::new());
        for frame in stream.unwrap() {
            n_lost += frame.sync().map_or(0, |sync| sync["lost"].as_i64().unwrap());
            ids.extend(frame.roll().map(|(id, _)| id.split('-').next().unwrap().to_string()));
            if ids.len() == 3 {
                break;
            }
        }
        let expected = (after + 1..).filter(|id| *id != bad).take(3);
        assert_eq!(ids, expected.map(|id| id.to_string()).collect::<Vec<_>>(), "after {after}");
        assert_eq!(n_lost, lost, "after {after}");
    }

    // Statistics count the others, `check` names the row, and a backup can be made.
    let stats: Value = serde_json::from_str(&get(&url("/api/stats"), &[]).body).unwrap();
    let (n_rolls, as_of) = (&stats["dice"][0]["n_rolls"], stats["as_of"].as_i64().unwrap());
    assert_eq!(n_rolls.as_i64(), Some(as_of - 1), "{stats}");
    assert_eq!(stats["dice"].as_array().unwrap().len(), 2, "{stats}");
    let (code, stdout, stderr) = run(instance.command().arg("check"));
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stdout.contains(&format!("roll {bad} cannot be read: ")), "{stdout}");
    assert!(stderr.contains("1 row"), "{stderr}");
    let (code, _, stderr) = run(instance.command().args(["backup", "--force", "copy.db"]));
    assert_eq!(code, 0, "{stderr}");
}

#[test]
fn pages_keep_their_links_and_notices_if_the_oldest_and_the_newest_rows_cannot_be_read() {
    let instance = Instance::new("every = '1h'\npage_size = 10");
    // One a second: 2026-11-24 begins with roll 86,400. The server adds roll 86,501.
    instance.fill(86_500, 86_300);
    let mut server = instance.start();
    wait_for_head(&instance, 86_501);
    let connection = sqlite(&instance);
    connection.execute_batch(NO_TRIGGERS).unwrap();
    let damage = "update rolls set rolled_at = 'garbage' where id = 86300 or id >= ?1";
    connection.execute(damage, [86_501]).unwrap();

    let page = |path: &str| get(&instance.url(path), &[]).body;
    let day = |day: &str| format!("href=\"/rolls?day={day}\"");
    let (first, second) = (page("/rolls?day=2026-11-23"), page("/rolls?day=2026-11-24"));
    assert!(first.contains(&day("2026-11-24")), "expected a link to the next day: {first}");
    assert!(!first.contains(&day("2026-11-22")), "linked a day without stored rolls: {first}");
    assert!(second.contains(&day("2026-11-23")), "expected a link to the day before: {second}");
    assert!(!second.contains(&day("2026-11-25")), "linked a day without stored rolls: {second}");

    let oldest = page("/rolls?before=86305");
    let notice = "Rolls 1 to 86299 are no longer kept. The oldest kept roll is \
                  <a href=\"/rolls/86300\">roll 86300</a>. The <a";
    assert!(oldest.contains(notice), "expected the notice about pruned rolls: {oldest}");

    let live = page("/");
    assert!(live.contains("Roll 86501 cannot be read and is left out."), "{live}");
    assert_eq!(row_ids(&live), (86_486..=86_500).collect::<Vec<_>>());

    // A live page without a single roll that can be read.
    connection.execute(damage, [86_486]).unwrap();
    let live = page("/");
    assert!(live.contains("16 rolls between 86486 and 86501 cannot be read"), "{live}");
    assert_eq!(row_ids(&live), Vec::<i64>::new());
    assert!(live.contains("<p data-notice=\"none\" hidden>"), "{live}");

    // At the start, a metric names the oldest roll. A start refuses changed signed rolls.
    server.stop();
    instance.rekey();
    let _server = instance.start();
    let metrics = page("/metrics");
    assert!(metrics.contains("\nrollcast_oldest_roll_id 86300\n"), "{metrics}");
}

#[test]
fn an_export_reports_rows_that_cannot_be_read_at_both_ends_of_its_range() {
    let instance = Instance::new("every = '1h'");
    instance.fill(8, 1);
    let server = instance.start();
    wait_for_head(&instance, 9);
    let connection = sqlite(&instance);
    connection.execute_batch(NO_TRIGGERS).unwrap();
    connection
        .execute("update rolls set rolled_at = 'garbage' where id in (1, 2, 5, 8, 9)", [])
        .unwrap();
    let header = |path: &str| get(&server.url(path), &[]).header("rollcast-unreadable").to_string();
    assert_eq!(header("/api/rolls.csv"), "1, 2, 8, 9");
    assert_eq!(header("/api/rolls.ndjson?after=2&before=8"), "");
    assert_eq!(header("/api/rolls.csv?after=7"), "8, 9");

    // The range, the exported rolls, and those that are reported.
    let table: [(&[&str], &[i64], &[i64]); 6] = [
        (&[], &[3, 4, 6, 7], &[1, 2, 5, 8, 9]),
        (&["--after", "0"], &[3, 4, 6, 7], &[1, 2, 5, 8, 9]),
        (&["--after", "4"], &[6, 7], &[5, 8, 9]),
        (&["--after", "7"], &[], &[8, 9]),
        (&["--before", "2"], &[], &[1]),
        (&["--after", "2", "--before", "5"], &[3, 4], &[]),
    ];
    for (range, rolls, unreadable) in table {
        for from in [None, Some(server.url("/"))] {
            let mut export = instance.command();
            export.args(["export", "--format", "ndjson"]).args(range).args(&from);
            let (code, stdout, stderr) = run(&mut export);
            let case = format!("{range:?} {from:?}: {stderr}");
            assert_eq!(code, if unreadable.is_empty() { 0 } else { 3 }, "{case}");
            let id = |line: &str| serde_json::from_str::<Value>(line).unwrap()["id"].as_i64();
            assert_eq!(stdout.lines().filter_map(id).collect::<Vec<_>>(), rolls, "{case}");
            let gaps = stderr.lines().filter(|line| line.contains("gap: "));
            let expected =
                unreadable.iter().map(|id| format!("rollcast: gap: roll {id} cannot be read"));
            assert_eq!(gaps.collect::<Vec<_>>(), expected.collect::<Vec<_>>(), "{case}");
        }
    }
}

#[test]
fn a_database_of_schema_2_with_rows_that_cannot_be_read_starts_and_goes_on() {
    let instance = Instance::new("every = '20ms'");
    instance.fill(2_000, 1);
    let connection = Connection::open(instance.database()).unwrap();
    connection.execute_batch(crate::statistics::TO_SCHEMA_2).unwrap();
    // Everywhere: the oldest, the newest, and more than a batch in a row. Their tally of die `x`
    // was counted by the trigger.
    connection
        .execute_batch(
            "update rolls set rolled_at = 'garbage' where id = 1;
             update rolls set dice = '[]' where id between 500 and 800;
             pragma ignore_check_constraints = on;
             update rolls set dice = '{' where id = 1990;
             insert into rolls (rolled_at, dice) values ('garbage', '{\"x\":1}');
             insert into tallies (die, face, n_rolls) values ('y', 1, 1);",
        )
        .unwrap();
    drop(connection);
    let (code, stdout, stderr) = run(instance.command().arg("check"));
    assert_eq!(code, 1, "{stdout}{stderr}");
    assert!(stdout.contains("roll 1 cannot be read") && stderr.contains("304 rows"), "{stdout}");

    let server = instance.start();
    wait_for("new rolls", || (instance.stored().last().unwrap().0 > 2_010).then_some(()));
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    let (mut n_rolls, mut n_lost) = (0, 0);
    while n_rolls + n_lost < 2_010 {
        let frame = stream.next().unwrap();
        n_rolls += i64::from(frame.roll().is_some());
        n_lost += frame.sync().map_or(0, |sync| sync["lost"].as_i64().unwrap());
    }
    assert_eq!(n_lost, 304);
    let csv = get(&instance.url("/api/rolls.csv?before=2002"), &[]).body;
    assert_eq!(csv.lines().count(), 1 + 2_001 - 304);
    assert!(csv.starts_with("id,rolled_at,1D6,1D20\r\n"), "{csv}");
    let found = get(&instance.url("/rolls?die=1D6&result=1&before=1995"), &[]);
    assert_eq!(found.status, 200, "{}", found.body);
    let stats: Value = serde_json::from_str(&get(&instance.url("/api/stats"), &[]).body).unwrap();
    let as_of = stats["as_of"].as_i64().unwrap();
    assert_eq!(stats["dice"][0]["n_rolls"].as_i64(), Some(as_of - 304), "{stats}");
    assert_eq!(n_logged(&server, 500), 1, "each row once");
    // The view of old schemas failed on roll 1990. Rolls 500 to 800 have no dice, the last row has one.
    let faces = "select count(*) from faces where id <= 2001";
    let n_faces: i64 = instance.sqlite().query_row(faces, [], |row| row.get(0)).unwrap();
    assert_eq!(n_faces, 2 * (2_000 - 301 - 1) + 1);
}
