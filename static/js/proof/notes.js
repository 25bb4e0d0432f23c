// The notes of this browser from earlier checks: the keys of each server, and the first seed or
// anchor that it saw of each chain in a block. Later rolls of the chain must lead back to it.
import { fromHex, toHex } from "./bytes.js";
import { beforeBlock, blockOf } from "./seeds.js";

const STORED_AS = "rollcast.proof";

export class Notes {
  #storage;

  /** `storage` is a `Storage`, such as `localStorage`. */
  constructor(storage) {
    this.#storage = storage;
  }

  /** The notes of this browser. They are empty if the browser forbids storage. */
  static ofBrowser() {
    try {
      return new Notes(localStorage);
    } catch {
      return new Notes(undefined);
    }
  }

  /** The keys of a server, `{ key, since }`, the first one first. */
  keysOf(server) {
    return this.#read().keys[server] ?? [];
  }

  /** Notes a key that is not noted yet. */
  noteKey(server, key) {
    this.#write(({ keys }) => {
      keys[server] ??= [];
      const isNoted = keys[server].some((noted) => noted.key === key.text);
      if (!isNoted) keys[server].push({ key: key.text, since: now() });
    });
  }

  /** The seeds and anchors in a roll's block: `{ id, seed, next, since }`. */
  seedsNear(key, id) {
    const noted = this.#read().seeds[nameOf(key, blockOf(id))] ?? [];
    const read = ({ id, seed, next, since }) => ({ id, seed: fromHex(seed, 32), next, since });
    return noted.map(read).filter(({ seed }) => seed !== null);
  }

  /**
   * Notes the seed of a leaf that passed its checks and whose chain is not noted yet, and the anchor
   * that it announces.
   */
  noteLeaf(key, { id, seed, next }) {
    const block = blockOf(id);
    this.#write(({ seeds }) => {
      add(seeds, nameOf(key, block), { id, seed: toHex(seed), next: Boolean(next), since: now() });
      if (!next) return;
      const anchor = { id: beforeBlock(block + 1), seed: toHex(next), next: false, since: now() };
      add(seeds, nameOf(key, block + 1), anchor);
    });
  }

  #read() {
    try {
      const { keys, seeds } = JSON.parse(this.#storage.getItem(STORED_AS));
      return { keys: { ...keys }, seeds: { ...seeds } };
    } catch {
      return { keys: {}, seeds: {} };
    }
  }

  #write(change) {
    const notes = this.#read();
    change(notes);
    try {
      this.#storage.setItem(STORED_AS, JSON.stringify(notes));
    } catch {
      // The storage may be full, or forbidden in a private window. Checks work without notes.
    }
  }
}

function add(seeds, name, note) {
  seeds[name] ??= [];
  if (!seeds[name].some(({ seed }) => seed === note.seed)) seeds[name].push(note);
}

function nameOf(key, block) {
  return `${key.text} ${block}`;
}

function now() {
  return new Date().toISOString();
}
