// Detects when nobody can see the page, and when its stream may be dead without an error: after the
// page was hidden, frozen, or in the back/forward cache, and after the machine slept or changed
// networks.
// https://wicg.github.io/page-lifecycle/

const TICK_MS = 1_000;
const SLEPT_MS = 5_000;

export class Presence {
  #on;
  #isAway = document.hidden;
  #tickedAt = Date.now();

  /** `on` has onAway(), when the page is hidden, and onBack(), when its stream must be renewed. */
  constructor(on) {
    this.#on = on;
    document.addEventListener("visibilitychange", () => this.#look());
    addEventListener("pagehide", () => this.#leave());
    addEventListener("pageshow", () => this.#look());
    document.addEventListener("freeze", () => this.#leave());
    document.addEventListener("resume", () => this.#look());
    addEventListener("online", () => this.#renew());
    setInterval(() => this.#tick(), TICK_MS);
  }

  /** Whether the page is hidden. */
  get isAway() {
    return this.#isAway;
  }

  #look() {
    if (document.hidden) return this.#leave();
    if (!this.#isAway) return;
    this.#isAway = false;
    this.#tickedAt = Date.now();
    this.#on.onBack();
  }

  #leave() {
    if (this.#isAway) return;
    this.#isAway = true;
    this.#on.onAway();
  }

  #renew() {
    if (!this.#isAway) this.#on.onBack();
  }

  // No event announces sleep, but the clock has jumped when the machine wakes.
  #tick() {
    const now = Date.now();
    const hasSlept = now - this.#tickedAt > SLEPT_MS;
    this.#tickedAt = now;
    if (hasSlept) this.#renew();
  }
}
