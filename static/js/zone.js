// Formats times in the time zone of the page. A page with days has its zone in its address, and the
// server writes its times. All other pages show the visitor's zone: the server writes UTC, which
// remains in the `datetime` and `title` of each element.

export const visitorZone = new Intl.DateTimeFormat().resolvedOptions().timeZone;

const formats = new Map();

/** The time zone of the page. */
export function pageZone() {
  return document.getElementById("zone")?.dataset.zone ?? visitorZone;
}

/** The date and the time of day in a time zone, as the server writes them. */
export function local(moment, zone = pageZone()) {
  const { year, month, day, hour, minute, second } = partsOf(moment, zone);
  return { day: `${year.padStart(4, "0")}-${month}-${day}`, clock: `${hour}:${minute}:${second}` };
}

/** Writes a time into a `<time>` element. */
export function writeTime(time, moment) {
  const { day, clock } = local(moment);
  time.dateTime = time.title = moment.toISOString();
  time.querySelector(".day").textContent = day;
  time.querySelector(".clock").textContent = clock;
}

/** Rewrites all times in an element. */
export function writeTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    writeTime(time, new Date(time.dateTime));
  }
}

/** Writes the name of the page's time zone into each `.zone` element in an element. */
export function nameZone(root) {
  for (const name of root.querySelectorAll(".zone")) name.textContent = pageZone();
}

function partsOf(moment, timeZone) {
  const parts = formatIn(timeZone).formatToParts(moment);
  return Object.fromEntries(parts.map(({ type, value }) => [type, value]));
}

// A format takes longer to make than to use.
function formatIn(timeZone) {
  const [year, rest] = ["numeric", "2-digit"];
  const options = { year, month: rest, day: rest, hour: rest, minute: rest, second: rest };
  if (!formats.has(timeZone)) {
    const format = new Intl.DateTimeFormat("en-u-ca-gregory-nu-latn-hc-h23", { ...options, timeZone });
    formats.set(timeZone, format);
  }
  return formats.get(timeZone);
}
