// The newest roll, large, at a fixed place.
import { drawDie } from "./die.js";
import { grouped, write } from "./words.js";
import { writeTime } from "./zone.js";

export class Felt {
  #newest;
  #link;
  #number;
  #time;
  #cup;
  #aim;
  #shownId;

  /** `aim` is an Aim in `felt`. A roll whose link the visitor is about to open stays. */
  constructor(felt, aim) {
    this.#newest = felt.querySelector(".newest");
    this.#link = this.#newest.querySelector("a");
    this.#number = felt.querySelector(".newest-number");
    this.#time = felt.querySelector(".newest-time");
    this.#cup = felt.querySelector(".dice");
    this.#aim = aim;
  }

  show(roll) {
    if (!roll || roll.id === this.#shownId || this.#aim.isAt(this.#link)) return;
    this.#shownId = roll.id;
    this.#newest.hidden = false;
    this.#link.setAttribute("href", `/rolls/${roll.id}`);
    write(this.#number, grouped(roll.id));
    writeTime(this.#time, roll.rolledAt);
    this.#fill(roll.dice.length);
    roll.dice.forEach((die, i) => drawDie(this.#cup.children[i], die));
  }

  // The dice change when the server is configured anew.
  #fill(nDice) {
    const dice = this.#cup.children;
    while (dice.length < nDice) this.#cup.append(dice[0].cloneNode(true));
    while (dice.length > nDice) this.#cup.lastElementChild.remove();
  }
}
