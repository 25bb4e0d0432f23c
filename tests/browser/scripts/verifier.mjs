// Verifies rolls of logs in memory, as the pages do it.

import { Log, vectors } from "./log.mjs";
import { load } from "./modules.mjs";

const { Notes } = await load("proof/notes.js");
const { verifyRoll } = await load("proof/verification.js");

export const vkey = (name) => vectors.keys[name].vkey;
export const ALL_YES = "yes yes yes yes";

export class Memory {
  #items = new Map();
  getItem(name) {
    return this.#items.get(name) ?? null;
  }
  setItem(name, value) {
    this.#items.set(name, value);
  }
}

/** The outcomes of a verification, joined, and the words of each check, with its own state if any. */
export async function verify(request) {
  const [words, states, outcomes] = [{}, {}, []];
  const checklist = {
    start() {},
    progress() {},
    show(name, result) {
      words[name] = result.words;
      states[name] = result.state;
      outcomes.push(result.outcome);
    },
    conclude() {},
  };
  const notes = request.notes ?? new Notes(new Memory());
  const leaf = await verifyRoll({ keyText: vkey("A"), ...request, notes }, checklist);
  return { outcomes: outcomes.join(" "), words, states, leaf };
}

/** A server of a log whose rolls before `oldest` are pruned. */
export function serverOf(log, { oldest = 1, address = "https://dice.example.org" } = {}) {
  const requests = [];
  const proof = async (id) => {
    requests.push(id);
    return id < oldest ? null : log.proof(id);
  };
  return { oldest, server: { address, proof, requests }, keyText: log.key };
}

/** The log of the vectors while its key was A. */
export const early = new Log({ key: "A" }).first(300);
export const late = new Log({ key: "B" });
