// Detects when no rolls arrive although the stream is open.

const SLACK_MS = 1_000;
const LONG_MS = 30_000;

export class Silence {
  #on;
  #limitMs;
  #lastRollAt;
  #longSilenceAt;
  #silent = false;
  #timer;

  /** `on` has onSilence(seconds), called with 0 at the end of a silence, and onLongSilence(). */
  constructor(everyMs, on) {
    this.#on = on;
    this.expect(everyMs);
  }

  /** Silence begins after three missing rolls. */
  expect(everyMs) {
    this.#limitMs = 3 * everyMs + SLACK_MS;
  }

  /** Starts or stops watching: pass whether the stream is open. Only a roll ends a silence. */
  watch(open) {
    clearInterval(this.#timer);
    if (!open) return;
    if (!this.#silent) this.#lastRollAt = performance.now();
    this.#longSilenceAt = performance.now() + this.#limitMs + jittered(LONG_MS);
    this.#timer = setInterval(() => this.#check(), 500);
  }

  /** Call this for each roll. */
  broken() {
    this.#lastRollAt = performance.now();
    this.#longSilenceAt = this.#lastRollAt + this.#limitMs + jittered(LONG_MS);
    if (!this.#silent) return;
    this.#silent = false;
    this.#on.onSilence(0);
  }

  #check() {
    const now = performance.now();
    const silentMs = now - this.#lastRollAt;
    if (silentMs < this.#limitMs) return;
    this.#silent = true;
    this.#on.onSilence(Math.floor(silentMs / 1_000));
    if (now >= this.#longSilenceAt) this.#on.onLongSilence();
  }
}

// Jitter keeps all pages from reconnecting at the same moment.
function jittered(ms) {
  return ms * (1 + Math.random());
}
