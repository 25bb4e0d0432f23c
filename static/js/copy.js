// Buttons that copy a text. They are hidden until this script shows them.

const SHOWN_MS = 2_000;

/** Makes each button in `root` copy the element that its `data-copies` names by id. */
export function copyButtons(root) {
  for (const button of root.querySelectorAll("[data-copies]")) {
    new Copy(button, document.getElementById(button.dataset.copies));
  }
}

export class Copy {
  #button;
  #source;
  #label;
  #timer;

  /** `source` is a field, or an element with text. */
  constructor(button, source) {
    this.#button = button;
    this.#source = source;
    this.#label = [...button.childNodes];
    button.addEventListener("click", () => this.#copy());
    button.hidden = false;
  }

  async #copy() {
    try {
      await navigator.clipboard.writeText(this.#source.value ?? this.#source.textContent);
      this.#say("Copied");
    } catch {
      // There is no clipboard without TLS or permission. The visitor can copy the selected text.
      this.#select();
      this.#say("Selected");
    }
  }

  #select() {
    if (this.#source.select) this.#source.select();
    else getSelection().selectAllChildren(this.#source);
  }

  #say(word) {
    clearTimeout(this.#timer);
    this.#button.replaceChildren(word);
    this.#timer = setTimeout(() => this.#button.replaceChildren(...this.#label), SHOWN_MS);
  }
}
