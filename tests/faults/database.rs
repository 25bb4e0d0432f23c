//! What befalls a database: for each fault the right behaviour, in words, and rolls again within 5 s
//! of its end. What stops a start is in `tests/suite/store.rs`, and so are a deleted and a replaced
//! file.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::common::events::{Ask, Stream};
use crate::common::{House, ROLLCAST, Server, http, wait_for};
use crate::kills::head;
use crate::report::{Recovered, Row, assert_in_time};
use crate::shim::{Calls, Failure, Fault, Shim};
use crate::siege::park;

fn get(house: &House, path: &str, accept: &str) -> (u16, String) {
    let mut answer = http().get(house.url(path)).header("Accept", accept).call().unwrap();
    (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
}

/// What `/readyz` and the first page, as it is without scripts, say.
fn said(house: &House) -> (u16, String, String) {
    let (status, reasons) = get(house, "/readyz", "*/*");
    let (_, page) = get(house, "/", "text/html");
    let trouble = page.split_once("id=\"trouble\"").map_or("", |(_, rest)| rest);
    (status, reasons, trouble.split("</p>").next().unwrap().to_string())
}

fn ids(rolls: &[(String, String)]) -> Vec<i64> {
    rolls.iter().map(|(id, _)| id.split('-').next().unwrap().parse().unwrap()).collect()
}

fn without_gaps(first: i64, n_rolls: usize) -> Vec<i64> {
    (first..first + n_rolls as i64).collect()
}

/// A house whose server cannot store for a while: pages, streams and probes stay, and say why.
/// Gives back how long after the mend the next roll came.
fn stall(house: &House, why: &str, fault: impl FnOnce(), mend: impl FnOnce()) -> Duration {
    let mut stream = Stream::open(&house.url("/stream/?after=0"), Ask::default()).unwrap();
    stream.rolls(5);
    // The control: all is well, and nothing is said.
    assert_eq!(said(house), (200, "ready\n".into(), String::new()));

    fault();
    wait_for(&format!("page and probe to say `{why}`"), || {
        let (status, reasons, trouble) = said(house);
        let told = |text: &str| text.contains("no roll can be stored") && text.contains(why);
        (status == 503 && told(&reasons) && told(&trouble)).then_some(())
    });
    let n_stored = house.stored().len();
    assert_eq!(get(house, "/rolls", "text/html").0, 200);

    let mended = Instant::now();
    mend();
    let rest = stream.rolls(n_stored - 5 + 1);
    let recovered = mended.elapsed();
    assert_eq!(ids(&rest), without_gaps(6, n_stored - 5 + 1));
    wait_for("all to be well", || (said(house).0 == 200).then_some(()));
    assert_eq!(said(house).2, "");
    assert_eq!(ids(&stream.rolls(20)), without_gaps(n_stored as i64 + 2, 20));
    recovered
}

/// The same as a row of the table.
fn stalled(fault: &'static str, recovered: Duration, test: &'static str) {
    Row {
        fault,
        n_injected: 1,
        n_lost: 0,
        n_repeated: 0,
        recovered: Recovered::In(recovered),
        control: "before it page and `/readyz` say that all is well".into(),
        test,
    }
    .write();
}

#[test]
fn on_a_full_disk_pages_and_streams_stay_and_say_why_and_rolls_go_on_when_there_is_room() {
    let (house, shim) = (House::new("every = '20ms'"), Shim::new());
    let _server = house.start_with(&mut shim.command(&house));
    let fault = || shim.inject(Fault::for_ever(Calls::Write, Failure::Full));
    let recovered = stall(&house, "database or disk is full", fault, || shim.mend());
    stalled("disk full under a running server", recovered, "database::on_a_full_disk");
}

#[test]
fn on_a_disk_that_fails_pages_and_streams_stay_and_say_why_and_rolls_go_on_when_it_is_well() {
    let (house, shim) = (House::new("every = '20ms'"), Shim::new());
    let _server = house.start_with(&mut shim.command(&house));
    let fault = || shim.inject(Fault::for_ever(Calls::Write, Failure::Broken));
    let recovered = stall(&house, "disk I/O error", fault, || shim.mend());
    stalled("writes fail under a running server", recovered, "database::on_a_disk_that_fails");
}

#[test]
fn behind_an_outside_writer_pages_and_streams_stay_and_say_why_and_rolls_go_on_when_it_is_done() {
    let house = House::new("every = '20ms'");
    let _server = house.start();
    let outside = Connection::open(house.database()).unwrap();
    let lock = || wait_for("the lock", || outside.execute_batch("begin immediate").ok());
    let unlock = || outside.execute_batch("rollback").unwrap();
    let recovered = stall(&house, "database is locked", lock, unlock);
    stalled(
        "an outside writer holds the lock under a running server",
        recovered,
        "database::behind_an_outside_writer",
    );
}

/// The page of the database file that holds this text.
fn page_of(house: &House, text: &str) -> u64 {
    let content = fs::read(house.database()).unwrap();
    // A leaf of a table: others may hold a copy that is no longer in use.
    // https://sqlite.org/fileformat.html#b_tree_pages
    let holds = |page: &[u8]| {
        page[0] == 0x0d && page.windows(text.len()).any(|bytes| bytes == text.as_bytes())
    };
    content.chunks(4096).position(holds).unwrap() as u64
}

#[test]
fn a_corrupt_page_is_told_to_who_asks_for_it_and_the_stream_goes_on() {
    // Among the oldest, of which every look at the history needs the first; and in the middle.
    for n in [60, 1_000] {
        a_corrupt_page(n);
    }
}

/// The page that roll `n` is on.
fn a_corrupt_page(n: usize) {
    let house = House::new("every = '20ms'");
    // More than the server has in memory.
    house.fill(3_000, 1);
    let mut server = house.start();
    let mut stream = Stream::open(&house.url("/stream/"), Ask::default()).unwrap();
    stream.rolls(1);
    let (_, rolled_at, _) = house.stored()[n].clone();
    let (after, before) =
        (format!("/api/rolls?after={}", n - 10), format!("/rolls?before={}", n + 20));
    // The control.
    assert_eq!(get(&house, &after, "*/*").0, 200);
    assert_eq!(get(&house, &before, "text/html").0, 200);
    server.stop();
    let file = fs::OpenOptions::new().write(true).open(house.database()).unwrap();
    file.write_all_at(&[0xA5; 4096], page_of(&house, &rolled_at) * 4096).unwrap();
    drop(file);

    let mut server = house.start();
    let mut stream = Stream::open(&house.url("/stream/"), Ask::default()).unwrap();
    stream.rolls(1);
    let (status, json) = get(&house, &after, "*/*");
    assert_eq!(status, 503, "{json}");
    assert!(json.contains("history cannot be read"), "{json}");
    let (status, page) = get(&house, &before, "text/html");
    assert_eq!(status, 503, "{page}");
    assert!(page.contains("history cannot be read"), "{page}");
    assert_eq!(get(&house, "/", "text/html").0, 200);
    let log = server.log();
    assert!(log.iter().any(|line| line.contains("malformed")), "{log:#?}");
    stream.rolls(5);
    server.stop();
    // On demand, with a remedy; and nothing was deleted.
    let check = house.command().arg("check").output().unwrap();
    let said = String::from_utf8(check.stderr).unwrap();
    assert_eq!(check.status.code(), Some(1));
    assert!(said.contains("damaged") && said.contains("restore a backup"), "{said}");
    let mut page = [0; 4096];
    let n_pages = fs::metadata(house.database()).unwrap().size() / 4096;
    let file = fs::File::open(house.database()).unwrap();
    let is_left = (0..n_pages).any(|n| {
        file.read_exact_at(&mut page, n * 4096).unwrap();
        page == [0xA5; 4096]
    });
    assert!(is_left, "the damaged page was written over");
}

#[test]
fn a_truncated_database_stops_the_start_with_a_reason_and_is_left_as_it_is() {
    let house = House::new("every = '20ms'");
    house.fill(3_000, 1);
    let whole = fs::read(house.database()).unwrap();
    for (what, content) in [
        ("half", whole[..whole.len() / 2].to_vec()),
        ("a page", whole[..4096].to_vec()),
        ("a torn page", whole[..4000].to_vec()),
        ("noise behind its header", {
            let mut content = whole.clone();
            content[100..].fill(0xA5);
            content
        }),
    ] {
        fs::write(house.database(), &content).unwrap();
        let mut server = Server::spawn(&mut house.command());
        assert_eq!(server.wait().code(), Some(1), "{what}: {:#?}", server.log());
        let said = server.log().last().unwrap().clone();
        assert!(said.contains("damaged") && said.contains("rolls.db"), "{what}: {said}");
        assert!(said.contains("restore a backup"), "{what}: {said}");
        assert!(fs::read(house.database()).unwrap() == content, "{what}: it was changed");
    }
    fs::write(house.database(), &whole).unwrap();
    house.start().stop();
}

#[test]
fn an_outside_reader_makes_the_log_grow_as_a_metric_tells_and_it_shrinks_after() {
    const MIB: f64 = 1_048_576.0;
    let (house, shim) = (House::new("every = '1ms'"), Shim::new());
    let _server = house.start_with(&mut shim.command(&house));
    wait_for("a roll", || (!house.stored().is_empty()).then_some(()));
    let n_log_bytes = || {
        let (_, metrics) = get(&house, "/metrics", "*/*");
        let bytes = metrics.lines().find_map(|line| line.strip_prefix("rollcast_log_bytes "));
        bytes.unwrap_or_else(|| panic!("no such metric in {metrics}")).parse::<f64>().unwrap()
    };
    let outside = house.sqlite();
    outside.execute_batch("begin; select count(*) from rolls").unwrap();
    let n_held: i64 =
        outside.query_row("select count(*) from rolls", [], |row| row.get(0)).unwrap();
    wait_for("the log to grow", || (n_log_bytes() > 18.0 * MIB).then_some(()));
    let n_seen: i64 =
        outside.query_row("select count(*) from rolls", [], |row| row.get(0)).unwrap();
    assert_eq!(n_seen, n_held, "the reader holds nothing");
    let ended = Instant::now();
    outside.execute_batch("commit").unwrap();
    wait_for("the log to shrink", || (n_log_bytes() <= 16.0 * MIB).then_some(()));
    assert_in_time("an outside reader", ended.elapsed());
    println!("the log has shrunk {:?} after the reader left", ended.elapsed());
}

#[test]
fn when_the_clock_steps_rolls_keep_their_order_and_their_pace() {
    const EVERY: Duration = Duration::from_millis(20);
    const HOUR: Duration = Duration::from_secs(3_600);
    let (house, shim) = (House::new("every = '20ms'"), Shim::new());
    let mut server = house.start_with(&mut shim.command(&house));
    let mut stream = Stream::open(&house.url("/stream/?after=0"), Ask::default()).unwrap();
    let mut seen = stream.rolls(10);
    let steps: [&dyn Fn(); 4] = [
        &|| shim.put_clock_back(HOUR),
        &|| shim.put_clock_ahead(24 * HOUR),
        &|| shim.put_clock_back(24 * HOUR),
        &|| shim.put_clock_ahead(Duration::ZERO),
    ];
    for step in steps {
        let n_before = house.stored().len();
        let stepped = Instant::now();
        step();
        let n_rolls = n_before + 25 - seen.len();
        seen.extend(stream.rolls(n_rolls));
        let n_most = stepped.elapsed().as_millis() / EVERY.as_millis() + 10;
        let n_new = house.stored().len() - n_before;
        assert!(n_new as u128 <= n_most, "a volley: {n_new} rolls in {:?}", stepped.elapsed());
        assert_eq!(get(&house, "/readyz", "*/*").0, 200);
        let (status, page) = get(&house, "/", "text/html");
        assert_eq!(status, 200);
        // The newest on top, whatever its time.
        let shown: Vec<i64> = page
            .split("data-cursor=\"")
            .skip(2)
            .map(|rest| rest.split(['-', '"']).next().unwrap().parse().unwrap())
            // The row that the script clones has none.
            .filter(|id| *id > 0)
            .collect();
        assert!(shown.len() > 5, "no rows with cursors: {page}");
        let head = shown[0];
        assert_eq!(shown, (0..shown.len() as i64).map(|n| head - n).collect::<Vec<_>>());
    }
    assert_eq!(ids(&seen), without_gaps(1, seen.len()));
    // A client that comes back finds its place by the id.
    let (last, _) = &seen[20];
    let ask = Ask { last_event_id: Some(last), ..Ask::default() };
    let mut resumed = Stream::open(&house.url("/stream/"), ask).unwrap();
    assert_eq!(ids(&resumed.rolls(30)), without_gaps(22, 30));
    server.stop();
    // The control: the server's clock did step.
    let stored = house.stored();
    let n_back = stored.windows(2).filter(|pair| pair[1].1 < pair[0].1).count();
    assert_eq!(n_back, 2, "expected the clock to go back twice");
}

#[test]
fn after_a_suspend_rolls_go_on_in_order_and_without_a_volley() {
    const EVERY: Duration = Duration::from_millis(20);
    const SUSPENDED: Duration = Duration::from_secs(3);
    let house = House::new("every = '20ms'");
    let mut server = house.start();
    let mut stream = Stream::open(&house.url("/stream/?after=0"), Ask::default()).unwrap();
    let n_before = stream.rolls(10).len();
    server.signal("STOP");
    let suspended = Instant::now();
    // Once it stands still.
    let n_stored = wait_for("no roll to come", || {
        let n_stored = house.stored().len();
        park(10 * EVERY);
        (house.stored().len() == n_stored).then_some(n_stored)
    });
    park(SUSPENDED.saturating_sub(suspended.elapsed()));
    // The control: it did, for many rolls' time.
    assert_eq!(house.stored().len(), n_stored, "the server was not suspended");

    let woken = Instant::now();
    server.signal("CONT");
    let seen = stream.rolls(n_stored + 25 - n_before);
    let n_most = woken.elapsed().as_millis() / EVERY.as_millis() + 10;
    let n_new = house.stored().len() - n_stored;
    assert!(n_new as u128 <= n_most, "a volley: {n_new} rolls in {:?}", woken.elapsed());
    assert_eq!(ids(&seen), without_gaps(n_before as i64 + 1, seen.len()));
    wait_for("all to be well", || (said(&house).0 == 200).then_some(()));
    server.stop();
}

#[test]
fn while_all_readers_are_slow_others_are_told_so_in_time_and_the_stream_goes_on() {
    /// The server's, each of which is busy for many slow reads.
    const N_READERS: u32 = 4;
    let (house, shim) = (House::new("every = '20ms'"), Shim::new());
    house.fill(5_000, 1);
    let _server = house.start_with(&mut shim.command(&house));
    let mut stream = Stream::open(&house.url("/stream/"), Ask::default()).unwrap();
    stream.rolls(1);
    let ask = |n: usize| {
        let start = Instant::now();
        // Two readers are for those of many rolls, and two for the others.
        let limit = if n.is_multiple_of(2) { 1_000 } else { 128 };
        let (status, body) =
            get(&house, &format!("/api/rolls?limit={limit}&after={}", 300 * n), "*/*");
        (status, body, start.elapsed())
    };
    shim.inject(Fault::for_ever(Calls::Read, Failure::Slow));
    let answers: Vec<_> = thread::scope(|scope| {
        let clients: Vec<_> = (0..12).map(|n| scope.spawn(move || ask(n))).collect();
        wait_for("slow reads", || (shim.n_injected() >= N_READERS).then_some(()));
        // Nobody who listens has to wait for them: rolls that are made now come before a reader
        // is free again, which takes each of them a dozen slow reads and more.
        let struck = head(&house);
        while ids(&stream.rolls(1))[0] < struck + 5 {}
        let n_reads = shim.n_injected();
        assert!(n_reads < 10 * N_READERS, "five rolls came after {n_reads} slow reads");
        let n_waiting = clients.iter().filter(|client| !client.is_finished()).count();
        assert!(n_waiting >= N_READERS as usize, "only {n_waiting} requests still waited");
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    shim.mend();
    let busy: Vec<_> = answers.iter().filter(|(status, ..)| *status == 503).collect();
    assert!(!busy.is_empty(), "nobody had to wait: {answers:?}");
    for (_, body, took) in busy {
        assert!(body.contains("try again soon"), "{body}");
        assert!(*took >= Duration::from_millis(490), "told after {took:?} already");
    }
    wait_for("the readers to be well", || (ask(1).0 == 200).then_some(()));
}

#[test]
fn what_may_only_be_read_stops_the_start_in_one_line() {
    let house = House::new("every = '20ms'");
    let fill = || house.fill(10, 1);
    fill();
    let root = fs::metadata(house.path()).unwrap().uid() == 0;
    // Root may write everything: then it is nobody who runs it.
    let program = house.path().join("program");
    if fs::hard_link(ROLLCAST, &program).is_err() {
        fs::copy(ROLLCAST, &program).unwrap();
    }
    let spawn = || {
        let house_command = house.command();
        let mut command = Command::new(&program);
        command.current_dir(house.path());
        for (name, value) in house_command.get_envs() {
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
        fs::set_permissions(house.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    let files: BTreeMap<_, _> =
        [("rolls.db", fs::read(house.database()).unwrap())].into_iter().collect();
    // The folder; then the file in a folder that may be written; then neither file nor folder.
    for (folder, file, expected) in
        [(0o555, 0o666, "cannot"), (0o777, 0o444, "cannot"), (0o555, 0o000, "cannot")]
    {
        let _ = fs::remove_file(house.path().join("rolls.db-lock"));
        mode("rolls.db", file);
        mode(".", folder);
        let (code, said) = start();
        mode(".", 0o755);
        assert_eq!(code, Some(1), "{folder:o} {file:o}: {said}");
        assert!(
            said.contains(expected) && said.contains("rolls.db"),
            "{folder:o} {file:o}: {said}"
        );
        mode("rolls.db", 0o644);
        assert_eq!(fs::read(house.database()).unwrap(), files["rolls.db"]);
        println!("{folder:o} {file:o}: {said}");
    }
    // The control: where the same user may write it starts.
    let _ = fs::remove_file(house.path().join("rolls.db-lock"));
    mode("rolls.db", 0o666);
    mode(".", 0o777);
    let mut server = spawn();
    wait_for("it to listen", || http().get(house.url("/healthz")).call().ok());
    server.stop();
}
