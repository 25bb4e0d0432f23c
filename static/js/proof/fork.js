// Forks: two signed statements of one log that contradict each other.
import { toHex } from "./bytes.js";
import { Refused } from "./checks.js";

/** The rolls and trees that one key signed, as one verification saw them. */
export class Seen {
  #leaves = new Map();
  #roots = new Map();

  /**
   * Adds a proof that passed checks 1 and 2. Throws an error for people if it contradicts a proof
   * that was added before.
   */
  add({ leaf, index, checkpoint: { size, root } }) {
    const id = index + 1;
    if (contradicts(this.#leaves, id, { id, text: leaf })) {
      throw fork(`Two proofs of roll ${id} have different texts`);
    }
    const other = contradicts(this.#roots, size, { id, text: toHex(root) });
    if (other) {
      throw fork(`The proofs of rolls ${other.id} and ${id} are from two logs of ${size} rolls`);
    }
  }
}

function fork(words) {
  return new Refused(
    `${words}, and the key signed both: the log is forked. Keep both proof files. Together they ` +
      "prove that the operator cheated.",
  );
}

// What the map had at this place before, if that is another text.
function contradicts(map, place, seen) {
  const before = map.get(place) ?? seen;
  map.set(place, before);
  return before.text === seen.text ? null : before;
}
