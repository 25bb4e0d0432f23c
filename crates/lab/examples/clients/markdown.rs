//! `docs/clients.md`.

use lab::case::Level;
use lab::judge::Outcome;

use crate::verdicts::{Client, Counts, Verdict};

/// What is the same for all clients.
pub struct Frame<'a> {
    /// The guide, which is written by hand.
    pub guide: &'a str,
    /// The system and its versions.
    pub machine: &'a str,
    /// How often a case that fails was tried.
    pub n_tries: usize,
    /// Which files are in the folder of adapters.
    pub exists: &'a dyn Fn(&str) -> bool,
}

/// The languages, in the order of their tables, with their headings. Others follow.
const LANGUAGES: [(&str, &str); 3] =
    [("JavaScript", "JavaScript"), ("Python", "Python"), ("Rust", "Rust")];
/// The language of browsers.
pub const BROWSER: &str = "Browser";

const COLUMNS: &str = "\
| client | version | what it does | cases | ok | fails a must | fails a should | differs | storms |
|---|---|---|--:|--:|--:|--:|--:|---|
";

const ADD_A_CLIENT: &str = "\
## How to add a client

1. Write an adapter of five to fifteen lines in `crates/lab/adapters/`: [docs/lab.md](lab.md#write-an-adapter)
   describes what it reads and prints. Use the client as its own README does.
2. Pin the client's version in `npm/package.json`, `pypi/requirements.txt` or `crates/Cargo.toml` there, and update
   the lock file.
3. Add the client to `clients-<registry>.json`: name, version, language, kind, command and link.
4. Run `make clients` once, or `cargo run --release -p lab --example clients -- --only NAME` if the adapters are set up.
5. Suspect the adapter first: read the client's source for each failure that surprises you.
   Then commit the adapter with `docs/clients.md` and `docs/clients/verdicts.json`.

[docs/lab.md](lab.md) describes the lab: how to test a client of your own, what the levels mean, and how to use it in CI.
";

/// The page.
pub fn page(clients: &[Client], frame: &Frame) -> String {
    let Frame { guide, machine, n_tries, exists } = frame;
    let date = clients.iter().map(|it| &*it.date).max().unwrap_or("no date");
    let guide = guide.trim();
    let mut text = format!(
        "# Clients of event streams\n\n\
         This page lists which public clients of event streams obey the rules, as judged by [the event-stream lab](lab.md). \
         `make clients` wrote it on {date} ({machine}), and each failure was seen {n_tries} times in a row.\n\n\
         ## Choose a client\n\n{guide}\n\n\
         ## Read the tables\n\n\
         **must** rules are normative. **should** rules are not, but operators and users depend on them. A client **differs** \
         if it departs from `EventSource` where many libraries do so on purpose. **cases** counts those that apply: a client that \
         only makes requests, or only parses, is not asked to reconnect. A client **storms** if a server can make it send requests \
         without a pause. Failures are listed [below](#failures); [clients/verdicts.json](clients/verdicts.json) contains all \
         verdicts.\n\n",
    );
    let mut groups: Vec<(&str, String)> =
        LANGUAGES.map(|(language, name)| (language, format!("{name} clients"))).into();
    let others = clients.iter().map(|it| &*it.client.language).filter(|it| *it != BROWSER);
    for language in others {
        if groups.iter().all(|(known, _)| *known != language) {
            groups.push((language, format!("{language} clients")));
        }
    }
    groups.push((BROWSER, "Browsers".into()));
    let mut sections = String::new();
    for (language, heading) in groups {
        let mut group: Vec<&Client> =
            clients.iter().filter(|it| it.client.language == language).collect();
        if group.is_empty() {
            continue;
        }
        group.sort_by(|a, b| a.compare(b));
        text += &format!("## {heading}\n\n{COLUMNS}");
        group.iter().for_each(|it| text += &row(it));
        text += "\n";
        group.iter().for_each(|it| sections += &section(it, exists));
    }
    text + "## Failures\n\n" + &sections + ADD_A_CLIENT
}

/// The line of a client in a table.
fn row(it: &Client) -> String {
    let Counts { cases, ok, fails_must, fails_should, differs } = it.counts();
    let client = &it.client;
    let storms = if it.storms() { "yes" } else { "" };
    format!(
        "| [{}]({}) | [{}](#{}) | {} | {cases} | {ok} | {fails_must} | {fails_should} | {differs} | {storms} |\n",
        markdown(&client.name),
        client.url,
        markdown(&client.version),
        anchor(&client.title()),
        client.kind.verb(),
    )
}

/// What a client fails, and how it departs from `EventSource`.
fn section(it: &Client, exists: &dyn Fn(&str) -> bool) -> String {
    let client = &it.client;
    let Counts { cases, ok, .. } = it.counts();
    let mut text = format!(
        "### {}\n\n[{}]({}) {}: {ok} of {cases} cases are ok, on {}.",
        markdown(&client.title()),
        markdown(&client.name),
        client.url,
        client.kind.verb(),
        it.date
    );
    if !client.note.is_empty() {
        text += &format!(" {}", client.note);
    }
    if let Some(adapter) = client.adapter(exists) {
        text += &format!(
            " [Adapter](../crates/lab/adapters/{adapter}): `rollcast lab run {}-- {}`.",
            client.kind.option(),
            client.command.join(" ")
        );
    }
    text += "\n\n";
    let with = |outcome| it.cases.iter().filter(move |verdict| verdict.outcome == outcome);
    for kind in KINDS {
        let lines: String =
            with(Outcome::Fails).filter(|it| kind_of(&it.case) == kind).map(line).collect();
        if !lines.is_empty() {
            text += &format!("**{kind}**\n\n{lines}\n");
        }
    }
    let lines: String = with(Outcome::Differs).map(line).collect();
    if !lines.is_empty() {
        text += &format!("**Departs from EventSource**\n\n{lines}\n");
    }
    let skipped: Vec<String> =
        with(Outcome::Skipped).map(|verdict| format!("`{}`", verdict.case)).collect();
    if let Some(first) = with(Outcome::Skipped).next() {
        let said = first.because.first().map_or("", |reason| &*reason.said);
        text += &format!("Not judged, because {}: {}.\n\n", markdown(said), skipped.join(", "));
    }
    text
}

/// A case that a client does not pass.
fn line(verdict: &Verdict) -> String {
    let Some(case) = verdict.found() else { return String::new() };
    let reasons: Vec<String> = verdict
        .because
        .iter()
        .map(|reason| {
            if reason.expected.is_empty() {
                reason.said.clone()
            } else {
                format!("{}, expected {}", reason.said, reason.expected)
            }
        })
        .collect();
    let level = if case.level == Level::Should { " (should)" } else { "" };
    format!(
        "- `{}`{level}: {}. {} ([{}]({}))\n",
        case.id,
        markdown(case.what),
        sentence(&markdown(&reasons.join("; "))),
        case.rule,
        case.rule.url()
    )
}

/// A text with a capital at its beginning.
fn sentence(text: &str) -> String {
    let mut rest = text.chars();
    let first = rest.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}

/// The kinds of cases, in the order in which the lab has them.
const KINDS: [&str; 10] = [
    "Parsing",
    "Ids",
    "Latency",
    "HTTP",
    "Statuses and redirects",
    "Reconnecting",
    "The retry field",
    "Storms",
    "Quiet streams",
    "Size",
];

/// The kind of a case, by its id.
fn kind_of(id: &str) -> &'static str {
    let starts = |prefix| id.starts_with(prefix);
    let i = match () {
        () if starts("m-") || ["p-64k", "p-1m", "p-lines", "p-long-comment"].contains(&id) => 9,
        () if starts("p-") => 0,
        () if starts("i-") => 1,
        () if starts("l-") => 2,
        () if starts("h-") => 3,
        () if starts("s-") => 4,
        () if starts("r-retry") => 6,
        () if starts("r-storm") => 7,
        () if starts("q-") => 8,
        () => 5,
    };
    KINDS[i]
}

/// The anchor of a heading.
fn anchor(heading: &str) -> String {
    let letter = |c: char| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        c if c.is_alphanumeric() => Some(c),
        _ => None,
    };
    heading.to_lowercase().chars().filter_map(letter).collect()
}

/// A text of the lab as Markdown, on one line: code remains code, and nothing else has a meaning. Code
/// is between backticks. Code that contains a backtick cannot be distinguished from two pieces of code.
fn markdown(text: &str) -> String {
    let parts: Vec<&str> = text.split('`').collect();
    let is_paired = parts.len() % 2 == 1;
    if !is_paired {
        return escaped(text);
    }
    let part = |(i, part): (usize, &&str)| match (i % 2, *part) {
        (0, part) => escaped(part),
        (_, "") => "(empty)".into(),
        // A space at both ends would be removed, and a pipe would end a cell of a table.
        (_, code) if code.contains('|') => format!("<code>{}</code>", escaped(code)),
        (_, code) if code.starts_with(' ') && code.ends_with(' ') => format!("` {code} `"),
        (_, code) => format!("`{}`", code.replace('\n', " ")),
    };
    parts.iter().enumerate().map(part).collect()
}

/// A text in which no character has a meaning for Markdown or HTML.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut escaped, c| {
        match c {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped += "&lt;",
            '&' => escaped += "&amp;",
            '\\' | '`' | '*' | '_' | '[' | ']' | '|' | '~' => escaped.extend(['\\', c]),
            c => escaped.push(c),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use lab::cases;

    use super::*;
    use crate::verdicts::Kind;
    use crate::verdicts::tests::client;

    const FRAME: Frame = Frame {
        guide: "### JavaScript\n\nUse a.\n",
        machine: "Linux",
        n_tries: 3,
        exists: &|_| true,
    };

    #[test]
    fn the_kinds_of_cases_follow_each_other_as_in_the_lab() {
        let mut kinds: Vec<&str> = cases::all().iter().map(|case| kind_of(case.id)).collect();
        kinds.dedup();
        assert_eq!(kinds, KINDS);
    }

    #[test]
    fn a_client_has_a_row_and_a_section() {
        let verdicts = [
            ("p-bom", Outcome::Ok, "", ""),
            ("r-retry-32", Outcome::Fails, "152 requests in 400 ms", "at most 6 in 3 s"),
            ("q-7", Outcome::Fails, "reported 1 of 2 events", ""),
            ("s-404", Outcome::Differs, "event 1 was `a|b`", "no event"),
            ("i-nul", Outcome::Skipped, "the client reports no ids", ""),
        ];
        let text = page(&[client("@a/b_c", &verdicts)], &FRAME);
        let row = "| [@a/b\\_c](https://example.org/) | [1.0](#ab_c-10) | reconnects | 4 | 1 | 1 | 1 | 1 | yes |\n";
        assert!(text.contains(row), "{text}");
        let rule = "https://html.spec.whatwg.org/multipage/server-sent-events.html";
        for expected in [
            "wrote it on 2026-11-28 (Linux)".into(),
            "## Choose a client\n\n### JavaScript\n\nUse a.\n\n## Read".into(),
            "### @a/b\\_c 1.0\n\n[@a/b\\_c](https://example.org/) reconnects: 1 of 4 cases are ok".into(),
            "`rollcast lab run -- node npm/@a/b_c.mjs`.\n\n**The retry field**\n\n- `r-retry-32`: ".into(),
            format!(". 152 requests in 400 ms, expected at most 6 in 3 s ([html#sse-processing-model]({rule}#sse-processing-model))\n\n**Quiet streams**\n\n"),
            "- `q-7` (should): 7 s of silence: the client stays. Reported 1 of 2 events ([".into(),
            "**Departs from EventSource**\n\n- `s-404`: 404 with a stream as its body. Event 1 was <code>a\\|b</code>, expected no event ([".into(),
            "Not judged, because the client reports no ids: `i-nul`.\n\n## How to add a client\n".into(),
        ] {
            assert!(text.contains(&expected), "expected {expected} in {text}");
        }
        assert!(!text.contains("## Browsers") && !text.contains("Python clients"), "{text}");
    }

    #[test]
    fn rows_are_sorted_by_what_clients_do_and_what_they_fail() {
        let bad = client("bad", &[("p-bom", Outcome::Fails, "no", "")]);
        let mut parser = client("parser", &[]);
        parser.client.kind = Kind::Parser;
        let mut other = client("other", &[]);
        other.client.language = "Go".into();
        let mut browser = client("browser", &[]);
        browser.client.language = BROWSER.into();
        browser.client.command.clear();
        let text = page(&[browser, other, parser, bad, client("good", &[])], &FRAME);
        let places: Vec<_> =
            ["[good]", "[bad]", "[parser]", "## Go clients", "## Browsers", "## Failures"]
                .map(|it| text.find(it))
                .into();
        assert!(places.is_sorted() && places[0].is_some(), "{places:?} {text}");
    }

    #[test]
    fn a_text_of_the_lab_remains_what_it_is() {
        for (text, expected) in [
            ("reported `a`, expected `b`", "reported `a`, expected `b`"),
            ("event 1 was ``, expected `a`", "event 1 was (empty), expected `a`"),
            ("was ` a `", "was `  a  `"),
            ("was ` a`", "was ` a`"),
            ("was `a|b`", "was <code>a\\|b</code>"),
            ("it says `a", "it says \\`a"),
            ("<b> & a|b *c* _d_ [e] \\", "&lt;b> &amp; a\\|b \\*c\\* \\_d\\_ \\[e\\] \\\\"),
            ("a\nb", "a b"),
        ] {
            assert_eq!(markdown(text), expected);
        }
    }

    #[test]
    fn an_anchor_is_that_of_the_heading() {
        assert_eq!(
            anchor("@microsoft/fetch-event-source 2.0.1"),
            "microsoftfetch-event-source-201"
        );
    }
}
