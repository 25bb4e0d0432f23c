// The list of rolls: newest first, without duplicates, at most `limit` rows.
import { parseCursor } from "./cursor.js";
import { gapRow, rollRow } from "./row.js";
import { writeTimes } from "./zone.js";

// More than three flashes a second can cause seizures.
// https://www.w3.org/WAI/WCAG22/Understanding/three-flashes-or-below-threshold
const FLASHES_APART_MS = 1_000 / 3;

export class Rows {
  #list;
  #templates;
  #older;
  #cursor;
  #newestId;
  #queue = [];
  #held = false;
  #waiting = 0;
  #frame;
  #timer;

  /** Takes the templates of a `roll` and a `gap`, and the element with the link to older rolls. */
  constructor(list, { roll, gap, older }) {
    this.#list = list;
    this.#templates = { roll, gap };
    this.#older = older;
    this.#startFrom(list.dataset.cursor);
  }

  /** The cursor of the newest roll, shown or not. */
  get cursor() {
    return this.#cursor;
  }

  get newestId() {
    return this.#newestId;
  }

  get limit() {
    return Number(this.#list.dataset.rowLimit);
  }

  /** Time between rolls, from the page. */
  get everyMs() {
    return Number(this.#list.dataset.everyMs);
  }

  /** The number of rolls that arrived while the rows are held. */
  get waiting() {
    return this.#waiting;
  }

  add(roll) {
    if (roll.id <= this.#newestId) return;
    // Ids have no gaps, so a missing roll was pruned or is damaged.
    const n_missing = roll.id - this.#newestId - 1;
    if (n_missing > 0 && this.#newestId > 0) this.#enqueue({ n_missing });
    this.#enqueue(roll);
    this.#cursor = roll.cursor;
    this.#newestId = roll.id;
    if (this.#held) this.#waiting += 1;
    else this.#schedule();
  }

  /** While held, rolls queue up instead of being shown. */
  hold(held) {
    this.#held = held;
    this.#waiting = 0;
    if (!held) this.#schedule();
  }

  /** Replaces the rows and the cursor by those of another page's list. */
  replace(list) {
    this.#queue = [];
    Object.assign(this.#list.dataset, list.dataset);
    this.#list.replaceChildren(...list.children);
    writeTimes(this.#list);
    this.#startFrom(list.dataset.cursor);
    this.#linkOlder();
  }

  #startFrom(cursor) {
    this.#cursor = cursor;
    this.#newestId = parseCursor(cursor)?.id ?? 0;
  }

  #enqueue(entry) {
    this.#queue.push(entry);
    if (this.#queue.length > this.limit) this.#queue.shift();
  }

  // At most one insertion per frame. A hidden page has no frames, so a timer inserts its rows.
  #schedule() {
    this.#frame ??= requestAnimationFrame(() => this.#show());
    this.#timer ??= setTimeout(() => this.#show(), 500);
  }

  #show() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
    this.#frame = this.#timer = undefined;
    if (this.#held) return;

    const entries = this.#queue.splice(0).reverse();
    this.#list.prepend(...entries.map((entry) => this.#row(entry)));
    this.#list.dataset.cursor = this.#cursor;
    this.#trim();
  }

  #trim() {
    if (this.#list.children.length <= this.limit) return;
    while (this.#list.children.length > this.limit) this.#list.lastElementChild.remove();
    this.#linkOlder();
  }

  // The link continues after the last row.
  #linkOlder() {
    const oldest = parseCursor(this.#list.lastElementChild?.dataset.cursor);
    this.#older.hidden = !oldest || oldest.id === 1;
    if (oldest) this.#older.querySelector("a").search = `?before=${oldest.id}`;
  }

  #row(entry) {
    if (entry.n_missing) return gapRow(this.#templates.gap, entry.n_missing);
    const row = rollRow(this.#templates.roll, entry);
    row.classList.toggle("fresh", this.everyMs > FLASHES_APART_MS);
    return row;
  }
}
