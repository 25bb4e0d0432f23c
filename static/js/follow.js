// Follows the stream of rolls; every live page uses this. It delivers each roll after a cursor once
// and in order. While the page is hidden, the stream is closed. When the page is shown again, the
// stream resumes at the cursor. So only visible pages use a connection: a browser opens at most six
// connections to a server over HTTP/1.1, which any number of tabs would otherwise use up.
import { Listener } from "./listener.js";
import { Presence } from "./presence.js";
import { Silence } from "./silence.js";

export class Follow {
  #on;
  #listener;
  #presence;
  #silence;
  #isClosed = false;
  #connection = "connecting";
  #silentSeconds = 0;
  #told = {};

  /**
   * `url` is the address of the stream, `cursor` that of the newest roll on the page, and `everyMs`
   * the time between rolls. `on` has
   * - onState(name, seconds): "connecting", "live", "reconnecting", "busy", or "stalled" with the
   *   seconds without a roll although the stream is open;
   * - onRoll(roll): { id, cursor, rolledAt: Date, dice: [{ name, result }] };
   * - onSync({ anotherHistory, head, headId }), which may be missing: a stream begins. Its rolls
   *   follow. To skip them, call restart(head). With `anotherHistory`, they do not continue the
   *   rolls on the page.
   *
   * Nothing is called before the constructor returns.
   */
  constructor({ url, cursor, everyMs }, on) {
    this.#on = on;
    this.#listener = new Listener(url, cursor, {
      onState: (connection) => this.#connected(connection),
      onSync: (sync) => this.#on.onSync?.(sync),
      onRoll: (roll) => this.#received(roll),
    });
    this.#silence = new Silence(everyMs, {
      onSilence: (seconds) => this.#silent(seconds),
      // Reconnect, because the connection may be dead. An EventSource does not expose heartbeats.
      onLongSilence: () => this.#open(),
    });
    this.#presence = new Presence({ onAway: () => this.#stop(), onBack: () => this.#open() });
    queueMicrotask(() => this.#open());
  }

  /** The cursor of the newest roll that was delivered. */
  get cursor() {
    return this.#listener.cursor;
  }

  /** The id of the newest roll that the server is known to have; 0 at first. */
  get headId() {
    return this.#listener.headId;
  }

  /** Stops until restart() is called. */
  close() {
    this.#isClosed = true;
    this.#stop();
  }

  /** Continues after another roll, also after close(). The time between rolls may have changed. */
  restart(cursor, everyMs) {
    this.#isClosed = false;
    this.#listener.moveTo(cursor);
    if (everyMs) this.#silence.expect(everyMs);
    this.#open();
  }

  #open() {
    if (!this.#isClosed && !this.#presence.isAway) this.#listener.open();
  }

  #stop() {
    this.#listener.close();
    this.#silence.watch(false);
  }

  #connected(connection) {
    this.#connection = connection;
    // A proxy may accept the connection and never respond.
    this.#silence.watch(connection === "live" || connection === "connecting");
    this.#tell();
  }

  #silent(seconds) {
    this.#silentSeconds = seconds;
    this.#tell();
  }

  #received(roll) {
    this.#silence.broken();
    this.#on.onRoll(roll);
  }

  #tell() {
    const isOpen = this.#connection === "live" || this.#connection === "connecting";
    const isStalled = isOpen && this.#silentSeconds > 0;
    const name = isStalled ? "stalled" : this.#connection;
    const seconds = isStalled ? this.#silentSeconds : 0;
    if (name === this.#told.name && seconds === this.#told.seconds) return;
    this.#told = { name, seconds };
    this.#on.onState(name, seconds);
  }
}
