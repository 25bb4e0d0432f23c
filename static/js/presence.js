// Detects when the page stops without being closed, and when it continues: after it was in the
// back/forward cache or frozen in the background, or after the machine slept or changed networks.
// Then its stream may be dead without an error.
// https://wicg.github.io/page-lifecycle/

const TICK_MS = 1_000;
const SLEPT_MS = 5_000;

export class Presence {
  #on;
  #away = false;
  #slept = false;
  #tickedAt = Date.now();

  /** `on` has onAway(), before the page may stop, and onBack(), after it may have stopped. */
  constructor(on) {
    this.#on = on;
    addEventListener("pagehide", () => this.#leave());
    addEventListener("pageshow", () => this.#comeBack());
    document.addEventListener("freeze", () => this.#leave());
    document.addEventListener("resume", () => this.#comeBack());
    addEventListener("online", () => this.#on.onBack());
    document.addEventListener("visibilitychange", () => this.#tick());
    setInterval(() => this.#tick(), TICK_MS);
  }

  #leave() {
    this.#away = true;
    this.#on.onAway();
  }

  #comeBack() {
    if (!this.#away) return;
    this.#away = false;
    this.#on.onBack();
  }

  // No event announces sleep, but the clock has jumped when the machine wakes. It also seems to
  // jump in a hidden page with throttled timers. Such a page reacts when it is shown.
  #tick() {
    const now = Date.now();
    if (now - this.#tickedAt > SLEPT_MS) this.#slept = true;
    this.#tickedAt = now;
    if (!this.#slept || this.#away || document.hidden) return;
    this.#slept = false;
    this.#on.onBack();
  }
}
