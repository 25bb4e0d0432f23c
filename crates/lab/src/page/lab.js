// Runs the cases in this browser: one EventSource per case. What it reports goes to the server, which
// answers with the verdict so far.

// Browsers allow six connections to a server. Each case needs one for its stream and sometimes one
// for what it reports.
const N_JOBS = 3;
const REPORT_EVERY_MS = 150;
const NEVER_CONNECTED_MS = 75_000;
const RETRY_MS = 2_000;

const rows = document.getElementById("rows");
const progress = document.getElementById("progress");
const download = document.getElementById("download");

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const randomRun = () =>
  Array.from(crypto.getRandomValues(new Uint8Array(8)), (b) => b.toString(16).padStart(2, "0")).join("");

/** Whether the id matches one of the patterns, which may contain stars. */
function matches(patterns, id) {
  return patterns.split(",").some((pattern) => {
    const parts = pattern.trim().split("*").map((part) => part.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"));
    return new RegExp(`^${parts.join(".*")}$`, "u").test(id);
  });
}

/** The address of a stream. A case may ask for a port of its own. */
async function streamUrl(base, hasOwnPort) {
  if (!hasOwnPort) return base;
  const response = await fetch(`${base}/port`, { method: "POST" });
  const { url, error } = await response.json();
  if (!url) throw new Error(error);
  return url;
}

/** Runs a case. Returns its verdict. */
async function judge(testCase) {
  const base = `/lab/${testCase.id}/${randomRun()}`;
  const url = await streamUrl(base, testCase.own_port);
  const reported = [];
  const report = ({ type, data, lastEventId }) => {
    // The browser's own events have no data.
    if (typeof data === "string") reported.push(JSON.stringify({ event: type, data, id: lastEventId }));
  };
  const open = () => {
    const source = new EventSource(url);
    for (const name of new Set(["message", ...testCase.events])) source.addEventListener(name, report);
    return source;
  };
  let source = open();
  const begun = performance.now();
  const isLate = () => performance.now() - begun > NEVER_CONNECTED_MS;
  try {
    for (;;) {
      await sleep(REPORT_EVERY_MS);
      const lines = reported.splice(0).join("\n");
      const response = await fetch(`${base}/heard`, { method: "POST", body: lines });
      // A public lab remembers no large events.
      if (response.status === 413) throw new Error((await response.json()).error);
      if (response.ok) {
        const verdict = await response.json();
        if (verdict.verdict !== "running") return verdict;
        if (verdict.n_requests === 0 && isLate()) throw new Error("this browser never connected");
      } else if (isLate()) {
        throw new Error((await response.json()).error);
      } else if (source.readyState === EventSource.CLOSED) {
        // There was no room for the run. Others end soon.
        await sleep(RETRY_MS);
        source = open();
      }
    }
  } finally {
    source.close();
  }
}

function show(testCase, { verdict, because }) {
  const row = document.createElement("tr");
  const heading = document.createElement("th");
  heading.scope = "row";
  heading.textContent = testCase.id;
  row.append(heading);
  const reasons = because.map(({ said, expected }) => (expected ? `${said}, expected ${expected}` : said));
  for (const text of [testCase.level, verdict, testCase.what, reasons.join("; ")]) {
    row.insertCell().textContent = text;
  }
  row.cells[2].dataset.verdict = verdict;
  rows.append(row);
}

async function main() {
  const patterns = new URLSearchParams(location.search).get("cases") ?? "*";
  const all = await (await fetch("/lab/cases.json")).json();
  const isNamed = (id) => patterns.split(",").includes(id);
  const cases = all.filter(({ id, slow }) => matches(patterns, id) && (!slow || isNamed(id)));
  const verdicts = [];
  const waiting = [...cases];
  const count = () => {
    const n = (name) => verdicts.filter(({ verdict }) => verdict === name).length;
    const counts = ["ok", "fails", "differs", "recorded", "skipped"].map((name) => `${n(name)} ${name}`);
    progress.textContent = `${verdicts.length} of ${cases.length} cases: ${counts.join(", ")}`;
  };
  const work = async () => {
    for (let testCase; (testCase = waiting.shift()); ) {
      const verdict = await judge(testCase).catch(({ message }) => ({
        case: testCase.id,
        level: testCase.level,
        verdict: "skipped",
        because: [{ said: message, expected: "", rule: testCase.rule }],
      }));
      verdicts.push(verdict);
      show(testCase, verdict);
      count();
    }
  };
  count();
  await Promise.all(Array.from({ length: N_JOBS }, work));
  const order = new Map(cases.map(({ id }, i) => [id, i]));
  verdicts.sort((a, b) => order.get(a.case) - order.get(b.case));
  const json = JSON.stringify({ userAgent: navigator.userAgent, cases: verdicts }, null, 2);
  download.href = URL.createObjectURL(new Blob([json], { type: "application/json" }));
  download.hidden = false;
  // For programs that drive the browser.
  globalThis.labReport = json;
  document.documentElement.dataset.done = "true";
}

main().catch(({ message }) => {
  progress.textContent = `The test stopped: ${message}. Reload the page to try again.`;
});
