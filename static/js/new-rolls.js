// Counts the rolls since the page was made, in a link to a page that has them: "3 new rolls ↑".
import { parseCursor } from "./cursor.js";
import { Follow } from "./follow.js";

// The count changes at most this often.
const SHOW_MS = 250;
const MAX_SHOWN = 999;
// If more rolls were missed, they are not replayed. The link then says that there are new rolls, but
// not how many.
const MAX_REPLAY = 5_000;

export class NewRolls {
  #link;
  #text;
  #count = 0;
  #more = false;
  #timer;

  /** `link` is hidden. Its data says where the stream continues, and which rolls count. */
  constructor(link) {
    this.#link = link;
    this.#text = link.querySelector(".new-count");
    const { stream, cursor, everyMs } = link.dataset;
    const follow = new Follow({ url: stream, cursor, everyMs: Number(everyMs) }, {
      onState: () => {},
      onSync: ({ anotherHistory, head, headId }) => {
        const isLong = headId - (parseCursor(follow.cursor)?.id ?? 0) > MAX_REPLAY;
        if (isLong) follow.restart(head);
        if (isLong || anotherHistory) this.#add({ more: true });
      },
      onRoll: (roll) => {
        if (this.#belongs(roll)) this.#add({ more: false });
      },
    });
  }

  /** Whether the filter of the page shows a roll. */
  #belongs({ rolledAt, dice }) {
    const { die, result, untilMs } = this.#link.dataset;
    const isOfDay = untilMs === undefined || rolledAt.getTime() < Number(untilMs);
    const matches = (of) => of.name === die && (result === undefined || of.result === Number(result));
    return isOfDay && (die === undefined || dice.some(matches));
  }

  #add({ more }) {
    this.#more ||= more;
    this.#count += more ? 0 : 1;
    this.#timer ??= setTimeout(() => this.#show(), SHOW_MS);
  }

  #show() {
    this.#timer = undefined;
    this.#text.textContent = this.#words();
    this.#link.hidden = false;
  }

  #words() {
    if (this.#more) return "New rolls";
    if (this.#count > MAX_SHOWN) return `${MAX_SHOWN}+ new rolls`;
    return this.#count === 1 ? "1 new roll" : `${this.#count} new rolls`;
  }
}
