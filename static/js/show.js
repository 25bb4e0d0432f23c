// What the pages without navigation do: they draw the newest roll and the results before it.
import { Columns } from "./columns.js";
import { parseCursor } from "./cursor.js";
import { Delays } from "./delays.js";
import { Follow } from "./follow.js";
import { settle } from "./settle.js";
import { write } from "./words.js";
import { local } from "./zone.js";

// A page that was hidden for long asks for the newest rolls instead of all that it missed.
const MANY_ROLLS = 1_000;

const WORDS = {
  connecting: () => "Connecting…",
  live: () => "Live",
  reconnecting: () => "Reconnecting…",
  busy: () => "Too many people are watching. Trying again…",
  stalled: (clock) => (clock ? `No new rolls since ${clock}` : "No rolls yet"),
};

export class Show {
  #root = document.getElementById("show");
  #state = document.getElementById("state");
  #columns;
  #follow;
  #delays = new Delays();
  #isRefreshing = false;

  /** Follows the stream. Calls `onDraw` after a roll is drawn. */
  constructor(onDraw) {
    const { stream: url, cursor } = this.#root.dataset;
    this.#columns = new Columns(this.#root, (dice) => {
      settle(dice, this.#everyMs);
      onDraw();
    });
    this.#follow = new Follow({ url, cursor, everyMs: this.#everyMs }, {
      onState: (name) => this.#tell(name),
      onSync: ({ anotherHistory, headId }) => {
        if (anotherHistory || headId - this.#columns.id > MANY_ROLLS) this.#refresh();
      },
      onRoll: (roll) => {
        // The server may roll other dice since its last restart.
        if (this.#columns.fits(roll)) this.#columns.add(roll);
        else this.#refresh();
      },
    });
  }

  get #everyMs() {
    return Number(this.#root.dataset.everyMs);
  }

  #tell(name) {
    this.#state.dataset.state = name;
    const { rolledAt } = parseCursor(this.#follow.cursor);
    const clock = Number.isFinite(rolledAt.getTime()) && local(rolledAt).clock;
    write(this.#state.querySelector(".state-words"), WORDS[name](clock));
  }

  // Replaces the dice by those that the server shows now.
  async #refresh() {
    if (this.#isRefreshing) return;
    this.#isRefreshing = true;
    this.#follow.close();
    let page = null;
    while (!page) {
      // Not at once, because all pages notice a new history at the same moment.
      const delayMs = this.#delays.next();
      await new Promise((resume) => setTimeout(resume, delayMs));
      if (document.hidden) await becomesVisible();
      page = await readPage();
    }
    for (const id of ["columns", "caption"]) {
      document.getElementById(id).replaceChildren(...page.getElementById(id).children);
    }
    const { cursor, everyMs } = page.getElementById("show").dataset;
    Object.assign(this.#root.dataset, { cursor, everyMs });
    this.#columns.restart();
    this.#isRefreshing = false;
    this.#follow.restart(cursor, this.#everyMs);
  }
}

function becomesVisible() {
  return new Promise((resume) => {
    document.addEventListener("visibilitychange", resume, { once: true });
  });
}

async function readPage() {
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) return null;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    return page.getElementById("show") && page;
  } catch {
    return null;
  }
}
