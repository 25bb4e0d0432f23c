// Runs on every page: shows times in the viewer's time zone.
import { nameZone, writeTimes } from "./zone.js";

writeTimes(document);
nameZone(document);
