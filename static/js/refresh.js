// Reloads the list of rolls when new rolls do not continue its rows.
import { Delays } from "./delays.js";

export class Refresh {
  #onList;
  #delays = new Delays();
  #timer;
  #wanted = false;
  #held = false;

  /** Calls `onList` with the `<ol id="rolls">` of the new page. */
  constructor(onList) {
    this.#onList = onList;
  }

  /** Whether a reload was requested and has not finished. */
  get wanted() {
    return this.#wanted;
  }

  want() {
    this.#wanted = true;
    this.#schedule();
  }

  /** While held, the page does not change. */
  hold(held) {
    this.#held = held;
    this.#schedule();
  }

  #schedule() {
    clearTimeout(this.#timer);
    if (!this.#wanted || this.#held) return;
    // Delay the first attempt too, because all pages notice a new history at the same moment.
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
