//! The statistics: every roll is counted once across kills, prunes and migrations, and all views
//! show the same numbers.

use std::collections::BTreeMap;
use std::thread::{self, JoinHandle};

use rollcast::roll::RollId;
use rollcast::statistics::DieTally;
use rollcast::statistics::words::grouped;
use rusqlite::Connection;
use serde_json::Value;

use crate::common::{Instance, http, run, wait_for};

fn get(url: &str) -> String {
    let mut answer = http().get(url).call().unwrap();
    assert_eq!(answer.status(), 200, "{url}");
    answer.body_mut().read_to_string().unwrap()
}

fn api(instance: &Instance) -> Value {
    serde_json::from_str(&get(&instance.url("/api/stats"))).unwrap()
}

fn dice_of(stored: &(i64, String, String)) -> BTreeMap<String, u64> {
    serde_json::from_str(&stored.2).unwrap()
}

/// The evidence over rolls in a report: numbers of rolls, and decimal logarithms times 10,000.
fn history_of(die: &Value) -> Vec<(u64, i64)> {
    let points = die["fairness"]["history"].as_array().unwrap().iter();
    let log10_e = |point: &Value| (point["log10_e"].as_f64().unwrap() * 1e4).round() as i64;
    points.map(|point| (point["n_rolls"].as_u64().unwrap(), log10_e(point))).collect()
}

/// The same, computed from all results of a die.
fn evidence_of(name: &str, results: &[u64]) -> Vec<(u64, i64)> {
    let mut tally = DieTally::new(name.parse().unwrap());
    let (mut points, mut end): (Vec<(u64, i64)>, u64) = (Vec::new(), 0);
    let mut highest = f64::MIN;
    for (n, result) in (1..).zip(results) {
        tally.add(RollId(n as i64), *result as u32);
        if n > end {
            end = (n - 1) + ((n - 1) / 4).max(1);
            points.push((0, 0));
            highest = f64::MIN;
        }
        highest = highest.max(tally.log10_e());
        *points.last_mut().unwrap() = (n, (highest * 1e4).round() as i64);
    }
    points
}

/// Computes the statistics of all stored rolls up to `as_of` of `seen`, and compares them.
fn assert_right(seen: &Value, instance: &Instance) {
    let as_of = seen["as_of"].as_i64().unwrap();
    let stored = instance.stored();
    let rolls: Vec<_> = stored.iter().filter(|roll| roll.0 <= as_of).map(dice_of).collect();
    let dice = seen["dice"].as_array().unwrap();
    assert_eq!(dice.len(), rolls.last().map_or(0, BTreeMap::len), "{seen}");
    for die in dice {
        let name = die["die"].as_str().unwrap();
        let results: Vec<u64> = rolls.iter().filter_map(|roll| roll.get(name).copied()).collect();
        assert_eq!(die["n_rolls"], results.len() as u64, "{name} as of {as_of}");
        let mean = results.iter().sum::<u64>() as f64 / results.len() as f64;
        assert!((die["mean"]["seen"].as_f64().unwrap() - mean).abs() < 1e-9, "mean of {name}");
        let mut longest = (0, 0);
        for run in results.chunk_by(|a, b| a == b) {
            longest = longest.max((run.len(), 0));
        }
        assert_eq!(die["longest_streak"]["length"], longest.0 as u64, "{name} as of {as_of}");
        let mut most = 0;
        for bin in die["results"].as_array().unwrap() {
            let result = bin["from"].as_u64().unwrap();
            let n_rolls = results.iter().filter(|seen| **seen == result).count();
            assert_eq!(bin["n_rolls"], n_rolls as u64, "{result} of {name}");
            let droughts = results.split(|seen| *seen == result).map(<[u64]>::len);
            let drought = droughts.max().unwrap() as u64;
            assert_eq!(bin["longest_drought"], drought, "{result} of {name}");
            most = most.max(drought);
        }
        assert_eq!(die["longest_drought"]["length"], most, "{name}");
        assert_eq!(die["blocks"]["n_blocks"], results.len() as u64 / 3_600);
        assert_eq!(history_of(die), evidence_of(name, &results), "{name} as of {as_of}");
    }
}

/// Compares the view `tallies` with the rolls in one query.
fn assert_tallies_fit_the_rolls(instance: &Instance) {
    let sql = "select count(*) from
        (select die, face, count(*) as n_rolls from faces group by die, face) f
        full join tallies t on t.die = f.die and t.face = f.face
        where f.n_rolls is not t.n_rolls";
    let n_others: i64 = instance.sqlite().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(n_others, 0, "counts that differ from the rolls");
}

/// Runs a query that returns one number.
fn number(instance: &Instance, sql: &str) -> i64 {
    instance.sqlite().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// Selects the id of the last roll in the saved statistics.
const SAVED_ID: &str = "select last_id from projections where name = 'statistics'";

/// Turns a database of the newest schema with saved statistics into one of schema 2, as an old
/// server would have left it.
pub const TO_SCHEMA_2: &str = "
    drop view tallies; drop view faces; drop table projections;
    create view faces as
      select r.id, r.rolled_at, d.key as die, d.value as face
      from rolls r, json_each(r.dice) d;
    drop trigger refuse_unreadable_insert; drop trigger refuse_unreadable_update;
    drop trigger refuse_impossible_id; drop view malformed_rolls;
    drop trigger note_clock_step_insert; drop trigger note_clock_step_update;
    drop view earlier_than_the_roll_before; drop table clock_steps;
    drop table tile_hashes; drop table seed_runs; drop table new_secrets;
    drop trigger refuse_distant_id; drop trigger refuse_distant_id_update;
    drop table evidence_peaks;
    create table tallies (
      die text not null, face integer not null, n_rolls integer not null, primary key (die, face)
    ) strict, without rowid;
    insert into tallies select die, result, n_rolls from result_statistics;
    create trigger count_the_faces after insert on rolls begin
      insert into tallies (die, face, n_rolls)
      select d.key, d.value, 1 from json_each(new.dice) d where true
      on conflict (die, face) do update set n_rolls = n_rolls + 1;
    end;
    pragma user_version = 2;";

#[test]
fn the_statistics_match_the_stored_rolls_while_new_rolls_arrive() {
    let instance = Instance::new("every = '2ms'\ndice = ['1D6', '2D4']");
    let _server = instance.start();
    for n in [1, 50, 400] {
        wait_for("rolls", || (instance.stored().len() >= n).then_some(()));
        let seen = api(&instance);
        assert!(seen["as_of"].as_u64().unwrap() >= n as u64);
        assert_right(&seen, &instance);
        assert_tallies_fit_the_rolls(&instance);
    }
}

#[test]
fn a_database_of_schema_1_is_counted_once_when_it_is_first_opened() {
    let instance = Instance::new("every = '1h'");
    instance.fill(10_000, 1);
    let outside = Connection::open(instance.database()).unwrap();
    outside.execute_batch(TO_SCHEMA_2).unwrap();
    outside
        .execute_batch(
            "drop table die_statistics; drop table result_statistics; drop table block_cells;
             drop table p_value_bins; pragma user_version = 1;",
        )
        .unwrap();
    drop(outside);
    // `rollcast stats` counts the rolls itself and does not change the database.
    let before = std::fs::read(instance.database()).unwrap();
    let stats = instance.command().arg("stats").output().unwrap();
    let text = String::from_utf8(stats.stdout).unwrap();
    assert!(stats.status.success() && text.contains("10,000 rolls"), "{text}");
    assert!(before == std::fs::read(instance.database()).unwrap(), "the database was changed");
    for n_starts in 1..=2 {
        let mut server = instance.start();
        wait_for("a new roll", || {
            (instance.stored().last().unwrap().0 == 10_000 + n_starts).then_some(())
        });
        let seen = api(&instance);
        assert_eq!(seen["as_of"], 10_000 + n_starts);
        assert_right(&seen, &instance);
        assert_eq!(seen["dice"][0]["blocks"]["n_blocks"], 2);
        assert_tallies_fit_the_rolls(&instance);
        server.stop();
    }
}

#[test]
fn a_database_of_schema_2_keeps_the_statistics_of_its_pruned_rolls() {
    let instance = Instance::new("every = '1h'");
    instance.fill(8_000, 1);
    instance.start().stop();
    let before = number(&instance, "select max(id) from rolls");
    let newest_schema = number(&instance, "pragma user_version");
    let outside = Connection::open(instance.database()).unwrap();
    outside.execute_batch(TO_SCHEMA_2).unwrap();
    instance.remove_secret();
    outside.execute("delete from rolls where id <= 5000", []).unwrap();
    drop(outside);
    let mut server = instance.start();
    let seen = wait_for("one roll more", || {
        let seen = api(&instance);
        (seen["as_of"] == before + 1).then_some(seen)
    });
    assert_eq!(seen["dice"][0]["n_rolls"], before + 1);
    for die in ["1D6", "1D20"] {
        let sql = format!("select sum(n_rolls) from tallies where die = '{die}'");
        assert_eq!(number(&instance, &sql), before + 1, "{die} while the server runs");
    }
    server.stop();
    assert_eq!(number(&instance, SAVED_ID), before + 1, "saved at the stop");
    assert_eq!(number(&instance, "pragma user_version"), newest_schema);
}

/// Turns a database into one of schema 6, as an old server would have left it.
const TO_SCHEMA_6: &str = "drop table evidence_peaks; pragma user_version = 6;";

#[test]
fn a_database_of_schema_6_gets_its_evidence_by_a_recount_if_all_rolls_are_kept() {
    for n_deleted in [0, 5_000] {
        let instance = Instance::new("every = '1h'");
        instance.fill(8_000, 1);
        instance.start().stop();
        let n_rolls = number(&instance, "select max(id) from rolls");
        let outside = Connection::open(instance.database()).unwrap();
        let highest = "select highest_log_e from die_statistics where die = '1D6'";
        let highest: f64 = outside.query_row(highest, [], |row| row.get(0)).unwrap();
        let highest = (highest / 10_f64.ln() * 1e4).round() as i64;
        outside.execute_batch(TO_SCHEMA_6).unwrap();
        let pruned = format!("delete from rolls where id <= {n_deleted}");
        outside.execute_batch(&pruned).unwrap();
        drop(outside);
        if n_deleted > 0 {
            instance.rekey();
        }
        for n_starts in 1..=2 {
            let mut server = instance.start();
            let seen = wait_for("one roll more", || {
                let seen = api(&instance);
                (seen["as_of"] == n_rolls + n_starts).then_some(seen)
            });
            let die = &seen["dice"][0];
            assert_eq!(die["n_rolls"], n_rolls + n_starts, "each roll is counted once");
            let history = history_of(die);
            if n_deleted == 0 {
                assert_right(&seen, &instance);
                assert!(history.len() > 30, "{history:?}");
            } else {
                let ends: Vec<u64> = history.iter().map(|point| point.0).collect();
                let (last_before, newest) = (n_rolls as u64, (n_rolls + n_starts) as u64);
                assert_eq!(ends, [last_before, newest], "the evidence begins at the upgrade");
                assert_eq!(history[0].1, highest, "the highest evidence before the upgrade");
                assert_ne!(history[0].1, history[1].1, "it fell again");
            }
            server.stop();
        }
    }
}

#[test]
fn rolls_that_another_process_stored_are_counted_too() {
    let instance = Instance::new("every = '20ms'");
    let _server = instance.start();
    wait_for("rolls", || (instance.stored().len() > 3).then_some(()));
    let outside = Connection::open(instance.database()).unwrap();
    outside
        .execute_batch(
            "pragma busy_timeout = 5000; begin immediate;
             insert into rolls (rolled_at, dice) values
               ('2026-11-25T00:00:00.000Z', '{\"1D6\":6,\"1D20\":20}'),
               ('2026-11-25T00:00:01.000Z', '{\"1D6\":6,\"1D20\":20}');
             commit;",
        )
        .unwrap();
    let last = instance.stored().last().unwrap().0;
    let seen = wait_for("the next roll", || {
        let seen = api(&instance);
        (seen["as_of"].as_i64().unwrap() > last).then_some(seen)
    });
    assert_right(&seen, &instance);
}

/// A trigger that fails an insert after the row was written. The server retries after this error.
const FAULT: &str = "
    pragma busy_timeout = 5000;
    create trigger fault after insert on TABLE begin insert into no_such_table values (1); end;";

#[test]
fn a_failed_commit_is_not_counted() {
    let instance = Instance::new("every = '20ms'");
    let server = instance.start();
    wait_for("rolls", || (instance.stored().len() > 3).then_some(()));
    let outside = Connection::open(instance.database()).unwrap();
    outside.execute_batch(&FAULT.replace("TABLE", "rolls")).unwrap();
    wait_for("the log of the fault", || {
        server.log().iter().any(|line| line.contains("no roll can be stored")).then_some(())
    });
    let last = instance.stored().last().unwrap().0;
    outside.execute_batch("drop trigger fault").unwrap();
    let seen = wait_for("rolls after the fault", || {
        let seen = api(&instance);
        (seen["as_of"].as_i64().unwrap() > last + 3).then_some(seen)
    });
    assert_right(&seen, &instance);
    assert_tallies_fit_the_rolls(&instance);
}

#[test]
fn rolls_and_statistics_continue_while_the_statistics_cannot_be_saved() {
    let instance = Instance::new("every = '1ms'");
    let mut server = instance.start();
    wait_for("rolls", || (instance.stored().len() > 3).then_some(()));
    let outside = Connection::open(instance.database()).unwrap();
    outside.execute_batch(&FAULT.replace("TABLE", "block_cells")).unwrap();
    let logged = |text: &str| server.log().iter().filter(|line| line.contains(text)).count();
    wait_for("the log of the fault", || (logged("statistics cannot be saved") > 0).then_some(()));
    let (last, saved) = (instance.stored().last().unwrap().0, number(&instance, SAVED_ID));
    // Two more saves fail.
    wait_for("more rolls", || (instance.stored().last().unwrap().0 > last + 2_500).then_some(()));
    assert_eq!(logged("statistics cannot be saved"), 1, "expected one log line");
    assert_eq!(logged("no roll can be stored"), 0);
    assert_eq!(number(&instance, SAVED_ID), saved);
    assert_right(&api(&instance), &instance);
    assert_tallies_fit_the_rolls(&instance);
    outside.execute_batch("drop trigger fault").unwrap();
    wait_for("the next save", || (logged("statistics are saved again") > 0).then_some(()));
    assert!(number(&instance, SAVED_ID) > last);
    server.stop();
}

#[test]
fn statistics_survive_a_kill_and_deleted_rolls() {
    let instance = Instance::new("every = '5ms'");
    let mut server = instance.start();
    wait_for("rolls", || (instance.stored().len() > 50).then_some(()));
    server.kill();
    let stored = instance.stored().len() as i64;
    assert!(number(&instance, SAVED_ID) < stored, "the kill came right after a save");
    assert_tallies_fit_the_rolls(&instance);
    let mut server = instance.start();
    wait_for("rolls", || (instance.stored().len() > 100).then_some(()));
    assert_right(&api(&instance), &instance);
    server.stop();
    let before = instance.stored();
    assert_eq!(number(&instance, SAVED_ID), before.len() as i64, "saved at the stop");
    Connection::open(instance.database())
        .unwrap()
        .execute("delete from rolls where id <= 90", [])
        .unwrap();
    instance.rekey();
    instance.configure("every = '1h'");
    let _server = instance.start();
    let seen = wait_for("one roll more", || {
        let seen = api(&instance);
        (seen["as_of"].as_u64().unwrap() > before.len() as u64).then_some(seen)
    });
    assert_eq!(seen["dice"][0]["n_rolls"], before.len() as u64 + 1);
    let sum = "select sum(n_rolls) from tallies where die = '1D6'";
    assert_eq!(number(&instance, sum), before.len() as i64 + 1);
}

#[test]
fn a_roll_that_was_pruned_before_a_kill_is_still_counted_after_it() {
    // Each prune deletes rolls that the periodic save does not include yet.
    let instance = Instance::new("every = '2ms'\nkeep = 2");
    for _ in 0..3 {
        let mut server = instance.start();
        let start = instance.stored().last().map_or(0, |roll| roll.0);
        wait_for("two prunes", || (instance.stored().first()?.0 > start + 512).then_some(()));
        server.kill();
        let head = instance.stored().last().unwrap().0;
        let sum = "select sum(n_rolls) from tallies where die = '1D6'";
        assert_eq!(number(&instance, sum), head, "after a kill");
        let stats = instance.command().arg("stats").output().unwrap();
        let text = String::from_utf8(stats.stdout).unwrap();
        let line = format!("1D6             {} rolls", grouped(head as u64));
        assert!(text.contains(&line), "expected `{line}` in {text}");
    }
}

#[test]
fn page_api_and_terminal_show_the_same_statistics() {
    let instance = Instance::new("every = '1h'\ndice = ['1D20', '2D6', '100D1000']");
    instance.fill(7_300, 1);
    let mut server = instance.start();
    let seen = wait_for("a roll of all dice", || {
        let seen = api(&instance);
        (seen["dice"].as_array().unwrap().len() == 4).then_some(seen)
    });
    // The configured dice come first, in their order, then a die that is no longer rolled.
    let names: Vec<_> = seen["dice"].as_array().unwrap().iter().map(|die| &die["die"]).collect();
    assert_eq!(names, ["1D20", "2D6", "100D1000", "1D6"]);
    assert_eq!(seen["dice"][2]["results"].as_array().unwrap().len(), 60);
    let (page, one) = (get(&instance.url("/stats")), get(&instance.url("/stats/1D20")));
    let terminal = || String::from_utf8(instance.command().arg("stats").output().unwrap().stdout);
    let live = terminal().unwrap();
    server.stop();
    assert_eq!(terminal().unwrap(), live, "the same with and without a server");
    for die in seen["dice"].as_array().unwrap() {
        let name = die["die"].as_str().unwrap();
        let link = format!("<h2 id=\"{name}\"><a href=\"/stats/{name}\">");
        assert!(page.contains(&link), "expected {link} on the page");
        let verdict = format!("verdict         {}.", die["fairness"]["verdict"].as_str().unwrap());
        assert!(live.contains(&verdict), "expected {verdict} in {live}");
        assert!(live.contains(name), "expected {name} in {live}");
    }
    for text in ["7,301", "365", "alarm at 80"] {
        assert!(page.contains("7,301") && one.contains(text), "expected {text} on the page");
    }
    // Rolls in a fixed order are perfectly even, so the last chi-square is 0.
    for text in ["7,301 rolls", "365", "alarm at 80", "2 of 3,600 rolls; the last: chi-square 0.00"]
    {
        assert!(live.contains(text), "expected {text} in {live}");
    }
    assert!(live.contains('█'), "{live}");
}

/// The statistics on the page and in the terminal.
fn shown(instance: &Instance) -> [String; 2] {
    let stats = instance.command().arg("stats").output().unwrap();
    [get(&instance.url("/stats/1D6")), String::from_utf8(stats.stdout).unwrap()]
}

#[test]
fn figures_that_say_nothing_are_left_out_and_figures_outside_their_range_are_marked() {
    let instance = Instance::new("every = '1h'\ndice = ['1D6', '1D20']");
    let server = instance.start();
    wait_for("a roll", || (!instance.stored().is_empty()).then_some(()));
    let [page, terminal] = shown(&instance);
    assert!(
        !terminal.contains("longest"),
        "every die has the same runs after one roll: {terminal}"
    );
    for text in ["Too early to tell", "3,599", "<dd data-value=\"last-block\">–</dd>"] {
        assert!(page.contains(text), "expected {text} in {page}");
    }
    drop(server);

    // The same sequence of results again and again: no streak, and only short droughts.
    instance.fill(7_202, 1);
    let _server = instance.start();
    wait_for("a roll", || (instance.stored().len() > 7_202).then_some(()));
    let [page, terminal] = shown(&instance);
    for text in [
        "data-outside=\"streak\">outside",
        "data-outside=\"drought\">outside",
        "data-outside=\"mean\" hidden>outside",
        "ended at roll 7,200: chi-square",
    ] {
        assert!(page.contains(text), "expected {text} in {page}");
    }
    for name in ["longest streak", "longest drought"] {
        let mut lines = terminal.lines().filter(|line| line.starts_with(name));
        assert!(lines.all(|line| line.ends_with("  outside")), "{terminal}");
        assert_eq!(terminal.matches(name).count(), 2, "{terminal}");
    }
    // Control: the mean and all results are those of a fair die.
    let is_inside = |line: &&str| line.contains("fair: ") && !line.starts_with("longest");
    let mut inside = terminal.lines().filter(is_inside);
    assert!(inside.clone().count() == 28 && !inside.any(|line| line.contains("outside")));

    // The API has all of them.
    let die = &api(&instance)["dice"][0];
    assert!(die["longest_drought"]["expected"]["low"].as_u64().unwrap() > 5, "{die}");
}

#[test]
fn the_command_exits_with_4_if_a_die_reached_the_alarm() {
    let instance = Instance::new("dice = ['1D6']\nevery = '1h'");
    instance.fill(100, 1);
    let stats = || run(instance.command().arg("stats"));
    let (code, stdout, stderr) = stats();
    assert_eq!((code, stderr.as_str()), (0, ""), "{stdout}");
    let loaded = "update rolls set dice = '{\"1D6\":3}'";
    Connection::open(instance.database()).unwrap().execute_batch(loaded).unwrap();
    let (code, stdout, stderr) = stats();
    assert_eq!(code, 4, "{stdout}{stderr}");
    assert!(
        stdout.contains("alarm. The evidence against it reached the alarm at roll"),
        "{stdout}"
    );
    assert!(stderr.contains("reached its alarm: 1D6"), "{stderr}");
}

#[test]
fn an_unreadable_old_roll_is_skipped_and_logged() {
    let instance = Instance::new("every = '50ms'");
    // More rolls than the feed reads at its start.
    instance.fill(2_000, 1);
    let sql = "drop trigger refuse_unreadable_update;
               update rolls set dice = '{\"1D6\":\"x\"}' where id = 50";
    rusqlite::Connection::open(instance.database()).unwrap().execute_batch(sql).unwrap();
    let server = instance.start();
    wait_for("new rolls", || (instance.stored().len() > 2_005).then_some(()));
    let seen = api(&instance);
    for die in seen["dice"].as_array().unwrap() {
        assert_eq!(die["n_rolls"].as_i64(), seen["as_of"].as_i64().map(|n| n - 1), "{die}");
    }
    let lines: Vec<String> =
        server.log().into_iter().filter(|line| line.contains("cannot be read")).collect();
    assert!(lines.len() == 1 && lines[0].contains("roll 50"), "{lines:#?}");
}

#[test]
fn many_requests_for_the_statistics_of_the_largest_dice_do_not_block_pages() {
    let dice: Vec<String> = (85..=100).map(|n_dice| format!("{n_dice}D1000")).collect();
    let instance = Instance::new(&format!("every = '1h'\ndice = {dice:?}"));
    let _server = instance.start();
    wait_for("the first roll", || instance.stored().first().cloned());
    let stats = instance.url("/api/stats");
    let requests: Vec<_> = (0..20)
        .map(|_| {
            let stats = stats.clone();
            thread::spawn(move || get(&stats))
        })
        .collect();
    while !requests.iter().all(JoinHandle::is_finished) {
        get(&instance.url("/rolls"));
    }
    let answers: Vec<String> = requests.into_iter().map(|it| it.join().unwrap()).collect();
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    let answer: Value = serde_json::from_str(&answers[0]).unwrap();
    assert_eq!((&answer["as_of"], answer["dice"].as_array().unwrap().len()), (&1.into(), 16));
}
