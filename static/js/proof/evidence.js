// The evidence for check 4: seeds that may have been public before the roll. It comes from the notes
// of this browser, from other proof files, and from the log of a server.
import { leafInLog, Refused } from "./checks.js";
import { agrees } from "./earlier.js";
import { parseProof } from "./file.js";
import { Seen } from "./fork.js";
import { ServerError } from "./server.js";

// Each answer has its own time limit. A hostile server could still keep the page busy for an hour.
const MAX_SECONDS = 60;
// Rolls may be pruned during the search. An honest server prunes few.
const MAX_MISSING = 4;

/**
 * The evidence for the leaf of a proof: `{ noted, foreign, others, log }`, as `checkSeed` needs it.
 * The request is that of `verifyRoll`.
 *
 * Throws an error for people if another file is refused, or if two proofs contradict each other.
 */
export async function evidence(leaf, proof, key, request, onProgress) {
  const { notes, earlierFiles = [], server, oldest } = request;
  const seen = new Seen();
  if (leaf.isSigned) seen.add(proof);
  const others = [];
  for (const bytes of earlierFiles) others.push(await otherLeaf(bytes, key, seen));
  const foreign = [];
  let noted;
  for (const note of leaf.seed ? notes.seedsNear(key, leaf.id) : []) {
    if (await agrees(leaf, note, onProgress)) noted ??= note;
    else foreign.push(note);
  }
  return { noted, foreign, others, log: server && { leafOf: reader(server, key, seen), oldest } };
}

// The leaf in another proof file.
async function otherLeaf(bytes, key, seen) {
  const proof = parseProof(bytes);
  if (!proof) throw new Refused("Another file is not a proof file, or it was changed.");
  const { leaf, refusal } = await leafInLog(proof, key);
  if (!leaf) throw new Refused(`The proof of roll ${proof.index + 1} is refused. ${refusal}`);
  if (leaf.isSigned) seen.add(proof);
  return leaf;
}

// A function that reads leaves from a server: `null` for one that the server does not show.
function reader(server, key, seen) {
  const end = performance.now() + 1_000 * MAX_SECONDS;
  let n_missing = 0;
  return async (id) => {
    if (performance.now() > end) {
      throw new ServerError(`The server needed more than ${MAX_SECONDS} seconds.`);
    }
    const bytes = await server.proof(id);
    const proof = bytes && parseProof(bytes);
    const { leaf } = proof ? await leafInLog(proof, key) : {};
    if (leaf?.id === id) {
      if (leaf.isSigned) seen.add(proof);
      return leaf;
    }
    n_missing += 1;
    if (n_missing > MAX_MISSING) {
      throw new ServerError("The server does not show the rolls that it claims to keep.");
    }
    return null;
  };
}
