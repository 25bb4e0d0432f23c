// Counts down to a roll. The time left comes from the server, so a wrong clock here does not matter.

const UNITS = [
  ["day", 86_400],
  ["hour", 3_600],
  ["minute", 60],
  ["second", 1],
];

export class Countdown {
  #element;
  #endsAt;
  #timer;
  #onEnd;

  /** `data-seconds` of `element` is the time left, in seconds. Calls `onEnd` once at zero. */
  constructor(element, onEnd) {
    this.#element = element;
    this.#endsAt = performance.now() + 1_000 * Number(element.dataset.seconds);
    this.#onEnd = onEnd;
    this.#timer = setInterval(() => this.#tick(), 250);
    this.#tick();
  }

  stop() {
    clearInterval(this.#timer);
  }

  #tick() {
    const seconds = Math.max(0, Math.ceil((this.#endsAt - performance.now()) / 1_000));
    const text = seconds > 0 ? inWords(seconds) : "Any moment";
    if (this.#element.textContent !== text) this.#element.textContent = text;
    if (seconds > 0) return;
    this.stop();
    this.#onEnd();
  }
}

/** The two largest units of a time: `1 hour 20 minutes`. */
export function inWords(seconds) {
  let left = seconds;
  const parts = UNITS.map(([unit, length]) => {
    const n = Math.floor(left / length);
    left %= length;
    return { n, text: `${n} ${unit}${n === 1 ? "" : "s"}` };
  });
  const first = parts.findIndex(({ n }) => n > 0);
  const shown = parts.slice(first, first + 2).filter(({ n }) => n > 0);
  return shown.map(({ text }) => text).join(" ");
}
