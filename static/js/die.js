// Draws a die, by the same rules as the server.
import { write } from "./words.js";

// From this number of sides on, the highest result is so rare that it is marked.
const RARE_SIDES = 20;

/** Shows a result on an element of the template `_die`. */
export function drawDie(element, { name, result }) {
  const { symbol, mark } = drawingOf(name, result);
  element.dataset.die = name;
  if (element.dataset.symbol !== symbol) {
    element.dataset.symbol = symbol;
    element.querySelector("use").setAttribute("href", `#${symbol}`);
  }
  const number = element.querySelector(".die-number");
  number.dataset.digits = mark.length;
  write(number, mark);
  write(element.querySelector(".die-name"), labelOf(name));
  write(element.querySelector(".die-result"), result);
}

/**
 * The symbol and what is written on it: pips for a single six-sided die, a cup for a sum, otherwise
 * the shape for the number of sides, or a plain die if the page has no such shape.
 */
export function drawingOf(name, result) {
  const { nDice, nSides } = parse(name);
  if (nDice > 1) return { symbol: "cup", mark: String(result) };
  const has = (symbol) => document.getElementById(symbol) !== null;
  const pips = `d${nSides}-${result}`;
  if (has(pips)) return { symbol: pips, mark: "" };
  const shape = `d${nSides}`;
  return { symbol: has(shape) ? shape : "die", mark: String(result) };
}

/** The name of a die for people: `d20`. Several dice are a sum: `2d6, sum`. */
export function labelOf(name) {
  const { nDice, nSides } = parse(name);
  return nDice === 1 ? `d${nSides}` : `${nDice}d${nSides}, sum`;
}

/** Whether a result is the highest of a die with many sides. */
export function isRare({ name, result }) {
  const { nDice, nSides } = parse(name);
  return nDice === 1 && nSides >= RARE_SIDES && result === nSides;
}

function parse(name) {
  const [, nDice, nSides] = /^(\d+)D(\d+)$/.exec(name) ?? [];
  return { nDice: Number(nDice), nSides: Number(nSides) };
}
