// Check 4: the seed leads back to one that was public before the roll. That earlier seed is in a
// note of this browser, in another proof file, or at the start of the chain in the server's log.
import { chainStart, faultOf, leafBefore } from "./chain.js";
import { no, open, yes } from "./checks.js";
import { beforeBlock, blockOf, leadsBack } from "./seeds.js";

/**
 * Checks the seed of a leaf. The evidence:
 *
 * - `noted`: a note of the roll's chain, if this browser has one
 * - `foreign`: notes of the roll's block that belong to another chain
 * - `others`: leaves from other files, signed like the roll and not contradicting it
 * - `log`: the server's log, if any: `leafOf(id)` reads a leaf from the roll `oldest` on
 */
export async function checkSeed(leaf, { noted, foreign, others, log }, onProgress) {
  if (!leaf.seed) return open("The roll has no seed.");
  const found = await inFiles(leaf, others, onProgress);
  if (found && found.outcome !== "yes") return found;
  if (noted && noted.id < leaf.id && noted.since < leaf.rolledAt) {
    return yes(`It leads back to ${named(noted)}, which this browser noted on ${day(noted)}.`);
  }
  for (const note of foreign) {
    const doubt = await explained(leaf, note, log, onProgress);
    if (doubt) return doubt;
  }
  if (found) return found;
  const earlier = log ? await inLog(leaf, log, onProgress) : unknown(leaf);
  return earlier.outcome ? earlier : leadsBackToAll(leaf, [earlier], onProgress);
}

// Compares the seed with every other file, so that none of them is chosen without a check. `null`
// if there is none.
async function inFiles(leaf, others, onProgress) {
  // The same roll in a larger tree is no evidence. That its text is the same was checked before.
  const comparable = others.filter(({ id }) => id !== leaf.id);
  if (comparable.length === 0) return null;
  const seeds = comparable.map((other) => publicBefore(leaf, other));
  const result = await leadsBackToAll(leaf, seeds.filter(Boolean), onProgress);
  const missing = comparable.find((_, index) => !seeds[index]);
  if (!missing || result.outcome === "no") return result;
  return open(
    `Roll ${missing.id} has neither a seed in this roll’s block nor an anchor for it, so nothing ` +
      "can be compared with that file.",
  );
}

// Whether the seed leads back to all of these earlier ones, from the newest to the oldest.
async function leadsBackToAll(leaf, earlier, onProgress) {
  const seeds = [...earlier].sort((a, b) => b.id - a.id);
  let later = leaf;
  for (const seed of seeds) {
    if (!(await leadsBack(later.seed, later.id - seed.id, seed.seed, onProgress))) {
      return no(`The seed does not lead back to ${seed.name}.`);
    }
    later = seed;
  }
  const names = new Intl.ListFormat("en").format(seeds.map(({ name }) => name));
  if (![leaf, ...seeds].every(({ isSigned }) => isSigned)) {
    return open(`It leads back to ${names}, but nothing shows that the key signed the log.`);
  }
  const n_rolls = leaf.id - later.id;
  const times = n_rolls === 1 ? "once" : `${n_rolls} times`;
  return yes(`It leads back to ${names}: SHA-256, ${times}.`);
}

/** Whether a note and a roll belong to one chain: the later seed leads back to the earlier one. */
export function agrees({ id, seed }, note, onProgress) {
  if (note.id > id) return leadsBack(note.seed, note.id - id, seed, onProgress);
  return leadsBack(seed, id - note.id, note.seed, onProgress);
}

// Two seeds of one block that do not lead to each other belong to two chains. Then the log must
// show that the later chain begins between them. Returns `null` if the break is after the roll,
// because then it does not matter.
async function explained(leaf, note, log, onProgress) {
  const start = log && (await chainStart(note.id > leaf.id ? note : leaf, log, onProgress));
  const isBetween = start && start.id > Math.min(note.id, leaf.id);
  if (isBetween && start.next) {
    if (note.id > leaf.id) return null;
    return open(
      `The chain of seeds broke at roll ${start.id}. It does not lead to ${named(note)}, which ` +
        `this browser noted on ${day(note)}. Draws that were announced before the break are void.`,
    );
  }
  const words = `The seed does not fit ${named(note)}, which this browser noted on ${day(note)}`;
  if (isBetween && log.oldest > note.id) {
    const fault = await faultOf(start, log, onProgress);
    if (fault) return no(fault);
    return open(
      `${words}. Perhaps the chain broke in between, but those rolls are no longer kept.`,
    );
  }
  return no(`${words}, and nothing shows that the chain broke in between.`);
}

// What another leaf says about the seeds of a roll's block: its own seed, or the announced anchor.
function publicBefore({ id }, other) {
  const { isSigned } = other;
  if (other.seed && other.id < id && blockOf(other.id) === blockOf(id)) {
    return { id: other.id, seed: other.seed, isSigned, name: `the seed of roll ${other.id}` };
  }
  if (other.next && blockOf(other.id) + 1 === blockOf(id)) {
    const name = `the anchor that roll ${other.id} announced`;
    return { id: beforeBlock(blockOf(id)), seed: other.next, isSigned, name };
  }
  return null;
}

// What the server's log shows: an earlier seed, or an outcome if there is none.
async function inLog(leaf, log, onProgress) {
  const start = await chainStart(leaf, log, onProgress);
  const fault = await faultOf(start, log, onProgress);
  if (fault) return no(fault);
  if (start.id < leaf.id) {
    const which = start.next ? "the first roll of its chain" : "the oldest of its chain in the log";
    return { ...publicBefore(leaf, start), name: `the seed of roll ${start.id}, ${which}` };
  }
  if (leaf.next) return announced(leaf, log, onProgress);
  return open("The server keeps no earlier roll of its chain.");
}

// The anchor that the chain of the block before announced, for the first roll of a chain.
async function announced(leaf, log, onProgress) {
  const before = await leafBefore(leaf.id, log.oldest, log);
  if (!before) return unknown(leaf);
  const isNextBlock = blockOf(before.id) + 1 === blockOf(leaf.id);
  const start = isNextBlock && (await chainStart(before, log, onProgress));
  const fault = start && (await faultOf(start, log, onProgress));
  if (fault) return no(fault);
  if (start && !start.next) return unknown(leaf);
  const anchor = start && publicBefore(leaf, start);
  const fits = anchor && (await leadsBack(leaf.seed, leaf.id - anchor.id, anchor.seed, onProgress));
  if (fits) return anchor;
  return open(
    "This is the first roll of its chain, and nobody announced it. Draws that were announced " +
      "before it are void.",
  );
}

function unknown({ next }) {
  return open(
    next
      ? "This is the first roll of its chain, so its seed leads back to no earlier one."
      : "There is nothing to compare the seed with. Add the proof of an earlier roll that you " +
          "saved, or read it from the server.",
  );
}

function named({ id }) {
  return id === beforeBlock(blockOf(id + 1)) ? "the announced anchor" : `the seed of roll ${id}`;
}

/** The day and minute of a note, for people. */
export function day({ since }) {
  return `${since.slice(0, 16).replace("T", " ")} UTC`;
}
