//! Cases of the event-stream lab with rolls as their events, for rollcast's own readers.

use lab::case::{Case, Script};
use lab::script::{END_OF_CASE, End, Framing, Reply, Step};
use serde_json::{Value, json};

/// The data of the events of such cases. The roll that stands for one has its index.
pub const TEXTS: [&str; 7] = [END_OF_CASE, "a", "b", "c", "x", "abc", "this is no event stream"];
/// Cases of reconnecting that do not apply to readers of rolls, and why.
pub const NO_ROLLS: [(&str, &str); 6] = [
    ("r-sticky", "every roll has its own id"),
    ("r-id-only", "a block without data is no roll, and only rolls move the cursor"),
    ("r-id-empty-data", "the same"),
    ("r-id-reset", "an empty id is no cursor"),
    ("r-id-nul", "an event without a valid cursor is no roll"),
    ("r-id-utf8", "the id is no cursor"),
];

/// When roll 0 was made, in Unix milliseconds.
const START: usize = 1_795_392_000_000;

/// The roll that stands for an event with this data: the dice as JSON.
fn dice(data: &str) -> String {
    if let Some(number) = data.strip_prefix("payload ") {
        return format!("{{\"1D100\":{number}}}");
    }
    let index = TEXTS.iter().position(|text| *text == data);
    format!("{{\"1D20\":{}}}", index.unwrap_or_else(|| panic!("no roll for `{data}`")) + 1)
}

/// The data of the event for which a roll stands; `None` if it is no such roll.
pub fn data(dice: &Value) -> Option<String> {
    if let Some(number) = dice.get("1D100") {
        return Some(format!("payload {number}"));
    }
    let result = usize::try_from(dice.get("1D20")?.as_u64()?).ok()?;
    TEXTS.get(result.checked_sub(1)?).map(ToString::to_string)
}

/// The line that a reader of this roll prints for the lab.
pub fn line(id: &Value, dice: &Value) -> Option<String> {
    let id = id.as_str().map_or_else(|| id.to_string(), str::to_string);
    Some(json!({ "event": "message", "data": data(dice)?, "id": id }).to_string())
}

/// The id of the roll with this number.
fn cursor(number: usize) -> String {
    format!("{number}-{}", START + 1_000 * number)
}

/// The roll with this number that stands for an event with this data.
fn roll(number: usize, data: &str) -> String {
    format!("id: {}\ndata: {}\n\n", cursor(number), dice(data))
}

/// The same case with rolls. Those without an id get the next one. A reader must report the roll
/// `{"1D20":2}` as the event `a`, and so on, so the expectation differs only in its cursors.
pub fn with_rolls(case: &Case) -> Case {
    let mut case = case.clone();
    let mut last = 0;
    for reply in replies(&mut case) {
        rewrite(reply, |text| rolls(text, &mut last));
    }
    if let Script::Feed(feed) = &mut case.script {
        feed.format = roll;
    }
    for (_, id) in &mut case.expect.last_event_ids {
        *id = id.map(|id| &*cursor(id.parse().expect("a number")).leak());
    }
    case
}

/// The same case with a file of rolls in NDJSON instead of a stream, for `export`. The ids by which a
/// client of streams continues do not apply.
pub fn with_file(case: &Case) -> Case {
    let mut case = case.clone();
    let mut last = 0;
    for reply in replies(&mut case) {
        rewrite(reply, |text| lines(&rolls(text, &mut last)));
        if reply.end == End::Hold {
            reply.end = End::Orderly;
        }
    }
    for step in replies(&mut case).iter_mut().flat_map(|reply| &mut reply.head) {
        let (Step::Write(bytes) | Step::Bytewise(bytes, _)) = step else { continue };
        let head = String::from_utf8_lossy(bytes);
        if head.contains("HTTP/1") && head.to_lowercase().contains("content-type") {
            let head = head.replace("text/event-stream", "application/x-ndjson");
            let head = head.replace("TEXT/Event-Stream", "Application/X-NDJSON");
            let last = format!("\r\nRollcast-Last: {last}\r\n\r\n");
            *bytes = head.replace("\r\n\r\n", &last).into();
        }
    }
    case.expect.last_event_ids.clear();
    case
}

/// The replies of a case, if it has any.
fn replies(case: &mut Case) -> &mut [Reply] {
    match &mut case.script {
        Script::Replies(replies) | Script::Redirected(_, replies) => replies,
        Script::Feed(_) | Script::Loop => &mut [],
    }
}

/// Replaces the texts of a body. The sizes that its head or its chunks state change with it.
fn rewrite(reply: &mut Reply, mut replace: impl FnMut(&str) -> String) {
    let head = match &reply.head[..] {
        [Step::Write(head)] => String::from_utf8_lossy(head).into_owned(),
        _ => String::new(),
    };
    let is_chunked_by_hand = reply.framing == Framing::Plain && head.contains("chunked");
    let (mut n_old, mut n_new) = (0, 0);
    for step in &mut reply.body {
        let (Step::Write(bytes) | Step::Bytewise(bytes, _)) = step else { continue };
        let text = String::from_utf8(bytes.clone()).unwrap();
        let new = match text.split_once("\r\n") {
            Some((_, chunk)) if is_chunked_by_hand && chunk.ends_with("\r\n") => {
                let chunk = replace(chunk.trim_end_matches("\r\n"));
                format!("{:x}\r\n{chunk}\r\n", chunk.len())
            }
            _ if is_chunked_by_hand => continue,
            _ => replace(&text),
        };
        (n_old, n_new) = (n_old + text.len(), n_new + new.len());
        *bytes = new.into();
    }
    let length = head.split_once("Content-Length: ").and_then(|(_, rest)| rest.split_once('\r'));
    if let Some((length, _)) = length
        && let Ok(n_bytes) = length.parse::<usize>()
    {
        let (old, new) =
            (format!("Length: {length}"), format!("Length: {}", n_bytes + n_new - n_old));
        reply.head = vec![Step::Write(head.replace(&old, &new).into())];
    }
}

/// Rolls instead of the events of a text.
fn rolls(text: &str, last: &mut usize) -> String {
    let mut rolls = String::new();
    let mut id = None;
    for line in text.split_inclusive(['\r', '\n']) {
        let value = line.trim_end_matches(['\r', '\n']);
        let end = &line[value.len()..];
        if let Some(number) = value.strip_prefix("id: ") {
            id = Some(number.parse().expect("a number"));
            continue;
        }
        if value.is_empty() && !(line == "\n" && rolls.ends_with('\r')) {
            // Only a roll that ends counts.
            *last = id.take().unwrap_or(*last);
        }
        if let Some(data) = value.strip_prefix("data: ") {
            let number = *id.get_or_insert(*last + 1);
            rolls += &format!("id: {}\ndata: {}{end}", cursor(number), dice(data));
        } else {
            rolls += line;
        }
    }
    rolls
}

/// The lines of a file with the rolls of a stream. A roll that is cut is a line without its end.
fn lines(rolls: &str) -> String {
    let mut lines = String::new();
    let mut id = "";
    for line in rolls.split_inclusive('\n') {
        if let Some(cursor) = line.strip_prefix("id: ") {
            (id, _) = cursor.split_once('-').unwrap();
        } else if let Some(dice) = line.strip_prefix("data: ") {
            let seconds = id.parse::<usize>().unwrap();
            let at = format!("2026-11-23T00:00:{seconds:02}.000Z");
            let dice = dice.trim_end();
            lines += &format!("{{\"id\":{id},\"rolled_at\":\"{at}\",\"dice\":{dice}}}");
        } else if line == "\n" && lines.ends_with('}') {
            lines.push('\n');
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rolls_have_ids_and_an_event_that_is_cut_leaves_its_number_to_the_next_one() {
        let mut last = 4;
        let cut = rolls("retry: 50\nid: 6\ndata: a\n\nid: 7\ndata: b\n", &mut last);
        let expected = "retry: 50\nid: 6-1795392006000\ndata: {\"1D20\":2}\n\n\
                        id: 7-1795392007000\ndata: {\"1D20\":3}\n";
        assert_eq!((cut.as_str(), last), (expected, 6));
        let next = rolls("data: b\r\n\r\ndata: c\r\r", &mut last);
        let expected = "id: 7-1795392007000\ndata: {\"1D20\":3}\r\n\r\n\
                        id: 8-1795392008000\ndata: {\"1D20\":4}\r\r";
        assert_eq!((next.as_str(), last), (expected, 8));
        assert_eq!(
            lines("retry: 50\n\nid: 6-1\ndata: {\"1D20\":2}\n\nid: 7-1\ndata: {}\n"),
            "{\"id\":6,\"rolled_at\":\"2026-11-23T00:00:06.000Z\",\"dice\":{\"1D20\":2}}\n\
             {\"id\":7,\"rolled_at\":\"2026-11-23T00:00:07.000Z\",\"dice\":{}}"
        );
        assert_eq!(
            line(&json!(8), &json!({ "1D20": 4 })),
            line(&json!("8"), &json!({ "1D20": 4 }))
        );
        assert_eq!(data(&json!({ "1D6": 4 })), None);
        assert_eq!(data(&json!({ "1D100": 4 })).as_deref(), Some("payload 4"));
    }
}
