// A Listener whose stream is shared by all tabs of this browser. A browser opens at most six
// connections to a host over HTTP/1.1, so six tabs with one stream each would leave none.
//
// One tab is the leader. It keeps a stream open and sends each roll and its own state to the others
// on a channel. A tab that cannot continue from these messages (it is new, it was asleep, a roll is
// missing, or the history has changed) opens its own stream from its own cursor. It closes that
// stream once the leader has reached the same roll. So each tab's rolls continue its own cursor,
// and only the server checks cursors. The next leader continues from its own cursor. A leader is
// replaced if it sends nothing, or receives nothing while others do.
import { parseCursor } from "./cursor.js";
import { Lead } from "./lead.js";
import { Listener } from "./listener.js";

// Tabs with another version of this script use another channel and therefore another stream.
const NAME = import.meta.url;
const LOOK_EVERY_MS = 5_000;

/** A listener that shares its stream if the page is in a secure context (TLS or localhost). */
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
  // Whether our own stream is open, and the id of the newest roll when it started.
  #asks = false;
  #headId;
  // The id and cursor of the newest roll that we received.
  #at;
  #state;
  // The leader's newest message since our stream opened, and the number of checks without one.
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
    // Ignore a previous leader that has not noticed yet that it was replaced.
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

  // The leader works if it has received a roll from after the start of our stream. Its next rolls
  // then continue ours.
  #meet() {
    const { state, id } = this.#leader;
    const met = state === "live" && this.#headId <= id && id <= this.#at.id;
    if (!this.#asks || !met || this.#lead.isOurs) return;
    this.#asks = false;
    this.#stream.close();
    if (this.#state !== "live") this.#show("live");
  }

  #elected() {
    // A leader that lost the lock had a dead stream, or was frozen.
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
