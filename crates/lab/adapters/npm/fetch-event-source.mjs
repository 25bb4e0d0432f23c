// @microsoft/fetch-event-source. It is made for pages, and reconnects after an orderly end only if
// `onclose` throws, as its README shows.

import { fetchEventSource } from "@microsoft/fetch-event-source";

globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };

await fetchEventSource(process.env.LAB_URL, {
  onmessage: ({ event, data, id }) =>
    console.log(JSON.stringify({ event: event || "message", data, id })),
  onclose() {
    throw new Error("the stream ended");
  },
});
