// Runs on every page: shows times in the time zone of the page, and names it.
import { nameZone, visitorZone, writeTimes } from "./zone.js";

const line = document.getElementById("zone");
if (line) {
  offerZones(line.dataset.zone);
} else {
  writeTimes(document);
  // Just before the link is followed, because the live page changes its links.
  for (const type of ["click", "auxclick"]) addEventListener(type, keepZone, { capture: true });
}
nameZone(document);

// The server wrote the times, in the zone of the address.
function offerZones(zone) {
  const here = document.getElementById("zone-here");
  here.querySelector(".zone-name").textContent = visitorZone;
  here.href = addressIn(visitorZone);
  // The server links the page in UTC.
  here.hidden = visitorZone === zone || visitorZone === "UTC";
  if (zone === "UTC") return;
  // The links to the history outside of the main part keep the zone, too.
  for (const link of document.querySelectorAll(':is(header, footer) a[href="/rolls"]')) {
    link.search = new URLSearchParams({ tz: zone });
  }
}

/** Adds the visitor's zone to a link to the history, which shows the zone that its address names. */
function keepZone({ target }) {
  const link = target.closest?.("a");
  const isHistory = link?.origin === location.origin && /^\/rolls(\/\d+)?$/.test(link.pathname);
  if (visitorZone === "UTC" || !isHistory) return;
  const fields = new URLSearchParams(link.search);
  fields.set("tz", visitorZone);
  link.search = fields;
}

/** The address of this page in another time zone. */
function addressIn(zone) {
  const { pathname, search, hash } = location;
  const fields = new URLSearchParams(search);
  fields.set("tz", zone);
  return `${pathname}?${fields}${hash}`;
}
