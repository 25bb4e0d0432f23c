// reconnecting-eventsource wraps an EventSource, here that of the package eventsource.

import { EventSource } from "eventsource-3";
import module from "reconnecting-eventsource";

globalThis.EventSource = EventSource;
const Reconnecting = module.default ?? module;
const source = new Reconnecting(process.env.LAB_URL);
for (const type of new Set(["message", ...JSON.parse(process.env.LAB_EVENTS)])) {
  source.addEventListener(type, ({ type, data, lastEventId }) =>
    console.log(JSON.stringify({ event: type, data, id: lastEventId })),
  );
}
