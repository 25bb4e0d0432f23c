// The lead among the tabs of this browser: a lock that one of them holds. When that one closes,
// crashes or leaves, the next in line has it.
// https://w3c.github.io/web-locks/

export class Lead {
  #name;
  #onChange;
  #leaving = new AbortController();
  #left = new Promise((left) => this.#leaving.signal.addEventListener("abort", left));
  #n_held = 0;

  /** Waits in line. `onChange` is called when the lead is ours, and when another tab took it. */
  constructor(name, onChange) {
    this.#name = name;
    this.#onChange = onChange;
    this.#wait();
  }

  get isOurs() {
    return this.#n_held > 0;
  }

  /** Takes it from a tab that does nothing with it. */
  take() {
    this.#request({ steal: true });
  }

  /** Gives it up, or the place in the line; for good. */
  leave() {
    this.#leaving.abort();
  }

  async #wait() {
    const { signal } = this.#leaving;
    // Whom it was taken from stands in line again.
    while (!signal.aborted) await this.#request({ signal });
  }

  async #request(options) {
    let held = 0;
    try {
      await navigator.locks.request(this.#name, options, () => {
        held = 1;
        this.#count(held);
        return this.#left;
      });
    } catch ({ name }) {
      // Otherwise this page is not allowed any locks, and never will be.
      if (name !== "AbortError") this.leave();
    }
    this.#count(-held);
  }

  #count(n_more) {
    this.#n_held += n_more;
    if (n_more !== 0 && !this.#leaving.signal.aborted) this.#onChange();
  }
}
