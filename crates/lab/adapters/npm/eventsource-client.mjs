// eventsource-client.

import { createEventSource } from "eventsource-client";

createEventSource({
  url: process.env.LAB_URL,
  onMessage: ({ event, data, id }) =>
    console.log(JSON.stringify({ event: event ?? "message", data, id })),
});
