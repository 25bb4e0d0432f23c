// Positions and texts of the plots, as the server computes them in src/web/pages/stats.
import { fixed } from "./words.js";

/** A position or length in an SVG, in percent. */
export function percent(n) {
  // Adding 0 removes the sign of a negative zero.
  return `${fixed(n + 0, 2)}%`;
}

/** The smallest of 1, 2, 5, 10, 20, … and 0.5, 0.2, 0.1, … that is at least `x`. */
export function roundUp(x) {
  const power = 10 ** Math.floor(Math.log10(x));
  return [1, 2, 5].map((n) => n * power).find((round) => round >= x) ?? 10 * power;
}

/** Sets attributes of an element. Changes nothing that is the same. */
export function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) {
    if (element.getAttribute(name) !== value) element.setAttribute(name, value);
  }
}

/**
 * Makes `n` elements like the first one of `parent`, and keeps those that exist. Returns them.
 */
export function repeat(parent, n) {
  while (parent.children.length > n) parent.lastElementChild.remove();
  while (parent.children.length < n) parent.append(parent.firstElementChild.cloneNode(true));
  return [...parent.children];
}
