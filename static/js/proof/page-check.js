// "Check it here" on the pages of rolls and of draws: reads the proof of the page's roll from the
// server and verifies it in the browser.
import { Checklist } from "./checklist.js";
import { Notes } from "./notes.js";
import { Server } from "./server.js";
import { verifyRoll } from "./verification.js";

export class PageCheck {
  #id;
  #button;
  #results;
  #checklist;
  #page;

  /**
   * `section` holds the button and the list of checks. `page(leaf)` compares what the page shows
   * with the leaf of the roll `id`.
   */
  constructor(section, id, page) {
    this.#id = id;
    this.#page = page;
    this.#button = section.querySelector("#check");
    this.#results = section.querySelector("#check-results");
    const [list, verdict] = ["#checks", "#verdict"].map((part) => section.querySelector(part));
    this.#checklist = new Checklist(list, verdict);
    this.#button.addEventListener("click", () => this.#check());
    this.#button.hidden = false;
  }

  async #check() {
    // Not `disabled`, which would move the focus.
    if (this.#button.getAttribute("aria-disabled") === "true") return;
    this.#button.setAttribute("aria-disabled", "true");
    this.#results.hidden = false;
    this.#checklist.reset(`Checking roll ${this.#id}…`);
    try {
      const server = new Server(location.origin);
      const { key: keyText, oldest } = await server.log();
      const file = await server.proof(this.#id);
      if (!file) throw new Error(`The server no longer keeps the proof of roll ${this.#id}.`);
      const of = { id: this.#id, file, keyText, server, oldest };
      await verifyRoll({ ...of, notes: Notes.ofBrowser(), page: this.#page }, this.#checklist);
    } catch (error) {
      this.#checklist.refuse(error.message);
    } finally {
      this.#button.removeAttribute("aria-disabled");
    }
  }
}
