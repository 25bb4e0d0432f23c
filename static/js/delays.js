// Growing, jittered delays between reconnects. They spare a server that is down,
// and many pages do not return in the same instant.

const FIRST_MS = 1_000;
const GROWTH = 1.5;
const LONGEST_MS = 30_000;
const WELL_AFTER_MS = 10_000;

export class Delays {
  #ceilingMs = FIRST_MS;
  #endsAt = 0;

  /** The delay before the next attempt, in ms: half of a growing ceiling up to the ceiling. */
  next() {
    // The growth restarts only after a connection that lasted for a while, so that
    // a server that answers and fails at once is not asked more often.
    const now = performance.now();
    if (now - this.#endsAt > WELL_AFTER_MS) this.#ceilingMs = FIRST_MS;

    const delayMs = this.#ceilingMs * (0.5 + Math.random() / 2);
    this.#ceilingMs = Math.min(this.#ceilingMs * GROWTH, LONGEST_MS);
    this.#endsAt = now + delayMs;
    return delayMs;
  }
}
