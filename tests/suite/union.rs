//! All ways to read the history return the same rolls while it grows.

use serde_json::Value;

use crate::api::lines;
use crate::common::tail::Tail;
use crate::common::{Instance, wait_for};
use crate::pages::{get, link};

/// The rows of a page, each as one line of JSON.
fn rows(html: &str) -> Vec<String> {
    let between = |text: &str, from: &str, to: &str| {
        Some(text.split_once(from)?.1.split_once(to)?.0.to_string())
    };
    let list = between(html, "id=\"rolls\"", "</ol>").unwrap();
    let row = |row: &str| {
        let id = row.split('"').next().unwrap();
        let rolled_at = between(row, "datetime=\"", "\"").unwrap();
        let dice = row.split("data-die=\"").skip(1).map(|die| {
            let (name, die) = die.split_once('"').unwrap();
            let result = between(die, "class=\"die-result\"", "/span").unwrap();
            format!("\"{name}\":{}", between(&result, ">", "<").unwrap().trim())
        });
        let dice = dice.collect::<Vec<_>>().join(",");
        format!(r#"{{"id":{id},"rolled_at":"{rolled_at}","dice":{{{dice}}}}}"#)
    };
    list.split("id=\"roll-").skip(1).map(row).collect()
}

/// The rows of all pages of the history, oldest first.
fn pages(instance: &Instance) -> Vec<String> {
    let (mut seen, mut next) = (Vec::new(), Some("/rolls".to_string()));
    while let Some(path) = next {
        let page = get(&instance.url(&path), &[]).body;
        seen.extend(rows(&page));
        next = link(&page, "next");
    }
    seen.reverse();
    seen
}

fn api(instance: &Instance, start: &str) -> Vec<String> {
    let (mut seen, mut next) = (Vec::new(), Some(start.to_string()));
    while let Some(path) = next {
        let page = get(&instance.url(&path), &[]);
        let rolls = page.body.trim_start_matches("{\"rolls\":[").trim_end_matches("]}");
        // The page after a full one is empty if no roll came meanwhile.
        let rolls = Some(rolls).filter(|rolls| !rolls.is_empty());
        seen.extend(rolls.into_iter().flat_map(|rolls| rolls.split("},{\"id\"")).map(|roll| {
            let id = if roll.starts_with("{\"id\"") { "" } else { "{\"id\"" };
            let end = if roll.ends_with("}}") { "" } else { "}" };
            format!("{id}{roll}{end}")
        }));
        let links = page.header("link");
        let link = links.split(", ").find(|link| link.ends_with("rel=\"next\""));
        next = link.map(|link| link[1..].split('>').next().unwrap().to_string());
    }
    seen
}

fn csv(instance: &Instance) -> Vec<String> {
    let text = get(&instance.url("/api/rolls.csv"), &[]).body;
    let mut csv = csv::Reader::from_reader(text.as_bytes());
    let dice: Vec<String> = csv.headers().unwrap().iter().skip(2).map(String::from).collect();
    let row = |row: csv::StringRecord| {
        let faces = dice.iter().zip(row.iter().skip(2));
        let faces: Vec<String> = faces.map(|(die, face)| format!("\"{die}\":{face}")).collect();
        let (id, rolled_at, faces) = (&row[0], &row[1], faces.join(","));
        format!(r#"{{"id":{id},"rolled_at":"{rolled_at}","dice":{{{faces}}}}}"#)
    };
    csv.records().map(|record| row(record.unwrap())).collect()
}

/// The lines of a download, which must end at the roll that its header names.
fn ndjson(instance: &Instance) -> Vec<String> {
    let file = get(&instance.url("/api/rolls.ndjson"), &[]);
    let lines: Vec<String> = file.body.lines().map(String::from).collect();
    let last: Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(file.header("rollcast-last"), last["id"].to_string(), "the download was truncated");
    lines
}

fn id(line: &str) -> i64 {
    serde_json::from_str::<Value>(line).unwrap()["id"].as_i64().unwrap()
}

/// The rolls from the oldest one on. Pruning may overtake the requests. Then the rest of a tile of
/// 256 rolls is missing, and the requests begin again.
fn oldest_first(instance: &Instance) -> Vec<String> {
    wait_for("pages that pruning does not overtake", || {
        let rolls = api(instance, "/api/rolls?after=0&limit=23");
        let mut pairs = rolls.windows(2).map(|pair| (id(&pair[0]), id(&pair[1])));
        let gap = pairs.find(|(roll, next)| roll + 1 != *next);
        assert!(gap.is_none_or(|(_, next)| next % 256 == 1), "a gap: {gap:?}");
        gap.is_none().then_some(rolls)
    })
}

#[test]
fn pages_api_files_and_table_return_contiguous_rolls_of_one_list_under_pruning() {
    let instance = Instance::new("every = '10ms'\npage_size = 20\nkeep = 300");
    let _server = instance.start();
    // Follows from the first roll, so it receives every roll before it is pruned.
    let tail = Tail::start(&instance, &["--json", "--after", "0"]);
    let oldest = || lines(&instance).first().map_or(0, |line| id(line));
    for round in 1..=3 {
        let before = wait_for("pruning", || Some(oldest()).filter(|oldest| *oldest > 50 * round));
        // From the newest roll down to the oldest, which may be pruned meanwhile.
        let mut newest_first = api(&instance, "/api/rolls?limit=17");
        newest_first.reverse();
        let ways = [
            ("pages", pages(&instance)),
            ("API, newest first", newest_first),
            ("API, oldest first", oldest_first(&instance)),
            ("NDJSON", ndjson(&instance)),
            ("CSV", csv(&instance)),
            ("table", lines(&instance)),
        ];
        let newest = id(lines(&instance).last().unwrap());
        wait_for("tail to catch up", || (tail.lines().len() as i64 >= newest).then_some(()));
        let all = tail.lines();
        assert_eq!(id(&all[0]), 1);
        for (way, seen) in ways {
            assert!(seen.len() > 100, "{way}: expected more than 100 rolls, got {}", seen.len());
            let first = id(&seen[0]);
            assert!(
                first >= before,
                "{way}: roll {first} had been pruned, the oldest was {before}"
            );
            let start = usize::try_from(first - 1).unwrap();
            assert_eq!(seen, all[start..start + seen.len()], "{way} from roll {first} on");
        }
    }
    assert!(oldest() > 150, "nothing was pruned");
}

#[test]
fn pages_api_files_tail_and_table_return_the_same_rolls_while_new_ones_are_made() {
    let instance = Instance::new("every = '20ms'\npage_size = 20");
    // Rolls 1 to 36 have been pruned.
    instance.fill(300, 37);
    let _server = instance.start();
    let tail = Tail::start(&instance, &["--json", "--after", "36"]);
    wait_for("live rolls", || (tail.lines().len() > 300).then_some(()));
    let mut newest_first = api(&instance, "/api/rolls?limit=17");
    newest_first.reverse();
    let ndjson = get(&instance.url("/api/rolls.ndjson"), &[]).body;
    let ways = [
        ("pages", pages(&instance)),
        ("API, newest first", newest_first),
        ("API, oldest first", api(&instance, "/api/rolls?after=0&limit=23")),
        ("NDJSON", ndjson.lines().map(String::from).collect()),
        ("CSV", csv(&instance)),
        ("tail", tail.lines()),
    ];
    let stored = lines(&instance);
    let first: Value = serde_json::from_str(&stored[0]).unwrap();
    assert_eq!(first["id"], 37);
    for (way, seen) in ways {
        assert!(seen.len() > 300, "{way}: expected live rolls too, got {} rolls", seen.len());
        for (seen, stored) in seen.iter().zip(&stored) {
            assert_eq!(seen, stored, "{way}");
        }
        assert!(seen.len() <= stored.len(), "{way}: more rolls than are stored");
    }
}
