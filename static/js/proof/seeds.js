// Seeds: the SHA-256 of a roll's seed is the seed of the previous roll, within a block of 2^20 rolls.
import { areEqual } from "./bytes.js";
import { agreesWithWebCrypto, hashedAgain } from "./sha256.js";

const BLOCK_LENGTH = 2 ** 20;
// How many hashes are computed before the clock is read again: about half a millisecond.
const STEP = 512;
// Longer tasks would delay the answer to a key or a click.
const TASK_MS = 10;

let isTrusted;

/** The number of a roll's block, from 0 on. */
export function blockOf(id) {
  return Math.floor((id - 1) / BLOCK_LENGTH);
}

/** The place before a block's first roll: its "seed" is the block's anchor. */
export function beforeBlock(block) {
  return block * BLOCK_LENGTH;
}

/**
 * Whether a seed, hashed `n_rolls` times, is the earlier one. The page stays responsive meanwhile.
 * Calls `onProgress` with the number of hashes so far.
 */
export async function leadsBack(seed, n_rolls, earlier, onProgress = () => {}) {
  return areEqual(await seedBefore(seed, n_rolls, onProgress), earlier);
}

async function seedBefore(seed, n_rolls, onProgress) {
  isTrusted ??= await agreesWithWebCrypto();
  if (!isTrusted) throw new Error("Two SHA-256 functions of this page disagree.");
  let hash = seed;
  let n_done = 0;
  while (n_done < n_rolls) {
    const start = performance.now();
    while (n_done < n_rolls && performance.now() - start < TASK_MS) {
      const n_now = Math.min(STEP, n_rolls - n_done);
      hash = hashedAgain(hash, n_now);
      n_done += n_now;
    }
    onProgress(n_done);
    await nextTask();
  }
  return hash;
}

// A message instead of a timer, because browsers delay the timers of hidden pages by a second.
function nextTask() {
  return new Promise((resolve) => {
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(null);
  });
}
