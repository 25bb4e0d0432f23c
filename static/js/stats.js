// The pages of statistics: writes the figures of `/api/stats` into the elements that show them, so
// focus, selection and open tables stay.
import { drawDeviations } from "./deviations.js";
import { drawEvidence } from "./evidence.js";
import { Figures } from "./figures.js";
import { Pause } from "./pause.js";
import { between, capitalized, decimal, grouped, powerOfTen, write } from "./words.js";

const STATES = { live: "Live", reconnecting: "Reconnecting…", paused: "Paused" };

// The texts by the attribute data-value.
const VALUES = {
  rolls: (die) => grouped(die.n_rolls),
  mean: ({ mean }) => (mean.seen === null ? "–" : decimal(mean.seen, 4)),
  "mean-range": ({ mean }) => `${decimal(mean.low, 4)} to ${decimal(mean.high, 4)}`,
  reason: ({ fairness }) => fairness.reason,
  e: ({ fairness }) => powerOfTen(fairness.log10_e),
  highest: ({ fairness }) => powerOfTen(fairness.highest_log10_e),
  streak: (die) => run(die.longest_streak),
  "streak-fair": (die) => fairRun(die.longest_streak),
  drought: (die) => run(die.longest_drought),
  "drought-fair": (die) => fairRun(die.longest_drought),
  blocks: ({ blocks }) => grouped(blocks.n_blocks),
  "to-go": ({ blocks }) => grouped(blocks.size - blocks.n_rolls_since),
  "last-block": ({ blocks }) => lastBlock(blocks),
};

// Whether a figure is outside its range, by the attribute data-outside.
const OUTSIDE = {
  mean: ({ mean }) => mean.seen !== null && isOutside(mean.seen, mean),
  streak: ({ longest_streak: { length, expected } }) => expected && isOutside(length, expected),
  drought: ({ longest_drought: { length, expected } }) => expected && isOutside(length, expected),
};

// The rows of a table by the attribute data-rows: their texts after the heading.
const ROWS = {
  results: ({ results }) =>
    results.map((row) => ({
      outside: isOutside(row.n_rolls, row),
      texts: [
        grouped(row.n_rolls),
        decimal(row.expected, 1),
        between(row.low, row.high),
        grouped(row.n_since),
        row.longest_drought === null ? "–" : grouped(row.longest_drought),
      ],
    })),
  "p-values": ({ blocks }) =>
    blocks.p_values.map((row) => ({
      outside: isOutside(row.n_blocks, row),
      texts: [grouped(row.n_blocks), decimal(row.expected, 2), between(row.low, row.high)],
    })),
};

const page = document.getElementById("stats");
const state = document.getElementById("state");
const { stats: url, everyMs, nRolls } = page.dataset;

const figures = new Figures(
  { url, everyMs: Number(everyMs), nRolls: Number(nRolls) },
  {
    onState: (name) => show(name),
    onFigures: (statistics) => {
      update(statistics);
      figures.want();
    },
  },
);

new Pause(document.getElementById("pause"), (paused) => {
  figures.hold(paused);
  show(paused ? "paused" : "live");
});

show("live");
figures.want();

function show(name) {
  state.hidden = false;
  state.dataset.state = name;
  write(state, STATES[name]);
}

function update({ as_of: asOf, dice }) {
  // A page from before the first roll has no elements for the figures.
  if (dice.length > 0 && !page.querySelector("[data-die]")) location.reload();
  for (const element of page.querySelectorAll("[data-as-of]")) write(element, grouped(asOf));
  for (const die of dice) {
    for (const root of page.querySelectorAll(`[data-die="${die.die}"]`)) updateDie(root, die);
  }
}

function updateDie(root, die) {
  for (const element of root.querySelectorAll("[data-value]")) {
    write(element, VALUES[element.dataset.value](die));
  }
  for (const mark of root.querySelectorAll("[data-outside]")) {
    mark.hidden = !OUTSIDE[mark.dataset.outside](die);
  }
  for (const verdict of root.querySelectorAll(".verdict")) {
    const text = die.fairness.verdict;
    verdict.dataset.verdict = text;
    write(verdict, "capital" in verdict.dataset ? capitalized(text) : text);
  }
  for (const link of root.querySelectorAll("[data-alarm]")) {
    const id = die.fairness.alarm_id;
    link.hidden = id === null;
    if (id !== null) link.href = `/rolls/${id}`;
  }
  for (const body of root.querySelectorAll("[data-rows]")) {
    ROWS[body.dataset.rows](die).forEach((row, i) => updateRow(body.rows[i], row));
  }
  for (const plot of root.querySelectorAll(".deviations")) drawDeviations(plot, die.results);
  for (const plot of root.querySelectorAll(".evidence")) drawEvidence(plot, die);
}

function updateRow(row, { outside, texts }) {
  const [, first, ...rest] = row.cells;
  first.firstElementChild.hidden = !outside;
  write(first.lastElementChild, texts[0]);
  rest.forEach((cell, i) => write(cell, texts[i + 1]));
}

function isOutside(seen, { low, high }) {
  return seen < low || seen > high;
}

function run({ result, length }) {
  return result === null ? "–" : `${grouped(length)} (${grouped(result)})`;
}

function fairRun({ expected }) {
  if (expected === null) return "–";
  return `${grouped(expected.median)}, mostly ${between(expected.low, expected.high)}`;
}

function lastBlock(blocks) {
  const { last_id: id, last_chi_square: chiSquare, last_p: p } = blocks;
  if (id === null) return "–";
  const freedom = grouped(blocks.degrees_of_freedom);
  return (
    `ended at roll ${grouped(id)}: chi-square ${decimal(chiSquare, 2)} with ${freedom} degrees ` +
    `of freedom, p ${decimal(p, 4)}`
  );
}
