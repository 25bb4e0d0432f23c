// Listens to the stream from a cursor on, and reconnects when the stream is lost.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
import { Delays } from "./delays.js";
import { parseRoll, parseSync } from "./roll.js";

export class Listener {
  #url;
  #on;
  #cursor;
  #source;
  #busy = false;
  #delays = new Delays();
  #relistening;

  /** `on` has onState("connecting" | "live" | "reconnecting" | "busy"), onSync(sync), onRoll(roll). */
  constructor(url, on) {
    this.#url = url;
    this.#on = on;
  }

  /** Delivers every roll after the cursor, in order. Replaces the stream that is open. */
  listen(cursor) {
    this.#cursor = cursor;
    this.#on.onState("connecting");
    this.#open();
  }

  close() {
    clearTimeout(this.#relistening);
    this.#source?.close();
  }

  #open() {
    this.close();
    this.#busy = false;
    // A new EventSource has no last event id, so the address contains the cursor.
    const source = new EventSource(`${this.#url}?after=${encodeURIComponent(this.#cursor)}`);
    source.addEventListener("sync", (event) => this.#synced(parseSync(event)));
    source.addEventListener("busy", () => this.#turnedAway());
    source.addEventListener("message", (event) => this.#heard(parseRoll(event)));
    source.addEventListener("error", () => this.#lost());
    this.#source = source;
  }

  #synced(sync) {
    this.#busy = false;
    this.#on.onState("live");
    this.#on.onSync(sync);
  }

  #turnedAway() {
    this.#busy = true;
    this.#on.onState("busy");
  }

  #heard(roll) {
    if (!roll) return;
    this.#cursor = roll.cursor;
    this.#on.onRoll(roll);
  }

  #lost() {
    // In the state CONNECTING the browser reconnects by itself, after the time
    // in the server's `retry`. After an answer other than a stream (a 502 while
    // the server restarts) the state is CLOSED, and it never does.
    const closed = this.#source.readyState === EventSource.CLOSED;
    if (closed || !this.#busy) this.#on.onState("reconnecting");
    if (closed) this.#relistening = setTimeout(() => this.#open(), this.#delays.next());
  }
}
