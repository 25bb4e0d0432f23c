// Every page: its times in the viewer's zone.
import { nameZone, writeTimes } from "./zone.js";

writeTimes(document);
nameZone();
