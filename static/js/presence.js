// Notices when the page goes away without being closed, and when it is back: from the back/forward
// cache, from a freeze in the background, from a machine that slept or changed networks. A stream
// may have died meanwhile without a word.
// https://wicg.github.io/page-lifecycle/

const TICK_MS = 1_000;
const SLEPT_MS = 5_000;

export class Presence {
  #on;
  #away = false;
  #slept = false;
  #tickedAt = Date.now();

  /** `on` has onAway(), for a page that is about to stop, and onBack(), for one that may have. */
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

  // A machine that sleeps tells nobody; its clock has jumped when it wakes. So has that of a page
  // whose timers are slowed down since nobody looks: it asks when somebody does.
  #tick() {
    const now = Date.now();
    if (now - this.#tickedAt > SLEPT_MS) this.#slept = true;
    this.#tickedAt = now;
    if (!this.#slept || this.#away || document.hidden) return;
    this.#slept = false;
    this.#on.onBack();
  }
}
