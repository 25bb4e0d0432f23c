// A button that opens the share dialog of the system. It stays hidden where there is none.

/** `data` is what to share: a title and an address. */
export function offerShare(button, data) {
  if (!navigator.canShare?.(data)) return;
  // An error means that the reader closed the dialog.
  button.addEventListener("click", () => navigator.share(data).catch(() => {}));
  button.hidden = false;
}
