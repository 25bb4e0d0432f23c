// Exponential backoff with jitter for reconnects. It reduces the load on a server that is down,
// and keeps many pages from reconnecting at the same moment.

const FIRST_MS = 1_000;
const GROWTH = 1.5;
const LONGEST_MS = 30_000;
const WELL_AFTER_MS = 10_000;

export class Delays {
  #ceilingMs = FIRST_MS;
  #endsAt = 0;

  /** A random delay before the next attempt, in ms, between half of the ceiling and the ceiling. */
  next() {
    // Reset the ceiling only if the last attempt began more than 10 s ago. So a server that accepts a
    // connection and fails at once does not get more requests.
    const now = performance.now();
    if (now - this.#endsAt > WELL_AFTER_MS) this.#ceilingMs = FIRST_MS;

    const delayMs = this.#ceilingMs * (0.5 + Math.random() / 2);
    this.#ceilingMs = Math.min(this.#ceilingMs * GROWTH, LONGEST_MS);
    this.#endsAt = now + delayMs;
    return delayMs;
  }
}
