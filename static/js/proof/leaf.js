// Leaves: the text of a roll in the log. There are four forms. Each value has exactly one text.
import { fromHex, parseNumber } from "./bytes.js";
import { canShow, parseDie } from "./dice.js";

const MAX_DICE = 16;

/**
 * Reads a leaf: `{ id, rolledAt, results: [{ die, result }], seed, next }`. Missing values are
 * `null`. Returns `null` for any text that is not exactly a leaf.
 */
export function parseLeaf(text) {
  const [version, idText, rolledAt, dice, seedText, nextText, ...rest] = text.split(" ");
  const id = parseNumber(idText ?? "");
  if (version !== "rollcast/v1" || !id || rest.length > 0) return null;

  const isWithoutSeed = seedText === "-" && nextText === undefined;
  if (isWithoutSeed && rolledAt === "-" && dice === "-") {
    return { id, rolledAt: null, results: null, seed: null, next: null };
  }
  const results = parseResults(dice ?? "");
  if (!isTimestamp(rolledAt) || !results) return null;
  if (isWithoutSeed) return { id, rolledAt, results, seed: null, next: null };

  const seed = fromHex(seedText ?? "", 32);
  const next = nextText === undefined ? null : fromHex(nextText, 32);
  if (!seed || (nextText !== undefined && !next)) return null;
  return { id, rolledAt, results, seed, next };
}

// `{"1D6":4,"1D20":17}`: 1 to 16 different dice, no spaces.
function parseResults(json) {
  if (!/^\{.+\}$/.test(json)) return null;
  const results = json.slice(1, -1).split(",").map(parseResult);
  const names = new Set(results.map((result) => result?.die.name));
  const areDice = !results.includes(null) && names.size === results.length;
  return areDice && results.length <= MAX_DICE ? results : null;
}

function parseResult(json) {
  const [, name, number] = /^"([0-9D]+)":([0-9]+)$/.exec(json) ?? [];
  const [die, result] = [parseDie(name ?? ""), parseNumber(number ?? "")];
  return die && canShow(die, result) ? { die, result } : null;
}

// RFC 3339 in UTC with exactly three decimals, of a day and an hour that exist.
function isTimestamp(text) {
  if (!/^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}\.[0-9]{3}Z$/.test(text)) return false;
  const moment = new Date(text);
  return !Number.isNaN(moment.getTime()) && moment.toISOString() === text;
}
