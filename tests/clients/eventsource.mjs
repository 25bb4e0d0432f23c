// Listens with the npm package `eventsource`, which resumes by itself. Prints each roll as
// `id data` and each sync as `sync data`.

import { EventSource } from "eventsource";

const source = new EventSource(process.argv.at(-1));
source.onmessage = (event) => console.log(event.lastEventId, event.data);
source.addEventListener("sync", (event) => console.log("sync", event.data));
source.onerror = (event) => console.error(event.message);

// Ends with its tester.
process.stdin.on("end", () => process.exit()).resume();
