// Listens as Listener does, but all tabs of this browser share one stream: it opens six connections
// to a host over HTTP/1.1, and six tabs with a stream each would leave none.
//
// One tab has the lead. It keeps a stream open and tells the others, on a channel, each roll and
// where it stands. A tab that cannot go on from what it is told (it has just come, or woken, a roll
// is missing, the history is another) asks the server itself, from its own cursor on, and closes
// that stream once the leader is where it is. So each tab's rolls join its own cursor, and only the
// server judges cursors, whoever leads. The next leader goes on from where it is itself. One that
// says nothing, or hears nothing while others do, loses the lead.
import { parseCursor } from "./cursor.js";
import { Lead } from "./lead.js";
import { Listener } from "./listener.js";

// Tabs that run other scripts, of before an update, have a stream of their own.
const NAME = import.meta.url;
const LOOK_EVERY_MS = 5_000;

/** A listener that shares its stream, where the page may: one that came without TLS may not. */
export function listenerOf(url, on) {
  const canShare = "locks" in navigator && "BroadcastChannel" in globalThis;
  return canShare ? new SharedListener(url, on) : new Listener(url, on);
}

class SharedListener {
  #on;
  #stream;
  #lead;
  #channel;
  #timer;
  // Whether a stream of our own is open, and which roll was the newest when it began.
  #asks = false;
  #headId;
  // The newest roll that we heard: its id and cursor.
  #at;
  #state;
  // What the leader said last, since we ask; and how often we looked since anything was said.
  #leader = {};
  #n_looks = 0;

  constructor(url, on) {
    this.#on = on;
    this.#stream = new Listener(url, {
      onState: (state) => this.#turned(state),
      onSync: (sync) => this.#synced(sync),
      onRoll: (roll) => this.#heard(roll),
    });
  }

  listen(cursor) {
    this.#join();
    this.#ask({ id: parseCursor(cursor)?.id ?? 0, cursor });
  }

  close() {
    this.#stream.close();
    this.#asks = false;
    clearInterval(this.#timer);
    this.#channel?.close();
    this.#lead?.leave();
    this.#lead = undefined;
  }

  #join() {
    if (this.#lead) return;
    this.#channel = new BroadcastChannel(NAME);
    this.#channel.addEventListener("message", ({ data }) => this.#told(data));
    this.#lead = new Lead(NAME, () => this.#elected());
    this.#timer = setInterval(() => this.#look(), LOOK_EVERY_MS);
  }

  #ask(at) {
    this.#at = at;
    this.#asks = true;
    this.#headId = undefined;
    this.#leader = {};
    this.#n_looks = 0;
    this.#stream.listen(at.cursor);
    this.#hail();
  }

  // From our own stream.

  #turned(state) {
    this.#show(state);
    this.#tell({});
  }

  #synced(sync) {
    this.#headId = sync.headId;
    if (sync.anotherHistory) this.#at = { id: sync.headId, cursor: sync.head };
    this.#tell({ anotherHistory: sync.anotherHistory });
    this.#on.onSync(sync);
    this.#meet();
  }

  #heard(roll) {
    this.#at = roll;
    this.#on.onRoll(roll);
    this.#tell({ roll });
    this.#meet();
  }

  // Among tabs.

  #tell(news) {
    if (!this.#lead.isOurs) return;
    this.#channel.postMessage({ state: this.#state, id: this.#at.id, ...news });
  }

  #hail() {
    this.#channel.postMessage({ isHail: true });
  }

  #told({ isHail, state, id, roll, anotherHistory }) {
    if (isHail) return this.#tell({});
    // Whom we took the lead from, and who has yet to notice.
    if (this.#lead.isOurs) return;
    this.#leader = { state, id };
    if (this.#asks) return this.#meet();

    this.#n_looks = 0;
    if (roll?.id === this.#at.id + 1) {
      this.#at = roll;
      this.#on.onRoll(roll);
    }
    if (anotherHistory || id > this.#at.id) this.#ask(this.#at);
    else if (state !== this.#state) this.#show(state);
  }

  // The leader is well, since it has heard what came after we asked, and what it hears from now on
  // goes on from where we are.
  #meet() {
    const { state, id } = this.#leader;
    const met = state === "live" && this.#headId <= id && id <= this.#at.id;
    if (!this.#asks || !met || this.#lead.isOurs) return;
    this.#asks = false;
    this.#stream.close();
    if (this.#state !== "live") this.#show("live");
  }

  #elected() {
    // Who lost the lead had a stream that told it nothing, or did not run.
    if (this.#lead.isOurs && this.#asks) this.#tell({});
    else this.#ask(this.#at);
  }

  #look() {
    if (this.#lead.isOurs) return;
    this.#n_looks += 1;
    if (this.#n_looks === 2) this.#hail();
    if (this.#n_looks > 2 && (!this.#asks || this.#state === "live")) this.#lead.take();
  }

  #show(state) {
    this.#state = state;
    this.#on.onState(state);
  }
}
