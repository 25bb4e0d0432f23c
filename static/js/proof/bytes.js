// Bytes and their texts. Every reader is strict: each value has exactly one text, and any other
// text gives `null`.

const utf8 = new TextEncoder();

export function joined(...parts) {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function areEqual(a, b) {
  return a.length === b.length && a.every((byte, index) => byte === b[index]);
}

export function toHex(bytes) {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** The `length` bytes of hex digits in lower case. */
export function fromHex(text, length) {
  if (text.length !== 2 * length || !/^[0-9a-f]*$/.test(text)) return null;
  return Uint8Array.from({ length }, (_, index) =>
    parseInt(text.slice(2 * index, 2 * index + 2), 16),
  );
}

/** The bytes of base64 with padding, RFC 4648, section 4. */
export function fromBase64(text) {
  try {
    const binary = atob(text);
    // `atob` also reads spaces, missing padding and unused bits.
    if (btoa(binary) !== text) return null;
    return Uint8Array.from(binary, (char) => char.charCodeAt(0));
  } catch {
    return null;
  }
}

export function toUtf8(text) {
  return utf8.encode(text);
}

export function fromUtf8(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return null;
  }
}

/** A decimal number without sign, spaces or leading zeros. A script can count to 2^53 - 1. */
export function parseNumber(text) {
  const number = /^(0|[1-9][0-9]{0,15})$/.test(text) ? Number(text) : NaN;
  return Number.isSafeInteger(number) ? number : null;
}

export async function sha256(...parts) {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", joined(...parts)));
}
