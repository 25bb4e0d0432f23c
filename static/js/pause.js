// The pause button, of use only with scripts: shown from here. Its label stays, pressed or not.
// https://www.w3.org/WAI/ARIA/apg/patterns/button/

export class Pause {
  #button;
  #onChange;

  /** `onChange` hears true when the page is paused, false when it goes on. */
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
