// The last rolls, in fixed slots. Each new roll takes the place of the oldest, so that everything
// else stays where the visitor is reading or aiming.
import { isRare, labelOf } from "./die.js";
import { grouped, write } from "./words.js";

const MISSING = "⋯";

export class Slots {
  #list;
  #heads;
  #aim;
  #all;
  // The slots that this width of the screen shows, and which of them has the newest roll.
  #shown;
  #newest;
  #names;

  /** `heads` are the names of the dice. `aim` is an Aim that observes `list`. */
  constructor(list, heads, aim) {
    this.#list = list;
    this.#heads = heads;
    this.#aim = aim;
    this.#names = [...heads.children].map((head) => head.dataset.die);
    this.#all = [...list.querySelectorAll(".slot")].map((item) => new Slot(item, this.#names));
    this.#shown = this.#visible();
    this.#newest = this.#shown.length - 1;
    addEventListener("resize", () => this.#arrange());
  }

  /** How many rolls the widest screen shows. */
  get size() {
    return this.#all.length;
  }

  /**
   * Shows new entries, oldest first: rolls, and { nMissing } in the place of rolls that cannot be
   * read.
   */
  draw(entries) {
    const roll = entries.findLast(({ dice }) => dice);
    if (roll) this.#rename(roll.dice.map(({ name }) => name));
    const nFree = this.#shown.filter((slot) => !this.#aim.isAt(slot.link)).length;
    for (const entry of entries.slice(-nFree)) this.#next().show(entry, this.#names);
    this.#mark();
  }

  clear() {
    for (const slot of this.#all) slot.show(null, this.#names);
    this.#newest = this.#shown.length - 1;
  }

  // A slot at which the visitor is aiming keeps its roll and is left out.
  #next() {
    do this.#newest = (this.#newest + 1) % this.#shown.length;
    while (this.#aim.isAt(this.#shown[this.#newest].link));
    return this.#shown[this.#newest];
  }

  #mark() {
    this.#shown.forEach((slot, i) => slot.mark(i === this.#newest));
  }

  #visible() {
    return this.#all.filter((slot) => slot.isVisible);
  }

  // The number of visible slots changes with the width of the window. The newest roll comes last.
  #arrange() {
    const shown = this.#visible();
    if (shown.length === this.#shown.length) return;
    const order = [...this.#shown.slice(this.#newest + 1), ...this.#shown.slice(0, this.#newest + 1)];
    const entries = order.map((slot) => slot.entry).slice(-shown.length);
    for (const slot of this.#all) slot.mark(false);
    this.#shown = shown;
    this.clear();
    this.#newest -= entries.length;
    for (const entry of entries) shown[++this.#newest].show(entry, this.#names);
    this.#mark();
  }

  // The dice change when the server is configured anew.
  #rename(names) {
    if (String(names) === String(this.#names)) return;
    this.#names = names;
    const head = this.#heads.firstElementChild;
    const heads = names.map((name) => {
      const copy = head.cloneNode(true);
      copy.dataset.die = name;
      copy.textContent = labelOf(name).replace(", sum", " Σ");
      return copy;
    });
    this.#heads.replaceChildren(...heads);
    for (const slot of this.#all) slot.show(slot.entry, names);
  }
}

class Slot {
  #item;
  #words;
  #cells;
  link;
  entry = null;

  constructor(item, names) {
    this.#item = item;
    this.link = item.querySelector("a");
    this.#words = item.querySelector(".visually-hidden");
    this.#cells = [...item.querySelectorAll(".result")];
    if (this.link.hasAttribute("href")) this.entry = this.#read(names);
  }

  get isVisible() {
    return getComputedStyle(this.#item).display !== "none";
  }

  // The roll that the server wrote.
  #read(names) {
    const dice = names.map((name, i) => ({ name, result: parseInt(this.#cells[i].textContent) }));
    const id = Number(this.link.getAttribute("href").split("/").at(-1));
    return { id, dice: dice.filter(({ result }) => result) };
  }

  /** Shows a roll, { nMissing }, or nothing. */
  show(entry, names) {
    this.entry = entry;
    if (!entry) this.#item.setAttribute("aria-hidden", "true");
    else this.#item.removeAttribute("aria-hidden");
    if (entry?.dice) this.link.setAttribute("href", `/rolls/${entry.id}`);
    else this.link.removeAttribute("href");
    write(this.#words, wordsOf(entry));

    while (this.#cells.length < names.length) this.#addCell();
    while (this.#cells.length > names.length) this.#cells.pop().remove();
    names.forEach((name, i) => {
      const die = entry?.dice?.find((die) => die.name === name);
      write(this.#cells[i], die?.result ?? placeholder(entry));
      this.#cells[i].classList.toggle("rare", die !== undefined && isRare(die));
    });
  }

  mark(isNewest) {
    if (isNewest) this.link.setAttribute("aria-current", "true");
    else this.link.removeAttribute("aria-current");
  }

  #addCell() {
    const cell = this.#cells[0].cloneNode(true);
    this.#cells.push(cell);
    this.link.append(cell);
  }
}

function placeholder(entry) {
  if (!entry) return "";
  return entry.nMissing ? MISSING : "–";
}

function wordsOf(entry) {
  if (!entry) return "";
  if (entry.nMissing) return `${entry.nMissing} missing`;
  const dice = entry.dice.map(({ name, result }) => `${labelOf(name).replace(",", "")} ${result}`);
  return `Roll ${grouped(entry.id)}: ${dice.join(", ")}`;
}
