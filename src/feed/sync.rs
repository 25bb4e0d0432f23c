//! Where a stream starts, and what that means for what its client has: the cursor table.

use crate::cursor::Cursor;
use crate::feed::window::Window;
use crate::roll::RollId;
use crate::store::Kept;

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Rolls from now on.
    Live,
    /// The rolls after a cursor.
    After(Cursor),
    /// Something that is not a cursor.
    Malformed,
}

/// What a client gets: said before the rolls, so that no gap is ever silent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sync {
    /// How what follows joins what the client has.
    pub mode: Mode,
    /// The newest roll when this was said.
    pub head: Cursor,
    /// Rolls since the cursor; those that are gone, after a prune; `None` where that cannot be
    /// known.
    pub n_missed: Option<u64>,
    /// The rolls after this one follow.
    pub start: RollId,
}

/// How what follows joins what the client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Rolls from now on, as asked.
    Live,
    /// All that was missed, then live.
    Resumed,
    /// Not where the client left off.
    Reset(Reason),
}

/// Why a stream does not go on where the client left off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Rolls in between are no longer kept; all that are kept follow.
    Pruned,
    /// The cursor is of another history; rolls from now on follow.
    Unknown,
    /// Not a cursor; rolls from now on follow.
    Malformed,
}

/// The answer, if the window alone can give it: it holds what most clients ask for, and then
/// thousands that come back at once do not wait for the database.
pub fn in_window(asked: &Asked, window: &Window) -> Option<Sync> {
    let head = window.head();
    match asked {
        Asked::Live => Some(from_now_on(Mode::Live, head)),
        Asked::Malformed => Some(from_now_on(Mode::Reset(Reason::Malformed), head)),
        Asked::After(cursor) => {
            let roll = window.get(cursor.id)?;
            Some(at_kept_roll(*cursor, roll.cursor, head))
        }
    }
}

/// The answer out of the store, where `roll` is the one that `cursor` names, if it is kept.
pub fn in_store(cursor: Cursor, roll: Option<Cursor>, kept: Kept) -> Sync {
    let Kept { oldest, head } = kept;
    if cursor.id > head.id {
        return from_now_on(Mode::Reset(Reason::Unknown), head);
    }
    if let Some(roll) = roll {
        return at_kept_roll(cursor, roll, head);
    }
    if cursor.id.next() >= oldest {
        // Nothing after it is gone, so nothing is missed; its own moment can't be checked.
        return resumed(cursor, head);
    }
    pruned(cursor.id, oldest, head)
}

/// The rolls between `last` and `oldest` are gone; those from `oldest` on follow.
pub fn pruned(last: RollId, oldest: RollId, head: Cursor) -> Sync {
    Sync {
        mode: Mode::Reset(Reason::Pruned),
        head,
        n_missed: Some(distance(last, oldest.previous())),
        start: oldest.previous(),
    }
}

fn at_kept_roll(cursor: Cursor, roll: Cursor, head: Cursor) -> Sync {
    match cursor.unix_millis {
        Some(_) if cursor.unix_millis != roll.unix_millis => {
            from_now_on(Mode::Reset(Reason::Unknown), head)
        }
        _ => resumed(cursor, head),
    }
}

fn resumed(cursor: Cursor, head: Cursor) -> Sync {
    Sync {
        mode: Mode::Resumed,
        head,
        n_missed: Some(distance(cursor.id, head.id)),
        start: cursor.id,
    }
}

fn from_now_on(mode: Mode, head: Cursor) -> Sync {
    Sync { mode, head, n_missed: if mode == Mode::Live { Some(0) } else { None }, start: head.id }
}

fn distance(from: RollId, to: RollId) -> u64 {
    u64::try_from(to.0 - from.0).unwrap_or(0)
}
