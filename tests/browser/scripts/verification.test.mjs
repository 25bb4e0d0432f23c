// The verification of one roll, as the pages do it, on the test vectors and on logs in memory.

import assert from "node:assert/strict";
import test from "node:test";
import { createHash, createHmac } from "node:crypto";
import { Log, vectors } from "./log.mjs";
import { load } from "./modules.mjs";
import { ALL_YES, early, late, Memory, serverOf, verify, vkey } from "./verifier.mjs";

const { parseKey } = await load("proof/note.js");
const { Notes } = await load("proof/notes.js");
const { ServerError } = await load("proof/server.js");
const { parseLeaf } = await load("proof/leaf.js");

test("a proof of the vectors passes with an earlier roll, and leaves the seed open without", async () => {
  for (const { id, size, text } of vectors.log.proof_files) {
    const log = size <= 300 ? early.first(size) : late;
    const file = Buffer.from(text);
    const alone = await verify({ file, keyText: log.key, id });
    assert.equal(alone.outcomes, "yes yes yes open", alone.words.seed);
    const full = await verify({ file, id, ...serverOf(log) });
    const isFirst = [1, 301].includes(id);
    assert.equal(full.outcomes, isFirst ? "yes yes yes open" : ALL_YES, full.words.seed);
    assert.match(
      full.words.seed,
      isFirst ? /first roll of its chain/ : /roll (1|301), the first roll/,
    );
  }
});

test("falsified proofs are refused, and the control is not", async () => {
  for (const { name, id, text, refused_for, earlier } of vectors.tampered.proofs) {
    const notes = new Notes(new Memory());
    if (earlier) {
      const seed = Buffer.from(earlier.seed, "hex");
      notes.noteLeaf(await parseKey(vkey("A")), { id: earlier.id, seed, next: null });
    }
    const { outcomes, leaf } = await verify({ file: Buffer.from(text), id, notes });
    assert.equal(outcomes.includes("no"), refused_for !== null, `${name}: ${outcomes}`);
    assert.equal(leaf === null, refused_for !== null, name);
  }
});

test("a proof file with any one bit changed is refused", async () => {
  const control = vectors.tampered.proofs[0];
  const { server, keyText, oldest } = serverOf(early);
  const file = Buffer.from(control.text);
  const request = { id: control.id, keyText, server, oldest };
  assert.equal((await verify({ ...request, file: early.proof(control.id) })).outcomes, ALL_YES);
  let n_refused = 0;
  for (let at = 0; at < file.length; at += 1) {
    const other = Buffer.from(file);
    other[at] ^= 1;
    const seen = await verify({ file: other, id: control.id }).catch(() => ({ leaf: null }));
    n_refused += seen.leaf === null;
  }
  assert.equal(n_refused, file.length);
});

test("files that are no proofs and texts that are no keys are refused in words", async () => {
  const file = early.proof(41);
  const [mark, invalid] = [Buffer.of(0xef, 0xbb, 0xbf, ...file), Buffer.of(0xff, ...file)];
  for (const other of [Buffer.of(), Buffer.from("x"), file.subarray(1), mark, invalid]) {
    await assert.rejects(verify({ file: other }), /not a proof file/);
  }
  const withBreaks = Buffer.from(file.toString().replaceAll("\n", "\r\n"));
  await assert.rejects(verify({ file: withBreaks }), /not a proof file/);
  await assert.rejects(verify({ file, keyText: "x" }), /not a key/);
  await assert.rejects(verify({ file, keyText: "" }), /Enter the key of the log/);
});

test("a proof with a line of an unknown signer is accepted", async () => {
  const [, signatures] = vectors.log.cosigned.text.split("\n\n");
  const log = early.first(100);
  const text = log.proof(41).toString().split("\n\n").slice(0, 2).join("\n\n");
  const { outcomes } = await verify({
    ...serverOf(log),
    file: Buffer.from(`${text}\n\n${signatures}`),
  });
  assert.equal(outcomes, ALL_YES);
});

test("a roll without a seed is in the log, and its dice stay open", async () => {
  const seen = await verify({ ...serverOf(late), file: late.proof(310) });
  assert.equal(seen.outcomes, "yes yes open open");
  assert.match(seen.words.dice, /no seed/);
});

test("the first roll of a chain is found in about 20 steps, over rolls without a seed", async () => {
  for (const id of [302, 311, 320, 400, 520]) {
    const request = serverOf(late);
    const seen = await verify({ ...request, file: late.proof(id), id });
    assert.equal(seen.outcomes, ALL_YES, seen.words.seed);
    assert.match(seen.words.seed, /roll 301, the first roll of its chain/);
    assert.ok(request.server.requests.length < 30, `${request.server.requests}`);
  }
});

test("of a pruned log the oldest kept roll counts, and nothing if there is none", async () => {
  const kept = await verify({ ...serverOf(late, { oldest: 330 }), file: late.proof(400) });
  assert.equal(kept.outcomes, ALL_YES);
  assert.match(kept.words.seed, /roll 330, the oldest of its chain/);
  const none = await verify({ ...serverOf(late, { oldest: 400 }), file: late.proof(400) });
  assert.equal(none.outcomes, "yes yes yes open");
});

test("the first roll of a block leads back to the anchor that was announced a block before", async () => {
  const { boundary } = vectors;
  const root = boundary.checkpoint.text;
  const files = Object.fromEntries(
    boundary.inclusion.map(({ id, proof }) => {
      const extra = Buffer.from(boundary.some_lines[id]).toString("base64");
      const hashes = proof.map((hash) => `${hash}\n`).join("");
      const start = `c2sp.org/tlog-proof@v1\nextra ${extra}\nindex ${id - 1}\n${hashes}\n`;
      return [id, Buffer.from(start + root)];
    }),
  );
  const server = { address: "https://a.example", proof: async (id) => files[id] ?? null };
  const request = (id) => ({ file: files[id], id, server, oldest: 1 });
  const first = await verify(request(2 ** 20 + 1));
  assert.equal(first.outcomes, ALL_YES, first.words.seed);
  assert.match(first.words.seed, /anchor that roll 1 announced: SHA-256, once/);
  const later = await verify(request(2 ** 20 + 300));
  assert.match(later.words.seed, /roll 1048577, the first roll of its chain: SHA-256, 299 times/);
  const last = await verify(request(2 ** 20));
  assert.equal(last.outcomes, ALL_YES, last.words.seed);
  assert.match(last.words.seed, /SHA-256, 1048575 times/);
  // Without a server, the file of the first roll says the same.
  const { file } = request(2 ** 20 + 1);
  const offline = await verify({ file, earlierFiles: [files[1]] });
  assert.equal(offline.outcomes, ALL_YES, offline.words.seed);
  const other = await verify({ file, earlierFiles: [early.proof(1)] });
  assert.equal(other.outcomes, ALL_YES, "the same chain, by another proof");
  const foreign = await verify({ file, earlierFiles: [late.proof(301)] });
  assert.equal(foreign.outcomes, "yes yes yes no", "a roll of another key is refused");
});

/** Notes with one seed of the key A, which was noted at a moment. */
async function noted(id, since, seed = parseLeaf(early.line(id)).seed) {
  const key = await parseKey(vkey("A"));
  const memory = new Memory();
  new Notes(memory).noteLeaf(key, { id, seed, next: null });
  const text = memory.getItem("rollcast.proof").replace(/"since":"[^"]*"/, `"since":"${since}"`);
  memory.setItem("rollcast.proof", text);
  return new Notes(memory);
}

const BEFORE = "2026-11-23T01:38:00.000Z";
const AFTER = "2026-11-26T00:00:00.000Z";

test("a seed that was noted before the roll is evidence without a server", async () => {
  const file = early.proof(41);
  const seen = await verify({ file, notes: await noted(1, BEFORE) });
  assert.equal(seen.outcomes, ALL_YES, seen.words.seed);
  assert.match(seen.words.seed, /roll 1, which this browser noted on 2026-11-23 01:38 UTC/);
  const after = await verify({ file, notes: await noted(1, AFTER) });
  assert.equal(after.outcomes, "yes yes yes open", "noted after the roll");
  const other = await noted(1, BEFORE, parseLeaf(early.line(2)).seed);
  assert.equal((await verify({ file, notes: other })).outcomes, "yes yes yes no");
});

test("a later seed that was noted must lead back to the roll", async () => {
  const request = { ...serverOf(early), file: early.proof(41) };
  const seen = await verify({ ...request, notes: await noted(200, AFTER) });
  assert.equal(seen.outcomes, ALL_YES, seen.words.seed);
  const other = await noted(200, AFTER, parseLeaf(early.line(199)).seed);
  assert.equal((await verify({ ...request, notes: other })).outcomes, "yes yes yes no");
});

test("of each chain the first seed is noted, and only that", async () => {
  const [notes, key] = [new Notes(new Memory()), await parseKey(late.key)];
  for (const id of [200, 41, 400, 302, 250, 301, 1]) {
    const { outcomes } = await verify({ ...serverOf(late), file: late.proof(id), notes });
    assert.ok(!outcomes.includes("no"), `roll ${id}: ${outcomes}`);
  }
  assert.deepEqual(
    notes.seedsNear(key, 1).map(({ id }) => id),
    [200, 400],
  );
});

test("after a break a browser with a note from before it says so, until it has a new note", async () => {
  const notes = new Notes(new Memory());
  await verify({ ...serverOf(late), file: late.proof(41), notes });
  const first = await verify({ ...serverOf(late), file: late.proof(400), notes });
  assert.equal(first.outcomes, "yes yes yes open");
  assert.match(first.words.seed, /broke at roll 301.*roll 41.*announced before the break are void/);
  // Of the chain before the break, the new note says nothing.
  const old = await verify({ ...serverOf(late), file: late.proof(42), notes });
  assert.equal(old.outcomes, ALL_YES, old.words.seed);
  const pruned = { ...serverOf(late, { oldest: 330 }), file: late.proof(400) };
  const only = new Notes(new Memory());
  await verify({ ...serverOf(late), file: late.proof(41), notes: only });
  const gone = await verify({ ...pruned, notes: only });
  assert.equal(gone.outcomes, "yes yes yes open");
  assert.match(gone.words.seed, /no longer kept/);
});

test("a break before the noted roll does not explain another seed", async () => {
  const [notes, key] = [new Notes(new Memory()), await parseKey(late.key)];
  notes.noteLeaf(key, { id: 350, seed: parseLeaf(late.line(349)).seed, next: null });
  const seen = await verify({ ...serverOf(late), file: late.proof(400), notes });
  assert.equal(seen.outcomes, "yes yes yes no", seen.words.seed);
});

test("a log whose leaf is of another roll than its place is refused, although it is signed", async () => {
  const lines = vectors.log.lines.slice(0, 300);
  lines[208] = "rollcast/v1 210 - - -";
  const log = new Log({ key: "A", lines });
  assert.equal((await verify({ ...serverOf(log), file: log.proof(208) })).outcomes, ALL_YES);
  const seen = await verify({ ...serverOf(log), file: log.proof(209) });
  assert.equal(seen.outcomes, "yes no open open");
});

test("only a roll that did not fail is noted", async () => {
  const notes = new Notes(new Memory());
  const wrong = Buffer.from(vectors.tampered.proofs.find((it) => it.refused_for === "dice").text);
  assert.equal((await verify({ file: wrong, notes })).leaf, null);
  const key = await parseKey(vkey("A"));
  assert.deepEqual(notes.seedsNear(key, 209), []);
  await verify({ file: early.proof(209), notes });
  assert.equal(notes.seedsNear(key, 209)[0].id, 209);
});

test("every check with a new key of a server stays open", async () => {
  const notes = new Notes(new Memory());
  const [before, after] = [serverOf(early), serverOf(late)];
  assert.equal((await verify({ ...before, file: early.proof(41), notes })).outcomes, ALL_YES);
  const same = await verify({ ...before, file: early.proof(42), notes });
  assert.match(same.words.signature, /has known the key since/);
  const other = await verify({ ...after, file: late.proof(400), notes });
  assert.equal(other.outcomes, "open yes yes yes");
  assert.match(other.words.signature, /another key/);
  const again = await verify({ ...after, file: late.proof(400), notes });
  assert.equal(again.outcomes, "open yes yes yes");
  assert.match(again.words.signature, /has known the key since .* had another key/);
  assert.equal((await verify({ ...before, file: early.proof(42), notes })).outcomes, ALL_YES);
});

test("a proof of another roll than the one that was asked for is refused", async () => {
  const seen = await verify({ ...serverOf(early), file: early.proof(42), id: 41 });
  assert.equal(seen.outcomes, "yes no open open");
  const { states, words } = seen;
  assert.deepEqual([states.dice, words.dice], ["Not checked.", "The roll is not in the log."]);
});

test("a server that cannot be reached leaves the seed open", async () => {
  const server = {
    address: "https://a.example",
    proof: async () => {
      throw new ServerError("gone");
    },
  };
  const seen = await verify({ file: early.proof(41), server, oldest: 1 });
  assert.deepEqual([seen.outcomes, seen.words.seed], ["yes yes yes open", "gone"]);
});

test("a browser without Ed25519 shows no tick for the signature, the log or the seed", async () => {
  const { importKey } = crypto.subtle;
  const without = (format, bytes, algorithm, ...rest) =>
    algorithm.name === "Ed25519"
      ? Promise.reject(new DOMException("unknown", "NotSupportedError"))
      : importKey.call(crypto.subtle, format, bytes, algorithm, ...rest);
  Object.defineProperty(crypto.subtle, "importKey", { value: without, configurable: true });
  try {
    const notes = new Notes(new Memory());
    const seen = await verify({ ...serverOf(early), file: early.proof(41), notes });
    assert.equal(seen.outcomes, "open open yes open");
    assert.match(seen.words.signature, /cannot check Ed25519/);
    assert.deepEqual(notes.seedsNear(await parseKey(early.key), 41), [], "nothing is noted");
  } finally {
    delete crypto.subtle.importKey;
  }
});

test("a fifth check gets the leaf, and only one that is in the log", async () => {
  const page = async (leaf) => ({ outcome: leaf.id === 41 ? "yes" : "no", words: "" });
  const seen = await verify({ ...serverOf(early), file: early.proof(41), page });
  assert.equal(seen.outcomes, `${ALL_YES} yes`);
  const other = await verify({ ...serverOf(early), file: early.proof(41), id: 42, page });
  assert.equal(other.outcomes, "yes no open open open");
});

/** A seed hashed a number of times. */
function hashed(seed, n_times) {
  for (let n = 0; n < n_times; n += 1) seed = createHash("sha256").update(seed).digest();
  return seed;
}

/** The line of a roll with a seed of the operator's choice, and an announced anchor if any. */
function chosen(id, seed, next) {
  const block = createHmac("sha256", seed).update(`rollcast/v1 ${id} 1D6 0`).digest();
  const numbers = Array.from({ length: 16 }, (_, index) => block.readUInt16BE(2 * index));
  const face = (numbers.find((number) => number < 65_532) % 6) + 1;
  const words = ["rollcast/v1", id, "2026-11-24T00:00:00.000Z", `{"1D6":${face}}`];
  return [...words, seed.toString("hex"), ...(next ? [next.toString("hex")] : [])].join(" ");
}

/** A log in which the operator chose the seed of roll 41, from which rolls 42 to 50 lead back. */
function withChosenSeed({ next, from = 41, unseeded = [] } = {}) {
  const lines = vectors.log.lines.slice(0, from - 1);
  for (let id = from; id < from + 10; id += 1) {
    const seed = hashed(Buffer.alloc(32, 9), from + 9 - id);
    lines.push(chosen(id, seed, id === from ? next : undefined));
  }
  for (const id of unseeded) lines[id - 1] = `rollcast/v1 ${id} - - -`;
  return new Log({ key: "A", lines });
}

test("a seed that the operator chose is refused, with those that lead back to it", async () => {
  const seed = async (log, id, options) =>
    verify({ ...serverOf(log, options), file: log.proof(id), id });
  assert.equal((await seed(withChosenSeed(), 40)).outcomes, ALL_YES, "the control");
  for (const unseeded of [[], [40], [38, 39, 40]]) {
    const log = withChosenSeed({ unseeded });
    for (const id of [41, 42, 50]) {
      const { outcomes, words } = await seed(log, id);
      assert.equal(outcomes, "yes yes yes no", words.seed);
      const before = 40 - unseeded.length;
      assert.match(words.seed, new RegExp(`roll 41 does not lead back to that of roll ${before},`));
    }
  }
  // Of pruned rolls, nothing can be shown.
  assert.equal((await seed(withChosenSeed(), 41, { oldest: 41 })).outcomes, "yes yes yes open");
  const later = await seed(withChosenSeed({ from: 300 }), 305, { oldest: 257 });
  assert.equal(later.outcomes, "yes yes yes no", later.words.seed);
  const notes = await noted(1, BEFORE);
  const log = withChosenSeed({ from: 300 });
  const request = { ...serverOf(log, { oldest: 257 }), file: log.proof(305), notes };
  const seen = await verify(request);
  assert.equal(seen.outcomes, "yes yes yes no", "a note explains nothing");
});

test("a chosen seed that is announced is a break, and one that is hidden stays open", async () => {
  const announced = withChosenSeed({ next: Buffer.alloc(32, 8) });
  const first = await verify({ ...serverOf(announced), file: announced.proof(41) });
  assert.equal(first.outcomes, "yes yes yes open");
  assert.match(first.words.seed, /first roll of its chain, and nobody announced it/);
  const later = await verify({ ...serverOf(announced), file: announced.proof(50) });
  assert.match(later.words.seed, /roll 41, the first roll of its chain/);

  const unseeded = Array.from({ length: 17 }, (_, index) => 24 + index);
  const hidden = withChosenSeed({ unseeded });
  const seen = await verify({ ...serverOf(hidden), file: hidden.proof(50) });
  assert.equal(seen.outcomes, "yes yes yes open");
  const request = serverOf(withChosenSeed());
  request.server.proof = async (id) => (id === 40 ? null : withChosenSeed().proof(id));
  const refusing = await verify({ ...request, file: withChosenSeed().proof(50) });
  assert.equal(refusing.outcomes, "yes yes yes open", "the server does not show roll 40");
});

test("a first roll that announces nothing is refused", async () => {
  const lines = vectors.log.lines.slice(0, 50);
  lines[0] = lines[0].split(" ").slice(0, 5).join(" ");
  const log = new Log({ key: "A", lines });
  for (const id of [1, 41]) {
    const seen = await verify({ ...serverOf(log), file: log.proof(id) });
    assert.equal(seen.outcomes, "yes yes yes no", seen.words.seed);
    assert.match(seen.words.seed, /Roll 1 begins a chain of seeds, but announces nothing/);
  }
});

test("a chain that the block before did not announce is a break", async () => {
  const { checkSeed } = await load("proof/earlier.js");
  const first = 2 ** 20 + 1;
  const [seed, other] = [Buffer.alloc(32, 1), Buffer.alloc(32, 2)];
  const leaf = { id: first, seed, next: other, isSigned: true };
  // The log has the last roll of the block before, which is the first of its chain.
  const seen = async (next, oldest = 1) => {
    const before = { id: first - 1, seed: other, next, isSigned: true };
    const leafOf = async (id) => (id === first - 1 ? before : { id, seed: null });
    const found = { noted: undefined, foreign: [], others: [], log: { leafOf, oldest } };
    return checkSeed(leaf, found);
  };
  assert.equal((await seen(hashed(seed, 1))).outcome, "yes", "the control");
  const broken = await seen(other);
  assert.equal(broken.outcome, "open");
  assert.match(broken.words, /nobody announced it/);
  const pruned = await seen(null, first - 1);
  assert.equal(pruned.outcome, "open");
  assert.doesNotMatch(pruned.words, /nobody announced/);
});

test("the search of a chain's start ends, whatever the server answers", async () => {
  const files = [late.proof(400), late.proof(401), late.proof(1), early.proof(301 - 1), null];
  for (const answer of [...files, Buffer.from("x")]) {
    const server = { address: "https://a.example", proof: async () => answer };
    const request = { file: late.proof(400), keyText: late.key, server, oldest: 1 };
    assert.equal((await verify(request)).outcomes, "yes yes yes open");
  }
});
