// Runs on every page: shows times in the time zone of the page, and names it.
import { nameZone, viewerZone, writeTimes } from "./zone.js";

const line = document.getElementById("zone");
if (line) offerZones(line.dataset.zone);
else writeTimes(document);
nameZone(document);

// The server wrote the times, in the zone of the address.
function offerZones(zone) {
  const here = document.getElementById("zone-here");
  here.querySelector(".zone-name").textContent = viewerZone;
  here.href = addressIn(viewerZone);
  here.hidden = viewerZone === zone;
  if (zone === "UTC") return;
  // The links to the history outside of the main part keep the zone, too.
  for (const link of document.querySelectorAll(':is(header, footer) a[href="/rolls"]')) {
    link.search = new URLSearchParams({ tz: zone });
  }
}

/** The address of this page in another time zone. */
function addressIn(zone) {
  const { pathname, search, hash } = location;
  const fields = new URLSearchParams(search);
  fields.set("tz", zone);
  return `${pathname}?${fields}${hash}`;
}
