// Notices when the page stops without being closed, and when it continues: after the back/forward
// cache, after it was frozen in the background, after the machine slept or changed networks. Its
// stream may have died without an error.
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

  // No event announces that the machine sleeps, but its clock has jumped when it wakes. The clock
  // of a hidden page with slowed timers jumps, too; such a page reacts when it is shown.
  #tick() {
    const now = Date.now();
    if (now - this.#tickedAt > SLEPT_MS) this.#slept = true;
    this.#tickedAt = now;
    if (!this.#slept || this.#away || document.hidden) return;
    this.#slept = false;
    this.#on.onBack();
  }
}
