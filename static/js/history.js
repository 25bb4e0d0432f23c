// The history: counts new rolls that belong on the newest page, and offers all time zones. The rows
// stay where they are.
import { NewRolls } from "./new-rolls.js";

const link = document.getElementById("new-rolls");
if (link) new NewRolls(link);

// The names of the zones are known to the browser, so the page need not carry them.
const zones = Intl.supportedValuesOf?.("timeZone") ?? [];
document.getElementById("zones").append(...zones.map((zone) => new Option(zone)));
