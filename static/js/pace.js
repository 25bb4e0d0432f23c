// Draws at most four times a second, and not while it is held.

const APART_MS = 250;

export class Pace {
  #draw;
  #isWanted = false;
  #isHeld = false;
  #timer;

  constructor(draw) {
    this.#draw = draw;
  }

  /** Call this when there is something to draw. */
  want() {
    this.#isWanted = true;
    this.#run();
  }

  hold(isHeld) {
    this.#isHeld = isHeld;
    this.#run();
  }

  #run() {
    if (!this.#isWanted || this.#isHeld || this.#timer) return;
    this.#isWanted = false;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#run();
    }, APART_MS);
    this.#draw();
  }
}
