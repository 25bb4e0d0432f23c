// The fairness cards: the bars follow each roll, the verdict and the mean follow the server's
// statistics.
import { percent, set } from "./axis.js";
import { Figures } from "./figures.js";
import { Pace } from "./pace.js";
import { capitalized, decimal, fixed, grouped, write } from "./words.js";

// The free space above the highest bar, as a fraction of its height.
const HEADROOM = 0.08;

export class Fairness {
  #cards = new Map();
  #figures;
  #asOf;
  #pace = new Pace(() => this.#draw());
  // Rolls since the statistics were requested, which they may lack.
  #newer;

  /** `root` is the element of the template `_fairness`. */
  constructor(root) {
    for (const card of root.querySelectorAll("[data-die]")) {
      this.#cards.set(card.dataset.die, new Card(card));
    }
    const { stats: url, asOf, everyMs } = root.dataset;
    const nRolls = Math.max(0, ...[...this.#cards.values()].map((card) => card.nRolls));
    this.#asOf = Number(asOf);
    this.#figures = new Figures(
      { url, everyMs: Number(everyMs), nRolls },
      {
        onRequest: () => (this.#newer = []),
        onFigures: (statistics) => this.#replace(statistics),
      },
    );
  }

  /** Marks the results of a roll, and counts it unless the figures on the page include it. */
  add(roll) {
    this.#figures.want();
    for (const { name, result } of roll.dice) this.#cards.get(name)?.mark(result);
    this.#newer?.push(roll);
    this.#count(roll);
    this.#pace.want();
  }

  /** Call this when the page skips rolls. */
  skip() {
    this.#figures.renew();
  }

  /** While held, nothing changes on the page. */
  hold(held) {
    // The request that they belong to is aborted.
    if (held) this.#newer = undefined;
    this.#figures.hold(held);
    this.#pace.hold(held);
  }

  #count(roll) {
    if (roll.id <= this.#asOf) return;
    this.#asOf = roll.id;
    for (const { name, result } of roll.dice) this.#cards.get(name)?.count(result);
  }

  #replace({ as_of: asOf, dice }) {
    this.#asOf = asOf;
    for (const report of dice) this.#cards.get(report.die)?.replace(report);
    for (const roll of this.#newer) this.#count(roll);
    this.#newer = undefined;
    this.#pace.want();
  }

  #draw() {
    for (const card of this.#cards.values()) card.draw();
  }
}

class Card {
  nRolls = 0;
  #bars;
  #band;
  #expected;
  #last;
  #verdict;
  #reason;
  #rolls;
  #mean;

  constructor(card) {
    this.#bars = [...card.querySelectorAll(".bar")].map((element) => new Bar(element));
    this.#band = card.querySelector(".band");
    this.#expected = card.querySelector(".expected");
    for (const bar of this.#bars) this.nRolls += bar.nRolls;
    this.#verdict = card.querySelector(".verdict");
    this.#reason = card.querySelector(".reason");
    this.#rolls = card.querySelector(".n-rolls");
    this.#mean = card.querySelector(".mean");
  }

  mark(result) {
    this.#last = this.#barOf(result);
  }

  count(result) {
    const bar = this.#barOf(result);
    if (!bar) return;
    this.nRolls += 1;
    bar.nRolls += 1;
  }

  #barOf(result) {
    return this.#bars.find(({ from, to }) => from <= result && result <= to);
  }

  replace({ n_rolls: nRolls, mean, results, fairness }) {
    this.nRolls = nRolls;
    results.forEach((result, i) => this.#bars[i]?.replace(result, nRolls));
    const { verdict, reason } = fairness;
    write(this.#verdict, capitalized(verdict));
    this.#verdict.dataset.verdict = verdict;
    write(this.#reason, reason);
    this.#reason.hidden = !verdict.includes("alarm");
    write(this.#mean, mean.seen === null ? "–" : decimal(mean.seen, 2));
  }

  draw() {
    write(this.#rolls, grouped(this.nRolls));
    const heights = this.#bars.map((bar) => Math.max(bar.nRolls, bar.high * this.nRolls));
    const top = Math.max(1, ...heights) * (1 + HEADROOM);
    for (const bar of this.#bars) bar.draw(top, bar === this.#last);
    const stairs = (part) => this.#stairs((bar) => (part(bar) * this.nRolls) / top);
    const [low, high] = [stairs((bar) => bar.low), stairs((bar) => bar.high)];
    set(this.#band, { points: [...high, ...low.reverse()].join(" ") });
    set(this.#expected, { points: stairs((bar) => bar.expected).join(" ") });
  }

  // The points of a line that is level above each bar.
  #stairs(height) {
    const width = 100 / this.#bars.length;
    return this.#bars.flatMap((bar, i) => {
      const y = 100 - 100 * height(bar);
      return [i, i + 1].map((n) => `${fixed(n * width, 2)},${fixed(y, 2)}`);
    });
  }
}

// The bar of one result, or of several neighbouring ones.
class Bar {
  nRolls;
  // The range of a fair die and its middle, as fractions of all rolls.
  low;
  high;
  expected;
  #element;

  constructor(element) {
    this.#element = element;
    const { from, to, nRolls, low, high, expected } = element.dataset;
    [this.from, this.to, this.nRolls] = [from, to, nRolls].map(Number);
    [this.low, this.high, this.expected] = [low, high, expected].map(Number);
  }

  replace({ n_rolls: nRolls, low, high, expected }, nAll) {
    this.nRolls = nRolls;
    [this.low, this.high, this.expected] = [low, high, expected].map((n) => n / (nAll || 1));
  }

  draw(top, isLast) {
    const height = (100 * this.nRolls) / top;
    set(this.#element, { y: percent(100 - height), height: percent(height) });
    this.#element.classList.toggle("last", isLast);
  }
}
