// The log's Merkle tree, RFC 9162: hashes of leaves and nodes, and proofs that a leaf is in it.
import { sha256, toUtf8 } from "./bytes.js";

const LEAF = Uint8Array.of(0);
const NODE = Uint8Array.of(1);

export function leafHash(text) {
  return sha256(LEAF, toUtf8(text));
}

/**
 * The root that the proof of a leaf gives. The leaf has this hash, and this index in a tree of
 * `size` leaves. <https://www.rfc-editor.org/rfc/rfc9162#section-2.1.3.2>. Returns `null` if the
 * proof has the wrong number of hashes.
 */
export async function rootOfInclusion(hash, index, size, proof) {
  if (index >= size) return null;
  // Division instead of shifts, which would cut a number to 32 bits.
  let [node, lastNode] = [index, size - 1];
  let root = hash;
  for (const other of proof) {
    if (lastNode === 0) return null;
    if (node % 2 === 1 || node === lastNode) {
      root = await sha256(NODE, other, root);
      while (node % 2 === 0 && node !== 0) [node, lastNode] = [parentOf(node), parentOf(lastNode)];
    } else {
      root = await sha256(NODE, root, other);
    }
    [node, lastNode] = [parentOf(node), parentOf(lastNode)];
  }
  return lastNode === 0 ? root : null;
}

function parentOf(node) {
  return Math.floor(node / 2);
}
