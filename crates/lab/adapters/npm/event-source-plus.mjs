// event-source-plus.

import { EventSourcePlus } from "event-source-plus";

new EventSourcePlus(process.env.LAB_URL).listen({
  onMessage: ({ event, data, id }) =>
    console.log(JSON.stringify({ event: event || "message", data, id })),
});
