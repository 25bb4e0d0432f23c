// Says in words why there are no new rolls. The server writes the sentences; this shows and hides
// them.
import { writeTime } from "./zone.js";

// Most interruptions end before anybody needs to read about them.
const LONG_MS = 5_000;
const MISSING_MS = 60_000;

export class Notices {
  #root;
  #timer;
  #missing;
  // The server has caught up with the others at this roll.
  #caughtUpId;

  /** `newestId` is the newest roll on the page as the server sent it. */
  constructor(root, newestId) {
    this.#root = root;
    this.#caughtUpId = newestId + Number(this.#find("behind").dataset.nBehind);
  }

  /** Takes the name that Follow's onState gets, and the time of the newest roll, if there is one. */
  connection(name, newestAt) {
    clearTimeout(this.#timer);
    const isOpen = name === "live" || name === "stalled";
    this.#show("busy", name === "busy");
    if (isOpen || name === "busy") this.#show("lost", false);
    else this.#timer = setTimeout(() => this.#show("lost", true), LONG_MS);
    if (name !== "stalled" || !newestAt) return;
    writeTime(this.#find("stalled").querySelector("time"), newestAt);
    this.#show("stalled", true);
  }

  /** The roll with this id has arrived. */
  rolled(id) {
    for (const name of ["stalled", "none"]) this.#show(name, false);
    if (id >= this.#caughtUpId) this.#show("behind", false);
  }

  /** Rolls between those on the page cannot be read. */
  missing(nRolls) {
    this.#find("missing").querySelector(".n-missing").textContent = nRolls;
    this.#show("missing", true);
    clearTimeout(this.#missing);
    this.#missing = setTimeout(() => this.#show("missing", false), MISSING_MS);
  }

  #find(name) {
    return this.#root.querySelector(`[data-notice="${name}"]`);
  }

  #show(name, isShown) {
    const notice = this.#find(name);
    if (notice.hidden === isShown) notice.hidden = !isShown;
  }
}
