// The statistics page: drawn anew while rolls arrive, and only then.
import { Listener } from "./listener.js";
import { Redraw } from "./redraw.js";
import { State } from "./state.js";

const figures = document.getElementById("stats");
const state = new State(document.getElementById("state"));
const redraw = new Redraw(figures);

const listener = new Listener(figures.dataset.stream, {
  onState: (connection) => state.connection(connection),
  onSync: (sync) => {
    if (sync.anotherHistory) redraw.want();
  },
  onRoll: () => redraw.want(),
});

// A page that waits in the back/forward cache must not hold a stream open.
addEventListener("pagehide", () => listener.close());
addEventListener("pageshow", (event) => {
  if (event.persisted) listener.listen(figures.dataset.cursor);
});

listener.listen(figures.dataset.cursor);
