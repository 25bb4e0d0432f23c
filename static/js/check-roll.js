// The page of a roll: verifies it in the browser, and shares its link.
import { copyButtons } from "./copy.js";
import { drawingOf, labelOf } from "./die.js";
import { parseNumber, toHex } from "./proof/bytes.js";
import { open } from "./proof/checks.js";
import { PageCheck } from "./proof/page-check.js";
import { compared, factsShown, textOf, timeShown } from "./proof/shown.js";
import { offerShare } from "./share.js";

const section = document.getElementById("proof");
const main = document.getElementById("main");

/** Compares what the page shows with a leaf of the log. */
async function comparePage({ id, rolledAt, results, seed }) {
  if (!results) return open("The log does not have the dice of this roll.");
  const dice = results.map(({ die, result }) => [die.name, `${result}`]);
  const pairs = [
    [textOf(main.querySelector("h1")), `Roll ${id}`],
    timeShown(main.querySelector(".title time"), rolledAt),
    [diceShown(), dice.map(([name, result]) => dieText(name, result)).join(", ")],
    factsShown(main.querySelectorAll("#main > .facts :is(dt, dd)"), [
      ...dice,
      ["Rolled at (UTC)", rolledAt],
      ["Cursor", `${id}-${Date.parse(rolledAt)}`],
    ]),
    [textOf(section.querySelector("#seed")), seed ? toHex(seed) : ""],
  ];
  const same = seed ? "number, time, dice and seed" : "number, time and dice";
  return compared(pairs, `The page and the log have the same ${same}.`);
}

// Each die, as it is drawn and as screen readers read it.
function diceShown() {
  const dice = [...main.querySelectorAll(".felt .die")].map((die) => {
    const text = (part) => textOf(die.querySelector(part));
    const symbol = die.querySelector("use")?.getAttribute("href");
    return `${text(".die-name")} = ${text(".die-result")} (${symbol}${text(".die-number")})`;
  });
  return dice.join(", ");
}

function dieText(name, result) {
  const { symbol, mark } = drawingOf(name, result);
  return `${labelOf(name)} = ${result} (#${symbol}${mark})`;
}

// The reader asked for this roll by the address. What the page says is what is to be checked.
const id = parseNumber(location.pathname.split("/").at(-1));
new PageCheck(section, id, comparePage);

// The link has no time zone: each reader chooses one.
copyButtons(document);
const url = document.getElementById("link").value;
offerShare(document.getElementById("share"), { title: document.title, url });
