// The sound of dice on felt, made here: a short burst of filtered noise.

const SECONDS = 0.09;

export class Sound {
  #button;
  #context;
  #noise;

  /** Takes the button that turns the sound on and off. Its `aria-pressed` says how it starts. */
  constructor(button) {
    this.#button = button;
    button.addEventListener("click", () => this.#set(!this.#isOn));
    button.hidden = !("AudioContext" in globalThis);
    // A browser plays no sound before the visitor has touched the page. Programs for video streams
    // do.
    if (this.#isOn) this.#set(true);
    addEventListener("pointerdown", () => this.#context?.resume());
  }

  play() {
    if (!this.#isOn || this.#context?.state !== "running") return;
    const source = new AudioBufferSourceNode(this.#context, { buffer: this.#noise });
    const filter = new BiquadFilterNode(this.#context, {
      type: "bandpass",
      frequency: 900 + 500 * Math.random(),
      Q: 1.5,
    });
    const gain = new GainNode(this.#context, { gain: 0.5 });
    source.connect(filter).connect(gain).connect(this.#context.destination);
    source.start();
  }

  get #isOn() {
    return this.#button.getAttribute("aria-pressed") === "true";
  }

  #set(isOn) {
    this.#button.setAttribute("aria-pressed", isOn);
    if (!isOn) return this.#context?.suspend();
    this.#context ??= new AudioContext();
    this.#noise ??= noise(this.#context);
    this.#context.resume();
  }
}

/** Noise that fades. */
function noise(context) {
  const { sampleRate } = context;
  const length = Math.ceil(sampleRate * SECONDS);
  const buffer = new AudioBuffer({ length, sampleRate });
  const samples = buffer.getChannelData(0);
  for (let n = 0; n < length; n += 1) {
    samples[n] = (2 * Math.random() - 1) * (1 - n / length) ** 4;
  }
  return buffer;
}
