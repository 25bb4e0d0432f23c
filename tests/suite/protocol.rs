//! `docs/protocol.md` against the real server: each of its examples, and the frames it shows.

use std::io::{BufRead, BufReader, Read, Write};

use crate::common::{Door, Instance, at_each_door, wait_for};

const DOCUMENT: &str = include_str!("../../docs/protocol.md");

/// A request and the beginning of its answer.
struct Example {
    title: String,
    request: String,
    answer: String,
}

/// The examples of the document, by their headings.
fn examples() -> Vec<Example> {
    let sections = DOCUMENT.split("\n### Example: ").skip(1);
    sections
        .map(|section| {
            let (title, text) = section.split_once('\n').unwrap();
            let block = |language: &str| {
                let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
                rest.split_once("```").unwrap().0.to_string()
            };
            Example { title: title.into(), request: block("http"), answer: block("text") }
        })
        .collect()
}

/// The text with the values masked that differ between runs.
fn masked(text: &str) -> String {
    let mut newest = false;
    let lines = text.lines().map(|line| {
        newest |= line.starts_with("id: 101-");
        let line = match line.strip_prefix("retry: ") {
            Some(millis) => {
                assert!(millis.parse::<u64>().is_ok(), "retry: {millis}");
                "retry: N".to_string()
            }
            None if newest && line.starts_with("data: ") => {
                newest = false;
                "data: DICE".into()
            }
            None => line.to_string(),
        };
        match line.split_once("101-") {
            Some((before, rest)) => {
                let rest = rest.trim_start_matches(|c: char| c.is_ascii_digit());
                format!("{before}101-TIME{rest}")
            }
            None => line,
        }
    });
    lines.collect::<Vec<String>>().join("\n")
}

/// The first `n_lines` of the answer's body.
fn answer(instance: &Instance, request: &str, n_lines: usize) -> String {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let socket = instance.connect();
    let head = head.trim_end().replace('\n', "\r\n");
    let request = format!("{head}\r\nHost: localhost\r\n\r\n{}", body.trim_end());
    (&socket).write_all(request.as_bytes()).unwrap();
    let mut socket = BufReader::new(socket);
    let mut line = String::new();
    socket.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 200 OK\r\n");
    while line != "\r\n" {
        line.clear();
        socket.read_line(&mut line).unwrap();
    }
    let mut text = String::new();
    while text.matches('\n').count() < n_lines {
        let mut size = String::new();
        socket.read_line(&mut size).unwrap();
        let mut chunk = vec![0; usize::from_str_radix(size.trim(), 16).unwrap() + 2];
        socket.read_exact(&mut chunk).unwrap();
        text.push_str(std::str::from_utf8(&chunk[..chunk.len() - 2]).unwrap());
    }
    text.split_inclusive('\n').take(n_lines).collect()
}

at_each_door!(the_server_answers_each_example_of_the_document_as_it_says);

fn the_server_answers_each_example_of_the_document_as_it_says(door: Door) {
    let instance = door.instance("every = '1h'");
    instance.fill(100, 41);
    let _server = instance.start();
    // A stream begins with a roll only after it is published, which is later than stored.
    wait_for("roll 101", || {
        answer(&instance, "GET /stream/ HTTP/1.1", 3).contains(r#""head":"101-"#).then_some(())
    });
    let examples = examples();
    assert_eq!(examples.len(), 9, "each row of the cursor table has an example");
    for Example { title, request, answer: expected } in examples {
        let n_lines = expected.matches('\n').count();
        let seen = answer(&instance, &request, n_lines);
        assert_eq!(masked(&seen), masked(&expected), "{title}");
    }
}

#[test]
fn the_check_of_the_examples_sees_a_wrong_one() {
    let right =
        "retry: 5\nevent: sync\ndata: {\"head\":\"101-7\",\"lost\":0}\n\nid: 101-7\ndata: {}\n";
    for (part, other) in [("sync", "busy"), ("\"lost\":0", "\"lost\":1"), ("\n\nid", "\nid")] {
        assert_ne!(masked(right), masked(&right.replace(part, other)), "{part}");
    }
    assert_eq!(masked(right), masked(&right.replace("101-7", "101-9").replace("{}", "{\"x\":1}")));
}

#[test]
fn no_block_that_the_document_shows_is_without_data() {
    let blocks = DOCUMENT.split("```text\n").skip(1).map(|rest| rest.split_once("```").unwrap().0);
    let mut n_blocks = 0;
    for block in blocks.flat_map(|text| text.split_inclusive("\n\n")) {
        // A heartbeat is no block.
        if block != ":\n" {
            assert!(block.contains("data: ") && block.ends_with("\n\n"), "{block:?}");
            n_blocks += 1;
        }
    }
    assert!(n_blocks > 15, "{n_blocks} blocks");
}
