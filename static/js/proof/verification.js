// Verifies one roll: runs the checks one after the other and shows the outcome of each.
import { checkDice, checkInclusion, checkSignature, no, notChecked, open, Refused, yes } from "./checks.js";
import { checkSeed, day } from "./earlier.js";
import { evidence } from "./evidence.js";
import { parseProof } from "./file.js";
import { parseLeaf } from "./leaf.js";
import { parseKey } from "./note.js";
import { ServerError } from "./server.js";

/**
 * Verifies a roll and shows each outcome on `checklist`. The request:
 *
 * - `file`: the bytes of the roll's proof file
 * - `keyText`: the key that must have signed the log
 * - `notes`: the notes of this browser
 * - `id`: the requested roll, if any
 * - `earlierFiles`: the bytes of the proofs of earlier rolls, if any: the seed must lead back to each
 * - `server` and `oldest`: a `Server` that keeps earlier rolls, and the oldest of them, if any
 * - `page`: a fifth check, which compares the page with the leaf, if any
 *
 * Returns the leaf of the roll, or `null` if a check failed.
 *
 * Throws an error for people if the file or the key cannot be read.
 */
export async function verifyRoll(request, checklist) {
  const { file, keyText, notes, id, server, page } = request;
  if (!globalThis.crypto?.subtle) {
    throw new Error(
      "Browsers cannot check proofs on pages that come over plain HTTP. Open the page over " +
        "HTTPS, or use the offline page.",
    );
  }
  const [proof, key] = [parseProof(file), await parseKey(keyText)];
  if (!proof) throw new Error("This is not a proof file, or it was changed.");
  if (!keyText) throw new Error("Enter the key of the log, or the address of the server.");
  if (!key) throw new Error("This is not a key. A key looks like dice.example.org+eb3fa449+AS5L…");

  const outcomes = {};
  const run = async (name, check) => {
    checklist.start(name);
    const result = await check().catch(outcomeOf);
    checklist.show(name, result);
    outcomes[name] = result.outcome;
  };
  let isSigned = false;
  await run("signature", async () => {
    const result = await checkSignature(proof, key);
    isSigned = result.outcome === "yes";
    return isSigned ? comparedKey(result, key, server, notes) : result;
  });
  await run("inclusion", () => checkPlace(proof, id, isSigned));
  const isInLog = outcomes.inclusion !== "no";
  const leaf = isInLog ? { ...parseLeaf(proof.leaf), isSigned } : null;
  const ofLeaf = async (check) =>
    leaf ? check(leaf) : notChecked("The roll is not in the log.");
  await run("dice", () => ofLeaf(checkDice));
  const onProgress = (n_hashes) => checklist.progress("seed", n_hashes);
  let isNoted = false;
  await run("seed", () =>
    ofLeaf(async () => {
      const found = await evidence(leaf, proof, key, request, onProgress);
      isNoted = found.noted !== undefined;
      return checkSeed(leaf, found, onProgress);
    }),
  );
  if (page) await run("page", () => ofLeaf(page));

  checklist.conclude(proof.index + 1, Object.values(outcomes));
  if (Object.values(outcomes).includes("no")) return null;
  if (isSigned && server) notes.noteKey(server.address, key);
  if (isSigned && leaf.seed && !isNoted) notes.noteLeaf(key, leaf);
  return leaf;
}

function outcomeOf(error) {
  if (error instanceof Refused) return no(error.message);
  if (error instanceof ServerError) return notChecked(error.message);
  throw error;
}

// The outcome of check 1, compared with the keys of the server that this browser noted. Only the
// first one passes: after a change of keys, earlier draws stay void, however often one checks.
function comparedKey(result, key, server, notes) {
  const [first, ...later] = server ? notes.keysOf(server.address) : [];
  if (!first) return result;
  const since = (noted) => `This browser has known the key since ${day(noted)}.`;
  if (first.key === key.text) return yes(`${result.words} ${since(first)}`);
  const noted = later.find((it) => it.key === key.text);
  const words = noted ? `${result.words} ${since(noted)}` : result.words;
  return open(
    `${words} But on ${day(first)} this server had another key. A new key begins a new chain, ` +
      "and draws that were announced before are void.",
  );
}

// Check 2, and whether the proof is of the requested roll.
async function checkPlace(proof, id, isSigned) {
  if (id !== undefined && proof.index + 1 !== id) {
    return no(`The proof is of roll ${proof.index + 1}, not of roll ${id}.`);
  }
  return checkInclusion(proof, isSigned);
}
