// The page of a draw: the link to publish, the countdown to its roll, and the check of its faces.
import { Copy } from "./copy.js";
import { Countdown } from "./countdown.js";
import { Delays } from "./delays.js";
import { parseNumber, toHex } from "./proof/bytes.js";
import { no, open } from "./proof/checks.js";
import { facesOf, parseDie, sumOf } from "./proof/dice.js";
import { PageCheck } from "./proof/page-check.js";
import { compared, factsShown, textOf, timeShown } from "./proof/shown.js";
import { nameZone, writeTimes } from "./zone.js";

// The dice may pause, so the page reads the time left again at this interval.
const REFRESH_MS = 60_000;

const delays = new Delays();
let countdown;
let timer;

function connect(section) {
  // Where there is no draw, there is no link.
  if (section.dataset.state === "none") return;
  const link = section.querySelector("#link");
  link.value = new URL(link.value, location.href).href;
  new Copy(section.querySelector("#copy"), link);
  if (section.dataset.state === "waiting") count(section);
  if (section.dataset.state !== "shown") return;
  // The address is the draw. What the page says is what is to be checked.
  const asked = new URLSearchParams(location.search);
  const page = (leaf) => comparePage(section, leaf, asked);
  new PageCheck(section, parseNumber(asked.get("roll") ?? ""), page);
}

function count(section) {
  readAgainIn(REFRESH_MS);
  const onEnd = () => readAgainIn(delays.next());
  countdown = new Countdown(section.querySelector("#countdown"), onEnd);
}

/** Compares what the page shows with what its address and the seed of the roll give. */
async function comparePage(section, { id, rolledAt, seed }, asked) {
  if (!seed) return open("The roll has no seed, so there is no draw.");
  const label = asked.get("label") ?? "";
  const dice = (asked.get("dice") ?? "").split(",").map(parseDie);
  if (dice.includes(null)) return no("The address of this page is not that of a draw.");
  const drawn = [];
  for (const die of dice) drawn.push(drawnText(die.name, await facesOf(seed, id, die, label)));
  const facts = [
    ["Dice", dice.map(({ name }) => name).join()],
    ["Label", label || "none"],
  ];
  const pairs = [
    [textOf(document.querySelector("h1")), `Draw of roll ${id}`],
    factsShown(section.querySelectorAll(".facts :is(dt, dd)"), facts),
    [[...section.querySelectorAll(".drawn")].map(textOf).join("; "), drawn.join("; ")],
    [textOf(section.querySelector("#from a")), `roll ${id}`],
    timeShown(section.querySelector("#from time"), rolledAt),
    [textOf(section.querySelector("#from code")), toHex(seed)],
  ];
  const words = `Every face follows from the seed${label ? ` and the label “${label}”` : ""}.`;
  return compared(pairs, words);
}

// All that the page says about a die: its faces, their sum, and the faces without repeats.
function drawnText(name, faces) {
  const all = faces.join(" ");
  if (faces.length === 1) return `${name} shows ${all} ${all}`;
  const different = [...new Set(faces)].join(", ");
  return `${name} ${all} Sum: ${sumOf(faces)}. Without repeats, in this order: ${different}.`;
}

function readAgainIn(ms) {
  clearTimeout(timer);
  timer = setTimeout(readAgain, ms);
}

async function readAgain() {
  const [old, fresh] = [document.getElementById("draw"), await readDraw()];
  if (!fresh) return readAgainIn(delays.next());
  countdown.stop();
  writeTimes(fresh);
  nameZone(fresh);
  if (fresh.dataset.state === "waiting") return keepWaiting(old, fresh);
  const focused = old.contains(document.activeElement) && document.activeElement.id;
  old.replaceWith(fresh);
  connect(fresh);
  if (focused) document.getElementById(focused)?.focus();
}

// Changes only the parts that differ, so the selection and the focus stay.
function keepWaiting(old, fresh) {
  const [time, newTime] = [old, fresh].map((section) => section.querySelector("#countdown"));
  time.dataset.seconds = newTime.dataset.seconds;
  // The dice may have paused, the chain may have broken, and the roll may be fixed by now.
  for (const selector of ["#due", "#void", "#fixed", ".link-label"]) {
    const [part, newPart] = [old, fresh].map((section) => section.querySelector(selector));
    if (part.textContent !== newPart.textContent) part.replaceWith(newPart);
  }
  count(old);
}

async function readDraw() {
  try {
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) return null;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    return page.getElementById("draw");
  } catch {
    return null;
  }
}

const section = document.getElementById("draw");
if (section) connect(section);
