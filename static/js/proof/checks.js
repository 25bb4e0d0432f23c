// The checks of a roll, one function each. A check returns an outcome and its words. "yes": it
// passed. "no": it failed. "open": this browser could not prove it.
import { areEqual } from "./bytes.js";
import { facesOf, sumOf } from "./dice.js";
import { parseLeaf } from "./leaf.js";
import { canCheck, hasSigned } from "./note.js";
import { leafHash, rootOfInclusion } from "./tree.js";

export const yes = (words) => ({ outcome: "yes", words });
export const no = (words) => ({ outcome: "no", words });
export const open = (words) => ({ outcome: "open", words });

/** Open, because the check did not run or did not end. */
export const notChecked = (words) => ({ ...open(words), state: "Not checked." });

/** An error for people: why a check fails. */
export class Refused extends Error {}

/** Check 1: the log is signed by this key. */
export async function checkSignature({ checkpoint }, key) {
  if (checkpoint.origin !== key.origin) {
    return no(`The proof is from the log ${checkpoint.origin}, but the key is for ${key.origin}.`);
  }
  if (!(await canCheck(key))) {
    return open(
      "This browser cannot check Ed25519 signatures. Chromium 137, Firefox 129, Safari 17 and " +
        "newer versions can, if the page comes over HTTPS or from a file. The log is not proven.",
    );
  }
  if (await hasSigned(key, checkpoint)) {
    return yes(`The key signed the log of ${counted(checkpoint.size)}.`);
  }
  return no("The key did not sign this log.");
}

/** Check 2: the roll is in the log. `isSigned` is whether check 1 holds. */
export async function checkInclusion({ leaf, index, hashes, checkpoint }, isSigned) {
  const id = index + 1;
  const parsed = parseLeaf(leaf);
  if (!parsed) return no("The text of the roll is malformed.");
  if (parsed.id !== id) return no(`The text is of roll ${parsed.id}, but its place is roll ${id}.`);
  if (id > checkpoint.size)
    return no(`The log has ${counted(checkpoint.size)}. Roll ${id} is not in it.`);
  const root = await rootOfInclusion(await leafHash(leaf), index, checkpoint.size, hashes);
  if (!root || !areEqual(root, checkpoint.root)) {
    return no(`The text of roll ${id} is not in this log: the hashes lead to another root.`);
  }
  if (!isSigned)
    return open(`Roll ${id} is in this log, but nothing shows that the key signed it.`);
  return yes(`Roll ${id} is in the log: ${hashes.length} hashes lead from its text to the root.`);
}

/** Check 3: the dice follow from the seed. */
export async function checkDice({ id, results, seed }) {
  if (!results) return open("The roll is no longer stored, so there is nothing to check.");
  if (!seed) {
    return open(
      "The roll has no seed: it is older than the log, or another program wrote it. The log " +
        "keeps its dice unchanged, but nothing shows how they were rolled.",
    );
  }
  for (const { die, result } of results) {
    const sum = sumOf(await facesOf(seed, id, die));
    if (sum !== result)
      return no(`The seed gives ${die.name} = ${sum}, but the roll says ${result}.`);
  }
  return yes(
    `The seed gives ${results.map(({ die, result }) => `${die.name} = ${result}`).join(", ")}.`,
  );
}

/**
 * The first two checks of another proof: `{ leaf }`, or `{ refusal }` with the words of a check that
 * failed. Where a browser cannot check signatures, the leaf has `isSigned: false`.
 */
export async function leafInLog(proof, key) {
  const signature = await checkSignature(proof, key);
  const isSigned = signature.outcome === "yes";
  const inclusion = await checkInclusion(proof, isSigned);
  const failed = [signature, inclusion].find(({ outcome }) => outcome === "no");
  return failed ? { refusal: failed.words } : { leaf: { ...parseLeaf(proof.leaf), isSigned } };
}

function counted(n_rolls) {
  return n_rolls === 1 ? "1 roll" : `${n_rolls} rolls`;
}
