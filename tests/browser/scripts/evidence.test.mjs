// The evidence for check 4 from several files, and from a server that contradicts the proof or does not
// show what it claims to keep.

import assert from "node:assert/strict";
import test from "node:test";
import { Log, vectors } from "./log.mjs";
import { ALL_YES, early, late, serverOf, verify } from "./verifier.mjs";

const log = early.first(60);

/** The same log with another seed for a roll, or another time. The same key signed it. */
function fork(id, change) {
  const lines = vectors.log.lines.slice(0, 60);
  lines[id - 1] = change(lines[id - 1]);
  return new Log({ key: "A", lines });
}

const otherSeed = (line) => line.replace(/[0-9a-f]$/, (digit) => (digit === "0" ? "1" : "0"));
const otherTime = (line) => line.replace(/[0-9]Z/, (end) => (end === "0Z" ? "1Z" : "0Z"));

/** Checks roll 41 with other files. */
function withFiles(...earlierFiles) {
  return verify({ file: log.proof(41), earlierFiles });
}

function assertRefused({ outcomes, words, leaf }, expected) {
  assert.equal(outcomes, "yes yes yes no", words.seed);
  assert.match(words.seed, expected);
  assert.equal(leaf, null);
}

test("the seed must lead back to every other file, in any order", async () => {
  const good = [log.proof(40), log.proof(20), log.proof(1)];
  const seen = await withFiles(...good);
  assert.equal(seen.outcomes, ALL_YES, seen.words.seed);
  assert.match(seen.words.seed, /roll 40, the seed of roll 20, and .* roll 1: SHA-256, 40 times/);
  // Its tree has another size, so the two logs do not contradict each other by their roots.
  const bad = fork(30, otherSeed).first(59).proof(30);
  for (let at = 0; at <= good.length; at += 1) {
    const files = [...good.slice(0, at), bad, ...good.slice(at)];
    assertRefused(await withFiles(...files), /does not lead back to .* roll 30/);
  }
});

test("a file that is refused is named, whatever the others show", async () => {
  const changed = Buffer.from(log.proof(40).toString().replace("index 39", "index 38"));
  const good = log.proof(1);
  for (const files of [[changed], [changed, good], [good, changed]]) {
    assertRefused(await withFiles(...files), /proof of roll 39 is refused.*text is of roll 40/);
  }
  assertRefused(await withFiles(good, late.proof(20)), /roll 20 is refused.*did not sign/);
  assertRefused(await withFiles(good, Buffer.from("x")), /not a proof file/);
});

test("a file with nothing to compare is not ignored", async () => {
  const file = late.proof(320);
  const earlierFiles = [310, 302].map((id) => late.proof(id));
  const seen = await verify({ file, keyText: late.key, earlierFiles });
  assert.equal(seen.outcomes, "yes yes yes open");
  assert.match(seen.words.seed, /Roll 310 has neither/);
  const same = await withFiles(log.proof(41), early.proof(41), log.proof(1));
  assert.equal(same.outcomes, ALL_YES, "the control: the same roll again, and in a larger tree");
  assert.equal((await withFiles(log.proof(41))).outcomes, "yes yes yes open");
});

test("two logs that one key signed are a fork, in files and in the answers of a server", async () => {
  const kept = /the key signed both: the log is forked. Keep both proof files/;
  // The same roll has another text. The trees have different sizes.
  const other = fork(41, otherTime).first(59);
  const files = [other.proof(41), log.proof(1)];
  assertRefused(await withFiles(...files), /^Two proofs of roll 41 .* signed both/);
  // The same size has another root. All seeds lead back to each other.
  const twin = fork(50, otherTime);
  for (const files of [[twin.proof(40)], [twin.proof(40), log.proof(1)]]) {
    const seen = await withFiles(...files);
    assertRefused(seen, kept);
    assert.match(seen.words.seed, /proofs of rolls 41 and 40 are from two logs of 60 rolls/);
  }
  // The roll itself is in a third tree.
  const [small, larger] = [twin.proof(20), log.proof(30)];
  assertRefused(await verify({ file: early.proof(41), earlierFiles: [larger, small] }), kept);

  const file = log.proof(41);
  assert.equal((await verify({ ...serverOf(log), file })).outcomes, ALL_YES, "the control");
  assert.equal((await verify({ ...serverOf(early), file })).outcomes, ALL_YES, "another size");
  const seen = await verify({ ...serverOf(twin), file });
  assertRefused(seen, kept);
  assert.match(seen.words.seed, /proofs of rolls 41 and 1 are from two logs of 60 rolls/);
});

test("a server that claims to keep pruned rolls is asked for a few of them only", async () => {
  for (const answer of [null, Buffer.from("x"), late.proof(3)]) {
    const request = serverOf(early);
    const { requests } = request.server;
    request.server.proof = async (id) => (requests.push(id), answer);
    const seen = await verify({ ...request, file: early.proof(300) });
    assert.equal(seen.outcomes, "yes yes yes open");
    assert.equal(seen.states.seed, "Not checked.");
    assert.match(seen.words.seed, /^The server does not show the rolls/);
    assert.ok(requests.length <= 5, `${requests}`);
  }
});

test("check 4 ends after 60 seconds, however slow each answer is", async () => {
  const { now } = performance;
  const request = serverOf(late);
  const { proof, requests } = request.server;
  let waited = 0;
  performance.now = () => now.call(performance) + waited;
  try {
    request.server.proof = (id) => {
      waited += 9_000;
      return proof(id);
    };
    const seen = await verify({ ...request, file: late.proof(520) });
    assert.equal(seen.outcomes, "yes yes yes open");
    assert.equal(seen.states.seed, "Not checked.");
    assert.match(seen.words.seed, /^The server needed more than 60 seconds/);
    assert.equal(requests.length, 7);
  } finally {
    performance.now = now;
  }
});
