// Elects a leader among the tabs of this browser: the tab that holds a lock. When it closes,
// crashes or releases the lock, the next tab in the queue acquires it.
// https://w3c.github.io/web-locks/

export class Lead {
  #name;
  #onChange;
  #leaving = new AbortController();
  #left = new Promise((left) => this.#leaving.signal.addEventListener("abort", left));
  #n_held = 0;

  /** Joins the queue. Calls `onChange` when this tab becomes the leader or stops being it. */
  constructor(name, onChange) {
    this.#name = name;
    this.#onChange = onChange;
    this.#wait();
  }

  get isOurs() {
    return this.#n_held > 0;
  }

  /** Steals the lock from a leader that does not respond. */
  take() {
    this.#request({ steal: true });
  }

  /** Releases the lock, or leaves the queue, permanently. */
  leave() {
    this.#leaving.abort();
  }

  async #wait() {
    const { signal } = this.#leaving;
    // A tab whose lock was stolen joins the queue again.
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
      // After any other error this page may not use locks at all.
      if (name !== "AbortError") this.leave();
    }
    this.#count(-held);
  }

  #count(n_more) {
    this.#n_held += n_more;
    if (n_more !== 0 && !this.#leaving.signal.aborted) this.#onChange();
  }
}
