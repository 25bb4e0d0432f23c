// The pause button. It is hidden until this script shows it, because it needs scripts. Its label
// does not change when it is pressed.
// https://www.w3.org/WAI/ARIA/apg/patterns/button/

export class Pause {
  #button;
  #onChange;

  /** Calls `onChange` with true when the page pauses, with false when it continues. */
  constructor(button, onChange) {
    this.#button = button;
    this.#onChange = onChange;
    button.addEventListener("click", () => this.#toggle());
    button.hidden = false;
  }

  #toggle() {
    const paused = this.#button.getAttribute("aria-pressed") !== "true";
    this.#button.setAttribute("aria-pressed", paused);
    this.#onChange(paused);
  }
}
