// Keys and checkpoints: the number of rolls and the root of the tree, signed with Ed25519.
// <https://c2sp.org/signed-note>, <https://c2sp.org/tlog-checkpoint>
import { areEqual, fromBase64, fromHex, joined, parseNumber, sha256, toHex, toUtf8 } from "./bytes.js";

const ED25519 = 1;
// The points of Ed25519 whose order is at most 8, without their sign bit. Anybody can sign with such
// a key, and some browsers accept that.
const SMALL_ORDER = [
  `00${"00".repeat(31)}`,
  `01${"00".repeat(31)}`,
  "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
  "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
  `ec${"ff".repeat(30)}7f`,
  `ed${"ff".repeat(30)}7f`,
  `ee${"ff".repeat(30)}7f`,
];

/**
 * Reads a key such as `dice.example.org+eb3fa449+AS5L…`. Returns `null` for any other text, and for a
 * key with which anybody can sign.
 */
export async function parseKey(text) {
  const [, origin, idText, publicText] = /^([^\s\p{Cc}+]+)\+([^+]+)\+(.+)$/u.exec(text) ?? [];
  const [id, typed] = [fromHex(idText ?? "", 4), fromBase64(publicText ?? "")];
  if (!id || typed?.length !== 33 || typed[0] !== ED25519) return null;
  const hash = await sha256(toUtf8(`${origin}\n`), typed);
  const publicKey = typed.subarray(1);
  const isKey = areEqual(hash.subarray(0, 4), id) && !hasSmallOrder(publicKey);
  return isKey ? { text, origin, id, publicKey } : null;
}

function hasSmallOrder(publicKey) {
  const point = Uint8Array.from(publicKey);
  point[31] &= 0x7f;
  return SMALL_ORDER.includes(toHex(point));
}

/** Whether this browser can check a signature of a key: older browsers do not know Ed25519. */
export async function canCheck(key) {
  return (await importKey(key.publicKey)) !== null;
}

/**
 * Reads a checkpoint, without its signatures: `{ origin, size, root, text, signatures }`. Returns
 * `null` for any other text.
 */
export function parseCheckpoint(note) {
  const end = note.indexOf("\n\n") + 1;
  const [text, signatures] = [note.slice(0, end), note.slice(end + 1)];
  const lines = signatures.split("\n");
  const isSignature = (line) => line.startsWith("— ") && line.split(" ").length === 3;
  if (end === 0 || note.includes("\r") || lines.pop() !== "" || !lines.every(isSignature))
    return null;

  const [origin, sizeText, rootText, last, ...rest] = text.split("\n");
  const [size, root] = [parseNumber(sizeText ?? ""), fromBase64(rootText ?? "")];
  if (size === null || root?.length !== 32 || last !== "" || rest.length > 0) return null;
  return { origin, size, root, text, signatures: lines };
}

/** Whether a key has signed a checkpoint. Ignores the signatures of other keys. */
export async function hasSigned(key, { origin, text, signatures }) {
  if (origin !== key.origin) return false;
  const publicKey = await importKey(key.publicKey);
  for (const line of signatures) {
    const [, name, signature] = line.split(" ");
    const bytes = fromBase64(signature);
    const isOurs = name === key.origin && bytes && areEqual(bytes.subarray(0, 4), key.id);
    if (isOurs && (await verify(publicKey, bytes.subarray(4), toUtf8(text)))) return true;
  }
  return false;
}

function importKey(bytes) {
  const imported = crypto.subtle.importKey("raw", bytes, { name: "Ed25519" }, false, ["verify"]);
  return imported.catch(() => null);
}

async function verify(publicKey, signature, text) {
  return publicKey !== null && crypto.subtle.verify("Ed25519", publicKey, signature, text);
}
