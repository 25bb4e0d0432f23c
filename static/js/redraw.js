// Replaces the elements marked with data-live by the server's current ones. Everything else is
// unchanged, so an open table stays open and the focus does not move.

// The minimum interval between two updates, plus a random part of the spread.
const APART_MS = 2_000;
const SPREAD_MS = 1_000;

export class Redraw {
  #figures;
  #wanted = false;
  #timer;

  /** `figures` contains the marked elements, and the cursor of the newest roll in them. */
  constructor(figures) {
    this.#figures = figures;
    document.addEventListener("visibilitychange", () => this.#schedule());
  }

  /** Call this when there is a new roll. */
  want() {
    this.#wanted = true;
    this.#schedule();
  }

  #schedule() {
    // A hidden page is updated when it is shown.
    if (!this.#wanted || document.hidden) return;
    this.#timer ??= setTimeout(() => this.#draw(), APART_MS + Math.random() * SPREAD_MS);
  }

  async #draw() {
    this.#wanted = false;
    const figures = await readFigures();
    if (figures) this.#replace(figures);
    else this.#wanted = true;
    this.#timer = undefined;
    this.#schedule();
  }

  #replace(figures) {
    const old = [...this.#figures.querySelectorAll("[data-live]")];
    const fresh = [...figures.querySelectorAll("[data-live]")];
    this.#figures.dataset.cursor = figures.dataset.cursor;
    const alike = old.length === fresh.length && old.every((part, i) => part.id === fresh[i].id);
    if (alike) old.forEach((part, i) => part.replaceWith(fresh[i]));
    else this.#figures.replaceChildren(...figures.children);
  }
}

async function readFigures() {
  try {
    const response = await fetch(location.pathname, { cache: "no-store" });
    if (!response.ok) return null;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    return page.getElementById("stats");
  } catch {
    return null;
  }
}
