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
const CHECK_EVERY_MS = 5_000;

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
  #isOpen = false;
  #headId;
  // The id and cursor of the newest roll that we received.
  #newest;
  #state;
  // The leader's newest message since our stream opened, and the number of checks without one.
  #leader = {};
  #n_checks = 0;

  constructor(url, on) {
    this.#on = on;
    this.#stream = new Listener(url, {
      onState: (state) => this.#stateChanged(state),
      onSync: (sync) => this.#synced(sync),
      onRoll: (roll) => this.#received(roll),
    });
  }

  listen(cursor) {
    this.#join();
    this.#openStream({ id: parseCursor(cursor)?.id ?? 0, cursor });
  }

  close() {
    this.#stream.close();
    this.#isOpen = false;
    clearInterval(this.#timer);
    this.#channel?.close();
    this.#lead?.leave();
    this.#lead = undefined;
  }

  #join() {
    if (this.#lead) return;
    this.#channel = new BroadcastChannel(NAME);
    this.#channel.addEventListener("message", ({ data }) => this.#onMessage(data));
    this.#lead = new Lead(NAME, () => this.#elected());
    this.#timer = setInterval(() => this.#checkLeader(), CHECK_EVERY_MS);
  }

  #openStream(newest) {
    this.#newest = newest;
    this.#isOpen = true;
    this.#headId = undefined;
    this.#leader = {};
    this.#n_checks = 0;
    this.#stream.listen(newest.cursor);
    this.#ping();
  }

  // From our own stream.

  #stateChanged(state) {
    this.#show(state);
    this.#broadcast({});
  }

  #synced(sync) {
    this.#headId = sync.headId;
    if (sync.anotherHistory) this.#newest = { id: sync.headId, cursor: sync.head };
    this.#broadcast({ anotherHistory: sync.anotherHistory });
    this.#on.onSync(sync);
    this.#handOver();
  }

  #received(roll) {
    this.#newest = roll;
    this.#on.onRoll(roll);
    this.#broadcast({ roll });
    this.#handOver();
  }

  // Among tabs.

  #broadcast(news) {
    if (!this.#lead.isOurs) return;
    this.#channel.postMessage({ state: this.#state, id: this.#newest.id, ...news });
  }

  // Makes the leader send its state.
  #ping() {
    this.#channel.postMessage({ isPing: true });
  }

  #onMessage({ isPing, state, id, roll, anotherHistory }) {
    if (isPing) return this.#broadcast({});
    // Ignore a previous leader that has not noticed yet that it was replaced.
    if (this.#lead.isOurs) return;
    this.#leader = { state, id };
    if (this.#isOpen) return this.#handOver();

    this.#n_checks = 0;
    if (roll?.id === this.#newest.id + 1) {
      this.#newest = roll;
      this.#on.onRoll(roll);
    }
    if (anotherHistory || id > this.#newest.id) this.#openStream(this.#newest);
    else if (state !== this.#state) this.#show(state);
  }

  // Closes our stream if the leader's works: the leader has a roll from after the start of our
  // stream. The leader's next rolls then continue ours.
  #handOver() {
    const { state, id } = this.#leader;
    const isCaughtUp = state === "live" && this.#headId <= id && id <= this.#newest.id;
    if (!this.#isOpen || !isCaughtUp || this.#lead.isOurs) return;
    this.#isOpen = false;
    this.#stream.close();
    if (this.#state !== "live") this.#show("live");
  }

  #elected() {
    // A leader that lost the lock had a dead stream, or was frozen.
    if (this.#lead.isOurs && this.#isOpen) this.#broadcast({});
    else this.#openStream(this.#newest);
  }

  #checkLeader() {
    if (this.#lead.isOurs) return;
    this.#n_checks += 1;
    if (this.#n_checks === 2) this.#ping();
    if (this.#n_checks > 2 && (!this.#isOpen || this.#state === "live")) this.#lead.take();
  }

  #show(state) {
    this.#state = state;
    this.#on.onState(state);
  }
}
