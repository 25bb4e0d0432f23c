// The script of the offline page is made of the same modules as the pages.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { pathToFileURL } from "node:url";
import { bundle, ENTRY, modulesOf, read, STYLES, styleOf } from "./bundle.mjs";
import { Log } from "./log.mjs";

const folder = mkdtempSync(join(tmpdir(), "rollcast-bundle-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));

function written(name, text) {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

test("the script is one module that imports nothing and cannot end the page's script element", () => {
  const [script, style] = [bundle(ENTRY), styleOf(STYLES)];
  // Also fails if two modules have a top-level name in common.
  execFileSync("node", ["--check", written("script.mjs", script)]);
  assert.ok(!/^\s*(import|export)\b/m.test(script), "every import and export is left out");
  assert.ok(
    !/import\(|<\/script|<!--/i.test(script),
    "nothing else loads code or ends the element",
  );
  assert.ok(!/<\/style|url\(|@import/i.test(style), "the style loads nothing");
  assert.equal(bundle(ENTRY), script, "the same text each time");
});

test("each module is in the script once, after those that it imports", () => {
  const modules = modulesOf(ENTRY);
  assert.equal(new Set(modules).size, modules.length);
  assert.equal(modules.at(-1), ENTRY);
  for (const [index, path] of modules.entries()) {
    const statements = read(path).match(/^import [\s\S]*?;/gm) ?? [];
    for (const statement of statements) {
      assert.match(statement, /^import \{ [^}\n]* \} from "\.\/[a-z0-9/-]+\.js";$/, path);
      assert.ok(!statement.includes(" as "), `${path}: a name that is changed at its import`);
    }
    const needed = modulesOf(path).slice(0, -1);
    assert.ok(
      needed.every((other) => modules.indexOf(other) < index),
      path,
    );
  }
});

test("the joined modules verify a roll", async () => {
  const exported = "export { verifyRoll, Notes };\n";
  const script = bundle("js/proof/verification.js") + bundleOf("js/proof/notes.js") + exported;
  const { verifyRoll, Notes } = await import(pathToFileURL(written("verify.mjs", script)));
  const outcomes = [];
  const checklist = {
    start() {},
    progress() {},
    conclude() {},
    show: (_, { outcome }) => outcomes.push(outcome),
  };
  const [log, notes] = [new Log({ key: "A" }).first(300), new Notes(undefined)];
  const [file, earlier] = [log.proof(41), log.proof(1)];
  const request = { file, earlierFiles: [earlier], keyText: log.key, notes };
  assert.ok(await verifyRoll(request, checklist));
  assert.deepEqual(outcomes, ["yes", "yes", "yes", "yes"]);
});

/** A module without its imports, which are in the script already. */
function bundleOf(path) {
  return read(path)
    .replace(/^import .*\n/gm, "")
    .replace(/^export /gm, "");
}
