// Knows which link the visitor is about to open, so that it does not change under the pointer.

// A pointer that rests longer than this is not aiming.
const RESTS_MS = 5_000;

export class Aim {
  #link = null;
  #timer;
  #onEnd;

  /** Observes the links in `root`. Calls `onEnd` when the visitor stops aiming at one. */
  constructor(root, onEnd) {
    this.#onEnd = onEnd;
    for (const type of ["pointerover", "pointermove", "pointerdown", "focusin"]) {
      root.addEventListener(type, ({ target }) => this.#at(target.closest("a")));
    }
    for (const type of ["pointercancel", "focusout"]) {
      root.addEventListener(type, () => this.#at(null));
    }
    root.addEventListener("pointerleave", ({ pointerType }) => {
      // A finger leaves before the click.
      if (pointerType === "mouse") this.#at(null);
    });
    addEventListener("pagehide", () => this.#at(null));
  }

  isAt(link) {
    return link === this.#link;
  }

  #at(link) {
    clearTimeout(this.#timer);
    if (link) this.#timer = setTimeout(() => this.#at(null), RESTS_MS);
    if (link === this.#link) return;
    const hasEnded = this.#link !== null;
    this.#link = link;
    if (hasEnded) this.#onEnd();
  }
}
