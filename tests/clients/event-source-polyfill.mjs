// Listens with the npm package `event-source-polyfill` and its defaults. It resumes by itself, with
// the parameter `lastEventId` in the address. Prints each roll as `id data` and each sync as
// `sync data`.

import polyfill from "event-source-polyfill";

const source = new polyfill.EventSourcePolyfill(process.argv.at(-1));
source.onmessage = (event) => {
  if (event.data === "") console.log("empty");
  else console.log(event.lastEventId, JSON.stringify(JSON.parse(event.data)));
};
source.addEventListener("sync", (event) => console.log("sync", event.data));
source.onerror = (event) => console.error(event.error?.message);

// Ends with its test.
process.stdin.on("end", () => process.exit()).resume();
