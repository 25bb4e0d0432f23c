// A cursor names a roll in its history: `41-1763861860123` is roll 41, rolled
// at that Unix time in milliseconds. `0` is the position before all rolls.

/** The id and time in a cursor, or null if the string is not a cursor. */
export function parseCursor(text) {
  const parts = /^(\d+)(?:-(\d+))?$/.exec(text);
  return parts && { id: Number(parts[1]), rolledAt: new Date(Number(parts[2])) };
}
