// Updates the plot of deviations. The server draws the same in src/web/pages/stats/deviations.rs.
import { percent, roundUp, set } from "./axis.js";
import { write } from "./words.js";

const MIN_LIKELY = 0.1;
const MIN_EXPECTED = 1;
const NO_REACH = 100;

/** Draws the `results` of `/api/stats` into the plot. */
export function drawDeviations(plot, results) {
  const end = reach(results);
  const y = (deviation) => 50 - 50 * Math.min(1, Math.max(-1, deviation / end));
  const bars = plot.querySelectorAll(".bar");
  const bands = plot.querySelectorAll(".band");
  results.forEach((result, i) => {
    if (!bars[i]) return;
    const [seen, low, high] = [result.n_rolls, result.low, result.high].map((n) =>
      y(deviation(result, n)),
    );
    set(bars[i], { y: percent(Math.min(seen, 50)), height: percent(Math.abs(seen - 50)) });
    set(bands[i], { y: percent(high), height: percent(low - high) });
    bars[i].classList.toggle("outside", result.n_rolls < result.low || result.n_rolls > result.high);
  });
  plot.querySelectorAll(".y-axis text").forEach((tick, i) => {
    write(tick, signedPercent((1 - i / 2) * end));
  });
}

// In percent of the expected count. 0 if it is not drawn.
function deviation({ expected }, n) {
  return expected >= MIN_EXPECTED ? 100 * (n / expected - 1) : 0;
}

function reach(results) {
  const most = Math.max(0, ...results.map(({ expected }) => expected));
  const likely = results.filter(({ expected }) => expected >= MIN_LIKELY * most);
  const deviations = likely.flatMap((result) =>
    [result.n_rolls, result.low, result.high].map((n) => Math.abs(deviation(result, n))),
  );
  const widest = Math.max(0, ...deviations);
  return widest > 0 ? roundUp(widest) : NO_REACH;
}

function signedPercent(n) {
  const sign = n > 0 ? "+" : n < 0 ? "−" : "";
  return `${sign}${Number(Math.abs(n).toFixed(4))} %`;
}
