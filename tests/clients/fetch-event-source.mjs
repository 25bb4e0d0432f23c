// Listens with the npm package `@microsoft/fetch-event-source`, which resumes by itself after an
// error. Prints each roll as `id data`, each other event as `name data`, and `empty` for an event
// without data.

import { fetchEventSource } from "@microsoft/fetch-event-source";

// What a page has and the package uses.
globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };

fetchEventSource(process.argv.at(-1), {
  onmessage({ id, event, data }) {
    if (data === "") console.log("empty");
    else if (event === "") console.log(id, JSON.stringify(JSON.parse(data)));
    else console.log(event, data);
  },
  // Without this the package does not reconnect after a regular end.
  onclose() {
    throw new Error("the stream ended");
  },
  onerror: (error) => console.error(error.message),
});

// Ends with its test.
process.stdin.on("end", () => process.exit()).resume();
