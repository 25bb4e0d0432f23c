// Proof files: a leaf, the proof that it is in the tree, and the checkpoint.
// <https://c2sp.org/tlog-proof>
import { fromBase64, fromUtf8, parseNumber } from "./bytes.js";
import { parseCheckpoint } from "./note.js";

/** Many times as much as a proof of 63 hashes has. */
export const MAX_FILE_BYTES = 64 * 1024;

// The number in a proof from the largest tree, of 2^63 leaves.
const MAX_HASHES = 63;

/**
 * Reads the bytes of a proof file: `{ leaf, index, hashes, checkpoint }`, where `leaf` is a text.
 * Returns `null` if the file is no proof.
 */
export function parseProof(bytes) {
  const text = fromUtf8(bytes);
  const end = text?.indexOf("\n\n") ?? -1;
  if (end < 0) return null;
  const [version, extra, indexLine, ...hashLines] = text.slice(0, end).split("\n");
  const leafBytes = fromBase64(afterWord("extra ", extra));
  const leaf = leafBytes && fromUtf8(leafBytes);
  const index = parseNumber(afterWord("index ", indexLine));
  const hashes = hashLines.map(fromBase64);
  const checkpoint = parseCheckpoint(text.slice(end + 2));

  const isProof =
    version === "c2sp.org/tlog-proof@v1" &&
    leaf !== null &&
    index !== null &&
    hashes.length <= MAX_HASHES &&
    hashes.every((hash) => hash?.length === 32) &&
    checkpoint !== null;
  return isProof ? { leaf, index, hashes, checkpoint } : null;
}

// The text after the word, or a text that no reader accepts.
function afterWord(word, line) {
  return line?.startsWith(word) ? line.slice(word.length) : "?";
}
