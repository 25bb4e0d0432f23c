// Shows the outcomes of checks. The server writes the list without outcomes.

const STATES = { yes: "Passed.", no: "Failed.", open: "Not proven." };

export class Checklist {
  #list;
  #verdict;

  /** `list` has an item for each check, and `verdict` is a status that screen readers announce. */
  constructor(list, verdict) {
    this.#list = list;
    this.#verdict = verdict;
  }

  /** Removes all outcomes before the first check. */
  reset(words) {
    for (const item of this.#list.children) this.#write(item, "waiting", "Not checked yet.", "");
    this.#conclude("waiting", words);
  }

  start(name) {
    this.#write(this.#item(name), "running", "Checking…", "");
  }

  progress(name, n_hashes) {
    if (n_hashes < 50_000) return;
    this.#item(name).querySelector(".check-words").textContent = `${n_hashes} hashes so far`;
  }

  /** `state` is the outcome in words, if the usual ones do not fit. */
  show(name, { outcome, words, state = STATES[outcome] }) {
    this.#write(this.#item(name), outcome, state, words);
  }

  /** Says what the outcomes of all checks mean for the roll. */
  conclude(id, outcomes) {
    if (outcomes.includes("no")) {
      this.#conclude("no", `Roll ${id} failed. Do not trust it, and keep the proof file.`);
    } else if (outcomes.includes("open")) {
      this.#conclude("open", `Roll ${id} failed no check, but not everything is proven.`);
    } else {
      this.#conclude("yes", `Roll ${id} passed every check.`);
    }
  }

  /** Shows why nothing can be checked. */
  refuse(words) {
    this.reset(words);
    this.#verdict.dataset.outcome = "no";
  }

  #item(name) {
    return this.#list.querySelector(`[data-check="${name}"]`);
  }

  #write(item, outcome, state, words) {
    item.dataset.outcome = outcome;
    item.querySelector(".check-state").textContent = state;
    item.querySelector(".check-words").textContent = words;
  }

  #conclude(outcome, words) {
    this.#verdict.dataset.outcome = outcome;
    this.#verdict.textContent = words;
  }
}
