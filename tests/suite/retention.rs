//! Old rolls are pruned, and everybody is told what is gone.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde_json::Value;

use crate::api::lines;
use crate::common::events::{Ask, Frame, Stream};
use crate::common::hand_server::{HandServer, rolls_file};
use crate::common::tail::Tail;
use crate::common::{Instance, run, wait_for};
use crate::pages::{get, link, quiet_instance, row_ids};
use crate::probes::metrics;

/// The oldest and the newest roll that are stored, and how many are.
fn kept(instance: &Instance) -> (i64, i64, i64) {
    let sql = "select ifnull(min(id), 1), ifnull(max(id), 0), count(*) from rolls";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    instance.sqlite().query_row(sql, [], row).unwrap()
}

fn outside(instance: &Instance, sql: &str) {
    Connection::open(instance.database()).unwrap().execute_batch(sql).unwrap();
}

/// Until it is dropped again, no roll can be deleted, though new ones can be stored.
const NO_DELETE: &str =
    "create trigger no_delete before delete on rolls begin select raise(abort, 'none goes'); end";

#[test]
fn the_newest_rolls_are_kept_by_count_and_the_statistics_go_on_counting_all() {
    let instance = Instance::new("every = '1h'\nkeep = 100");
    instance.fill(5_000, 1);
    let mut server = instance.start();
    wait_for("the prune of all but 100", || (kept(&instance).2 == 100).then_some(()));
    assert_eq!(kept(&instance), (4_902, 5_001, 100));
    let stats: Value = serde_json::from_str(&get(&instance.url("/api/stats"), &[]).body).unwrap();
    assert_eq!((&stats["as_of"], &stats["dice"][0]["n_rolls"]), (&5_001.into(), &5_001.into()));
    wait_for("the metrics", || {
        let metrics = metrics(&instance);
        let pruned = metrics["rollcast_pruned_total"] == 4_901.0;
        (pruned && metrics["rollcast_oldest_roll_id"] == 4_902.0).then_some(())
    });
    assert!(server.log().iter().any(|line| line.contains("kept: 100 rolls")));
    server.stop();

    // The file does not shrink by itself; this is how it does.
    let size = |instance: &Instance| fs::metadata(instance.database()).unwrap().len();
    let before = size(&instance);
    outside(&instance, "vacuum");
    assert!(size(&instance) * 4 < before, "{} of {before} bytes are left", size(&instance));
    let _server = instance.start();
    wait_for("the next roll", || (kept(&instance) == (4_903, 5_002, 100)).then_some(()));
    assert!(get(&instance.url("/stats"), &[]).body.contains("5,002"), "all are counted");
}

#[test]
fn the_newest_roll_stays_whatever_its_age() {
    let instance = Instance::new("every = '1h'\nkeep = '1s'");
    instance.fill(3_000, 1);
    let mut server = instance.start();
    // Of two days ago but for the newest, and in a moment that one is too old as well.
    let newest = (3_001, 3_001, 1);
    wait_for("the prune of all but the newest", || (kept(&instance) == newest).then_some(()));
    server.stop();
    outside(&instance, "update rolls set rolled_at = '2026-11-23T00:00:00.000Z'");
    let _server = instance.start();
    wait_for("the next roll", || (kept(&instance) == (3_002, 3_002, 1)).then_some(()));
}

#[test]
fn a_start_long_after_the_newest_roll_may_have_a_wrong_clock_and_deletes_nothing_at_once() {
    let instance = Instance::new("every = '20ms'\nkeep = '36h'");
    // Of more than two days ago.
    instance.fill(3_000, 1);
    let server = instance.start();
    // Three seconds of rolls, in which all of those would be gone.
    wait_for("rolls", || (kept(&instance).1 > 3_150).then_some(()));
    assert_eq!(kept(&instance).0, 1);
    let said = |line: &String| line.contains("the clock jumped ahead, or the server was stopped");
    wait_for("it to be said", || server.log().iter().any(said).then_some(()));
}

#[test]
fn no_roll_goes_before_its_time_and_none_stays_long_after() {
    let instance = Instance::new("every = '20ms'\nkeep = '2s'");
    let _server = instance.start();
    let mut seen = 0;
    let tail = Tail::start(&instance, &["--json", "--after", "0"]);
    wait_for("three seconds of pruning", || {
        let (oldest, ..) = kept(&instance);
        let now = Timestamp::now();
        let lines = tail.lines();
        let gone = usize::try_from(oldest - 2).ok()?;
        let gone: Value = serde_json::from_str(lines.get(gone)?).unwrap();
        assert_eq!(gone["id"], oldest - 1);
        let rolled_at: Timestamp = gone["rolled_at"].as_str().unwrap().parse().unwrap();
        let age = now.duration_since(rolled_at);
        assert!(age >= SignedDuration::from_secs(2), "roll {oldest} went after {age:#}");
        seen = seen.max(oldest);
        // Three seconds of rolls.
        (seen > 150).then_some(())
    });
}

#[test]
fn a_prune_that_fails_stops_no_roll_and_is_tried_again() {
    let instance = Instance::new("every = '20ms'\nkeep = 50");
    instance.fill(200, 1);
    outside(&instance, NO_DELETE);
    let server = instance.start();
    wait_for("two failures and rolls", || {
        let metrics = metrics(&instance);
        let failed = metrics["rollcast_prune_failures_total"] >= 2.0;
        (failed && metrics["rollcast_rolls_total"] > 50.0).then_some(())
    });
    assert_eq!(kept(&instance).0, 1);
    assert_eq!(get(&instance.url("/readyz"), &[]).status, 200, "rolls are being kept");
    let said = || server.log().iter().filter(|line| line.contains("none goes")).count();
    assert_eq!(said(), 1, "each fault once");
    outside(&instance, "drop trigger no_delete");
    wait_for("the prune", || (kept(&instance).0 > 200).then_some(()));
    let again = || server.log().iter().any(|line| line.contains("pruned again"));
    wait_for("the news", || again().then_some(()));
    assert_eq!(said(), 1);
}

#[test]
fn a_reader_that_is_overtaken_by_the_pruner_is_told_how_much_is_gone() {
    let instance = Instance::new("every = '100ms'\nkeep = 100");
    // Twelve megabytes: more than the kernel ever keeps for a client.
    instance.fill(200_000, 1);
    outside(&instance, NO_DELETE);
    let _server = instance.start();
    let ask = Ask { last_event_id: Some("0"), ..Ask::default() };
    let mut stream = Stream::open(&instance.url("/stream/"), ask).unwrap();
    let id = |frame: &Frame| {
        let (id, _) = frame.roll()?;
        id.split('-').next()?.parse::<i64>().ok()
    };
    assert_eq!(stream.find_map(|frame| frame.sync()).unwrap()["mode"], "resumed");
    let mut last = stream.find_map(|frame| id(&frame)).unwrap();
    outside(&instance, "drop trigger no_delete");
    wait_for("the prune", || (kept(&instance).0 > 199_900).then_some(()));
    let sync = stream
        .find_map(|frame| {
            if let Some(id) = id(&frame) {
                assert_eq!(id, last + 1, "a gap that nobody told");
                assert!(id <= 200_000, "all were on the way already");
                last = id;
            }
            frame.sync()
        })
        .unwrap();
    assert_eq!((&sync["mode"], &sync["reason"]), (&"reset".into(), &"pruned".into()));
    let next = stream.find_map(|frame| id(&frame)).unwrap();
    assert_eq!(sync["lost"], next - last - 1, "{sync}");
    assert!(next > 199_900, "the oldest that is kept comes next, not {next}");
    for (frame, expected) in stream.filter_map(|frame| id(&frame)).take(150).zip(next + 1..) {
        assert_eq!(frame, expected);
    }
}

#[test]
fn pages_say_what_is_no_longer_kept_and_where_it_ends() {
    let (instance, _server) = quiet_instance(37);
    let gone = "Rolls 1 to 36 are no longer kept. The oldest kept roll is \
                <a href=\"/rolls/37\">roll 37</a>";
    let table = [
        ("/rolls", false),
        ("/rolls?before=48", false),
        ("/rolls?before=47", true),
        ("/rolls?before=40", true),
        ("/rolls?before=5", true),
        ("/rolls?after=1", true),
        ("/rolls?day=2026-11-22", true),
        ("/rolls?day=2026-11-24", false),
        // Looked at down to the oldest, and not.
        ("/rolls?die=1D20&result=20", true),
        ("/rolls?die=1D6&result=1&before=100", false),
    ];
    for (path, told) in table {
        let page = get(&instance.url(path), &[]);
        assert_eq!(page.body.contains(gone), told, "{path}: {}", page.body);
        // Older rolls, or the reason why there are none.
        assert!(!told || link(&page.body, "next").is_none(), "{path}");
    }
    let jump = get(&instance.url("/rolls?at=2026-11-22T00:00"), &[]);
    let page = get(&instance.url(jump.header("location").split('#').next().unwrap()), &[]).body;
    assert!(page.contains(gone) && row_ids(&page).ends_with(&[37]), "{page}");
    let (instance, _server) = quiet_instance(1);
    let page = get(&instance.url("/rolls?before=5"), &[]).body;
    assert!(!page.contains("no longer kept"), "{page}");
    assert!(page.contains("keeps every roll"), "{page}");
}

#[test]
fn every_page_says_which_rolls_are_kept() {
    for (keep, said) in
        [("'30d'", "keeps the rolls of the last 30d"), ("70", "keeps the newest 70 rolls")]
    {
        let instance = Instance::new(&format!("keep = {keep}"));
        let _server = instance.start();
        for path in ["/", "/nothing"] {
            let page = get(&instance.url(path), &[]).body;
            assert!(page.contains(said), "{path}: {page}");
        }
    }
}

#[test]
fn a_roll_that_is_no_longer_kept_is_gone_and_not_merely_not_found() {
    let (instance, _server) = quiet_instance(37);
    let table = [
        (1, 410, "Roll 1 is no longer kept; the oldest that is kept is 37."),
        (36, 410, "Roll 36 is no longer kept"),
        (37, 200, ""),
        (0, 404, "counted from 1"),
        (122, 404, "has not been rolled yet"),
    ];
    for (id, status, text) in table {
        for path in ["/rolls", "/api/rolls"] {
            let answer = get(&instance.url(&format!("{path}/{id}")), &[]);
            assert_eq!(answer.status, status, "{path}/{id}");
            assert!(answer.body.contains(text), "{path}/{id}: {}", answer.body);
            if status == 410 {
                // A backup that is put back has it again.
                assert_eq!(answer.header("cache-control"), "no-cache");
            }
        }
    }
    assert!(get(&instance.url("/api/rolls/36"), &[]).body.contains("\"code\":\"roll_pruned\""));
    for query in ["", "?before=20", "?after=0", "?after=100"] {
        let page = get(&instance.url(&format!("/api/rolls{query}")), &[]);
        assert_eq!(page.header("rollcast-oldest"), "37", "{query}");
    }
}

#[test]
fn a_page_that_pruning_can_change_is_asked_for_again() {
    let instance = Instance::new("every = '1h'\nkeep = 60");
    instance.fill(100, 1);
    outside(&instance, NO_DELETE);
    let _server = instance.start();
    // No later roll changes these.
    let (after, before) = ("/api/rolls?after=0&limit=40", "/api/rolls?before=41&limit=40");
    let one = "/api/rolls/1";
    let answers = [after, before, one].map(|path| (path, get(&instance.url(path), &[])));
    for (path, answer) in &answers {
        assert_eq!(answer.header("cache-control"), "no-cache", "{path}");
        let unchanged = [("If-None-Match", answer.header("etag"))];
        assert_eq!(get(&instance.url(path), &unchanged).status, 304, "{path}");
    }
    outside(&instance, "drop trigger no_delete");
    wait_for("a prune", || (kept(&instance).0 > 20).then_some(()));
    for (path, answer) in &answers {
        let known = [("If-None-Match", answer.header("etag"))];
        let now = get(&instance.url(path), &known);
        assert_eq!(now.status, if *path == one { 410 } else { 200 }, "{path}");
        assert!(now.body != answer.body, "{path}: {}", now.body);
    }
}

#[test]
fn an_export_of_rolls_that_are_no_longer_kept_says_which_are_missing() {
    let (instance, _server) = quiet_instance(37);
    let url = instance.url("/");
    let stored = lines(&instance).join("\n") + "\n";
    for from in [&[] as &[&str], &[&url]] {
        let export = |options: &[&str]| {
            let args = [&["export", "--format", "ndjson"], from, options].concat();
            run(instance.command().args(args))
        };
        let (code, stdout, stderr) = export(&["--after", "5"]);
        assert_eq!((code, &stdout), (3, &stored), "{from:?}");
        let told = "gap: rolls 6 to 36 are no longer kept";
        assert!(stderr.contains(told) && stderr.contains("gaps: 1"), "{stderr}");
        // All that is kept, or from a kept place on, is whole.
        assert_eq!(export(&[]), (0, stored.clone(), String::new()));
        assert_eq!(export(&["--after", "36"]), (0, stored.clone(), String::new()));
    }
    let (code, stdout, stderr) =
        run(instance.command().args(["export", "--after", "5", "--before", "30"]));
    assert_eq!((code, stdout.as_str()), (3, "id,rolled_at,1D6,1D20\r\n"));
    assert!(stderr.contains("rolls 6 to 29 are no longer kept"), "{stderr}");
}

#[test]
fn an_export_that_is_overtaken_by_the_pruner_says_which_are_missing() {
    let instance = Instance::new("every = '1h'");
    // Far more than a pipe holds.
    instance.fill(50_000, 1);
    let mut export = instance.command();
    export.args(["export", "--format", "ndjson"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut export = export.spawn().unwrap();
    let mut rolls = BufReader::new(export.stdout.take().unwrap()).lines();
    let id = |line: String| serde_json::from_str::<Value>(&line).unwrap()["id"].as_i64().unwrap();
    assert_eq!(id(rolls.next().unwrap().unwrap()), 1);
    outside(&instance, "delete from rolls where id <= 40000");
    let ids: Vec<i64> = rolls.map(|line| id(line.unwrap())).collect();
    let mut said = String::new();
    export.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(export.wait().unwrap().code(), Some(3), "{said}");
    let holes: Vec<_> = ids.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!((holes.len(), ids.last()), (1, Some(&50_000)));
    let told = format!("gap: rolls {} to {} are no longer kept", holes[0][0] + 1, holes[0][1] - 1);
    assert_eq!(holes[0][1], 40_001);
    assert!(said.contains(&told), "{said}");
}

#[test]
fn a_download_that_is_overtaken_by_the_pruner_ends_early_instead_of_leaving_a_hole() {
    let instance = Instance::new("every = '1h'");
    // More than the kernel keeps for a client, which is up to 2.7 MB.
    instance.fill(150_000, 1);
    let server = instance.start();
    let mut download = TcpStream::connect(("127.0.0.1", instance.port())).unwrap();
    let request = "GET /api/rolls.ndjson?before=150001 HTTP/1.0\r\nHost: localhost\r\n\r\n";
    download.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(download).lines().map(Result::unwrap);
    let end = lines.find_map(|line| Some(line.strip_prefix("rollcast-last: ")?.to_string()));
    assert_eq!(end.as_deref(), Some("150000"));
    let id = |line: String| {
        // Between the lines stand the sizes of chunks, if there are any.
        serde_json::from_str::<Value>(&line).ok()?["id"].as_i64()
    };
    let mut ids = lines.filter_map(id);
    assert_eq!(ids.next(), Some(1));
    outside(&instance, "delete from rolls where id <= 140000");
    let mut last = 1;
    for id in ids {
        assert_eq!(id, last + 1, "a hole");
        last = id;
    }
    assert!(last < 140_000, "{last} was read, which is the end of what was deleted");
    let said = format!("truncated a download after roll {last}: the next roll that is kept");
    wait_for("the log", || server.log().iter().any(|line| line.contains(&said)).then_some(()));

    // What `rollcast export` makes of it.
    let row = |id: i64| format!("{id},2026-11-23T00:00:0{id}.123Z,{id}\r\n");
    let csv = |rows: &[i64]| {
        let rows: String = rows.iter().copied().map(row).collect();
        rolls_file("text/csv", 8, &format!("id,rolled_at,1D6\r\n{rows}"))
    };
    let none = rolls_file("text/csv", 0, "id,rolled_at,1D6\r\n");
    let server = HandServer::in_turn(vec![csv(&[1, 2]), csv(&[5, 6]), none]);
    let url = server.url("/");
    let (code, stdout, stderr) = run(instance.command().args(["export", &url]));
    let rows: String = [1, 2, 5, 6].map(row).concat();
    assert_eq!((code, stdout), (3, format!("id,rolled_at,1D6\r\n{rows}")), "{stderr}");
    for told in ["gap: rolls 3 to 4 are", "gap: rolls 7 to 8 are", "gaps: 2"] {
        assert!(stderr.contains(told), "{stderr}");
    }
}

#[test]
fn check_and_backup_say_which_rolls_are_kept() {
    let instance = Instance::new("every = '1h'\nkeep = '36h'");
    instance.fill(120, 37);
    let (code, stdout, _) = run(instance.command().arg("check"));
    assert_eq!(code, 0);
    assert!(stdout.contains("kept           36h\n"), "{stdout}");
    assert!(stdout.contains("rolls 37 to 120"), "{stdout}");
    let (code, stdout, _) = run(instance.command().args(["backup", "copy.db"]));
    assert_eq!(code, 0);
    assert!(stdout.contains("rolls 37 to 120"), "{stdout}");
    // The environment has numbers without a sign.
    let check = |keep: &str| {
        let keep = format!("{{keep={keep}}}");
        run(instance.command().arg("check").env("ROCKET_ROLLCAST", keep)).0
    };
    assert_eq!(["7", "\"1d\"", "\"forever\"", "0", "\"7\""].map(check), [0, 0, 0, 2, 2]);
}
