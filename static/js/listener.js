// Reads the stream after a cursor, and reconnects when the connection is lost.
// https://html.spec.whatwg.org/multipage/server-sent-events.html
import { parseCursor } from "./cursor.js";
import { Delays } from "./delays.js";
import { parseRoll, parseSync } from "./roll.js";

// A server counts a stream until it notices that the stream was closed. A new stream
// that opens earlier could exceed the limit.
const SETTLE_MS = 500;

export class Listener {
  #url;
  #on;
  #cursor;
  #newestId;
  #headId = 0;
  #source;
  #closedAt = -Infinity;
  #busy = false;
  #delays = new Delays();
  #connecting;

  /**
   * `on` has onState("connecting" | "live" | "reconnecting" | "busy"), onSync(sync) and
   * onRoll(roll).
   */
  constructor(url, cursor, on) {
    this.#url = url;
    this.#on = on;
    this.moveTo(cursor);
  }

  /** The cursor of the newest roll that was delivered. */
  get cursor() {
    return this.#cursor;
  }

  /** The id of the newest roll that the server is known to have; 0 at first. */
  get headId() {
    return this.#headId;
  }

  /** Sets the roll after which the next stream continues. */
  moveTo(cursor) {
    this.#cursor = cursor;
    this.#newestId = parseCursor(cursor)?.id ?? 0;
  }

  /** Delivers every roll after the cursor, in order. Replaces the stream that is open. */
  open() {
    this.close();
    this.#on.onState("connecting");
    this.#connectIn(Math.max(0, this.#closedAt + SETTLE_MS - performance.now()));
  }

  close() {
    clearTimeout(this.#connecting);
    if (!this.#source) return;
    this.#source.close();
    this.#source = undefined;
    this.#closedAt = performance.now();
  }

  #connectIn(ms) {
    this.#connecting = setTimeout(() => this.#connect(), ms);
  }

  #connect() {
    this.#busy = false;
    // A new EventSource has no last event id, so the URL contains the cursor.
    const source = new EventSource(`${this.#url}?after=${encodeURIComponent(this.#cursor)}`);
    source.addEventListener("sync", (event) => this.#synced(parseSync(event)));
    source.addEventListener("busy", () => this.#refused());
    source.addEventListener("message", (event) => this.#received(parseRoll(event)));
    source.addEventListener("error", () => this.#lost(source));
    this.#source = source;
  }

  #synced(sync) {
    this.#busy = false;
    this.#headId = sync.headId;
    if (sync.anotherHistory && sync.head) this.moveTo(sync.head);
    this.#on.onState("live");
    this.#on.onSync(sync);
  }

  #refused() {
    this.#busy = true;
    this.#on.onState("busy");
  }

  #received(roll) {
    if (!roll || roll.id <= this.#newestId) return;
    this.moveTo(roll.cursor);
    this.#headId = Math.max(this.#headId, roll.id);
    this.#on.onRoll(roll);
  }

  #lost(source) {
    // In the state CONNECTING, the browser reconnects automatically, after the time in the server's
    // `retry` field. After a response that is not a stream, such as a 502 while the server
    // restarts, the state is CLOSED and the browser does not reconnect.
    const closed = source.readyState === EventSource.CLOSED;
    if (closed || !this.#busy) this.#on.onState("reconnecting");
    if (closed) this.#connectIn(this.#delays.next());
  }
}
