// @sentool/fetch-event-source. It parses JSON data, so `data` may be anything, and turns ids into
// numbers.

import { fetchEventSource } from "@sentool/fetch-event-source";

await fetchEventSource(process.env.LAB_URL, {
  onmessage: ({ event, data, id }) =>
    console.log(
      JSON.stringify({
        event: event || "message",
        data: typeof data === "string" ? data : JSON.stringify(data),
        id: id === undefined ? id : `${id}`,
      }),
    ),
  onerror: ({ message }) => console.log(JSON.stringify({ error: message })),
});
