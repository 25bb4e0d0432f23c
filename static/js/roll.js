// Rolls and syncs as the stream sends them. Whatever cannot be read is null or
// harmless: a bad event must not stop the page.
import { parseCursor } from "./cursor.js";

/** The roll in a message event, or null when it does not hold one. */
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
    // Pruned rolls leave a gap in the same history. Any other reset means that
    // the server does not know the roll we stopped at.
    anotherHistory: mode === "reset" && reason !== "pruned",
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
