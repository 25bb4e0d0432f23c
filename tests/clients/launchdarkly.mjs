// Listens by POST with the npm package `launchdarkly-eventsource`, which resumes by itself. Prints
// each roll as `id data` and each sync as `sync data`.

import { EventSource } from "launchdarkly-eventsource";

const source = new EventSource(process.argv.at(-1), { method: "POST" });
source.addEventListener("message", (event) => console.log(event.lastEventId, event.data));
source.addEventListener("sync", (event) => console.log("sync", event.data));
source.addEventListener("error", (event) => console.error(event.message));

// Ends with its tester.
process.stdin.on("end", () => process.exit()).resume();
