// Reads the statistics from the server. The time between two requests grows with the history, and
// a hidden page sends none. The browser revalidates its copy, so unchanged statistics cost a 304
// without a body.
import { Delays } from "./delays.js";

const MIN_MS = 3_000;
const MAX_MS = 60_000;
// The figures of a long history change slowly. They are read again after the history has grown by
// this fraction.
const PART = 0.005;

/** The time between two requests for statistics of `nRolls`, one every `everyMs`. */
export function pace(nRolls, everyMs) {
  return Math.min(MAX_MS, Math.max(MIN_MS, PART * nRolls * everyMs));
}

export class Figures {
  #url;
  #everyMs;
  #nRolls;
  #on;
  #wanted = false;
  #held = false;
  #reading;
  #dueAt;
  #delays = new Delays();
  #timer;

  /**
   * `on` has onFigures(statistics), and may have onRequest() and onState("live" |
   * "reconnecting").
   */
  constructor({ url, everyMs, nRolls }, on) {
    this.#url = url;
    this.#everyMs = everyMs;
    this.#nRolls = nRolls;
    this.#on = on;
    this.#dueAt = this.#nextAt();
    document.addEventListener("visibilitychange", () => this.#schedule());
  }

  /** Call this when the statistics may have changed. */
  want() {
    this.#wanted = true;
    this.#schedule();
  }

  /** Call this when the page lacks rolls that the statistics have. They are read soon. */
  renew() {
    // Jitter, because all pages lack rolls after an interruption.
    this.#dueAt = performance.now() + MIN_MS * Math.random();
    this.#stopTimer();
    this.want();
  }

  /** While `held` is true, nothing is read and no callback is called. Then reads what is wanted. */
  hold(held) {
    this.#held = held;
    this.#dueAt = performance.now();
    if (held) this.#reading?.abort();
    this.#schedule();
  }

  /** The time of the next regular request. Jitter keeps all pages from asking at the same moment. */
  #nextAt() {
    return performance.now() + pace(this.#nRolls, this.#everyMs) * (1 + Math.random() / 2);
  }

  #stopTimer() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule() {
    if (this.#held || document.hidden) this.#stopTimer();
    else if (this.#wanted && !this.#reading) {
      this.#timer ??= setTimeout(() => this.#read(), this.#dueAt - performance.now());
    }
  }

  async #read() {
    this.#timer = undefined;
    this.#wanted = false;
    this.#reading = new AbortController();
    this.#dueAt = undefined;
    this.#on.onRequest?.();
    const { signal } = this.#reading;
    const statistics = await read(this.#url, signal);
    this.#reading = undefined;
    // A request that failed is repeated soon.
    this.#dueAt ??= statistics ? this.#nextAt() : performance.now() + this.#delays.next();
    if (!statistics || signal.aborted) this.#wanted = true;
    if (!signal.aborted) this.#deliver(statistics);
    this.#schedule();
  }

  #deliver(statistics) {
    this.#on.onState?.(statistics ? "live" : "reconnecting");
    if (!statistics) return;
    this.#nRolls = Math.max(0, ...statistics.dice.map((die) => die.n_rolls));
    this.#on.onFigures(statistics);
  }
}

async function read(url, signal) {
  try {
    const response = await fetch(url, { cache: "no-cache", signal });
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
