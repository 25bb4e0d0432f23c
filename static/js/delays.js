// Growing, jittered delays: a server that is down is not hammered, and many
// pages do not come back to it in the same instant.

const FIRST_MS = 1_000;
const GROWTH = 1.5;
const LONGEST_MS = 30_000;
const WELL_AFTER_MS = 10_000;

export class Delays {
  #ceilingMs = FIRST_MS;
  #endsAt = 0;

  /** The delay before the next try, in ms: between half of a growing ceiling and all of it. */
  next() {
    // Growth starts over only when the last try held for a while, so that a
    // server which answers and dies at once does not count as well.
    const now = performance.now();
    if (now - this.#endsAt > WELL_AFTER_MS) this.#ceilingMs = FIRST_MS;

    const delayMs = this.#ceilingMs * (0.5 + Math.random() / 2);
    this.#ceilingMs = Math.min(this.#ceilingMs * GROWTH, LONGEST_MS);
    this.#endsAt = now + delayMs;
    return delayMs;
  }
}
