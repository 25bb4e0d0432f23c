// The statistics page: updates its plots when rolls arrive.
import { parseCursor } from "./cursor.js";
import { Follow } from "./follow.js";
import { Redraw } from "./redraw.js";
import { State } from "./state.js";

// With more new rolls than this, the page reads the statistics instead of replaying the rolls.
const FAR = 300;

const figures = document.getElementById("stats");
const state = new State(document.getElementById("state"));
const redraw = new Redraw(figures);

const { stream: url, cursor, everyMs } = figures.dataset;
const follow = new Follow({ url, cursor, everyMs: Number(everyMs) }, {
  onState: (name, seconds) => state.connection(name, seconds),
  onSync: (sync) => {
    const isFar = sync.headId - parseCursor(follow.cursor).id > FAR;
    if (sync.anotherHistory || isFar) redraw.want();
    if (isFar) follow.restart(sync.head);
  },
  onRoll: () => redraw.want(),
});
