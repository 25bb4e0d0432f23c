// Dice: the faces of each die are computed from the seed of its roll.
import { joined, parseNumber, toUtf8 } from "./bytes.js";

/** A die by its name, `2D6`: 1 to 100 dice of 2 to 1,000 sides. */
export function parseDie(name) {
  const [, n_dice, n_sides] = /^([0-9]+)D([0-9]+)$/.exec(name)?.map(parseNumber) ?? [];
  const isDie = n_dice >= 1 && n_dice <= 100 && n_sides >= 2 && n_sides <= 1_000;
  return isDie ? { name, n_dice, n_sides } : null;
}

/** Whether the sum of the dice can be this number. */
export function canShow({ n_dice, n_sides }, result) {
  return n_dice <= result && result <= n_dice * n_sides;
}

/** The faces of `n_dice` dice, from the first to the last: 1 to `n_sides`. */
export async function facesOf(seed, id, { name, n_dice, n_sides }, label = "") {
  const hash = { name: "HMAC", hash: "SHA-256" };
  const key = await crypto.subtle.importKey("raw", seed, hash, false, ["sign"]);
  const [before, after] = [`rollcast/v1 ${id} ${name} `, label && ` ${label}`].map(toUtf8);
  // A multiple of the number of sides, so each face is equally likely below it.
  const limit = 65_536 - (65_536 % n_sides);
  const faces = [];
  for (let i = 0; faces.length < n_dice; i += 1) {
    const message = joined(before, toUtf8(`${i}`), after);
    const block = new DataView(await crypto.subtle.sign("HMAC", key, message));
    for (let at = 0; at < 32 && faces.length < n_dice; at += 2) {
      const number = block.getUint16(at);
      if (number < limit) faces.push((number % n_sides) + 1);
    }
  }
  return faces;
}

export function sumOf(faces) {
  return faces.reduce((sum, face) => sum + face, 0);
}
