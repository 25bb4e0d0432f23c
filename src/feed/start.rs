//! Where a stream starts, and what that means for its client: the cursor table.

use crate::cursor::Cursor;
use crate::feed::window::Window;
use crate::roll::RollId;
use crate::store::Kept;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Rolls from now on.
    Live,
    /// The rolls after a cursor.
    After(Cursor),
    /// Something that cannot be read.
    Malformed,
}

/// What a client gets. It comes before the rolls, so that no gap is silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncEvent {
    /// How the rolls that follow continue those of the client.
    pub mode: Mode,
    /// The newest roll at this moment.
    pub head: Cursor,
    /// Stored rolls that follow at once: those after `start`, up to the head.
    pub replay: u64,
    /// Rolls between the client's cursor and `start` that it never gets, because they are no
    /// longer kept or cannot be read; `None` if that cannot be known.
    pub lost: Option<u64>,
    /// The rolls after this one follow.
    pub start: RollId,
}

/// How the rolls that follow continue those of the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rolls from now on, as requested.
    Live,
    /// All rolls after the cursor, then live.
    Resumed,
    /// The stream does not continue where the client left off.
    Reset(Reason),
}

/// Why a stream does not continue where its client left off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Rolls after the cursor are no longer kept. All kept rolls follow.
    Pruned,
    /// The rows of the next rolls are damaged. All rolls after them follow.
    Unreadable,
    /// The cursor belongs to another history. Rolls from now on follow.
    Unknown,
    /// The cursor is ahead of the newest stored roll. A single machine never had that roll, so
    /// clients get the same answer as for [`Reason::Unknown`].
    Ahead,
    /// The request cannot be read. Rolls from now on follow.
    Malformed,
}

/// The answer from the rolls in memory, if they are enough for it. They are for most clients, so
/// thousands that reconnect at once do not wait for the database.
pub fn in_window(start: &Start, window: &Window) -> Option<SyncEvent> {
    let head = window.head();
    match start {
        Start::Live => Some(from_now_on(Mode::Live, head)),
        Start::Malformed => Some(from_now_on(Mode::Reset(Reason::Malformed), head)),
        Start::After(cursor) => {
            let roll = window.get(cursor.id)?;
            Some(at_stored_roll(*cursor, roll.cursor, head))
        }
    }
}

/// The answer from the store. `roll` is the cursor of the stored roll with the id of `cursor`, if
/// there is one.
pub fn in_store(cursor: Cursor, roll: Option<Cursor>, kept: Kept) -> SyncEvent {
    let Kept { oldest, head } = kept;
    if cursor.id > head.id {
        return from_now_on(Mode::Reset(Reason::Ahead), head);
    }
    if let Some(roll) = roll {
        return at_stored_roll(cursor, roll, head);
    }
    if cursor.id.next() >= oldest {
        // No roll after it is gone. Its time cannot be checked.
        return resumed(cursor, head);
    }
    skipped(Reason::Pruned, cursor.id, oldest, head)
}

/// The client never gets the rolls between `last` and `next`; those from `next` on follow.
pub fn skipped(reason: Reason, last: RollId, next: RollId, head: Cursor) -> SyncEvent {
    let start = next.previous();
    SyncEvent {
        mode: Mode::Reset(reason),
        head,
        replay: distance(start, head.id),
        lost: Some(distance(last, start)),
        start,
    }
}

fn at_stored_roll(cursor: Cursor, roll: Cursor, head: Cursor) -> SyncEvent {
    match cursor.unix_millis {
        Some(_) if cursor.unix_millis != roll.unix_millis => {
            from_now_on(Mode::Reset(Reason::Unknown), head)
        }
        _ => resumed(cursor, head),
    }
}

fn resumed(cursor: Cursor, head: Cursor) -> SyncEvent {
    SyncEvent {
        mode: Mode::Resumed,
        head,
        replay: distance(cursor.id, head.id),
        lost: Some(0),
        start: cursor.id,
    }
}

fn from_now_on(mode: Mode, head: Cursor) -> SyncEvent {
    let lost = if mode == Mode::Live { Some(0) } else { None };
    SyncEvent { mode, head, replay: 0, lost, start: head.id }
}

fn distance(from: RollId, to: RollId) -> u64 {
    u64::try_from(to.0 - from.0).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::dice::Results;
    use crate::feed::Sent;
    use crate::roll::{Roll, RolledAt};

    const HEAD: Cursor = Cursor { id: RollId(101), unix_millis: Some(101_000) };

    /// Rolls 41 to 101 are kept; roll n was rolled at n seconds.
    fn answer(cursor: &str) -> SyncEvent {
        let cursor: Cursor = cursor.parse().expect("a cursor");
        let kept = Kept { oldest: RollId(41), head: HEAD };
        let id = cursor.id;
        let is_stored = id >= kept.oldest && id <= HEAD.id;
        let roll = is_stored.then_some(Cursor { id, unix_millis: Some(id.0 * 1_000) });
        in_store(cursor, roll, kept)
    }

    #[test]
    fn each_row_of_the_cursor_table_says_what_follows_and_what_is_lost() {
        use Mode::{Reset, Resumed};
        use Reason::{Ahead, Pruned, Unknown};
        let table = [
            ("90-90000", Resumed, 11, Some(0), 90),
            ("90", Resumed, 11, Some(0), 90),
            ("41-41000", Resumed, 60, Some(0), 41),
            ("101-101000", Resumed, 0, Some(0), 101),
            // The roll before the oldest one: nothing after it is gone.
            ("40-40000", Resumed, 61, Some(0), 40),
            ("39-39000", Reset(Pruned), 61, Some(1), 40),
            ("0", Reset(Pruned), 61, Some(40), 40),
            ("90-90001", Reset(Unknown), 0, None, 101),
            ("102-102000", Reset(Ahead), 0, None, 101),
            ("102", Reset(Ahead), 0, None, 101),
        ];
        for (cursor, mode, replay, lost, start) in table {
            let expected = SyncEvent { mode, head: HEAD, replay, lost, start: RollId(start) };
            assert_eq!(answer(cursor), expected, "after {cursor}");
        }
    }

    #[test]
    fn a_cursor_whose_roll_cannot_be_read_resumes_because_its_time_cannot_be_checked() {
        let kept = Kept { oldest: RollId(41), head: HEAD };
        for cursor in ["90-1", "41-1", "41"] {
            let cursor: Cursor = cursor.parse().expect("a cursor");
            assert_eq!(in_store(cursor, None, kept), resumed(cursor, HEAD), "after {cursor}");
        }
    }

    #[test]
    fn skipped_rolls_are_counted_as_lost_and_the_others_follow() {
        let mode = Mode::Reset(Reason::Unreadable);
        // The client's last roll, the next one that it gets, and how many are replayed and lost.
        for (last, next, replay, lost) in [(50, 52, 50, 1), (50, 61, 41, 10), (99, 102, 0, 2)] {
            let sync = skipped(Reason::Unreadable, RollId(last), RollId(next), HEAD);
            let start = RollId(next - 1);
            let expected = SyncEvent { mode, head: HEAD, replay, lost: Some(lost), start };
            assert_eq!(sync, expected, "from {last} to {next}");
        }
    }

    #[test]
    fn a_window_answers_for_its_own_rolls_as_the_store_would() {
        let mut window = Window::new(RollId(98).into(), 4);
        for id in 99..=101 {
            let time = jiff::Timestamp::from_second(id).expect("a time");
            let dice = Results(Vec::new());
            let roll = Roll { id: RollId(id), rolled_at: RolledAt::truncate(time), dice };
            window.push(Sent::from(&roll));
        }
        for cursor in ["99-99000", "100", "101-101000", "100-100001"] {
            let start = Start::After(cursor.parse().expect("a cursor"));
            assert_eq!(in_window(&start, &window), Some(answer(cursor)), "after {cursor}");
        }
        for cursor in ["98-98000", "0", "102-102000"] {
            let start = Start::After(cursor.parse().expect("a cursor"));
            assert_eq!(in_window(&start, &window), None, "after {cursor}");
        }
    }

    #[test]
    fn an_empty_window_answers_all_but_cursors() {
        let window = Window::new(HEAD, 4);
        let reset = Mode::Reset(Reason::Malformed);
        assert_eq!(in_window(&Start::Live, &window), Some(from_now_on(Mode::Live, HEAD)));
        assert_eq!(in_window(&Start::Malformed, &window), Some(from_now_on(reset, HEAD)));
        assert_eq!(in_window(&Start::After(HEAD), &window), None);
    }
}
