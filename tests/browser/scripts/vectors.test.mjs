// The modules of the pages on the test vectors of `rollcast/v1`. Each vector is also tried with one
// bit changed.

import assert from "node:assert/strict";
import test from "node:test";
import { Log, vectors } from "./log.mjs";
import { load } from "./modules.mjs";

const { facesOf, parseDie, sumOf } = await load("proof/dice.js");
const { parseProof } = await load("proof/file.js");
const { parseLeaf } = await load("proof/leaf.js");
const { hasSigned, parseCheckpoint, parseKey } = await load("proof/note.js");
const { beforeBlock, blockOf, leadsBack } = await load("proof/seeds.js");
const { agreesWithWebCrypto } = await load("proof/sha256.js");
const { leafHash, rootOfInclusion } = await load("proof/tree.js");

const { fromBase64, fromHex, parseNumber, sha256, toHex } = await load("proof/bytes.js");
const hashOf = (text) => fromHex(text, 32);
const keys = {};
for (const name of ["A", "B", "C"]) keys[name] = await parseKey(vectors.keys[name].vkey);

/** The same bytes with one bit changed. */
function changed(original, at = original.length - 1) {
  const copy = Uint8Array.from(original);
  copy[at] ^= 1;
  return copy;
}

/** The same text with the lowest bit of one character changed. */
function changedText(text, at) {
  return new TextDecoder().decode(changed(new TextEncoder().encode(text), at));
}

test("keys are read, and no changed one", async () => {
  for (const { vkey, public: publicKey } of Object.values(vectors.keys)) {
    const key = await parseKey(vkey);
    assert.equal(toHex(key.publicKey), publicKey);
    assert.equal(key.origin, vectors.origin);
    for (let at = 0; at < vkey.length; at += 1) {
      assert.equal(await parseKey(changedText(vkey, at)), null, `a change at ${at}`);
    }
  }
});

test("a key with which anybody can sign is refused", async () => {
  // The identity and a point of order 8, each also with its sign bit, and a key of the vectors.
  const order8 = "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc";
  const points = [`01${"00".repeat(30)}00`, `01${"00".repeat(30)}80`, `${order8}05`, `${order8}85`];
  for (const point of [...points, vectors.keys.A.public]) {
    const typed = Buffer.from(`01${point}`, "hex");
    const id = (await sha256(Buffer.from(`${vectors.origin}\n`), typed)).subarray(0, 4);
    const key = await parseKey(`${vectors.origin}+${toHex(id)}+${typed.toString("base64")}`);
    assert.equal(key === null, points.includes(point), point);
  }
});

test("our SHA-256 agrees with that of WebCrypto", async () => {
  assert.ok(await agreesWithWebCrypto());
});

test("seeds lead back to earlier seeds and to anchors, and to no others", async () => {
  let n_pairs = 0;
  const hold = async (id, seed, earlierId, earlier) => {
    n_pairs += 1;
    assert.ok(await leadsBack(seed, id - earlierId, earlier), `${id} to ${earlierId}`);
    assert.ok(!(await leadsBack(changed(seed), id - earlierId, earlier)));
    if (id - earlierId > 1_000) return;
    assert.ok(!(await leadsBack(seed, id - earlierId, changed(earlier))));
    assert.ok(!(await leadsBack(seed, id - earlierId + 1, earlier)));
  };
  for (const secret of ["A", "B"]) {
    const seeds = vectors.seeds.filter((seed) => seed.secret === secret);
    seeds.sort((a, b) => a.id - b.id);
    for (const [index, { id, seed }] of seeds.entries()) {
      const before = seeds[index - 1];
      if (before && blockOf(before.id) === blockOf(id)) {
        await hold(id, hashOf(seed), before.id, hashOf(before.seed));
        continue;
      }
      const isOurs = (anchor) => anchor.secret === secret && anchor.block === blockOf(id);
      const { anchor } = vectors.anchors.find(isOurs);
      await hold(id, hashOf(seed), beforeBlock(blockOf(id)), hashOf(anchor));
    }
  }
  assert.equal(n_pairs, vectors.seeds.length);
});

test("blocks have 2^20 rolls", () => {
  const table = [
    [1, 0],
    [2 ** 20, 0],
    [2 ** 20 + 1, 1],
    [2 ** 21, 1],
    [2 ** 21 + 1, 2],
  ];
  for (const [id, block] of table) assert.equal(blockOf(id), block, id);
  assert.equal(beforeBlock(1), 2 ** 20);
});

test("dice and draws follow from the seed", async () => {
  for (const { seed, id, die, label, result } of vectors.dice) {
    const faces = await facesOf(hashOf(seed), id, parseDie(die), label);
    assert.equal(faces.length, parseDie(die).n_dice);
    assert.equal(sumOf(faces), result, `${die} of roll ${id}`);
  }
  const die = parseDie("100D2");
  const [seed, id] = [new Uint8Array(32).fill(7), 41];
  const all = [
    await facesOf(seed, id, die),
    await facesOf(changed(seed), id, die),
    await facesOf(seed, 40, die),
    await facesOf(seed, id, parseDie("99D2")),
    await facesOf(seed, id, die, "a"),
    await facesOf(seed, id, die, "b"),
  ];
  assert.equal(new Set(all.map((faces) => faces.slice(0, 99).join())).size, all.length);
});

test("only canonical names are dice", () => {
  for (const name of ["1D2", "100D1000", "2D6"]) assert.equal(parseDie(name).name, name);
  for (const name of [
    "",
    "D6",
    "1D",
    "0D6",
    "101D6",
    "1D1",
    "1D1001",
    "01D6",
    "1D06",
    "1d6",
    "1D6 ",
  ]) {
    assert.equal(parseDie(name), null, name);
  }
});

test("leaves are read, and no other spelling of them", async () => {
  const some = [vectors.upgraded, vectors.boundary].flatMap((log) => Object.values(log.some_lines));
  for (const line of [...vectors.log.lines, ...some]) {
    const leaf = parseLeaf(line);
    assert.equal(leaf?.id, Number(line.split(" ")[1]), line);
    assert.equal(leaf.seed ? toHex(leaf.seed) : "-", line.split(" ")[4]);
    for (const other of [
      `${line} `,
      ` ${line}`,
      `${line}\n`,
      line.replace("v1", "v2"),
      line.replace("v1 ", "v1 0"),
      line.replace(" ", "  "),
      `${line} ${"0".repeat(64)} -`,
      line.slice(0, -1),
      `\ufeff${line}`,
    ]) {
      assert.equal(parseLeaf(other), null, other);
    }
  }
  const leaf = (id, time, dice, ...rest) => ["rollcast/v1", id, time, dice, ...rest].join(" ");
  const [time, seed] = ["2026-11-23T01:37:40.123Z", "0".repeat(64)];
  // The first and the last millisecond of the years with four digits.
  for (const other of [time, "0000-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z"]) {
    assert.ok(parseLeaf(leaf(1, other, '{"1D6":4}', seed)), other);
  }
  for (const wrong of [
    leaf(0, time, '{"1D6":4}', seed),
    leaf("-1", time, '{"1D6":4}', seed),
    leaf(1, "2026-02-30T01:37:40.123Z", '{"1D6":4}', seed),
    leaf(1, "2026-11-23T24:00:00.000Z", '{"1D6":4}', seed),
    leaf(1, "2026-11-23T01:37:40Z", '{"1D6":4}', seed),
    leaf(1, "2026-11-23T23:59:60.000Z", '{"1D6":4}', seed),
    leaf(1, "-000001-01-01T00:00:00.000Z", '{"1D6":4}', seed),
    leaf(1, "+010000-01-01T00:00:00.000Z", '{"1D6":4}', seed),
    leaf(1, "-001-01-01T00:00:00.000Z", '{"1D6":4}', seed),
    leaf(1, "-", '{"1D6":4}', seed),
    leaf(1, time, "{}", seed),
    leaf(1, time, '{"1D6":7}', seed),
    leaf(1, time, '{"2D6":1}', seed),
    leaf(1, time, '{"1D6":04}', seed),
    leaf(1, time, '{"1D6":4.0}', seed),
    leaf(1, time, '{"1D6":4,}', seed),
    leaf(1, time, '{"1D6":4,"1D6":4}', seed),
    leaf(1, time, '{"1D6":4}', seed.replace("0", "A")),
    leaf(1, time, '{"1D6":4}', `${seed}0`),
    leaf(1, time, '{"1D6":4}', seed, "-"),
    leaf(1, time, '{"1D6":4}', "-", seed),
    leaf(1, time, '{"1D6":4}'),
    leaf(1, "-", "-", seed),
    leaf(1, "-", "-", "-", "-"),
    leaf(1, time, `{${Array.from({ length: 17 }, (_, n) => `"1D${n + 2}":1`)}}`, seed),
    "",
  ]) {
    assert.equal(parseLeaf(wrong), null, wrong);
  }
  for (const [id, hash] of Object.entries(vectors.log.leaf_hashes)) {
    const line = vectors.log.lines[id - 1];
    assert.equal(toHex(await leafHash(line)), hash);
    assert.notEqual(toHex(await leafHash(changedText(line, 3))), hash);
  }
});

test("checkpoints are signed by their key, and by no other", async () => {
  const { log, upgraded, boundary } = vectors;
  const all = [...log.checkpoints, log.cosigned, upgraded.checkpoint, boundary.checkpoint];
  for (const { size, key, text } of all) {
    const checkpoint = parseCheckpoint(text);
    assert.equal(checkpoint.size, size ?? boundary.size);
    assert.ok(await hasSigned(keys[key], checkpoint), text);
    for (const other of ["A", "B", "C"].filter((name) => name !== key)) {
      assert.ok(!(await hasSigned(keys[other], checkpoint)));
    }
  }
  const { key, text } = log.checkpoints[0];
  for (let at = 0; at < new TextEncoder().encode(text).length; at += 1) {
    const other = parseCheckpoint(changedText(text, at));
    assert.ok(!other || !(await hasSigned(keys[key], other)), `a change at ${at}`);
  }
});

test("checkpoints of falsified histories are refused where their signature is wrong", async () => {
  for (const { name, refused_for, checkpoint } of vectors.tampered.histories) {
    const seen = parseCheckpoint(checkpoint);
    const isRefused = !seen || !(await hasSigned(keys.A, seen));
    assert.equal(isRefused, ["signature", "origin"].includes(refused_for), name);
  }
});

test("lines of falsified histories are refused where their form is wrong", () => {
  for (const { name, refused_for, edits } of vectors.tampered.histories) {
    for (const { with: line } of edits.filter((edit) => edit.do === "replace")) {
      assert.equal(parseLeaf(line) === null, refused_for === "format", name);
    }
  }
});

test("proofs of inclusion lead to the root, and no changed one does", async () => {
  const { log, boundary } = vectors;
  // Not every size was signed. The log in memory has a root for each of them.
  const rootOf = (size) =>
    size === boundary.size
      ? toHex(fromBase64(boundary.roots[size]))
      : toHex(parseProof(new Log().first(size).proof(1)).checkpoint.root);
  const lineOf = (id, size) =>
    size === boundary.size ? boundary.some_lines[id] : log.lines[id - 1];
  for (const { id, size, proof } of [...log.inclusion, ...boundary.inclusion]) {
    const [hash, hashes, expected] = [
      await leafHash(lineOf(id, size)),
      proof.map(fromBase64),
      rootOf(size),
    ];
    const proven = async (hash, index, hashes) => {
      const root = await rootOfInclusion(hash, index, size, hashes);
      return root && toHex(root);
    };
    assert.equal(await proven(hash, id - 1, hashes), expected, `${id} of ${size}`);
    assert.notEqual(await proven(changed(hash), id - 1, hashes), expected);
    for (let place = 0; place < hashes.length; place += 1) {
      const other = [...hashes];
      other[place] = changed(hashes[place]);
      assert.notEqual(await proven(hash, id - 1, other), expected);
    }
    assert.equal(await proven(hash, id - 1, [...hashes, hash]), null, "one hash too many");
    assert.equal(await proven(hash, size, hashes), null, "an index beyond the size");
    if (hashes.length > 0) {
      assert.equal(await proven(hash, id - 1, hashes.slice(1)), null, "one hash missing");
    }
  }
});

test("every proof of small trees holds, and for no other index", async () => {
  for (let size = 1; size <= 12; size += 1) {
    const log = new Log().first(size);
    for (let id = 1; id <= size; id += 1) {
      const { index, hashes, checkpoint, leaf } = parseProof(log.proof(id));
      assert.equal(index, id - 1);
      for (let other = 0; other < size; other += 1) {
        const root = await rootOfInclusion(await leafHash(leaf), other, size, hashes);
        const leads = root !== null && toHex(root) === toHex(checkpoint.root);
        assert.equal(leads, other === index, `leaf ${other} by the proof of ${index} in ${size}`);
      }
    }
  }
});

test("numbers beyond 32 bits are not cut", async () => {
  const size = 2 ** 40 + 2;
  const hash = await leafHash("x");
  assert.notEqual(await rootOfInclusion(hash, 2 ** 40 + 1, size, [hash, hash]), null);
  assert.equal(await rootOfInclusion(hash, 1, size, [hash, hash]), null);
  assert.equal(parseNumber("9007199254740991"), 2 ** 53 - 1);
  for (const text of ["9007199254740992", "01", "-1", "+1", " 1", "1 ", "1e3", "1.0", "", "٣"]) {
    assert.equal(parseNumber(text), null, text);
  }
});

test("proof files are those of the vectors byte for byte", () => {
  for (const { id, size, text } of vectors.log.proof_files) {
    const proof = parseProof(Buffer.from(text));
    assert.deepEqual([proof.index, proof.checkpoint.size], [id - 1, size]);
    assert.equal(proof.leaf, vectors.log.lines[id - 1]);
    const log = new Log({ key: size <= 300 ? "A" : "B" }).first(size);
    assert.equal(log.proof(id).toString(), text);
  }
});
