//! What a stream and a page of rollcast say about themselves, as its protocol documents it. A
//! stream that says none of it is judged as any other stream.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use event_stream::parser::Frame;
use jiff::Timestamp;

use crate::response::Head;

/// The value of its `Server` header.
pub const SERVER: &str = "rollcast";
/// Where its stream is on its host.
pub const STREAM_PATH: &str = "/stream/";
/// Where the newest checkpoint of its log of rolls is.
pub const CHECKPOINT_PATH: &str = "/checkpoint";
/// How the answer ends for all other addresses at the fan-out door, which serves only the stream.
const DOOR_ANSWER: &str = "This address serves only `/stream/`.";
/// The number of hashes in a full tile of the log, and the bytes of each.
const TILE_LEN: i64 = 256;
const HASH_LEN: usize = 32;
/// The header in which its stream reports the client's address.
const CLIENT_HEADER: &str = "Rollcast-Client";

/// The id of a roll's event, as in `41-1763861860123`: the roll's number and Unix milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// 1, 2, 3, … without gaps; 0 before the first roll.
    pub id: i64,
    /// When the roll was made, if the cursor says so.
    pub rolled_at: Option<Timestamp>,
}

impl FromStr for Cursor {
    type Err = ();

    fn from_str(text: &str) -> Result<Cursor, ()> {
        let (id, millis) = match text.split_once('-') {
            Some((id, millis)) => (id, Some(millis.parse().map_err(drop)?)),
            None => (text, None),
        };
        let rolled_at = millis.map(Timestamp::from_millisecond).transpose().map_err(drop)?;
        Ok(Cursor { id: id.parse().map_err(drop)?, rolled_at })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rolled_at {
            Some(rolled_at) => write!(f, "{}-{}", self.id, rolled_at.as_millisecond()),
            None => self.id.fmt(f),
        }
    }
}

/// What a page of rollcast says about its rolls.
#[derive(Clone, Debug)]
pub struct PageRolls {
    /// The time between rolls.
    pub every: Duration,
    /// Its newest roll.
    pub newest: Option<Cursor>,
}

impl PageRolls {
    /// Reads them from a page; `None` if it is no page of rollcast.
    pub fn of(html: &str) -> Option<PageRolls> {
        let every_ms = attribute(html, "data-every-ms")?.parse().ok()?;
        Some(PageRolls {
            every: Duration::from_millis(every_ms),
            newest: attribute(html, "data-cursor").and_then(|cursor| cursor.parse().ok()),
        })
    }
}

/// The link to its stream that a page names.
pub fn stream_link(html: &str) -> Option<&str> {
    attribute(html, "data-stream")
}

/// The value of the first attribute of that name, in double quotes.
fn attribute<'a>(html: &'a str, name: &str) -> Option<&'a str> {
    let assignment = format!("{name}=\"");
    let mut places = html.match_indices(&assignment).map(|(at, _)| at);
    let at = places.find(|at| html[..*at].ends_with(|c: char| c.is_ascii_whitespace()))?;
    html[at + assignment.len()..].split('"').next()
}

/// A checkpoint of the log of rolls. <https://c2sp.org/tlog-checkpoint>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// How many rolls it covers.
    pub n_rolls: i64,
}

impl Checkpoint {
    /// Reads it from its text. Ignores signatures: the doctor knows no key.
    pub fn of(note: &str) -> Option<Checkpoint> {
        let n_rolls = note.lines().nth(1)?.parse().ok()?;
        (n_rolls > 0).then_some(Checkpoint { n_rolls })
    }

    /// The path of the tile with the newest leaf, and its length in bytes. This tile is never
    /// pruned. <https://c2sp.org/tlog-tiles>
    pub fn newest_tile(self) -> (String, usize) {
        let (mut n, width) = ((self.n_rolls - 1) / TILE_LEN, (self.n_rolls - 1) % TILE_LEN + 1);
        let mut path = format!("{:03}", n % 1000);
        while n >= 1000 {
            n /= 1000;
            path = format!("x{:03}/{path}", n % 1000);
        }
        let partial = if width < TILE_LEN { format!(".p/{width}") } else { String::new() };
        (format!("/tile/0/{path}{partial}"), width as usize * HASH_LEN)
    }
}

/// The data of a `sync` event: how the stream continues after the client's last roll.
pub fn sync(frame: &Frame) -> Option<serde_json::Value> {
    control(frame, "sync")
}

/// The data of a `busy` event: the stream was refused, all permits are in use.
pub fn busy(frame: &Frame) -> Option<serde_json::Value> {
    control(frame, "busy")
}

/// The data of a `closing` event: the server ends the stream.
pub fn closing(frame: &Frame) -> Option<serde_json::Value> {
    control(frame, "closing")
}

fn control(frame: &Frame, event: &str) -> Option<serde_json::Value> {
    match frame {
        Frame::Event { name, id: None, data } if name == event => serde_json::from_str(data).ok(),
        _ => None,
    }
}

/// Whether this is the answer of the fan-out door to an address that is not the stream's.
pub fn is_of_door(head: &Head, body: &str) -> bool {
    head.status == 404 && body.contains(DOOR_ANSWER)
}

/// The client's address as the server reports it: `None` without a report, `Some(None)` if the
/// server does not know the address.
pub fn reported_address(head: &Head) -> Option<Option<IpAddr>> {
    Some(head.header(CLIENT_HEADER)?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_written_as_it_was_read() {
        for text in ["0", "41", "41-1763861860123"] {
            assert_eq!(text.parse::<Cursor>().map(|cursor| cursor.to_string()), Ok(text.into()));
        }
        for text in ["", "x", "41-", "-", "e7", "41-x"] {
            assert!(text.parse::<Cursor>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_checkpoint_names_the_tile_with_its_newest_leaf() {
        let table = [
            (1, "/tile/0/000.p/1", 32),
            (255, "/tile/0/000.p/255", 255 * 32),
            (256, "/tile/0/000", 8192),
            (257, "/tile/0/001.p/1", 32),
            (256_000, "/tile/0/999", 8192),
            (256_001, "/tile/0/x001/000.p/1", 32),
            // The example of the specification.
            (1_234_067 * 256 + 256, "/tile/0/x001/x234/067", 8192),
        ];
        for (n_rolls, path, len) in table {
            let note = format!("dice.example.org\n{n_rolls}\nroot\n\n— dice.example.org sig\n");
            let checkpoint = Checkpoint::of(&note).expect("one");
            assert_eq!(checkpoint.newest_tile(), (path.into(), len));
        }
        for other in ["", "x\n0\nroot\n", "x\n-1\n", "<html>\n<title>"] {
            assert_eq!(Checkpoint::of(other), None, "{other}");
        }
    }

    #[test]
    fn a_page_names_its_stream_and_its_rolls() {
        let page = r#"<main data-stream="/s" data-every-ms="250" data-cursor="7">"#;
        assert_eq!(stream_link(page), Some("/s"));
        let rolls = PageRolls::of(page).expect("rolls");
        assert_eq!(
            (rolls.every, rolls.newest.map(|newest| newest.id)),
            (Duration::from_millis(250), Some(7))
        );
        assert!(PageRolls::of(r#"<main x-data-every-ms="250">"#).is_none());
    }
}
