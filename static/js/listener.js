// Listens to the stream from a cursor on, and listens anew when it is lost.
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

  /** Hears every roll after the cursor, in order, instead of what it heard before. */
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
    // A new EventSource has forgotten the last event id, so the address says it.
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
    // While it is CONNECTING the browser comes back by itself, at the pace the
    // server asked for. After any answer other than a stream (a 502 while the
    // server restarts) it is CLOSED and never would.
    const closed = this.#source.readyState === EventSource.CLOSED;
    if (closed || !this.#busy) this.#on.onState("reconnecting");
    if (closed) this.#relistening = setTimeout(() => this.#open(), this.#delays.next());
  }
}
