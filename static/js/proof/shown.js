// What a page shows, compared with what the log gives. The texts of the page are from the server, and
// so are its attributes. Only the address is from the reader.
import { local } from "../zone.js";
import { no, yes } from "./checks.js";

/** The outcome for pairs of texts: what the page shows, and what it should show. */
export function compared(pairs, words) {
  const wrong = pairs.find(([shown, expected]) => shown !== expected);
  if (!wrong) return yes(words);
  const [shown, expected] = wrong.map((text) => text || "nothing");
  return no(`The page shows ${shown}, but the log gives ${expected}.`);
}

/** The text of an element, on one line. */
export function textOf(element) {
  return element?.textContent.replaceAll(/\s+/g, " ").trim() ?? "";
}

/** The pair for a list of facts: its elements, and the names and values that they should have. */
export function factsShown(elements, facts) {
  const shown = [...elements].map((element) => element.textContent);
  return [shown, facts.flat()].map((texts) => texts.join(", "));
}

/** The pair for a time that the page shows in the visitor's time zone. */
export function timeShown(element, rolledAt) {
  const { day, clock } = local(new Date(rolledAt));
  return [`${textOf(element)} (${element?.dateTime})`, `${day} ${clock} (${rolledAt})`];
}
