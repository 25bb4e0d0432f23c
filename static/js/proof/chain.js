// Finds the first roll of a chain: the run of rolls whose seeds lead back to each other.
import { beforeBlock, blockOf, leadsBack } from "./seeds.js";
import { ServerError } from "./server.js";

// Rolls that another program inserted have no seed. Skip at most this many in a row.
const MAX_SKIPPED = 16;

/**
 * The oldest leaf in the chain of `leaf` that can be found in its block, or `leaf` itself. The log
 * has leaves from `oldest` on, and `leafOf(id)` returns one of them, or `null`.
 */
export async function chainStart(leaf, { leafOf, oldest }, onProgress) {
  let low = Math.max(beforeBlock(blockOf(leaf.id)) + 1, oldest);
  let start = leaf;
  // Most chains begin with their block. Others are found by binary search, in about 20 steps.
  let middle = low;
  while (low < start.id && !start.next) {
    const found = await withSeed(middle, low, leafOf);
    const n_rolls = found && start.id - found.id;
    if (found && (await leadsBack(start.seed, n_rolls, found.seed, onProgress))) start = found;
    else low = middle + 1;
    middle = Math.floor((low + start.id) / 2);
  }
  return start;
}

/**
 * Why no chain can begin with a leaf that `chainStart` found, or `null`. An operator who chooses a
 * seed freely must announce a new chain, or else the seed before does not fit.
 */
export async function faultOf({ id, seed, next }, log, onProgress) {
  const first = beforeBlock(blockOf(id)) + 1;
  const before = next ? null : await leafBefore(id, Math.max(first, log.oldest), log);
  if (before) {
    const isChanging = await leadsBack(seed, id - before.id, before.seed, onProgress);
    if (isChanging) throw new ServerError("The server gave two answers for one roll.");
    return (
      `The seed of roll ${id} does not lead back to that of roll ${before.id}, and the roll ` +
      "announces no new chain."
    );
  }
  const mustAnnounce = !next && log.oldest <= first;
  return mustAnnounce ? `Roll ${id} begins a chain of seeds, but announces nothing.` : null;
}

/** The newest leaf with a seed before a roll, from the roll `low` on; `null` if there is none. */
export async function leafBefore(id, low, { leafOf }) {
  for (let at = id - 1; at >= low; at -= 1) {
    const leaf = at < id - 1 - MAX_SKIPPED ? null : await leafOf(at);
    if (!leaf) throw new ServerError(`Nothing shows which seed is before that of roll ${id}.`);
    if (leaf.seed) return leaf;
  }
  return null;
}

async function withSeed(id, low, leafOf) {
  for (let at = id; at >= Math.max(low, id - MAX_SKIPPED); at -= 1) {
    const leaf = await leafOf(at);
    // Pruned rolls are the oldest, so the rolls before a missing one are missing too.
    if (!leaf || leaf.seed) return leaf;
  }
  return null;
}
