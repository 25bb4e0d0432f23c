// The dice of the newest roll, each with the results before it. Only values change: every element
// keeps its place.
import { parseCursor } from "./cursor.js";
import { drawDie } from "./die.js";
import { Pace } from "./pace.js";
import { grouped, write } from "./words.js";

export class Columns {
  #root;
  #onDraw;
  #columns;
  // Newest first: the id of a roll and its result by the name of the die.
  #recent;
  #pace = new Pace(() => this.#draw());

  /** Takes the element that the server has filled. Calls `onDraw` after a roll is drawn. */
  constructor(root, onDraw) {
    this.#root = root;
    this.#onDraw = onDraw;
    this.restart();
  }

  /** The id of the newest roll. */
  get id() {
    return this.#recent[0].id;
  }

  /** Starts again from the results that the server has written into new elements. */
  restart() {
    const newest = parseCursor(this.#root.dataset.cursor)?.id ?? 0;
    this.#columns = [...this.#root.querySelectorAll(".column")].map((column) => ({
      name: column.dataset.die,
      die: column.querySelector(".die"),
      result: column.querySelector(".die-result").textContent,
      tail: [...column.querySelectorAll(".tail > li")],
    }));
    const n_before = this.#columns[0]?.tail.length ?? 0;
    this.#recent = Array.from({ length: 1 + n_before }, (_, n_back) => ({
      id: newest - n_back,
      results: new Map(this.#columns.map(({ name, result, tail }) => {
        if (n_back > 0) return [name, tail[n_back - 1].textContent];
        return [name, newest > 0 ? result : ""];
      })),
    }));
  }

  /** Whether a roll has the dice that are shown. */
  fits({ dice }) {
    const showsAll = this.#root.hasAttribute("data-shows-all");
    const isShown = (name) => this.#columns.some((column) => column.name === name);
    const n_common = dice.filter(({ name }) => isShown(name)).length;
    return n_common > 0 && n_common === (showsAll ? dice : this.#columns).length;
  }

  add({ id, dice }) {
    const results = new Map(dice.map(({ name, result }) => [name, result]));
    this.#recent = [{ id, results }, ...this.#recent.slice(0, -1)];
    this.#pace.want();
  }

  #draw() {
    const [{ id, results }, ...before] = this.#recent;
    write(document.getElementById("roll"), grouped(id));
    document.getElementById("roll-link")?.setAttribute("href", `/rolls/${id}`);
    for (const { name, die, tail } of this.#columns) {
      drawDie(die, { name, result: results.get(name) });
      tail.forEach((place, n) => write(place, before[n].results.get(name) ?? ""));
    }
    this.#onDraw(this.#columns.map(({ die }) => die));
  }
}
