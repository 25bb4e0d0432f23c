// The pace of the statistics, and numbers for people.

import assert from "node:assert/strict";
import test from "node:test";
import { load } from "./modules.mjs";

const { pace } = await load("figures.js");
const { between, capitalized, decimal, grouped, powerOfTen } = await load("words.js");

test("the pace grows with the history, from 3 seconds to a minute", () => {
  const paces = [0, 600, 2_000, 12_000, 1e9].map((nRolls) => pace(nRolls, 1_000));
  assert.deepEqual(paces, [3_000, 3_000, 10_000, 60_000, 60_000]);
  assert.equal(pace(1e6, 1), 5_000, "a long history of a short time");
});

test("numbers are those of the server", () => {
  assert.deepEqual([0, 999, 1_000, 12_345_678].map(grouped), ["0", "999", "1,000", "12,345,678"]);
  assert.deepEqual([decimal(1234.56, 1), decimal(0.0004, 4)], ["1,234.6", "0.0004"]);
  const powers = [-38.2, -2, 0, 0.4, 1.31, 7].map(powerOfTen);
  assert.deepEqual(powers, ["10⁻³⁸", "0.0100", "1.00", "2.51", "20.4", "10⁷"]);
  assert.deepEqual([between(17, 17), between(1, 1_000)], ["17", "1 to 1,000"]);
  assert.equal(capitalized("fair so far"), "Fair so far");
});
