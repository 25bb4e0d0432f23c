// The page for developers.
import { Console } from "./console.js";
import { copyButtons } from "./copy.js";
import { LookBack } from "./look-back.js";

copyButtons(document);
new Console(document.getElementById("console"));
new LookBack(document.getElementById("look-back-form"));
