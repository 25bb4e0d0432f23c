// Formats times in the viewer's time zone. The server writes UTC, which remains in the `datetime`
// and `title` of each element.

const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;

/** The date and the time of day in the viewer's time zone. */
export function local(moment) {
  const two = (number) => String(number).padStart(2, "0");
  const day = [moment.getFullYear(), two(moment.getMonth() + 1), two(moment.getDate())];
  const clock = [moment.getHours(), moment.getMinutes(), moment.getSeconds()].map(two);
  return { day: day.join("-"), clock: clock.join(":") };
}

/** Writes a time into a `<time>` element. */
export function writeTime(time, moment) {
  const { day, clock } = local(moment);
  time.dateTime = time.title = moment.toISOString();
  time.querySelector(".day").textContent = day;
  time.querySelector(".clock").textContent = clock;
}

/** Rewrites all times in an element. */
export function writeTimes(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    writeTime(time, new Date(time.dateTime));
  }
}

/** Writes the name of the time zone into each `.zone` element in an element. */
export function nameZone(root) {
  for (const name of root.querySelectorAll(".zone")) name.textContent = zone;
}
