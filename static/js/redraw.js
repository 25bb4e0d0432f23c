// Draws the figures anew as the server has them: those marked with data-live, so that an open
// table stays open and the focus stays where it is.

// However fast rolls come, and not for all pages at once.
const APART_MS = 2_000;
const SPREAD_MS = 1_000;

export class Redraw {
  #figures;
  #wanted = false;
  #timer;

  /** `figures` holds what is marked, and the cursor of the roll it is as of. */
  constructor(figures) {
    this.#figures = figures;
    document.addEventListener("visibilitychange", () => this.#schedule());
  }

  /** There is something new. */
  want() {
    this.#wanted = true;
    this.#schedule();
  }

  #schedule() {
    // Nobody looks at a hidden page; it catches up when it is shown.
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
