// Updates the plot of the evidence. The server draws the same in src/web/pages/stats/evidence.rs.
import { percent, repeat, roundUp, set } from "./axis.js";
import { fixed, grouped, superscript, write } from "./words.js";

const MARGIN = 0.08;
const MAX_STEPS = 5;

/** Draws a die of `/api/stats` into the plot. */
export function drawEvidence(plot, { n_rolls: nRolls, fairness }) {
  const nDecades = decades(nRolls);
  const x = (n) => (100 * Math.log10(Math.max(1, n))) / nDecades;
  const alarm = Math.log10(fairness.alarm);
  const now = fairness.log10_e;
  const values = fairness.history.map((point) => point.log10_e);
  const highest = Math.max(alarm, now, ...values);
  const lowest = Math.min(-1, now, ...values);
  const margin = MARGIN * (highest - lowest);
  const [top, bottom] = [highest + margin, lowest - margin];
  const y = (log10) => (100 * (top - log10)) / (top - bottom);

  const line = fairness.history.map(
    (point) => `${fixed(x(point.n_rolls), 2)},${fixed(y(point.log10_e), 2)}`,
  );
  set(plot.querySelector(".line"), { points: line.join(" ") });
  set(plot.querySelector(".now"), { cx: percent(x(nRolls)), cy: percent(y(now)) });
  set(plot.querySelector(".alarm"), { y1: percent(y(alarm)), y2: percent(y(alarm)) });
  const name = plot.querySelector(".alarm-name");
  set(name, { y: percent(y(alarm)) });
  write(name, `alarm at ${grouped(fairness.alarm)}`);

  const rolls = Array.from({ length: nDecades + 1 }, (_, n) => n);
  const places = rolls.map((n) => percent((100 * n) / nDecades));
  repeat(plot.querySelector(".x-grid"), rolls.length).forEach((grid, i) => {
    set(grid, { x1: places[i], x2: places[i] });
  });
  repeat(plot.querySelector(".x-axis"), rolls.length).forEach((tick, i) => {
    set(tick, { x: places[i] });
    write(tick, power(rolls[i]));
  });

  const step = roundUp(Math.max(1, (top - bottom) / MAX_STEPS));
  const first = Math.floor(top / step);
  const exponents = Array.from(
    { length: first - Math.ceil(bottom / step) + 1 },
    (_, i) => (first - i) * step,
  );
  repeat(plot.querySelector(".y-grid"), exponents.length).forEach((grid, i) => {
    set(grid, { y1: percent(y(exponents[i])), y2: percent(y(exponents[i])) });
  });
  repeat(plot.querySelector(".y-axis"), exponents.length).forEach((tick, i) => {
    set(tick, { y: percent(y(exponents[i])) });
    write(tick, power(exponents[i]));
  });
}

function decades(nRolls) {
  let n = 1;
  while (10 ** n < nRolls) n += 1;
  return n;
}

function power(exponent) {
  if (exponent >= 0 && exponent <= 3) return grouped(10 ** exponent);
  if (exponent < 0 && exponent >= -2) return (10 ** exponent).toFixed(-exponent);
  return `10${superscript(exponent)}`;
}
