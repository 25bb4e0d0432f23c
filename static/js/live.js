// The live page: connects the stream to the felt, the slots, the state and the pause button.
import { Aim } from "./aim.js";
import { copyButtons } from "./copy.js";
import { parseCursor } from "./cursor.js";
import { Fairness } from "./fairness.js";
import { Felt } from "./felt.js";
import { Follow } from "./follow.js";
import { Notices } from "./notices.js";
import { Pace } from "./pace.js";
import { Pause } from "./pause.js";
import { Slots } from "./slots.js";
import { State } from "./state.js";

// With more new rolls than this, only those that the page can show are replayed.
const FAR = 300;

const section = document.getElementById("felt");
const list = document.getElementById("rolls");
// The felt may have kept a roll until now, also on a page that is paused since.
const aim = new Aim(section, () => {
  felt.show(drawn);
  pace.want();
});
const felt = new Felt(section, aim);
const slots = new Slots(list, document.getElementById("heads"), aim);
const state = new State(document.getElementById("state"));
const fairness = new Fairness(document.getElementById("fairness"));

const { stream: url, cursor, everyMs } = list.dataset;
const start = parseCursor(cursor);
const notices = new Notices(document.getElementById("notices"), start.id);
// The newest roll that arrived, and the newest one that was drawn.
let newestId = start.id;
let newestAt = start.id > 0 ? start.rolledAt : undefined;
let drawnId = newestId;
let newest;
let drawn;
// The rolls that are not drawn yet, and whether rolls are missing between them and the drawn ones.
let fresh = [];
let isStale = false;
let isSkipping = false;

const pace = new Pace(() => {
  if (isStale) slots.clear();
  isStale = false;
  slots.draw(fresh);
  fresh = [];
  drawnId = newestId;
  drawn = newest;
  felt.show(drawn);
});

const follow = new Follow({ url, cursor, everyMs: Number(everyMs) }, {
  onState: (name) => {
    state.connection(name);
    notices.connection(name, newestAt);
  },
  onSync: ({ anotherHistory, headId }) => {
    const isFar = headId - newestId > FAR && !isSkipping;
    if (!anotherHistory && !isFar) return;
    if (anotherHistory) drawnId = 0;
    isStale = true;
    fresh = [];
    isSkipping = true;
    newestId = Math.max(0, headId - slots.size);
    follow.restart(String(newestId));
    fairness.skip();
  },
  onRoll: (roll) => {
    isSkipping = false;
    // Ids have no gaps, so a missing roll was pruned or is damaged.
    const nMissing = roll.id - newestId - 1;
    if (nMissing > 0 && newestId > 0) miss(nMissing);
    newestId = roll.id;
    newestAt = roll.rolledAt;
    newest = roll;
    fresh.push(roll);
    if (fresh.length > slots.size) fresh.splice(0, fresh.length - slots.size);
    notices.rolled(roll.id);
    // Missed rolls are drawn together, when the newest of them has arrived.
    if (roll.id >= follow.headId) pace.want();
    state.waiting(newestId - drawnId);
    fairness.add(roll);
  },
});

function miss(nMissing) {
  fresh.push({ nMissing });
  notices.missing(nMissing);
}

new Pause(document.getElementById("pause"), (isPaused) => {
  pace.hold(isPaused);
  fairness.hold(isPaused);
  state.paused(isPaused);
});

// The footer has the status of when the page was sent.
document.querySelector(".status").hidden = true;
copyButtons(document);
