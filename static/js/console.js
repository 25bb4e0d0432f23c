// The live console: shows rolls as they arrive, and that a client that reconnects misses none.
import { Follow } from "./follow.js";

// Rolls may come a thousand times a second. Nobody reads that fast.
const PAINT_MS = 250;

export class Console {
  #root;
  #listen;
  #cut;
  #report;
  #missed;
  #rows;
  #follow;
  #newest = [];
  #painting;
  #counting;
  /** Set while the console is disconnected, and until all missed rolls have arrived. */
  #gap;

  constructor(root) {
    this.#root = root;
    this.#listen = root.querySelector("#listen-here");
    this.#cut = root.querySelector("#cut");
    this.#report = root.querySelector("#console-report");
    this.#missed = root.querySelector("#console-missed");
    this.#rows = [...root.querySelectorAll(".console-roll")];
    this.#listen.addEventListener("click", () => (this.#follow ? this.#stop() : this.#start()));
    this.#cut.addEventListener("click", () => (this.#isCut ? this.#reconnect() : this.#disconnect()));
    this.#listen.disabled = false;
  }

  get #isCut() {
    return this.#gap !== undefined && this.#gap.headId === undefined;
  }

  #start() {
    const { stream, cursor, everyMs } = this.#root.dataset;
    let isFirst = true;
    this.#follow = new Follow(
      { url: stream, cursor, everyMs: Number(everyMs) },
      {
        onState: (name) => this.#connected(name),
        onSync: ({ anotherHistory, head, headId }) => {
          // The page may be old. Begin with the rolls of now.
          if (isFirst) this.#follow.restart(head);
          isFirst = false;
          if (anotherHistory) this.#forget();
          this.#resumed(headId);
        },
        onRoll: (roll) => this.#received(roll),
      },
    );
    this.#press(this.#listen, true, "Stop");
    this.#say("Connecting…");
  }

  #stop() {
    this.#follow.close();
    this.#follow = undefined;
    this.#gap = undefined;
    this.#countNoMore();
    this.#press(this.#listen, false, "Listen here");
    this.#press(this.#cut, false, "Disconnect");
    this.#cut.disabled = true;
    this.#say("Stopped.");
  }

  #connected(name) {
    const isConnecting = name === "live" || name === "connecting";
    if (this.#isCut || (this.#gap && isConnecting)) return;
    if (name === "live") this.#say("Listening. Each roll appears as soon as it is made.");
    else if (name === "busy") this.#say("The server has no free stream now. Trying again soon.");
    else if (name !== "connecting") this.#say("Reconnecting…");
  }

  #received(roll) {
    const isMissed = this.#gap !== undefined && roll.id <= this.#gap.headId;
    this.#newest.unshift({ roll, how: isMissed ? "missed" : "live" });
    this.#newest.length = Math.min(this.#newest.length, this.#rows.length);
    this.#cut.disabled = false;
    if (isMissed) this.#fill(roll.id);
    else if (this.#gap) this.#endGap();
    this.#painting ??= setTimeout(() => this.#paint(), PAINT_MS);
  }

  #disconnect() {
    this.#follow.close();
    const after = this.#newest[0].roll.id;
    this.#gap = { after, since: Date.now(), expected: after + 1, n: 0, isWhole: true };
    this.#press(this.#cut, true, "Reconnect");
    this.#say(`Disconnected after roll ${after}. Wait a little, then reconnect.`);
    this.#count();
    this.#counting = setInterval(() => this.#count(), 1_000);
  }

  /** Estimates from the clock how many rolls other clients get meanwhile. */
  #count() {
    const n = Math.floor((Date.now() - this.#gap.since) / Number(this.#root.dataset.everyMs));
    this.#missed.textContent = `Missed so far: about ${n === 1 ? "1 roll" : `${n} rolls`}`;
  }

  #countNoMore() {
    clearInterval(this.#counting);
    this.#missed.textContent = "";
  }

  #reconnect() {
    this.#countNoMore();
    this.#gap.headId = this.#gap.after;
    this.#press(this.#cut, false, "Disconnect");
    this.#say("Reconnecting, and asking for the missed rolls…");
    this.#follow.restart(this.#follow.cursor);
  }

  /** A stream begins: the server has rolls up to this one. */
  #resumed(headId) {
    if (!this.#gap || this.#isCut) return;
    this.#gap.headId = headId;
    if (headId <= this.#gap.after) this.#close();
  }

  /** The server has another history, so nobody can say what was missed. */
  #forget() {
    if (!this.#gap || this.#isCut) return;
    this.#gap = undefined;
    this.#say("Reconnected. The server has another history now.");
  }

  /** A missed roll arrived. */
  #fill(id) {
    const gap = this.#gap;
    gap.isWhole &&= id === gap.expected;
    gap.expected = id + 1;
    gap.n += 1;
    if (id === gap.headId) this.#close();
  }

  /** A roll after the gap arrived, so the newest missed roll is gone. */
  #endGap() {
    this.#gap.isWhole = false;
    this.#close();
  }

  #close() {
    const { after, headId, n, isWhole } = this.#gap;
    const seconds = Math.round((Date.now() - this.#gap.since) / 1_000);
    this.#gap = undefined;
    if (!isWhole) {
      this.#say(`Reconnected after ${seconds} s. Some rolls between ${after} and ${headId} are missing.`);
    } else if (n === 0) {
      this.#say(`Reconnected after ${seconds} s. No roll was made meanwhile.`);
    } else {
      const which = n === 1 ? `roll ${headId}` : `rolls ${after + 1} to ${headId}`;
      this.#say(`Reconnected after ${seconds} s. Missed: ${n}. Sent now: ${n}, ${which}. Nothing is lost.`);
    }
  }

  #paint() {
    this.#painting = undefined;
    this.#newest.forEach(({ roll, how }, i) => {
      const dice = Object.fromEntries(roll.dice.map(({ name, result }) => [name, result]));
      const row = this.#rows[i];
      row.dataset.how = how;
      row.querySelector(".console-how").textContent = how === "live" ? "live" : "missed";
      row.querySelector("code").textContent = `${roll.cursor} ${JSON.stringify(dice)}`;
    });
  }

  #press(button, isPressed, text) {
    button.setAttribute("aria-pressed", isPressed);
    button.textContent = text;
  }

  #say(text) {
    if (this.#report.textContent !== text) this.#report.textContent = text;
  }
}
