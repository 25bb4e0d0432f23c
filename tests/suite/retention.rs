//! Retention: old rolls are pruned, and pages, streams and exports report which ones.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use jiff::{SignedDuration, Timestamp};
use rusqlite::Connection;
use serde_json::Value;

use crate::api::lines;
use crate::common::events::{Ask, Frame, Stream};
use crate::common::replies::{Replies, rolls_file};
use crate::common::tail::Tail;
use crate::common::{Instance, run, wait_for};
use crate::pages::{get, link, quiet_instance, row_ids};
use crate::probes::metrics;

/// The id of the oldest stored roll, the id of the newest one, and the number of stored rolls.
fn kept(instance: &Instance) -> (i64, i64, i64) {
    let sql = "select ifnull(min(id), 1), ifnull(max(id), 0), count(*) from rolls";
    let row = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get(1)?, row.get(2)?));
    instance.sqlite().query_row(sql, [], row).unwrap()
}

fn outside(instance: &Instance, sql: &str) {
    Connection::open(instance.database()).unwrap().execute_batch(sql).unwrap();
}

/// A trigger that blocks deletes from `rolls`. Inserts still work.
const NO_DELETE: &str =
    "create trigger no_delete before delete on rolls begin select raise(abort, 'none goes'); end";

#[test]
fn the_newest_rolls_are_kept_by_count_and_the_statistics_still_count_all() {
    let instance = Instance::new("every = '1h'\nkeep = 100");
    instance.fill(5_000, 1);
    let mut server = instance.start();
    // Only whole tiles are pruned: 19 of them have 4,864 rolls.
    wait_for("the prune of 19 tiles", || (kept(&instance).2 == 137).then_some(()));
    assert_eq!(kept(&instance), (4_865, 5_001, 137));
    let stats: Value = serde_json::from_str(&get(&instance.url("/api/stats"), &[]).body).unwrap();
    assert_eq!((&stats["as_of"], &stats["dice"][0]["n_rolls"]), (&5_001.into(), &5_001.into()));
    wait_for("the metrics", || {
        let metrics = metrics(&instance);
        let pruned = metrics["rollcast_pruned_total"] == 4_864.0;
        (pruned && metrics["rollcast_oldest_roll_id"] == 4_865.0).then_some(())
    });
    assert!(server.log().iter().any(|line| line.contains("kept: 100 rolls")));
    server.stop();

    // Pruning does not shrink the file; `vacuum` does.
    let size = |instance: &Instance| fs::metadata(instance.database()).unwrap().len();
    let before = size(&instance);
    outside(&instance, "vacuum");
    assert!(size(&instance) * 4 < before, "{} of {before} bytes are left", size(&instance));
    let _server = instance.start();
    wait_for("the next roll", || (kept(&instance) == (4_865, 5_002, 138)).then_some(()));
    assert!(get(&instance.url("/stats"), &[]).body.contains("5,002"), "expected every roll");
}

#[test]
fn the_newest_roll_is_never_pruned() {
    let instance = Instance::new("every = '1h'\nkeep = '1s'");
    // The newest roll will be the last of the 12th tile.
    instance.fill(3_071, 1);
    let mut server = instance.start();
    // All but the newest roll are two days old, and after 1 s the newest is over the limit too.
    let last_tile = (2_817, 3_072, 256);
    wait_for("the prune of all other tiles", || (kept(&instance) == last_tile).then_some(()));
    server.stop();
    let _server = instance.start();
    wait_for("the next roll", || (kept(&instance) == (3_073, 3_073, 1)).then_some(()));
}

#[test]
fn a_start_long_after_the_newest_roll_does_not_prune_at_once() {
    let instance = Instance::new("every = '20ms'\nkeep = '36h'");
    // These rolls are more than two days old.
    instance.fill(3_000, 1);
    let server = instance.start();
    // 3 s of new rolls, in which pruning would have deleted all old ones.
    wait_for("rolls", || (kept(&instance).1 > 3_150).then_some(()));
    assert_eq!(kept(&instance).0, 1);
    let warns = |line: &String| line.contains("the clock jumped ahead, or the server was stopped");
    wait_for("the warning", || server.log().iter().any(warns).then_some(()));
}

#[test]
fn no_roll_is_pruned_too_early_and_none_remains_long_after() {
    let instance = Instance::new("every = '5ms'\nkeep = '2s'");
    let _server = instance.start();
    let mut seen = 0;
    let tail = Tail::start(&instance, &["--json", "--after", "0"]);
    wait_for("two prunes", || {
        let (oldest, ..) = kept(&instance);
        let now = Timestamp::now();
        let lines = tail.lines();
        let gone = usize::try_from(oldest - 2).ok()?;
        let gone: Value = serde_json::from_str(lines.get(gone)?).unwrap();
        assert_eq!(gone["id"], oldest - 1);
        let rolled_at: Timestamp = gone["rolled_at"].as_str().unwrap().parse().unwrap();
        let age = now.duration_since(rolled_at);
        assert!(age >= SignedDuration::from_secs(2), "pruned {gone} after {age:#}");
        seen = seen.max(oldest);
        (seen > 512).then_some(())
    });
}

#[test]
fn a_failed_prune_is_retried_and_does_not_stop_rolls() {
    let instance = Instance::new("every = '20ms'\nkeep = 50");
    instance.fill(512, 1);
    outside(&instance, NO_DELETE);
    let server = instance.start();
    wait_for("two failures and rolls", || {
        let metrics = metrics(&instance);
        let failed = metrics["rollcast_prune_failures_total"] >= 2.0;
        (failed && metrics["rollcast_rolls_total"] > 50.0).then_some(())
    });
    assert_eq!(kept(&instance).0, 1);
    assert_eq!(get(&instance.url("/readyz"), &[]).status, 200, "rolls are still stored");
    let n_logged = || server.log().iter().filter(|line| line.contains("none goes")).count();
    assert_eq!(n_logged(), 1, "expected one log line per fault");
    outside(&instance, "drop trigger no_delete");
    wait_for("the prune", || (kept(&instance).0 > 512).then_some(()));
    let again = || server.log().iter().any(|line| line.contains("pruned again"));
    wait_for("the log line", || again().then_some(()));
    assert_eq!(n_logged(), 1);
}

#[test]
fn a_stream_that_is_overtaken_by_pruning_gets_the_number_of_lost_rolls() {
    let instance = Instance::new("every = '100ms'\nkeep = 100");
    // 12 MB, which is more than the kernel buffers for a client.
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
    // 780 tiles.
    wait_for("the prune", || (kept(&instance).0 > 199_680).then_some(()));
    // On a slow machine the stream still fills its buffers during the prune, so pruning may
    // overtake it more than once.
    let mut n_syncs = 0;
    let mut n_lost = 0;
    while last <= 199_680 {
        let frame = stream.next().expect("more of the stream");
        if let Some(sync) = frame.sync() {
            assert_eq!((&sync["mode"], &sync["reason"]), (&"reset".into(), &"pruned".into()));
            n_syncs += 1;
            n_lost = sync["lost"].as_i64().unwrap();
            assert!(n_lost > 0, "{sync}");
        } else if let Some(id) = id(&frame) {
            assert_eq!(id, last + 1 + n_lost, "a gap without a sync that counts it");
            (last, n_lost) = (id, 0);
        }
    }
    assert!(n_syncs > 0, "the stream had sent all rolls before the prune");
    for (frame, expected) in stream.filter_map(|frame| id(&frame)).take(150).zip(last + 1..) {
        assert_eq!(frame, expected);
    }
}

#[test]
fn pages_show_which_rolls_were_pruned_and_link_the_oldest_stored_one() {
    let (instance, _server) = quiet_instance(37);
    let notice = "Rolls 1 to 36 are no longer kept. The oldest kept roll is \
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
        // The first search reaches the oldest roll, the second does not.
        ("/rolls?die=1D20&result=20", true),
        ("/rolls?die=1D6&result=1&before=100", false),
    ];
    for (path, expected) in table {
        let page = get(&instance.url(path), &[]);
        assert_eq!(page.body.contains(notice), expected, "{path}: {}", page.body);
        // A page with this notice has no link to older rolls.
        assert!(!expected || link(&page.body, "next").is_none(), "{path}");
    }
    let jump = get(&instance.url("/rolls?at=2026-11-22T00:00"), &[]);
    let page = get(&instance.url(jump.header("location").split('#').next().unwrap()), &[]).body;
    assert!(page.contains(notice) && row_ids(&page).ends_with(&[37]), "{page}");
    let (instance, _server) = quiet_instance(1);
    let page = get(&instance.url("/rolls?before=5"), &[]).body;
    assert!(!page.contains("no longer kept"), "{page}");
    let page = get(&instance.url("/about"), &[]).body;
    assert!(page.contains("keeps every roll"), "{page}");
}

#[test]
fn the_live_page_and_about_show_which_rolls_are_kept() {
    for (keep, notice) in
        [("'30d'", "keeps the rolls of the last 30 days"), ("70", "keeps the newest 70 rolls")]
    {
        let instance = Instance::new(&format!("keep = {keep}"));
        let _server = instance.start();
        for path in ["/", "/about"] {
            let page = get(&instance.url(path), &[]).body;
            assert!(page.contains(notice), "{path}: {page}");
        }
    }
}

#[test]
fn a_pruned_roll_is_410_gone_instead_of_404() {
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
                // A restored backup may have the roll again.
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
fn a_page_that_pruning_can_change_is_always_revalidated() {
    let instance = Instance::new("every = '1h'\nkeep = 60");
    instance.fill(320, 1);
    outside(&instance, NO_DELETE);
    let _server = instance.start();
    // Later rolls do not change these pages.
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
fn an_export_reports_the_pruned_rolls_of_its_range() {
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
        let gap = "gap: rolls 6 to 36 are no longer kept";
        assert!(stderr.contains(gap) && stderr.contains("gaps: 1"), "{stderr}");
        // No gap if the range starts at the oldest stored roll.
        assert_eq!(export(&[]), (0, stored.clone(), String::new()));
        assert_eq!(export(&["--after", "36"]), (0, stored.clone(), String::new()));
    }
    let (code, stdout, stderr) =
        run(instance.command().args(["export", "--after", "5", "--before", "30"]));
    assert_eq!((code, stdout.as_str()), (3, "id,rolled_at,1D6,1D20\r\n"));
    assert!(stderr.contains("rolls 6 to 29 are no longer kept"), "{stderr}");
}

#[test]
fn an_export_that_is_overtaken_by_pruning_reports_the_missing_rolls() {
    let instance = Instance::new("every = '1h'");
    // Far more than a pipe buffers.
    instance.fill(50_000, 1);
    let mut export = instance.command();
    export.args(["export", "--format", "ndjson"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut export = export.spawn().unwrap();
    let mut rolls = BufReader::new(export.stdout.take().unwrap()).lines();
    let id = |line: String| serde_json::from_str::<Value>(&line).unwrap()["id"].as_i64().unwrap();
    assert_eq!(id(rolls.next().unwrap().unwrap()), 1);
    outside(&instance, "delete from rolls where id <= 40000");
    let ids: Vec<i64> = rolls.map(|line| id(line.unwrap())).collect();
    let mut stderr = String::new();
    export.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(export.wait().unwrap().code(), Some(3), "{stderr}");
    let gaps: Vec<_> = ids.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert_eq!((gaps.len(), ids.last()), (1, Some(&50_000)));
    let line = format!("gap: rolls {} to {} are no longer kept", gaps[0][0] + 1, gaps[0][1] - 1);
    assert_eq!(gaps[0][1], 40_001);
    assert!(stderr.contains(&line), "{stderr}");
}

#[test]
fn a_download_that_is_overtaken_by_pruning_ends_early_instead_of_having_a_gap() {
    let instance = Instance::new("every = '1h'");
    // More than the kernel buffers for a client, which is up to 2.7 MB.
    instance.fill(150_000, 1);
    let server = instance.start();
    let mut download = instance.connect();
    let request = "GET /api/rolls.ndjson?before=150001 HTTP/1.0\r\nHost: localhost\r\n\r\n";
    download.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(download).lines().map(Result::unwrap);
    let end = lines.find_map(|line| Some(line.strip_prefix("rollcast-last: ")?.to_string()));
    assert_eq!(end.as_deref(), Some("150000"));
    let id = |line: String| {
        // Skip the chunk sizes between the lines.
        serde_json::from_str::<Value>(&line).ok()?["id"].as_i64()
    };
    let mut ids = lines.filter_map(id);
    assert_eq!(ids.next(), Some(1));
    outside(&instance, "delete from rolls where id <= 140000");
    let mut last = 1;
    for id in ids {
        assert_eq!(id, last + 1, "expected no gap");
        last = id;
    }
    assert!(last < 140_000, "the download ended at roll {last}, after the deleted rolls");
    let warning = format!("truncated a download after roll {last}: the next roll that is kept");
    wait_for("the log", || server.log().iter().any(|line| line.contains(&warning)).then_some(()));

    // `rollcast export` resumes after such a download and reports the gap.
    let row = |id: i64| format!("{id},2026-11-23T00:00:0{id}.123Z,{id}\r\n");
    let csv = |rows: &[i64]| {
        let rows: String = rows.iter().copied().map(row).collect();
        rolls_file("text/csv", 8, &format!("id,rolled_at,1D6\r\n{rows}"))
    };
    let none = rolls_file("text/csv", 0, "id,rolled_at,1D6\r\n");
    let server = Replies::start([csv(&[1, 2]), csv(&[5, 6]), none]);
    let url = server.url("/");
    let (code, stdout, stderr) = run(instance.command().args(["export", &url]));
    let rows: String = [1, 2, 5, 6].map(row).concat();
    assert_eq!((code, stdout), (3, format!("id,rolled_at,1D6\r\n{rows}")), "{stderr}");
    for text in ["gap: rolls 3 to 4 are", "gap: rolls 7 to 8 are", "gaps: 2"] {
        assert!(stderr.contains(text), "{stderr}");
    }
}

#[test]
fn check_and_backup_print_which_rolls_are_kept() {
    let instance = Instance::new("every = '1h'\nkeep = '36h'");
    instance.fill(120, 37);
    let (code, stdout, _) = run(instance.command().arg("check"));
    assert_eq!(code, 0);
    assert!(stdout.contains("kept           36h\n"), "{stdout}");
    assert!(stdout.contains("rolls 37 to 120"), "{stdout}");
    let (code, stdout, _) = run(instance.command().args(["backup", "copy.db"]));
    assert_eq!(code, 0);
    assert!(stdout.contains("rolls 37 to 120"), "{stdout}");
    // A number in the environment arrives as an unsigned integer.
    let check = |keep: &str| {
        let keep = format!("{{keep={keep}}}");
        run(instance.command().arg("check").env("ROCKET_ROLLCAST", keep)).0
    };
    assert_eq!(["7", "\"1d\"", "\"forever\"", "0", "\"7\""].map(check), [0, 0, 0, 2, 2]);
}
