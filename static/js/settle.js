// Animates dice that show a new result: each one drops and turns into its final position.

// More than three flashes a second can cause seizures.
// https://www.w3.org/WAI/WCAG22/Understanding/three-flashes-or-below-threshold
const FLASHES_APART_MS = 1_000 / 3;

const reduced = matchMedia("(prefers-reduced-motion: reduce)");

/** Turns dice, unless rolls come too fast or the visitor prefers less motion. */
export function settle(dice, everyMs) {
  if (everyMs <= FLASHES_APART_MS || reduced.matches) return;
  for (const die of dice) {
    die.querySelector(".die-shape").animate(
      [{ transform: "translateY(-8%) rotate(-16deg)" }, { transform: "none" }],
      { duration: 350, easing: "cubic-bezier(0.2, 0.9, 0.3, 1.2)" },
    );
  }
}
