//! The examples of `/developers`, copied from the page and run as they are.

use std::process::Command;

use crate::client::{Client, node, python, wait_until_rolled};
use crate::common::{Instance, http, wait_for};
use crate::oracle::{Seen, head};

// The programs in Rust are compiled here, and compared with the page.
#[allow(dead_code, reason = "an example is a whole program")]
#[path = "examples/listen.rs"]
mod listen;
#[allow(dead_code, reason = "an example is a whole program")]
#[path = "examples/resume.rs"]
mod resume;

/// The text of an example, as a visitor copies it.
fn example(instance: &Instance, id: &str) -> String {
    let page = http().get(instance.url("/developers")).call().unwrap();
    let page = page.into_body().read_to_string().unwrap();
    let (_, rest) = page.split_once(&format!("id=\"{id}\"><code>")).unwrap();
    let (code, _) = rest.split_once("</code>").unwrap();
    let entities =
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#x27;", "'"), ("&amp;", "&")];
    entities.iter().fold(code.into(), |code, (entity, c)| code.replace(entity, c))
}

/// The ids of the rolls that a program printed: `41-1763861860123 …` on a line.
fn ids(client: &Client) -> Vec<i64> {
    let lines = client.output();
    let ids = lines.iter().filter_map(|line| line.trim_start_matches("id: ").split_once('-'));
    ids.filter_map(|(id, _)| id.parse().ok()).collect()
}

fn wait_for_rolls(n: usize, client: &mut Client) -> Vec<i64> {
    wait_for(&format!("{n} rolls of an example"), || {
        assert!(client.is_running(), "the example ended: {:#?}", client.output());
        let ids = ids(client);
        (ids.len() >= n).then_some(ids)
    })
}

fn assert_without_gap(ids: &[i64]) {
    let expected: Vec<i64> = (ids[0]..).take(ids.len()).collect();
    assert_eq!(ids, expected);
}

fn spawn(command: &mut Command) -> Client {
    Client::spawn(command, |_| Seen::default())
}

/// In a shell, as a visitor pastes it. `exec` lets the test end the program itself.
fn shell(code: &str) -> Client {
    spawn(Command::new("sh").args(["-c", &format!("exec {code}")]))
}

/// In Node, with what a browser has and Node lacks.
fn script(code: &str) -> Client {
    let browser = "import { EventSource } from 'eventsource';\n\
                   const localStorage = { getItem: () => null, setItem: () => {} };\n";
    let end = "\nprocess.stdin.on('end', () => process.exit()).resume();\n";
    spawn(&mut node(&format!("{browser}{code}{end}")))
}

fn program(code: &str) -> Client {
    spawn(python().args(["-u", "-c", code]))
}

#[test]
fn each_example_listens_to_every_roll() {
    let instance = Instance::new("every = '50ms'");
    let _server = instance.start();
    wait_until_rolled(&instance, 3);
    let code = |id: &str| example(&instance, id);
    let clients = [
        shell(&code("listen-curl")),
        script(&code("listen-javascript")),
        program(&code("listen-python")),
    ];
    for mut client in clients {
        assert_without_gap(&wait_for_rolls(20, &mut client));
    }
}

#[test]
fn each_example_resumes_after_the_last_roll() {
    let instance = Instance::new("every = '50ms'");
    let mut server = instance.start();
    wait_until_rolled(&instance, 3);
    let from = head(&instance);
    let mut curl = shell(&example(&instance, "resume-curl"));
    let seen = wait_for_rolls(20, &mut curl);
    assert_without_gap(&seen);
    assert!(seen[0] > from, "{seen:?}");

    let mut clients = [
        program(&example(&instance, "resume-python")),
        script(&example(&instance, "resume-javascript")),
    ];
    for client in &mut clients {
        wait_for_rolls(5, client);
    }
    server.kill();
    server = instance.start();
    let last = head(&instance);
    for client in &mut clients {
        wait_for("rolls after the restart", || (*ids(client).last()? > last + 5).then_some(()));
        assert_without_gap(&ids(client));
    }
    drop(server);
}

#[test]
fn the_examples_in_rust_are_programs() {
    let instance = Instance::new("every = '1h'");
    let _server = instance.start();
    wait_until_rolled(&instance, 1);
    for (id, program) in [
        ("listen-rust", include_str!("examples/listen.rs")),
        ("resume-rust", include_str!("examples/resume.rs")),
    ] {
        let shown = example(&instance, id).replace(&instance.url(""), "http://127.0.0.1:5000");
        assert_eq!(shown.trim_end(), program.trim_end(), "{id}");
    }
}
