// The live page: connects the stream to the rows, the state and the pause button.
import { Follow } from "./follow.js";
import { Pause } from "./pause.js";
import { Refresh } from "./refresh.js";
import { Rows } from "./rows.js";
import { State } from "./state.js";

const list = document.getElementById("rolls");
const rows = new Rows(list, {
  roll: document.getElementById("roll-template"),
  gap: document.getElementById("gap-template"),
  older: document.getElementById("older"),
});
const state = new State(document.getElementById("state"));

const { stream: url } = list.dataset;
const follow = new Follow({ url, cursor: rows.cursor, everyMs: rows.everyMs }, {
  onState: (name, seconds) => state.connection(name, seconds),
  onSync: (sync) => {
    if (sync.anotherHistory || sync.headId - rows.newestId > rows.limit) {
      // The new rolls do not continue the rows, so read the page again.
      follow.close();
      state.connection("reconnecting");
      refresh.want();
    }
  },
  onRoll: (roll) => {
    document.getElementById("trouble")?.remove();
    rows.add(roll);
    state.waiting(rows.waiting);
  },
});

const refresh = new Refresh((newList) => {
  rows.replace(newList);
  follow.restart(rows.cursor, rows.everyMs);
});

new Pause(document.getElementById("pause"), (paused) => {
  rows.hold(paused);
  refresh.hold(paused);
  state.paused(paused);
});
