// Parsers for a response of fetch. The first argument is the name of the package.

const [name] = process.argv.slice(2);
const report = (event, data, id) =>
  // One package turns ids into numbers.
  console.log(JSON.stringify({ event: event || "message", data, id: id === undefined ? id : `${id}` }));
// Loaded before the request: bytes that arrive meanwhile would be read together, not in pieces.
await import(name);
const response = await fetch(process.env.LAB_URL, { headers: { accept: "text/event-stream" } });

const parsers = {
  async "eventsource-parser"() {
    const { createParser } = await import("eventsource-parser");
    const parser = createParser({ onEvent: ({ event, data, id }) => report(event, data, id) });
    const decoder = new TextDecoder();
    for await (const bytes of response.body) parser.feed(decoder.decode(bytes, { stream: true }));
  },
  async "eventsource-parser/stream"() {
    const { EventSourceParserStream } = await import("eventsource-parser/stream");
    const events = response.body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream());
    for await (const { event, data, id } of events) report(event, data, id);
  },
  async "fetch-event-stream"() {
    const { events } = await import("fetch-event-stream");
    for await (const { event, data, id } of events(response)) report(event, data, id);
  },
  async "parse-sse"() {
    const { parseServerSentEvents } = await import("parse-sse");
    for await (const { type, data, lastEventId } of parseServerSentEvents(response)) {
      report(type, data, lastEventId);
    }
  },
  async "@server-sent-stream/web"() {
    const { default: module } = await import("@server-sent-stream/web");
    const EventSourceStream = module.default ?? module;
    for await (const { type, data, lastEventId } of response.body.pipeThrough(new EventSourceStream())) {
      report(type, data, lastEventId);
    }
  },
};
await parsers[name]();
