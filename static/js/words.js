// Writes numbers for people, as the server does, and puts texts into the page.

/** Digits in groups of three: `12,345`. */
export function grouped(n) {
  return n.toLocaleString("en-US");
}

/** This number of decimals. Rounds a tie to the even digit, as the server does. */
export function fixed(x, nDigits) {
  const isTie = Math.abs(x * 2 ** (nDigits + 1)) % 2 === 1;
  // Without a tie, toFixed rounds the exact value. It rounds a tie up.
  if (!isTie) return x.toFixed(nDigits);
  const power = 10 ** nDigits;
  const lower = Math.floor(x * power);
  return ((lower % 2 === 0 ? lower : lower + 1) / power).toFixed(nDigits);
}

/** Digits in groups of three, and this number of decimals, at least one: `12,345.70`. */
export function decimal(x, nDigits) {
  const [whole, fraction] = fixed(x, nDigits).split(".");
  return `${grouped(Number(whole))}.${fraction}`;
}

/** The number with this decimal logarithm: `0.0123`, or `10⁻³⁸` below 0.001 and from 10⁶. */
export function powerOfTen(log10) {
  if (log10 < -3 || log10 >= 6) return `10${superscript(Math.round(log10))}`;
  return log10 < 1 ? (10 ** log10).toFixed(2 - Math.floor(log10)) : (10 ** log10).toFixed(1);
}

/** The number in superscript digits: `⁻³⁸`. */
export function superscript(n) {
  return String(n).replace(/[-\d]/g, (c) => (c === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]));
}

/** A range of counts: `17`, or `1 to 17`. */
export function between(low, high) {
  return low === high ? grouped(low) : `${grouped(low)} to ${grouped(high)}`;
}

/** The text with a capital letter at its start. */
export function capitalized(text) {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** Sets the text of an element, and keeps a selection in it. Changes nothing if it is the same. */
export function write(element, value) {
  const text = String(value);
  const node = element.firstChild;
  if (element.textContent === text) return;
  if (node?.nodeType !== Node.TEXT_NODE || element.childNodes.length > 1) {
    element.textContent = text;
    return;
  }
  const selection = getSelection();
  const { anchorNode, anchorOffset, focusNode, focusOffset } = selection;
  node.data = text;
  if (anchorNode !== node && focusNode !== node) return;
  // The browser has moved the ends of the selection to the start of the text.
  const within = (end, offset) => (end === node ? Math.min(offset, text.length) : offset);
  selection.setBaseAndExtent(
    anchorNode,
    within(anchorNode, anchorOffset),
    focusNode,
    within(focusNode, focusOffset),
  );
}
