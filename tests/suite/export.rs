//! `rollcast export`, and the texts that are made from the commands themselves.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::{Command, Output};
use std::thread;

use crate::api::lines;
use crate::common::{House, signal, wait_for};
use crate::pages::{get, quiet_house};

pub fn run(command: &mut Command) -> (i32, String, String) {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

fn export(house: &House, options: &[&str]) -> String {
    let (code, stdout, stderr) = run(house.command().arg("export").args(options));
    assert_eq!((code, stderr.as_str()), (0, ""), "{options:?}");
    stdout
}

#[test]
fn an_export_is_the_same_from_the_database_and_from_its_server() {
    let (house, _server) = quiet_house(21);
    let url = house.url("/");
    let stored = lines(&house);
    let ranges: [(&[&str], &[String]); 6] = [
        (&[], &stored),
        (&["--after", "110"], &stored[90..]),
        (&["--before", "30"], &stored[..9]),
        (&["--after", "40", "--before", "43"], &stored[20..22]),
        (&["--since", "2026-11-23T01:01:00+01:00"], &stored[39..]),
        (&["--after", "121"], &[]),
    ];
    for (range, expected) in ranges {
        let ndjson = expected.iter().map(|line| format!("{line}\n")).collect::<String>();
        let json: Vec<serde_json::Value> =
            expected.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        for from in [&[] as &[&str], &[url.as_str()]] {
            let export = |format| export(&house, &[from, range, &["--format", format]].concat());
            assert_eq!(export("ndjson"), ndjson, "{from:?} {range:?}");
            let seen: Vec<serde_json::Value> = serde_json::from_str(&export("json")).unwrap();
            assert_eq!(seen, json, "{from:?} {range:?}");
            let csv = export("csv");
            assert_eq!(csv.lines().count(), expected.len() + 1, "{from:?} {range:?}");
        }
    }
    assert_eq!(export(&house, &[]), get(&house.url("/api/rolls.csv"), &[]).body);
    assert_eq!(export(&house, &[&url]), export(&house, &[]));
}

#[test]
fn an_exported_file_appears_whole_or_not_at_all() {
    let (house, mut server) = quiet_house(1);
    server.stop();
    let file = |name: &str| house.path().join(name);
    export(&house, &["-o", "rolls.ndjson"]);
    let whole = fs::read_to_string(file("rolls.ndjson")).unwrap();
    assert_eq!(whole.lines().collect::<Vec<_>>(), lines(&house), "its name tells the format");
    assert!(!file("rolls.ndjson.part").exists());

    let again = ["export", "-o", "rolls.ndjson", "--format", "csv"];
    let (code, _, stderr) = run(house.command().args(again));
    assert_eq!(code, 2);
    assert!(stderr.contains("--force"), "{stderr}");
    assert_eq!(fs::read_to_string(file("rolls.ndjson")).unwrap(), whole, "it was left alone");
    export(&house, &["-o", "rolls.ndjson", "--format", "csv", "--force"]);
    assert!(fs::read_to_string(file("rolls.ndjson")).unwrap().starts_with("id,rolled_at"));

    let (code, _, stderr) = run(house.command().args(["export", "-o", "x.csv", "--after", "122"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("got `122`"), "{stderr}");
    let (code, _, stderr) = run(house.command().args(["export", &house.url("/"), "-o", "x.csv"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot reach"), "{stderr}");
    assert!(!file("x.csv").exists() && !file("x.csv.part").exists(), "half a file is left");
    assert_eq!(run(house.command().args(["export", "-o", "no/x.csv"])).0, 2);
}

/// Answers with these in turn, each followed by the end of the connection; gives back the
/// addresses asked for.
pub fn serve(answers: Vec<String>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let asked = thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = String::new();
            let mut lines = BufReader::new(connection.try_clone().unwrap());
            while lines.read_line(&mut request).unwrap() > 2 {}
            asked.push(request.split_whitespace().nth(1).unwrap().to_string());
            connection.write_all(answer.as_bytes()).unwrap();
        }
        asked
    });
    (url, asked)
}

pub fn file(content_type: &str, last: i64, text: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nrollcast-last: {last}\r\n\
         connection: close\r\n\r\n{text}"
    )
}

#[test]
fn a_download_that_breaks_goes_on_where_it_broke() {
    let house = House::new("");
    let columns = "id,rolled_at,1D6\r\n";
    let row = |id: i64| format!("{id},2026-11-23T00:00:0{id}.123Z,{id}\r\n");
    let csv = |last, text: String| file("text/csv", last, &text);
    // Within a row, then after one; the server has rolled on meanwhile, which is left out.
    let (url, asked) = serve(vec![
        csv(5, format!("{columns}{}{}3,2026-1", row(1), row(2))),
        csv(5, format!("{columns}{}", row(3))),
        csv(5, format!("{columns}{}{}", row(4), row(5))),
    ]);
    let (code, stdout, stderr) = run(house.command().args(["export", &url, "--since", "1h"]));
    assert_eq!(code, 0, "{stderr}");
    let rows: String = (1..=5).map(row).collect();
    assert_eq!(stdout, format!("{columns}{rows}"));
    let asked = asked.join().unwrap();
    assert_eq!(asked[0], "/api/rolls.csv?since=3600s0ms");
    assert_eq!(asked[1], "/api/rolls.csv?before=6&after=2-1795392002123");
    assert_eq!(asked[2], "/api/rolls.csv?before=6&after=3-1795392003123");

    // A row that is left out in the middle cannot be read there, which is never passed over.
    let gap = csv(3, format!("{columns}{}{}", row(1), row(3)));
    let (url, _asked) = serve(vec![gap]);
    let (code, stdout, stderr) = run(house.command().args(["export", &url]));
    assert_eq!((code, stdout), (3, format!("{columns}{}{}", row(1), row(3))));
    assert!(stderr.contains("gap: roll 2 cannot be read"), "{stderr}");

    // One that comes twice is no file of rolls.
    let twice = csv(3, format!("{columns}{}{}", row(2), row(2)));
    let (url, _asked) = serve(vec![twice]);
    let (code, _, stderr) = run(house.command().args(["export", &url]));
    assert_eq!(code, 1);
    assert!(stderr.contains("expected roll 3, got `2,"), "{stderr}");

    // Nothing more comes, however often it is asked for.
    let stuck = || csv(5, format!("{columns}{}", row(1)));
    let nothing = || csv(5, columns.to_string());
    let answers = vec![stuck(), nothing(), nothing(), nothing(), nothing(), nothing()];
    let (url, _asked) = serve(answers);
    let (code, stdout, stderr) = run(house.command().args(["export", &url, "-o", "rolls.csv"]));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("does not get any further"), "{stderr}");
    assert!(!house.path().join("rolls.csv").exists());
}

#[test]
fn a_signal_ends_an_export_and_leaves_no_half_file() {
    let house = House::new("");
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut command = house.command();
    let mut child = command.args(["export", &url, "-o", "x.csv"]).spawn().unwrap();
    let (_connection, _) = listener.accept().unwrap();
    let part = house.path().join("x.csv.part");
    assert!(part.exists());
    signal("INT", child.id());
    let status = wait_for("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
    assert!(!part.exists() && !house.path().join("x.csv").exists());
}

#[test]
fn completions_and_manual_pages_know_every_command() {
    let house = House::new("");
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(house.command().args(["completions", shell]));
        assert_eq!(code, 0);
        for word in ["tail", "export", "backup", "since"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    fs::create_dir(house.path().join("man")).unwrap();
    assert_eq!(run(house.command().args(["man", "man"])).0, 0);
    for (page, word) in [("rollcast.1", "ROCKET_PORT"), ("rollcast-tail.1", "Exit codes")] {
        let page = fs::read_to_string(house.path().join("man").join(page)).unwrap();
        assert!(page.contains(".TH") && page.contains(word), "{page}");
    }
    let (code, _, stderr) = run(house.command().args(["man", "none"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("`none`"), "{stderr}");
}
