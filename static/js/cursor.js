// A cursor names a roll in its history: `41-1763861860123` is roll 41, rolled
// at that Unix time in milliseconds. `0` is the place before all rolls.

/** The id and time in a cursor, or null for a text that is not one. */
export function parseCursor(text) {
  const parts = /^(\d+)(?:-(\d+))?$/.exec(text);
  return parts && { id: Number(parts[1]), rolledAt: new Date(Number(parts[2])) };
}
