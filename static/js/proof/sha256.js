// SHA-256 of 32 bytes, many times in a row (FIPS 180-4, section 6.2).
//
// A seed may be a million hashes away from the one that it must lead back to. WebCrypto answers
// each hash with a promise, which takes a hundred times as long as the hash itself: minutes for a
// million. So seeds are hashed with the function below, which takes a second. It is compared with
// WebCrypto before its first use. Everything else uses WebCrypto.
import { areEqual, sha256 } from "./bytes.js";

const ROUND_CONSTANTS = wordsOf(`
  428a2f98 71374491 b5c0fbcf e9b5dba5 3956c25b 59f111f1 923f82a4 ab1c5ed5
  d807aa98 12835b01 243185be 550c7dc3 72be5d74 80deb1fe 9bdc06a7 c19bf174
  e49b69c1 efbe4786 0fc19dc6 240ca1cc 2de92c6f 4a7484aa 5cb0a9dc 76f988da
  983e5152 a831c66d b00327c8 bf597fc7 c6e00bf3 d5a79147 06ca6351 14292967
  27b70a85 2e1b2138 4d2c6dfc 53380d13 650a7354 766a0abb 81c2c92e 92722c85
  a2bfe8a1 a81a664b c24b8b70 c76c51a3 d192e819 d6990624 f40e3585 106aa070
  19a4c116 1e376c08 2748774c 34b0bcb5 391c0cb3 4ed8aa4a 5b9cca4f 682e6ff3
  748f82ee 78a5636f 84c87814 8cc70208 90befffa a4506ceb bef9a3f7 c67178f2`);
const START = wordsOf(`
  6a09e667 bb67ae85 3c6ef372 a54ff53a 510e527f 9b05688c 1f83d9ab 5be0cd19`);

/** SHA-256 applied `n_times` to 32 bytes. */
export function hashedAgain(bytes, n_times) {
  const words = new Int32Array(64);
  const view = new DataView(bytes.buffer, bytes.byteOffset, 32);
  for (let i = 0; i < 8; i += 1) words[i] = view.getInt32(4 * i);
  for (let n = 0; n < n_times; n += 1) hashWords(words);
  const hash = new DataView(new ArrayBuffer(32));
  for (let i = 0; i < 8; i += 1) hash.setInt32(4 * i, words[i]);
  return new Uint8Array(hash.buffer);
}

/** Whether both functions compute the same hashes. */
export async function agreesWithWebCrypto() {
  let expected = Uint8Array.from({ length: 32 }, (_, index) => 255 - 7 * index);
  const start = expected;
  for (let n = 0; n < 64; n += 1) expected = await sha256(expected);
  return areEqual(hashedAgain(start, 64), expected);
}

// Replaces the first 8 of 64 words with their hash, and overwrites the others.
function hashWords(words) {
  // The padding of a message of 256 bits.
  words[8] = 0x80000000;
  words.fill(0, 9, 15);
  words[15] = 256;
  for (let i = 16; i < 64; i += 1) {
    const x = words[i - 15];
    const y = words[i - 2];
    const low = rotated(x, 7) ^ rotated(x, 18) ^ (x >>> 3);
    const high = rotated(y, 17) ^ rotated(y, 19) ^ (y >>> 10);
    words[i] = words[i - 16] + low + words[i - 7] + high;
  }
  let a = START[0];
  let b = START[1];
  let c = START[2];
  let d = START[3];
  let e = START[4];
  let f = START[5];
  let g = START[6];
  let h = START[7];
  for (let i = 0; i < 64; i += 1) {
    const sum1 = rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25);
    const choice = (e & f) ^ (~e & g);
    const t1 = (h + sum1 + choice + ROUND_CONSTANTS[i] + words[i]) | 0;
    const sum0 = rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22);
    const majority = (a & b) ^ (a & c) ^ (b & c);
    h = g;
    g = f;
    f = e;
    e = (d + t1) | 0;
    d = c;
    c = b;
    b = a;
    a = (t1 + sum0 + majority) | 0;
  }
  words[0] = START[0] + a;
  words[1] = START[1] + b;
  words[2] = START[2] + c;
  words[3] = START[3] + d;
  words[4] = START[4] + e;
  words[5] = START[5] + f;
  words[6] = START[6] + g;
  words[7] = START[7] + h;
}

function rotated(word, n_bits) {
  return (word >>> n_bits) | (word << (32 - n_bits));
}

function wordsOf(hex) {
  return Int32Array.from(hex.trim().split(/\s+/), (word) => parseInt(word, 16));
}
