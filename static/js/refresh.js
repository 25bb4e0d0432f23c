// Reads the page again when its rows cannot be continued.
import { Delays } from "./delays.js";

export class Refresh {
  #onList;
  #delays = new Delays();
  #timer;
  #wanted = false;
  #held = false;

  /** `onList` gets the `<ol id="rolls">` of the page as it is now. */
  constructor(onList) {
    this.#onList = onList;
  }

  /** Whether a new page is still to come. */
  get wanted() {
    return this.#wanted;
  }

  want() {
    this.#wanted = true;
    this.#schedule();
  }

  /** A held page is not changed under its reader. */
  hold(held) {
    this.#held = held;
    this.#schedule();
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (!this.#wanted || this.#held) return;
    // Even the first try waits: all pages learn of a new history at once.
    this.#timer = setTimeout(() => this.#read(), this.#delays.next());
  }

  async #read() {
    const list = await readList();
    if (!this.#wanted || this.#held) return;
    if (!list) return this.#schedule();
    this.#wanted = false;
    this.#onList(list);
  }
}

async function readList() {
  try {
    const response = await fetch(location.pathname, { cache: "no-store" });
    if (!response.ok) return null;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    return page.getElementById("rolls");
  } catch {
    return null;
  }
}
