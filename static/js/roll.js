// Parses the events of the stream. A malformed event becomes null or a harmless value, so that it
// does not stop the page.
import { parseCursor } from "./cursor.js";

/** The roll in a message event, or null if there is none. */
export function parseRoll({ lastEventId: cursor, data }) {
  const { id, rolledAt } = parseCursor(cursor) ?? {};
  const dice = Object.entries(parseObject(data)).map(([name, result]) => ({ name, result }));

  const whole =
    Number.isFinite(rolledAt?.getTime()) &&
    dice.length > 0 &&
    dice.every(({ result }) => Number.isInteger(result));
  return whole ? { id, cursor, rolledAt, dice } : null;
}

/** Where a stream starts, from its sync event. */
export function parseSync({ data }) {
  const { mode, reason, head } = parseObject(data);
  return {
    // Pruned and damaged rolls leave a gap in the same history. After any other
    // reset, the server does not know the last roll of this page.
    anotherHistory: mode === "reset" && reason !== "pruned" && reason !== "unreadable",
    head,
    headId: parseCursor(head)?.id ?? 0,
  };
}

function parseObject(json) {
  try {
    return Object(JSON.parse(json));
  } catch {
    return {};
  }
}
