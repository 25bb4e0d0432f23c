//! Database faults under a running server. For each fault the server reports the cause, and rolls
//! continue within 5 s of its end. Faults that stop a start, and a deleted or replaced file, are in
//! `tests/suite/store.rs`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::common::events::{Ask, Stream};
use crate::common::{Instance, ROLLCAST, Server, http, wait_for};
use crate::kills::head;
use crate::report::{Recovered, Row, assert_in_time};
use crate::shim::{Calls, Failure, Fault, Shim};
use crate::siege::park;

fn get(instance: &Instance, path: &str, accept: &str) -> (u16, String) {
    let mut answer = http().get(instance.url(path)).header("Accept", accept).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// Status and body of `/readyz`, and the trouble message of the first page without scripts.
fn reported(instance: &Instance) -> (u16, String, String) {
    let (status, reasons) = get(instance, "/readyz", "*/*");
    let (_, page) = get(instance, "/", "text/html");
    // Without trouble, the message is there but hidden.
    let trouble = page.split_once("data-notice=\"stalled\">").map_or("", |(_, rest)| rest);
    (status, reasons, trouble.split("</p>").next().unwrap().to_string())
}

fn ids(rolls: &[(String, String)]) -> Vec<i64> {
    rolls.iter().map(|(id, _)| id.split('-').next().unwrap().parse().unwrap()).collect()
}

fn consecutive(first: i64, n_rolls: usize) -> Vec<i64> {
    (first..first + n_rolls as i64).collect()
}

/// Starts a fault that blocks all commits, and ends it. Asserts that pages, streams and probes keep
/// working, that the probe reports `cause`, and that the page says it in plain words. Returns the
/// time from the end of the fault to the next roll.
fn stall(
    instance: &Instance,
    cause: &str,
    fault: impl FnOnce(),
    end_fault: impl FnOnce(),
) -> Duration {
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    stream.rolls(5);
    // Control: before the fault nothing is reported.
    assert_eq!(reported(instance), (200, "ready\n".into(), String::new()));

    fault();
    wait_for(&format!("page and probe to report `{cause}`"), || {
        let (status, reasons, trouble) = reported(instance);
        let names_cause = reasons.contains("no roll can be stored") && reasons.contains(cause);
        let is_plain = trouble.starts_with("No new rolls since ") && !trouble.contains(cause);
        (status == 503 && names_cause && is_plain).then_some(())
    });
    let n_stored = instance.stored().len();
    assert_eq!(get(instance, "/rolls", "text/html").0, 200);

    let ended = Instant::now();
    end_fault();
    let rest = stream.rolls(n_stored - 5 + 1);
    let recovered = ended.elapsed();
    assert_eq!(ids(&rest), consecutive(6, n_stored - 5 + 1));
    wait_for("the server to be ready", || (reported(instance).0 == 200).then_some(()));
    assert_eq!(reported(instance).2, "");
    assert_eq!(ids(&stream.rolls(20)), consecutive(n_stored as i64 + 2, 20));
    recovered
}

/// Writes the result of [`stall`] as a row of the table.
fn write_row(fault: &'static str, recovered: Duration, test: &'static str) {
    Row {
        fault,
        n_injected: 1,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::In(recovered),
        control: "before the fault, page and `/readyz` report none".into(),
        test,
    }
    .write();
}

#[test]
fn on_a_full_disk_pages_and_streams_work_and_report_it_and_rolls_continue_afterwards() {
    let (instance, shim) = (Instance::new("every = '20ms'"), Shim::new());
    let _server = instance.start_with(&mut shim.command(&instance));
    let fault = || shim.inject(Fault::for_ever(Calls::Write, Failure::Full));
    let recovered = stall(&instance, "database or disk is full", fault, || shim.clear_fault());
    write_row("disk full under a running server", recovered, "database::on_a_full_disk");
}

#[test]
fn on_a_failing_disk_pages_and_streams_work_and_report_it_and_rolls_continue_afterwards() {
    let (instance, shim) = (Instance::new("every = '20ms'"), Shim::new());
    let _server = instance.start_with(&mut shim.command(&instance));
    let fault = || shim.inject(Fault::for_ever(Calls::Write, Failure::Broken));
    let recovered = stall(&instance, "disk I/O error", fault, || shim.clear_fault());
    write_row("writes fail under a running server", recovered, "database::on_a_failing_disk");
}

#[test]
fn behind_an_outside_writer_pages_and_streams_work_and_report_it_and_rolls_continue_afterwards() {
    let instance = Instance::new("every = '20ms'");
    let _server = instance.start();
    let outside = Connection::open(instance.database()).unwrap();
    let lock = || wait_for("the lock", || outside.execute_batch("begin immediate").ok());
    let unlock = || outside.execute_batch("rollback").unwrap();
    let recovered = stall(&instance, "database is locked", lock, unlock);
    write_row(
        "an outside writer holds the lock under a running server",
        recovered,
        "database::behind_an_outside_writer",
    );
}

/// The number of the database page, from 0, that contains `text`.
fn page_of(instance: &Instance, text: &str) -> u64 {
    let content = fs::read(instance.database()).unwrap();
    // Only leaf pages of a table: other pages may contain an outdated copy.
    // https://sqlite.org/fileformat.html#b_tree_pages
    let contains = |page: &[u8]| {
        page[0] == 0x0d && page.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    };
    content.chunks(4096).position(contains).unwrap() as u64
}

#[test]
fn a_corrupt_page_is_reported_to_requests_that_read_it_and_the_stream_continues() {
    // Near the oldest roll, which every query of the history reads, and in the middle.
    for n in [60, 1_000] {
        assert_corrupt_page_is_reported(n);
    }
}

/// Corrupts the database page that contains roll `n`.
fn assert_corrupt_page_is_reported(n: usize) {
    let instance = Instance::new("every = '20ms'");
    // More rolls than the server keeps in memory.
    instance.fill(3_000, 1);
    let mut server = instance.start();
    let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    stream.rolls(1);
    let (_, rolled_at, _) = instance.stored()[n].clone();
    let (after, before) =
        (format!("/api/rolls?after={}", n - 10), format!("/rolls?before={}", n + 20));
    // Control: before the corruption both requests succeed.
    assert_eq!(get(&instance, &after, "*/*").0, 200);
    assert_eq!(get(&instance, &before, "text/html").0, 200);
    server.stop();
    let file = fs::OpenOptions::new().write(true).open(instance.database()).unwrap();
    file.write_all_at(&[0xA5; 4096], page_of(&instance, &rolled_at) * 4096).unwrap();
    drop(file);

    let mut server = instance.start();
    let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    stream.rolls(1);
    let (status, json) = get(&instance, &after, "*/*");
    assert_eq!(status, 503, "{json}");
    assert!(json.contains("history cannot be read"), "{json}");
    let (status, page) = get(&instance, &before, "text/html");
    assert_eq!(status, 503, "{page}");
    assert!(page.contains("history cannot be read"), "{page}");
    assert_eq!(get(&instance, "/", "text/html").0, 200);
    let log = server.log();
    assert!(log.iter().any(|line| line.contains("malformed")), "{log:#?}");
    stream.rolls(5);
    server.stop();
    // `check` names the damage and the remedy, and deletes nothing.
    let check = instance.command().arg("check").output().unwrap();
    let message = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert!(message.contains("damaged") && message.contains("restore a backup"), "{message}");
    let mut page = [0; 4096];
    let n_pages = fs::metadata(instance.database()).unwrap().size() / 4096;
    let file = fs::File::open(instance.database()).unwrap();
    let is_kept = (0..n_pages).any(|n| {
        file.read_exact_at(&mut page, n * 4096).unwrap();
        page == [0xA5; 4096]
    });
    assert!(is_kept, "the damaged page was overwritten");
}

#[test]
fn a_truncated_database_stops_the_start_with_a_reason_and_is_left_unchanged() {
    let instance = Instance::new("every = '20ms'");
    instance.fill(3_000, 1);
    let whole = fs::read(instance.database()).unwrap();
    for (name, content) in [
        ("half", whole[..whole.len() / 2].to_vec()),
        ("a page", whole[..4096].to_vec()),
        ("a torn page", whole[..4000].to_vec()),
        ("garbage after its header", {
            let mut content = whole.clone();
            content[100..].fill(0xA5);
            content
        }),
    ] {
        fs::write(instance.database(), &content).unwrap();
        let mut server = Server::spawn(&mut instance.command());
        assert_eq!(server.wait().code(), Some(1), "{name}: {:#?}", server.log());
        let message = server.log().last().unwrap().clone();
        assert!(message.contains("damaged") && message.contains("rolls.db"), "{name}: {message}");
        assert!(message.contains("restore a backup"), "{name}: {message}");
        assert!(fs::read(instance.database()).unwrap() == content, "{name}: the file was changed");
    }
    fs::write(instance.database(), &whole).unwrap();
    instance.start().stop();
}

#[test]
fn an_outside_reader_grows_the_write_ahead_log_as_a_metric_shows_and_it_shrinks_afterwards() {
    const MIB: f64 = 1_048_576.0;
    let (instance, shim) = (Instance::new("every = '1ms'"), Shim::new());
    let _server = instance.start_with(&mut shim.command(&instance));
    wait_for("a roll", || (!instance.stored().is_empty()).then_some(()));
    let n_log_bytes = || {
        let (_, metrics) = get(&instance, "/metrics", "*/*");
        let bytes = metrics.lines().find_map(|line| line.strip_prefix("rollcast_log_bytes "));
        bytes
            .unwrap_or_else(|| panic!("no `rollcast_log_bytes` in {metrics}"))
            .parse::<f64>()
            .unwrap()
    };
    let outside = instance.sqlite();
    outside.execute_batch("begin; select count(*) from rolls").unwrap();
    let n_held: i64 =
        outside.query_row("select count(*) from rolls", [], |row| row.get(0)).unwrap();
    wait_for("the write-ahead log to grow", || (n_log_bytes() > 18.0 * MIB).then_some(()));
    let n_seen: i64 =
        outside.query_row("select count(*) from rolls", [], |row| row.get(0)).unwrap();
    assert_eq!(n_seen, n_held, "the reader's transaction is not open");
    let ended = Instant::now();
    outside.execute_batch("commit").unwrap();
    wait_for("the write-ahead log to shrink", || (n_log_bytes() <= 16.0 * MIB).then_some(()));
    assert_in_time("an outside reader", ended.elapsed());
    println!("the write-ahead log shrank {:?} after the reader left", ended.elapsed());
}

#[test]
fn when_the_clock_steps_rolls_keep_their_order_and_interval() {
    const EVERY: Duration = Duration::from_millis(20);
    const HOUR: Duration = Duration::from_secs(3_600);
    let (instance, shim) = (Instance::new("every = '20ms'"), Shim::new());
    let mut server = instance.start_with(&mut shim.command(&instance));
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    let mut seen = stream.rolls(10);
    let steps: [&dyn Fn(); 4] = [
        &|| shim.put_clock_back(HOUR),
        &|| shim.put_clock_ahead(24 * HOUR),
        &|| shim.put_clock_back(24 * HOUR),
        &|| shim.put_clock_ahead(Duration::ZERO),
    ];
    for step in steps {
        let n_before = instance.stored().len();
        let stepped = Instant::now();
        step();
        let n_rolls = n_before + 25 - seen.len();
        seen.extend(stream.rolls(n_rolls));
        let max_new = stepped.elapsed().as_millis() / EVERY.as_millis() + 10;
        let n_new = instance.stored().len() - n_before;
        assert!(n_new as u128 <= max_new, "a burst: {n_new} rolls in {:?}", stepped.elapsed());
        assert_eq!(get(&instance, "/readyz", "*/*").0, 200);
        let (status, page) = get(&instance, "/", "text/html");
        assert_eq!(status, 200);
        // The newest roll comes last, whatever its timestamp.
        let list = page.split("id=\"rolls\"").nth(1).unwrap().split("</ol>").next().unwrap();
        let shown: Vec<i64> = list
            .split("href=\"/rolls/")
            .skip(1)
            .map(|rest| rest.split('"').next().unwrap().parse().unwrap())
            .collect();
        assert!(shown.len() > 5, "no links to rolls: {page}");
        let first = shown[0];
        assert_eq!(shown, (first..first + shown.len() as i64).collect::<Vec<_>>());
    }
    assert_eq!(ids(&seen), consecutive(1, seen.len()));
    // A client that reconnects resumes by the id.
    let (last, _) = &seen[20];
    let ask = Ask { last_event_id: Some(last), ..Ask::default() };
    let mut resumed = Stream::open(&instance.url("/stream/"), ask).unwrap();
    assert_eq!(ids(&resumed.rolls(30)), consecutive(22, 30));
    server.stop();
    // Control: the server's clock stepped.
    let stored = instance.stored();
    let n_back = stored.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
    assert_eq!(n_back, 2, "expected the clock to go back twice");
}

#[test]
fn after_a_suspend_rolls_continue_in_order_and_without_a_burst() {
    const EVERY: Duration = Duration::from_millis(20);
    const SUSPENDED: Duration = Duration::from_secs(3);
    let instance = Instance::new("every = '20ms'");
    let mut server = instance.start();
    let mut stream = Stream::open(&instance.url("/stream/?after=0"), Ask::default()).unwrap();
    let n_before = stream.rolls(10).len();
    server.signal("STOP");
    let suspended = Instant::now();
    // Waits until the process has stopped.
    let n_stored = wait_for("the rolls to stop", || {
        let n_stored = instance.stored().len();
        park(10 * EVERY);
        (instance.stored().len() == n_stored).then_some(n_stored)
    });
    park(SUSPENDED.saturating_sub(suspended.elapsed()));
    // Control: it was suspended for many intervals.
    assert_eq!(instance.stored().len(), n_stored, "the server was not suspended");

    let resumed = Instant::now();
    server.signal("CONT");
    let seen = stream.rolls(n_stored + 25 - n_before);
    let max_new = resumed.elapsed().as_millis() / EVERY.as_millis() + 10;
    let n_new = instance.stored().len() - n_stored;
    assert!(n_new as u128 <= max_new, "a burst: {n_new} rolls in {:?}", resumed.elapsed());
    assert_eq!(ids(&seen), consecutive(n_before as i64 + 1, seen.len()));
    wait_for("the server to be ready", || (reported(&instance).0 == 200).then_some(()));
    server.stop();
}

#[test]
fn while_all_readers_are_slow_other_requests_get_503_in_time_and_the_stream_continues() {
    /// The server's read connections, each busy with many slow reads.
    const N_READERS: u32 = 4;
    let (instance, shim) = (Instance::new("every = '20ms'"), Shim::new());
    instance.fill(5_000, 1);
    let _server = instance.start_with(&mut shim.command(&instance));
    let mut stream = Stream::open(&instance.url("/stream/"), Ask::default()).unwrap();
    stream.rolls(1);
    let request = |n: usize| {
        let start = Instant::now();
        // Half of the connections serve queries of many rolls, the other half the rest.
        let limit = if n.is_multiple_of(2) { 1_000 } else { 128 };
        let (status, body) =
            get(&instance, &format!("/api/rolls?limit={limit}&after={}", 300 * n), "*/*");
        (status, body, start.elapsed())
    };
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    let answers: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..12).map(|n| scope.spawn(move || request(n))).collect();
        wait_for("slow reads", || (shim.n_injected() >= N_READERS).then_some(()));
        // Open streams do not wait for slow reads: new rolls arrive before a connection is free
        // again, because each of these requests takes more than a dozen slow reads.
        let newest = head(&instance);
        while ids(&stream.rolls(1))[0] < newest + 5 {}
        let n_reads = shim.n_injected();
        assert!(n_reads < 10 * N_READERS, "five rolls arrived after {n_reads} slow reads");
        let n_waiting = clients.iter().filter(|client| !client.is_finished()).count();
        assert!(n_waiting >= N_READERS as usize, "only {n_waiting} requests were still waiting");
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    shim.clear_fault();
    let busy: Vec<_> = answers.iter().filter(|(status, ..)| *status == 503).collect();
    assert!(!busy.is_empty(), "no request got 503: {answers:?}");
    for (_, body, took) in busy {
        assert!(body.contains("try again soon"), "{body}");
        assert!(*took >= Duration::from_millis(490), "got 503 after only {took:?}");
    }
    wait_for("the readers to recover", || (request(1).0 == 200).then_some(()));
}

#[test]
fn a_read_only_file_or_folder_stops_the_start_with_one_line() {
    let instance = Instance::new("every = '20ms'");
    let fill = || instance.fill(10, 1);
    fill();
    let root = fs::metadata(instance.path()).unwrap().uid() == 0;
    // Root may write everything, so the server runs as `nobody` there.
    let program = instance.path().join("program");
    if fs::hard_link(ROLLCAST, &program).is_err() {
        fs::copy(ROLLCAST, &program).unwrap();
    }
    let spawn = || {
        let instance_command = instance.command();
        let mut command = Command::new(&program);
        command.current_dir(instance.path());
        for (name, value) in instance_command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if root {
            command.uid(65_534).gid(65_534);
        }
        Server::spawn(&mut command)
    };
    let start = || {
        let mut server = spawn();
        let status = server.wait();
        (status.code(), server.log().last().cloned().unwrap_or_default())
    };
    let mode = |name: &str, mode: u32| {
        fs::set_permissions(instance.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let files: BTreeMap<_, _> =
        [("rolls.db", fs::read(instance.database()).unwrap())].into_iter().collect();
    // A read-only folder, a read-only file in a writable folder, and an unreadable file in a
    // read-only folder.
    for (folder, file, expected) in
        [(0o555, 0o666, "cannot"), (0o777, 0o444, "cannot"), (0o555, 0o000, "cannot")]
    {
        let _ = fs::remove_file(instance.path().join("rolls.db-lock"));
        mode("rolls.db", file);
        mode(".", folder);
        let (code, message) = start();
        mode(".", 0o755);
        assert_eq!(code, Some(1), "{folder:o} {file:o}: {message}");
        assert!(
            message.contains(expected) && message.contains("rolls.db"),
            "{folder:o} {file:o}: {message}"
        );
        mode("rolls.db", 0o644);
        assert_eq!(fs::read(instance.database()).unwrap(), files["rolls.db"]);
        println!("{folder:o} {file:o}: {message}");
    }
    // Control: where the same user may write, the server starts.
    let _ = fs::remove_file(instance.path().join("rolls.db-lock"));
    mode("rolls.db", 0o666);
    mode(".", 0o777);
    let mut server = spawn();
    wait_for("the server to listen", || http().get(instance.url("/healthz")).call().ok());
    server.stop();
}
