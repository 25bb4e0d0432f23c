// Shows the state of the page. A screen reader announces each change of the state. The changing
// numbers beside it are hidden from screen readers.

const TEXTS = {
  connecting: "Connecting…",
  live: "Live",
  reconnecting: "Reconnecting…",
  busy: "Too many streams are open, trying again",
  stalled: "Stalled",
  paused: "Paused",
};

export class State {
  #element;
  #text = document.createElement("span");
  #detail = document.createElement("span");
  #connection = "connecting";
  #silentSeconds = 0;
  #paused = false;
  #n_waiting = 0;

  constructor(element) {
    this.#element = element;
    this.#detail.setAttribute("aria-hidden", "true");
    element.replaceChildren(this.#text, this.#detail);
  }

  /** Takes what Follow's onState gets. */
  connection(name, seconds) {
    this.#connection = name;
    this.#silentSeconds = seconds;
    this.#show();
  }

  paused(paused) {
    this.#paused = paused;
    this.#n_waiting = 0;
    this.#show();
  }

  /** How many rolls arrived during the pause. */
  waiting(n_rolls) {
    if (n_rolls === this.#n_waiting) return;
    this.#n_waiting = n_rolls;
    this.#show();
  }

  #show() {
    const name = this.#paused ? "paused" : this.#connection;
    if (this.#element.dataset.state !== name) {
      this.#element.dataset.state = name;
      this.#text.textContent = TEXTS[name];
    }
    const detail = this.#detailOf(name);
    if (this.#detail.textContent !== detail) this.#detail.textContent = detail;
  }

  #detailOf(name) {
    if (name === "stalled") return `: no roll for ${this.#silentSeconds} s`;
    if (name === "paused") return ` (${this.#n_waiting} new)`;
    return "";
  }
}
