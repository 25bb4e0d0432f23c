// The form that builds an address of the API, and shows the response.

export class LookBack {
  #form;
  #address = document.getElementById("look-back-address");
  #link = document.getElementById("look-back-link");
  #answer = document.getElementById("look-back-answer");
  #response = document.querySelector("#look-back-response code");
  #outcome = document.getElementById("look-back-outcome");
  #asked;

  constructor(form) {
    this.#form = form;
    form.addEventListener("input", () => this.#build());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#show(this.#build());
    });
    // The browser may have restored the fields of an earlier visit.
    this.#build();
  }

  /** Writes the address that the fields make, and returns it. */
  #build() {
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(this.#form)) {
      const text = value.trim();
      const isUnused = name === "die" && !this.#form.elements.result.value;
      if (text && !isUnused) query.set(name, text);
    }
    const address = this.#form.dataset.api + (query.size > 0 ? `?${query}` : "");
    this.#address.textContent = address;
    this.#link.href = address;
    return address;
  }

  async #show(address) {
    this.#outcome.textContent = "Asking…";
    this.#asked = address;
    const answer = await answerOf(address);
    // A later request may have been answered before.
    if (this.#asked !== address) return;
    this.#outcome.textContent = inWords(answer);
    this.#answer.hidden = !answer;
    this.#response.textContent = JSON.stringify(answer, null, 2);
  }
}

/** The JSON of a response; undefined if there is none. */
async function answerOf(address) {
  try {
    const response = await fetch(address, { headers: { Accept: "application/json" } });
    return await response.json();
  } catch {
    return undefined;
  }
}

function inWords(answer) {
  if (!answer) return "The server did not answer. Try again.";
  if (answer.error) return `The server refuses this: ${answer.error.message}`;
  const n = answer.rolls.length;
  return n === 1 ? "The response has 1 roll:" : `The response has ${n} rolls:`;
}
