//! `rollcast export`, and the texts that are generated from the commands themselves.

use std::fs;
use std::os::unix::fs::{FileTypeExt, symlink};
use std::process::Command;

use crate::api::lines;
use crate::common::replies::{Replies, rolls_file, silence};
use crate::common::{Instance, TIMEOUT, run, signal, wait_for};
use crate::pages::{get, quiet_instance};

fn export(instance: &Instance, options: &[&str]) -> String {
    let (code, stdout, stderr) = run(instance.command().arg("export").args(options));
    assert_eq!((code, stderr.as_str()), (0, ""), "{options:?}");
    stdout
}

/// The names of the files in the instance's folder that begin with `prefix`.
fn files(instance: &Instance, prefix: &str) -> Vec<String> {
    let names = fs::read_dir(instance.path()).unwrap();
    let mut names: Vec<String> =
        names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.retain(|name| name.starts_with(prefix));
    names.sort();
    names
}

#[test]
fn an_export_from_the_database_equals_one_from_its_server() {
    let (instance, _server) = quiet_instance(21);
    let url = instance.url("/");
    let stored = lines(&instance);
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
            let export = |format| export(&instance, &[from, range, &["--format", format]].concat());
            assert_eq!(export("ndjson"), ndjson, "{from:?} {range:?}");
            let exported: Vec<serde_json::Value> = serde_json::from_str(&export("json")).unwrap();
            assert_eq!(exported, json, "{from:?} {range:?}");
            let csv = export("csv");
            assert_eq!(csv.lines().count(), expected.len() + 1, "{from:?} {range:?}");
        }
    }
    assert_eq!(export(&instance, &[]), get(&instance.url("/api/rolls.csv"), &[]).body);
    assert_eq!(export(&instance, &[&url]), export(&instance, &[]));
}

#[test]
fn an_exported_file_appears_complete_or_not_at_all() {
    let (instance, mut server) = quiet_instance(1);
    server.stop();
    let file = |name: &str| instance.path().join(name);
    export(&instance, &["-o", "rolls.ndjson"]);
    let complete = fs::read_to_string(file("rolls.ndjson")).unwrap();
    assert_eq!(complete.lines().collect::<Vec<_>>(), lines(&instance), "its name gives the format");

    let again = ["export", "-o", "rolls.ndjson", "--format", "csv"];
    let (code, _, stderr) = run(instance.command().args(again));
    assert_eq!(code, 2);
    assert!(stderr.contains("--force"), "{stderr}");
    assert_eq!(fs::read_to_string(file("rolls.ndjson")).unwrap(), complete, "it was left alone");
    export(&instance, &["-o", "rolls.ndjson", "--format", "csv", "--force"]);
    assert!(fs::read_to_string(file("rolls.ndjson")).unwrap().starts_with("id,rolled_at"));
    assert_eq!(files(&instance, "rolls.ndjson"), ["rolls.ndjson"]);

    let (code, _, stderr) =
        run(instance.command().args(["export", "-o", "x.csv", "--after", "122"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("got `122`"), "{stderr}");
    let (code, _, stderr) =
        run(instance.command().args(["export", &instance.url("/"), "-o", "x.csv"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot reach"), "{stderr}");
    assert_eq!(files(&instance, "x.csv"), [""; 0], "an incomplete file remains");
    assert_eq!(run(instance.command().args(["export", "-o", "no/x.csv"])).0, 2);
    assert_eq!(files(&instance, "."), [""; 0], "a draft remains");
}

#[test]
fn an_export_never_replaces_a_link_a_device_a_pipe_or_the_database() {
    let (instance, mut server) = quiet_instance(21);
    server.stop();
    let path = |name: &str| instance.path().join(name);
    let csv = export(&instance, &[]);
    assert_eq!(export(&instance, &["-o", "-"]), csv);
    assert_eq!(export(&instance, &["-o", "/dev/stdout", "--force"]), csv);
    assert_eq!(files(&instance, "-"), [""; 0], "a dash is standard output");

    symlink("/dev/null", path("null")).unwrap();
    fs::write(path("precious"), "mine").unwrap();
    symlink("precious", path(".g.csv.rollcast-draft")).unwrap();
    symlink("precious", path("g.csv.part")).unwrap();
    fs::write(path("linked.csv"), "old").unwrap();
    symlink("linked.csv", path("link.csv")).unwrap();
    let before = files(&instance, "");
    for options in [&["-o", "null"][..], &["-o", "null", "--force"], &["-o", "/dev/null"]] {
        assert_eq!(export(&instance, options), "");
    }
    assert_eq!(fs::read_link(path("null")).unwrap().to_str(), Some("/dev/null"));
    export(&instance, &["-o", "link.csv", "--force"]);
    assert_eq!(fs::read_to_string(path("linked.csv")).unwrap(), csv);
    assert!(path("link.csv").is_symlink());
    for (file, found) in [("g.csv", "a link or no file"), ("rolls.db", "the database itself")] {
        let arguments = ["export", "-o", file, "--force"];
        let (code, _, stderr) = run(instance.command().args(arguments));
        assert_eq!(code, 2, "{file}: {stderr}");
        assert!(stderr.contains(found), "expected `{found}` in {stderr}");
    }
    assert_eq!(fs::read_to_string(path("precious")).unwrap(), "mine");
    assert_eq!(files(&instance, ""), before);

    assert!(Command::new("mkfifo").arg(path("pipe")).status().unwrap().success());
    let mut writer = instance.command().args(["export", "-o", "pipe"]).spawn().unwrap();
    assert_eq!(fs::read_to_string(path("pipe")).unwrap(), csv);
    assert!(writer.wait().unwrap().success());
    assert!(fs::metadata(path("pipe")).unwrap().file_type().is_fifo());

    export(&instance, &["-o", "x.JSON"]);
    let json = fs::read_to_string(path("x.JSON")).unwrap();
    assert_eq!(json.lines().next(), Some("["), "the case of an extension does not matter");
}

#[test]
fn two_exports_to_one_file_never_mix() {
    let instance = Instance::new("");
    let columns = "id,rolled_at,1D6\r\n";
    let row = "1,2026-11-23T00:00:01.123Z,4\r\n";
    // The first connection stays open without the rest of the file.
    let slow = rolls_file("text/csv", 1, "id,rolled").pause(TIMEOUT);
    let whole = rolls_file("text/csv", 1, &format!("{columns}{row}"));
    let server = Replies::start([slow, whole]);
    let url = server.url("/");
    let arguments = ["export", &url, "-o", "x.csv", "--force"];
    let mut first = instance.command().args(arguments).spawn().unwrap();
    server.wait_for_requests(1);
    let (code, _, stderr) = run(instance.command().args(arguments));
    assert_eq!(code, 1, "{stderr}");
    assert!(stderr.contains("another rollcast is writing"), "{stderr}");
    signal("INT", first.id());
    assert_eq!(wait_for("the end", || first.try_wait().unwrap()).code(), Some(1));
    let (code, _, stderr) = run(instance.command().args(arguments));
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert_eq!(
        fs::read_to_string(instance.path().join("x.csv")).unwrap(),
        format!("{columns}{row}")
    );
}

#[test]
fn a_broken_download_continues_where_it_broke() {
    let instance = Instance::new("");
    let columns = "id,rolled_at,1D6\r\n";
    let row = |id: i64| format!("{id},2026-11-23T00:00:0{id}.123Z,{id}\r\n");
    let csv = |last, text: String| rolls_file("text/csv", last, &text);
    // It breaks within a row, then after one. Newer rolls that the server has by then are not
    // part of the file.
    let server = Replies::start([
        csv(5, format!("{columns}{}{}3,2026-1", row(1), row(2))),
        csv(5, format!("{columns}{}", row(3))),
        csv(5, format!("{columns}{}{}", row(4), row(5))),
    ]);
    let url = server.url("/");
    let (code, stdout, stderr) = run(instance.command().args(["export", &url, "--since", "1h"]));
    assert_eq!(code, 0, "{stderr}");
    let rows: String = (1..=5).map(row).collect();
    assert_eq!(stdout, format!("{columns}{rows}"));
    let paths: Vec<String> = server.requests().into_iter().map(|request| request.target).collect();
    let expected = [
        "/api/rolls.csv?since=3600s0ms",
        "/api/rolls.csv?before=6&after=2-1795392002123",
        "/api/rolls.csv?before=6&after=3-1795392003123",
    ];
    assert_eq!(paths, expected);
}

#[test]
fn a_download_reports_a_roll_that_is_left_out_and_fails_if_no_more_arrives() {
    let instance = Instance::new("");
    let columns = "id,rolled_at,1D6\r\n";
    let row = |id: i64| format!("{id},2026-11-23T00:00:0{id}.123Z,{id}\r\n");
    let csv = |last, text: String| rolls_file("text/csv", last, &text);

    let server = Replies::start([csv(3, format!("{columns}{}{}", row(1), row(3)))]);
    let (code, stdout, stderr) = run(instance.command().args(["export", &server.url("/")]));
    assert_eq!((code, stdout), (3, format!("{columns}{}{}", row(1), row(3))));
    assert!(stderr.contains("gap: roll 2 cannot be read"), "{stderr}");

    // A roll that comes twice is an error.
    let server = Replies::start([csv(3, format!("{columns}{}{}", row(2), row(2)))]);
    let (code, _, stderr) = run(instance.command().args(["export", &server.url("/")]));
    assert_eq!(code, 1);
    assert!(stderr.contains("expected roll 3, got `2,"), "{stderr}");

    let nothing = || csv(5, columns.to_string());
    let first = csv(5, format!("{columns}{}", row(1)));
    let server = Replies::start([first, nothing(), nothing(), nothing(), nothing(), nothing()]);
    let options = ["export", &server.url("/"), "-o", "rolls.csv"];
    let (code, stdout, stderr) = run(instance.command().args(options));
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("the download makes no progress"), "{stderr}");
    assert_eq!(files(&instance, "rolls.csv"), [""; 0]);
}

#[test]
fn a_signal_ends_an_export_and_leaves_no_incomplete_file() {
    let instance = Instance::new("");
    // It accepts connections and never answers.
    let server = Replies::start([silence()]);
    let mut command = instance.command();
    let mut child = command.args(["export", &server.url("/"), "-o", "x.csv"]).spawn().unwrap();
    server.wait_for_requests(1);
    assert_eq!(files(&instance, ".x.csv"), [".x.csv.rollcast-draft"]);
    signal("INT", child.id());
    let status = wait_for("the end", || child.try_wait().unwrap());
    assert_eq!(status.code(), Some(1));
    assert_eq!(files(&instance, ".x.csv"), [""; 0]);
    assert_eq!(files(&instance, "x.csv"), [""; 0]);
}

#[test]
fn completions_and_manual_pages_include_every_command() {
    let instance = Instance::new("");
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(instance.command().args(["completions", shell]));
        assert_eq!(code, 0);
        for word in ["tail", "export", "backup", "since", "verify", "monitor"] {
            assert!(script.contains(word), "{shell}: no {word}");
        }
    }
    // The folder is created, and its pages are replaced the next time.
    let folder = "share/man";
    for _ in 0..2 {
        assert_eq!(run(instance.command().args(["man", folder])).0, 0);
    }
    let pages = [
        ("rollcast.1", "ROCKET_PORT"),
        ("rollcast-tail.1", "Exit codes"),
        ("rollcast-verify.1", "Exit codes"),
        ("rollcast-monitor.1", "Alarms"),
        // Also the name of the script, which the page describes too.
        ("rollcast-backup.1", "The script `rollcast\\-backup FOLDER N_KEPT`"),
    ];
    for (page, word) in pages {
        let page = fs::read_to_string(instance.path().join(folder).join(page)).unwrap();
        assert!(page.contains(".TH") && page.contains(word), "{page}");
    }
    fs::write(instance.path().join("file"), "").unwrap();
    let (code, _, stderr) = run(instance.command().args(["man", "file"]));
    assert_eq!(code, 1);
    assert!(stderr.contains("`file`"), "{stderr}");
}

#[test]
fn fish_completes_file_names_only_where_a_path_is_expected() {
    let instance = Instance::new("");
    let (_, script, _) = run(instance.command().args(["completions", "fish"]));
    let lines = |command: &str| -> Vec<&str> {
        let condition = format!("using_subcommand {command}\"");
        script.lines().filter(|line| line.contains(&condition)).collect()
    };
    // Without this line, fish completes file names everywhere.
    assert!(script.lines().any(|line| line == "complete -c rollcast -f"), "{script}");
    let with_files = |command| lines(command).iter().any(|line| line.ends_with(" -F"));
    for (command, expected) in
        [("backup", true), ("check", false), ("tail", true), ("verify", true)]
    {
        assert_eq!(with_files(command), expected, "{command}: {script}");
    }
    for (command, option, files) in [
        ("tail", "-l since ", false),
        ("doctor", "-l timeout ", false),
        ("doctor", "-l cafile ", true),
        ("export", "-l output ", true),
        ("verify", "-l key ", false),
        ("verify", "-l save ", true),
        ("monitor", "-l state ", true),
    ] {
        let lines = lines(command);
        let line = lines.iter().find(|line| line.contains(option)).unwrap();
        let end = if files { " -r -F" } else { " -r -f" };
        assert!(line.ends_with(end), "{line}");
    }
    assert!(lines("man").iter().any(|line| line.contains("__fish_complete_directories")));
    assert!(lines("completions").iter().any(|line| line.contains("bash elvish fish")), "{script}");
}
