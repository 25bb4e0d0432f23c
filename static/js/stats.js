// The statistics page: updates its plots when rolls arrive.
import { parseCursor } from "./cursor.js";
import { Presence } from "./presence.js";
import { Redraw } from "./redraw.js";
import { listenerOf } from "./shared.js";
import { Silence } from "./silence.js";
import { State } from "./state.js";

// With more new rolls than this, the page reads the statistics instead of replaying the rolls.
const FAR = 300;

const figures = document.getElementById("stats");
const state = new State(document.getElementById("state"));
const redraw = new Redraw(figures);
let cursor = figures.dataset.cursor;

const listener = listenerOf(figures.dataset.stream, {
  onState: (connection) => {
    state.connection(connection);
    // A proxy may accept the connection and never respond.
    silence.watch(connection === "live" || connection === "connecting");
  },
  onSync: (sync) => {
    const isFar = sync.headId - parseCursor(cursor).id > FAR;
    if (sync.anotherHistory || isFar) {
      cursor = sync.head;
      redraw.want();
    }
    if (isFar) listener.listen(cursor);
  },
  onRoll: (roll) => {
    cursor = roll.cursor;
    silence.broken();
    redraw.want();
  },
});

const silence = new Silence(Number(figures.dataset.everyMs), {
  onSilence: (seconds) => state.silent(seconds),
  onLongSilence: () => listener.listen(cursor),
});

new Presence({
  // A page in the back/forward cache must not keep a stream open.
  onAway: () => listener.close(),
  onBack: () => listener.listen(cursor),
});

listener.listen(cursor);
