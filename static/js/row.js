// One row of the list, cloned from the server's template.
import { writeTime } from "./zone.js";

/** The `<li>` of a roll. */
export function rollRow(template, { id, cursor, rolledAt, dice }) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.id = `roll-${id}`;
  row.dataset.cursor = cursor;

  const link = row.querySelector(".roll-id");
  link.setAttribute("href", link.getAttribute("href").replace(/[^/]+$/, id));
  row.querySelector(".roll-number").textContent = id;

  writeTime(row.querySelector(".roll-time"), rolledAt);

  // The dice may differ from those in the template.
  const cup = row.querySelector(".dice");
  const blank = cup.querySelector(".die");
  cup.replaceChildren(...dice.map((die) => dieOf(blank.cloneNode(true), die)));
  return row;
}

/** The `<li>` in the place of `n_rolls` missing rolls. */
export function gapRow(template, n_rolls) {
  const row = template.content.firstElementChild.cloneNode(true);
  row.querySelector(".gap-length").textContent = n_rolls;
  return row;
}

function dieOf(element, { name, result }) {
  const { symbol, numbered } = drawing(name, result);
  element.dataset.symbol = symbol;
  element.querySelector("use").setAttribute("href", `#${symbol}`);
  const number = element.querySelector(".die-number");
  number.dataset.digits = String(result).length;
  number.textContent = numbered ? result : "";
  element.querySelector(".die-name").textContent = name;
  element.querySelector(".die-result").textContent = result;
  return element;
}

/**
 * How a die is drawn, by the same rules as on the server: pips for a single six-sided die.
 * Otherwise the number on the shape for the number of sides, or on a plain die if the page has no
 * such shape.
 */
export function drawing(name, result) {
  const [, n_dice, sides] = /^(\d+)D(\d+)$/.exec(name) ?? [];
  const has = (symbol) => document.getElementById(symbol) !== null;

  const pips = `d${sides}-${result}`;
  if (n_dice === "1" && has(pips)) return { symbol: pips, numbered: false };
  const shape = `d${sides}`;
  return { symbol: has(shape) ? shape : "die", numbered: true };
}
