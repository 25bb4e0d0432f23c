// Joins modules into one script, as the server does for the offline page:
//
// 1. A module comes once, after the modules that it imports, in the order of its imports.
// 2. Lines that begin with `import ` are left out. `export ` is left out where a line begins with it.
// 3. Everything else stays as it is.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { ROOT } from "./modules.mjs";

/** The paths of a module and of all that it imports, under `static`, in the order of the script. */
export function modulesOf(entry, found = []) {
  if (found.includes(entry)) return found;
  for (const [, name] of read(entry).matchAll(/from "\.\/([^"]+)"/g)) {
    modulesOf(join(dirname(entry), name), found);
  }
  if (!found.includes(entry)) found.push(entry);
  return found;
}

/** The text of the script. */
export function bundle(entry) {
  return modulesOf(entry)
    .flatMap((path) => read(path).split(/(?<=\n)/))
    .filter((line) => !line.startsWith("import "))
    .map((line) => line.replace(/^export /, ""))
    .join("");
}

/** The style sheets of the page, one after the other. */
export function styleOf(names) {
  return names.map((name) => read(`css/${name}.css`)).join("");
}

export const ENTRY = "js/verify.js";
export const STYLES = ["tokens", "base", "controls", "proof"];

export function read(path) {
  return readFileSync(join(ROOT, "static", path), "utf8");
}
