// A log in memory with the lines of the test vectors. Node's crypto makes its proofs.

import { createHash, createHmac, createPrivateKey, createPublicKey, sign } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { ROOT } from "./modules.mjs";

export const vectors = JSON.parse(readFileSync(join(ROOT, "docs/proof-vectors.json"), "utf8"));

const sha256 = (...parts) => createHash("sha256").update(Buffer.concat(parts)).digest();
const node = (left, right) => sha256(Buffer.of(1), left, right);

/** A key by its name in the vectors: the text of the verifier key, and a function that signs. */
function keyOf(name, origin) {
  const secret = Buffer.from(vectors.secrets[name], "hex");
  const seed = createHmac("sha256", secret).update("rollcast/v1 key").digest();
  // RFC 8410: the header of an Ed25519 private key.
  const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
  const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
  const spki = createPublicKey(privateKey).export({ format: "der", type: "spki" });
  const typed = Buffer.concat([Buffer.of(1), spki.subarray(-32)]);
  const id = sha256(Buffer.from(`${origin}\n`), typed).subarray(0, 4);
  return {
    id,
    text: `${origin}+${id.toString("hex")}+${typed.toString("base64")}`,
    sign: (text) => sign(null, Buffer.from(text), privateKey),
  };
}

export class Log {
  #lines;
  #origin;
  #key;

  constructor({ lines = vectors.log.lines, key = "B", origin = vectors.origin } = {}) {
    this.#lines = lines;
    this.#origin = origin;
    this.#key = keyOf(key, origin);
  }

  get key() {
    return this.#key.text;
  }

  get size() {
    return this.#lines.length;
  }

  line(id) {
    return this.#lines[id - 1];
  }

  /** The log of the first `size` rolls. */
  first(size) {
    const log = new Log();
    log.#lines = this.#lines.slice(0, size);
    log.#origin = this.#origin;
    log.#key = this.#key;
    return log;
  }

  /** The proof file of a roll. */
  proof(id) {
    const leaves = this.#lines.map((line) => sha256(Buffer.of(0), Buffer.from(line)));
    const { root, path } = inclusion(leaves, id - 1);
    const text = `${this.#origin}\n${this.size}\n${root.toString("base64")}\n`;
    const signature = Buffer.concat([this.#key.id, this.#key.sign(text)]).toString("base64");
    const extra = Buffer.from(this.line(id)).toString("base64");
    const hashes = path.map((hash) => `${hash.toString("base64")}\n`).join("");
    const start = `c2sp.org/tlog-proof@v1\nextra ${extra}\nindex ${id - 1}\n${hashes}\n`;
    return Buffer.from(`${start}${text}\n— ${this.#origin} ${signature}\n`);
  }
}

// RFC 6962, section 2.1.1, as it is defined there: by halves.
function inclusion(leaves, index) {
  if (leaves.length === 1) return { root: leaves[0], path: [] };
  let half = 1;
  while (2 * half < leaves.length) half *= 2;
  const isLeft = index < half;
  const [left, right] = [leaves.slice(0, half), leaves.slice(half)];
  const { root, path } = inclusion(isLeft ? left : right, isLeft ? index : index - half);
  const other = inclusion(isLeft ? right : left, 0).root;
  path.push(other);
  return { root: isLeft ? node(root, other) : node(other, root), path };
}
