// Imports the modules of the pages. Node reads a `.js` file as a module only in a package of type
// `module`. The static files are not a package, so the tests import a copy of them.

import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { webcrypto } from "node:crypto";
import { fileURLToPath, pathToFileURL } from "node:url";

export const ROOT = fileURLToPath(new URL("../../..", import.meta.url));

// Node 18 has WebCrypto, but not as a global.
globalThis.crypto ??= webcrypto;

const copy = mkdtempSync(join(tmpdir(), "rollcast-modules-"));
process.on("exit", () => rmSync(copy, { recursive: true, force: true }));
cpSync(join(ROOT, "static/js"), join(copy, "js"), { recursive: true });
writeFileSync(join(copy, "package.json"), '{"type":"module"}');

/** The exports of a module, by its path under `static/js`. */
export function load(path) {
  return import(pathToFileURL(join(copy, "js", path)));
}
