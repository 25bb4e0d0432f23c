// Reads proofs and the key from a rollcast server. The server may be hostile: each answer has a time
// and a size limit.
import { fromUtf8 } from "./bytes.js";
import { MAX_FILE_BYTES } from "./file.js";

const TIMEOUT_MS = 10_000;
// Rolls are pruned by tiles of so many.
const TILE_LENGTH = 256;

/** An error for people: why the server did not answer. */
export class ServerError extends Error {}

export class Server {
  #address;

  /**
   * `address` is the URL of the server or of one of its pages, such as `https://dice.example.org`.
   *
   * Throws a `ServerError` for any other text.
   */
  constructor(address) {
    this.#address = originOf(address);
    if (!this.#address) {
      throw new ServerError("Enter an address such as https://dice.example.org.");
    }
  }

  get address() {
    return this.#address;
  }

  /** The bytes of a roll's proof file; `null` if the roll is no longer kept. */
  async proof(id) {
    const response = await this.#get(`/rolls/${id}/proof`);
    if (response.status === 410) return null;
    if (response.status === 404) throw new ServerError(`Roll ${id} has not been rolled yet.`);
    this.#expectSuccess(response);
    return response.bytes;
  }

  /** The text of the server's key, and the first roll of the oldest tile that is kept. */
  async log() {
    const response = await this.#get("/api/proof");
    this.#expectSuccess(response);
    const log = parseLog(fromUtf8(response.bytes));
    if (!log) throw new ServerError("The server does not name a log.");
    return log;
  }

  async #get(path) {
    // The time limit holds for the body, too.
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const request = { cache: "no-cache", credentials: "omit", signal };
    try {
      const { ok, status, body } = await fetch(`${this.#address}${path}`, request);
      return { ok, status, bytes: await bytesOf(body) };
    } catch (error) {
      if (error instanceof ServerError) throw error;
      const isLate = error.name === "TimeoutError";
      const words = isLate ? "did not answer within 10 seconds" : "cannot be reached";
      throw new ServerError(`The server ${words}.`);
    }
  }

  #expectSuccess({ ok, status }) {
    if (status === 429 || status === 503)
      throw new ServerError("The server is busy. Try again soon.");
    if (!ok) throw new ServerError(`The server answered with the status ${status}.`);
  }
}

// `null` without a scheme: `host:5977` is a URL with the scheme `host`.
function originOf(address) {
  try {
    const { origin, protocol } = new URL(address);
    return ["http:", "https:"].includes(protocol) ? origin : null;
  } catch {
    return null;
  }
}

async function bytesOf(body) {
  const bytes = new Uint8Array(MAX_FILE_BYTES);
  const reader = body?.getReader();
  let length = 0;
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    if (length + value.length > MAX_FILE_BYTES) {
      reader.cancel().catch(() => {});
      throw new ServerError("The answer of the server is too long.");
    }
    bytes.set(value, length);
    length += value.length;
  }
  return bytes.subarray(0, length);
}

function parseLog(text) {
  try {
    const { key, oldest } = JSON.parse(text);
    const beginsTile = Number.isSafeInteger(oldest) && oldest > 0 && oldest % TILE_LENGTH === 1;
    return typeof key === "string" && beginsTile ? { key, oldest } : null;
  } catch {
    return null;
  }
}
