// @sentool/fetch-event-source. It parses JSON data, so `data` may be anything.

import { fetchEventSource } from "@sentool/fetch-event-source";

await fetchEventSource(process.env.LAB_URL, {
  onmessage: ({ event, data, id, lastEventId }) =>
    console.log(
      JSON.stringify({
        event: event || "message",
        data: typeof data === "string" ? data : JSON.stringify(data),
        id: lastEventId ?? id,
      }),
    ),
  onerror: ({ message }) => console.log(JSON.stringify({ error: message })),
});
