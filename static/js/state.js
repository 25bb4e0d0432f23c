// Shows the state of the page. A screen reader announces each change of the state. The changing
// number beside it is hidden from screen readers.
import { grouped } from "./words.js";

const TEXTS = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  busy: "Waiting",
  stalled: "No new rolls",
  paused: "Paused",
};
// A page that is shown again usually connects within this time. "Connecting…" would only flicker.
const SOON_MS = 1_000;

export class State {
  #element;
  #text = document.createElement("span");
  #detail = document.createElement("span");
  #connection;
  #paused = false;
  #nWaiting = 0;
  #timer;

  constructor(element) {
    this.#element = element;
    this.#detail.setAttribute("aria-hidden", "true");
    element.replaceChildren(this.#text, this.#detail);
    this.#set("connecting");
  }

  /** Takes the name that Follow's onState gets. */
  connection(name) {
    clearTimeout(this.#timer);
    const isBack = name === "connecting" && this.#connection === "live";
    if (isBack) this.#timer = setTimeout(() => this.#set(name), SOON_MS);
    else this.#set(name);
  }

  paused(isPaused) {
    this.#paused = isPaused;
    this.#nWaiting = 0;
    this.#show();
  }

  /** How many rolls are not shown yet. */
  waiting(nRolls) {
    this.#nWaiting = nRolls;
    if (this.#paused) this.#show();
  }

  #set(connection) {
    this.#connection = connection;
    this.#show();
  }

  #show() {
    const name = this.#paused ? "paused" : this.#connection;
    if (this.#element.dataset.state !== name) {
      this.#element.dataset.state = name;
      this.#text.textContent = TEXTS[name];
    }
    const detail = this.#paused ? ` · ${grouped(this.#nWaiting)} new` : "";
    if (this.#detail.textContent !== detail) this.#detail.textContent = detail;
  }
}
