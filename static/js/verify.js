// The page that verifies a roll, by its proof file or its number. The same script runs in the
// offline page, which has no server of its own.
import { parseNumber } from "./proof/bytes.js";
import { Checklist } from "./proof/checklist.js";
import { MAX_FILE_BYTES, parseProof } from "./proof/file.js";
import { Notes } from "./proof/notes.js";
import { Server } from "./proof/server.js";
import { verifyRoll } from "./proof/verification.js";

const byId = (id) => document.getElementById(id);
const form = byId("verifier");
const drop = byId("drop");
const verified = byId("verified");
const checklist = new Checklist(byId("checks"), byId("verdict"));
const notes = Notes.ofBrowser();

/** The server that the page may use: its own, or the one whose address was entered. */
function serverOfPage() {
  const address = byId("server")?.value.trim() ?? location.origin;
  return address ? new Server(address) : undefined;
}

/** The chosen proof files, the newest roll first; or the proof of the entered number. */
async function readFiles(server) {
  const files = [...byId("files").files];
  if (files.length === 0) return readNumbered(server);
  const proofs = await Promise.all(
    files.map(async (chosen) => {
      // A file of gigabytes would freeze the page.
      if (chosen.size > MAX_FILE_BYTES) {
        throw new Error(`${chosen.name} is larger than 64 KiB, so it is not a proof file.`);
      }
      const file = new Uint8Array(await chosen.arrayBuffer());
      const proof = parseProof(file);
      if (!proof) throw new Error(`${chosen.name} is not a proof file, or it was changed.`);
      return { file, index: proof.index };
    }),
  );
  return proofs.sort((a, b) => b.index - a.index).map(({ file }) => file);
}

async function readNumbered(server) {
  const id = parseNumber(byId("roll").value.trim());
  if (!id) throw new Error("Choose a proof file, or enter the number of a roll.");
  if (!server) throw new Error("Enter the address of the server to read a roll from it.");
  const file = await server.proof(id);
  if (!file) throw new Error(`The server no longer keeps the proof of roll ${id}.`);
  return [file];
}

// The page reads earlier rolls from a server only if the proof is from that server's log.
async function logOf(server) {
  try {
    return await server?.log();
  } catch {
    return undefined;
  }
}

async function check() {
  byId("check-results").hidden = false;
  verified.hidden = true;
  checklist.reset("Checking…");
  try {
    const server = serverOfPage();
    const [file, ...earlierFiles] = await readFiles(server);
    const log = await logOf(server);
    const field = byId("key");
    field.value = field.value.replaceAll(/\s/g, "") || (log?.key ?? "");
    const keyText = field.value;
    const isOurs = log?.key === keyText;
    const asked =
      byId("files").files.length === 0 ? parseNumber(byId("roll").value.trim()) : undefined;
    const from = isOurs ? { server, oldest: log.oldest } : {};
    const leaf = await verifyRoll(
      { file, earlierFiles, keyText, notes, id: asked, ...from },
      checklist,
    );
    if (leaf) show(leaf);
  } catch (error) {
    checklist.refuse(error.message);
  }
}

function show({ id, rolledAt, results }) {
  const dice = results?.map(({ die, result }) => `${die.name} = ${result}`).join(", ");
  const write = (part, text) => (verified.querySelector(`.verified-${part}`).textContent = text);
  write("id", id);
  write("time", rolledAt ?? "no longer stored");
  write("dice", dice ?? "no longer stored");
  verified.hidden = false;
}

let isRunning = false;

/** Runs one check at a time, because there is one list of checks. */
async function checkOnce() {
  if (isRunning) return;
  isRunning = true;
  await check();
  isRunning = false;
}

// The key may be pasted with line ends, and Enter checks as in the other fields.
byId("key").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.isComposing) return;
  event.preventDefault();
  form.requestSubmit();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  checkOnce();
});
byId("files").addEventListener("change", () => {
  if (byId("files").files.length > 0) checkOnce();
});
byId("roll").addEventListener("input", () => (byId("files").value = ""));

for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  drop.addEventListener(type, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", type === "dragenter" || type === "dragover");
    if (type !== "drop" || event.dataTransfer.files.length === 0) return;
    byId("files").files = event.dataTransfer.files;
    checkOnce();
  });
}
form.hidden = false;
