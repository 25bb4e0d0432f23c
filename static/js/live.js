// The live page: connects the stream to the rows, the state and the pause button.
import { Pause } from "./pause.js";
import { Presence } from "./presence.js";
import { Refresh } from "./refresh.js";
import { Rows } from "./rows.js";
import { listenerOf } from "./shared.js";
import { Silence } from "./silence.js";
import { State } from "./state.js";

const list = document.getElementById("rolls");
const rows = new Rows(list, {
  roll: document.getElementById("roll-template"),
  gap: document.getElementById("gap-template"),
  older: document.getElementById("older"),
});
const state = new State(document.getElementById("state"));

const listener = listenerOf(list.dataset.stream, {
  onState: (connection) => {
    state.connection(connection);
    // A proxy may accept the connection and never respond.
    silence.watch(connection === "live" || connection === "connecting");
  },
  onSync: (sync) => {
    if (sync.anotherHistory || sync.headId - rows.newestId > rows.limit) {
      // The new rolls do not continue the rows, so read the page again.
      listener.close();
      state.connection("reconnecting");
      silence.watch(false);
      refresh.want();
    }
  },
  onRoll: (roll) => {
    silence.broken();
    document.getElementById("trouble")?.remove();
    rows.add(roll);
    state.waiting(rows.waiting);
  },
});

const silence = new Silence(rows.everyMs, {
  onSilence: (seconds) => state.silent(seconds),
  // Reconnect, because the connection may be dead. An EventSource does not expose heartbeats.
  onLongSilence: () => listener.listen(rows.cursor),
});

const refresh = new Refresh((newList) => {
  rows.replace(newList);
  silence.expect(rows.everyMs);
  listener.listen(rows.cursor);
});

new Pause(document.getElementById("pause"), (paused) => {
  rows.hold(paused);
  refresh.hold(paused);
  state.paused(paused);
});

new Presence({
  // A page in the back/forward cache must not keep a stream open.
  onAway: () => listener.close(),
  onBack: () => {
    if (!refresh.wanted) listener.listen(rows.cursor);
  },
});

listener.listen(rows.cursor);
