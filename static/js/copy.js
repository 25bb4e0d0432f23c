// A button that copies the text of a field. It is hidden until this script shows it.

const SHOWN_MS = 2_000;

export class Copy {
  #button;
  #field;

  constructor(button, field) {
    this.#button = button;
    this.#field = field;
    button.addEventListener("click", () => this.#copy());
    button.hidden = false;
  }

  async #copy() {
    this.#field.select();
    try {
      await navigator.clipboard.writeText(this.#field.value);
    } catch {
      // There is no clipboard without TLS or permission. The text stays selected for copying.
      return;
    }
    this.#button.textContent = "Copied";
    setTimeout(() => (this.#button.textContent = "Copy"), SHOWN_MS);
  }
}
