// Packages with the interface of EventSource. The first argument is the name of the package.

const [name] = process.argv.slice(2);
const module = await import(name);
const EventSource =
  module.EventSource ?? module.EventSourcePolyfill ?? module.default.EventSource ?? module.default;

// Some packages do not keep the program alive while they wait for a reconnect.
setInterval(() => {}, 60_000);

const source = new EventSource(process.env.LAB_URL);
for (const type of new Set(["message", ...JSON.parse(process.env.LAB_EVENTS)])) {
  source.addEventListener(type, ({ type, data, lastEventId }) =>
    console.log(JSON.stringify({ event: type, data, id: lastEventId })),
  );
}
source.addEventListener("error", () => {
  if (source.readyState === 2) process.exit();
});
